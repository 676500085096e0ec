"""Koshelek's phone screen: calls made by hand, what the phone shows after them, and what went over the wire.

It may not know how it is drawn, nor what an answer should be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from contracts.suite.address import named
from contracts.suite.answer import Answer
from contracts.suite.config import Options
from contracts.suite.pages.barcodes import Picture, picture
from contracts.suite.playing import CannotPlay, Given, Played, perform
from contracts.suite.reading import found_number, reserved_number
from contracts.suite.results import Exchange

MOST_STEPS = 40
"""Calls that are kept beside the phone."""
MOST_ROWS = 100
"""Purchases, offers or phones that the phone shows."""
MOST_FIELDS = 30
"""Fields of one of them."""
LONGEST = 300
"""Characters of a value that the phone shows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One field of a screen: the key of ``Given``, its label and an example."""

    name: str
    label: str
    example: str = ""


PHONE = Entry("msisdn", "Phone", "79001234567")
EMAIL = Entry("email", "E-mail", "anna@example.org")
BORN = Entry("birth_date", "Birth date", "1990-01-31")
NUMBER = Entry("what", "Card number", "2900000000025")
QR = Entry("qr", "Text of the QR code", "t=20260101T1200&s=975.88&fn=…&i=…&fp=…&n=1")
CODE = Entry("code", "Promo code", "WELCOME")
START = Entry("start", "From", "2026-01-01")
END = Entry("end", "To", "2026-12-31")


@dataclass(frozen=True, slots=True)
class Action:
    """A button of the phone: the call it makes, and the fields it takes."""

    call: str
    button: str
    fields: tuple[Entry, ...] = ()
    body: bool = False
    """Whether a body can be typed in place of the one that would be made."""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Screen:
    """What one tab of the phone offers."""

    name: str
    title: str
    actions: tuple[Action, ...]


SCREENS = (
    Screen("card", "Card", (Action("card", "Open the card", (NUMBER,)),)),
    Screen("find", "Find", (Action("find", "Find the card", (PHONE, EMAIL, BORN)),)),
    Screen(
        "new",
        "New card",
        (
            Action("issue", "Issue a card", (PHONE, EMAIL, BORN), True, "What is left empty is made up."),
            Action("reserve", "Reserve a number"),
            Action(
                "issue-reserved", "Issue the reserved number", (NUMBER, PHONE, EMAIL, BORN), True,
                "A plastic card without an owner is registered in the same way.",
            ),
        ),
    ),
    Screen(
        "receipt",
        "Receipt",
        (
            Action(
                "receipt", "Send the receipt", (NUMBER, QR), True,
                "Scanned by text; left empty, a sale is made up.",
            ),
        ),
    ),
    Screen("promo", "Promo code", (Action("promo", "Use the code", (NUMBER, CODE), True),)),
    Screen("purchases", "Purchases", (Action("purchases", "Show purchases", (NUMBER, START, END)),)),
    Screen("offers", "Offers", (Action("offers", "Show offers", (NUMBER,)),)),
    Screen(
        "profile", "Profile", (Action("update", "Change the profile", (NUMBER, PHONE, EMAIL, BORN), True),)
    ),
    Screen("consents", "Consents", (Action("consents", "Save the consents", (NUMBER,), True),)),
    Screen(
        "users",
        "All users",
        (Action("users", "Show phones"), Action("users-extended", "Show phones with parameters")),
    ),
    Screen("scenarios", "Scenarios", ()),
)  # fmt: skip
ACTIONS = {action.call: (screen, action) for screen in SCREENS for action in screen.actions}
CHANNELS = ("sms", "email", "call", "push")


@dataclass(frozen=True, slots=True)
class Step:
    """One call that was made, or one scenario."""

    number: int
    call: str
    at: datetime
    exchanges: tuple[Exchange, ...]
    well: bool


@dataclass(frozen=True, slots=True)
class Note:
    """What the phone says after a call."""

    text: str
    well: bool = True
    quoted: str = ""
    """Words of the service, as they are."""


@dataclass
class Card:
    """The card that lies open on the phone."""

    number: str
    state: str = ""
    barcode_number: str = ""
    barcode_type: str = ""
    total: str = ""
    available: str = ""
    bonuses: list[tuple[str, str, str]] = field(default_factory=list)
    """Description, amount, last day."""

    @property
    def picture(self) -> Picture | None:
        if not self.barcode_number and not self.barcode_type:
            return None
        return picture(self.barcode_number, self.barcode_type)


@dataclass
class Phone:
    """The phone of one session."""

    options: Options | None = None
    """Of the service that it talks to; ``None``: not chosen yet."""
    password: str = field(default="", repr=False)
    screen: str = "find"
    card: Card | None = None
    values: dict[str, str] = field(default_factory=dict)
    """What was typed last, by the names of the fields."""
    rows: list[list[tuple[str, str]]] = field(default_factory=list)
    """A list that was answered: name and value of what each element holds."""
    note: Note | None = None
    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=MOST_STEPS))
    count: int = 0

    def connect(self, options: Options, password: str) -> None:
        """Talk to the first service of ``options``; what an earlier one answered is forgotten."""
        _, url = named(options.urls[0])
        options = options.model_copy(update={"profile": "full", "urls": [url]})
        if self.options is None or self.options.urls != options.urls:
            self.card, self.rows, self.values = None, [], {}
            self.steps.clear()
        known = options.existing
        if known is not None and not self.values:
            given = {"msisdn": known.phone, "email": known.email, "what": known.card_number}
            self.values = {key: value for key, value in given.items() if value}
        self.note, self.options, self.password = None, options, password

    async def press(self, call: str, values: Mapping[str, str], allow: list[str], deny: list[str]) -> None:
        """Make a call or a scenario; what came of it is in ``note``, ``card``, ``rows`` and ``steps``."""
        if self.options is None:
            return
        self.rows, self.note = [], None
        self.values |= {key: value for key, value in values.items() if key != "body"}
        if call in ACTIONS:
            self.screen = ACTIONS[call][0].name
        try:
            given = Given(**{key: value for key, value in values.items() if value},
                          allow=tuple(allow), deny=tuple(deny))  # fmt: skip
            played = await perform(self.options, self.password, call, given, masked=False)
        except CannotPlay as error:
            self.note = Note(str(error), well=False)
            return
        self.count += 1
        shown = given.what or call if call == "scenario" else call
        self.steps.appendleft(Step(self.count, shown, datetime.now(UTC), played.exchanges, played.well))
        if call == "scenario":
            self.note = Note(played.end, well=played.well)
            self._take_card(played)
        else:
            self._look(call, played.answers[-1], given)

    def _take_card(self, played: Played) -> None:
        """The last card that was shown in a scenario."""
        for answer in reversed(played.answers):
            if answer.ok and found_number(answer) is not None:
                self._open(answer)
                return

    def _look(self, call: str, answer: Answer, given: Given) -> None:
        if not answer.ok:
            self._refused(answer)
            if call == "find":
                self.card = None  # the one that lay there is somebody else's
            return
        match call:
            case "find" if found_number(answer) is None:
                self.card, self.note = None, Note("Nobody was found: a new card may be issued.")
            case "find" | "card" | "issue":
                self._open(answer)
                self.note = Note("The card was issued.") if call == "issue" else None
            case "reserve":
                number = reserved_number(answer) or ""
                self.values["what"] = number
                self.note = Note("The number is reserved.", quoted=number)
            case "issue-reserved":
                self.card = Card(given.number)
                self.note = Note("The card was issued. Open it to see its state.")
            case "purchases" | "offers" | "users" | "users-extended":
                self.rows = _rows(answer.json)
                self.note = None if self.rows else Note("The list is empty.")
            case "receipt" | "promo":
                said = _text(answer.json) if isinstance(answer.json, dict) else ""
                self.note = Note("It was accepted. Open the card to see the balance.", quoted=said)
            case _:
                self.note = Note("It was accepted.")

    def _refused(self, answer: Answer) -> None:
        if answer.status is None:
            self.note = Note(f"There was no answer: {answer.exchange.problem}", well=False)
            return
        code, said = answer.text_at("code") or "", answer.text_at("description") or ""
        self.note = Note(
            f"The service answered {answer.status}.", well=False, quoted=f"{code} {said}".strip()[:LONGEST]
        )

    def _open(self, answer: Answer) -> None:
        """Lay the card of an answer open."""
        number = found_number(answer)
        if number is None:
            self.note = Note("The answer holds no card.", well=False)
            return
        text = answer.text_at
        bonuses = answer.at("card", "bonus", "bonuses")
        self.card = Card(
            number,
            text("card", "cardState") or "",
            text("card", "barcode", "barcodeNumber") or "",
            text("card", "barcode", "barcodeType") or "",
            text("card", "bonus", "total") or "",
            text("card", "bonus", "available") or "",
            [_bonus(each) for each in bonuses[:MOST_ROWS] if isinstance(each, dict)]
            if isinstance(bonuses, list)
            else [],
        )
        self.values["what"] = number


def _bonus(one: Mapping[str, Any]) -> tuple[str, str, str]:
    description, amount, until = (
        str(one.get(key, ""))[:LONGEST] for key in ("description", "amount", "validUntil")
    )
    return description, amount, until


def _rows(value: Any) -> list[list[tuple[str, str]]]:
    """A list for a small screen: an element a row, its fields with their names."""
    rows = []
    for one in value[:MOST_ROWS] if isinstance(value, list) else []:
        pairs = one.items() if isinstance(one, dict) else [("", one)]
        rows.append([(str(name)[:LONGEST], _text(item)) for name, item in islice(pairs, MOST_FIELDS)])
    return rows


def _text(value: Any, deepest: int = 3) -> str:
    """A value in a line, its beginning; what lies deeper than a few levels is left out."""
    if isinstance(value, (list, dict)) and not deepest:
        return "…"
    if isinstance(value, list):
        return ", ".join(_text(item, deepest - 1) for item in value[:MOST_FIELDS])[:LONGEST]
    if isinstance(value, dict):
        pairs = islice(value.items(), MOST_FIELDS)
        return ", ".join(f"{key}: {_text(item, deepest - 1)}" for key, item in pairs)[:LONGEST]
    return str(value)[:LONGEST]
