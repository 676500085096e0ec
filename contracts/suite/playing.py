"""Koshelek on your desk: one call, or one scenario, made by hand, with everything that went over the wire.

It knows the methods and the scenarios, and what a client does; it judges nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.suite.address import Address, CannotConnect
from contracts.suite.answer import Answer
from contracts.suite.checking import Breach, Skip
from contracts.suite.checks import scenarios
from contracts.suite.client import Client
from contracts.suite.config import Options
from contracts.suite.language import ENGLISH, Language
from contracts.suite.pacing import Stopped
from contracts.suite.people import People, qr_text
from contracts.suite.redaction import Redactor
from contracts.suite.report.texts import laid_out, printable
from contracts.suite.results import Exchange
from contracts.suite.trial import Target, Trial

MOST_SHOWN = 100_000
"""Characters of a line that are shown."""


class CannotPlay(Exception):
    """The call cannot be made; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Given:
    """What was typed on the command line."""

    what: str | None = None
    msisdn: str | None = None
    email: str | None = None
    birth_date: str | None = None
    card: str | None = None
    qr: str | None = None
    code: str | None = None
    start: str | None = None
    end: str | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    body: str | None = None

    @property
    def number(self) -> str:
        number = self.what or self.card
        if not number:
            raise CannotPlay("this call needs a card number")
        return number


class _Player:
    """The calls, with values from the command line or made up."""

    def __init__(self, trial: Trial, given: Given) -> None:
        self.trial = trial
        self.given = given

    def _body(self, made: Any) -> Any:
        return made if self.given.body is None else self.given.body.encode()

    def _profile(self, *, whole: bool) -> Any:
        """The fields that were given; ``whole``: the others made up."""
        given = {"phone": self.given.msisdn, "email": self.given.email, "birthDate": self.given.birth_date}
        said = {key: value for key, value in given.items() if value is not None}
        return self._body(self.trial.people.stranger().profile(**said) if whole else said)

    def _holder(self) -> dict[str, str]:
        if self.given.card or self.given.what:
            return {"cardNumber": self.given.number}
        if self.given.msisdn:
            return {"msisdn": self.given.msisdn}
        raise CannotPlay("this call needs a card number or a phone (--card, --msisdn)")

    async def find(self) -> Answer:
        """1: find a card (--msisdn, --email, --birth-date)"""
        more = {"birthDate": self.given.birth_date} if self.given.birth_date else {}
        return await self.trial.find(self.given.msisdn, self.given.email, **more)

    async def consents(self) -> Answer:
        """2: consents of card NUMBER (--allow, --deny)"""
        lists = {"allow": list(self.given.allow), "deny": list(self.given.deny)}
        return await self.trial.consents(self.given.number, self._body(lists))

    async def card(self) -> Answer:
        """3: card NUMBER and its balance"""
        return await self.trial.card(self.given.number)

    async def update(self) -> Answer:
        """4: change the profile of card NUMBER (--msisdn, --email, --birth-date, --body)"""
        return await self.trial.update(self.given.number, self._profile(whole=False))

    async def reserve(self) -> Answer:
        """5: reserve a number"""
        return await self.trial.reserve()

    async def issue_reserved(self) -> Answer:
        """6: issue the reserved NUMBER (--msisdn, --email; the rest is made up)"""
        return await self.trial.issue_reserved(self.given.number, self._profile(whole=True))

    async def purchases(self) -> Answer:
        """7: purchases of card NUMBER (--start, --end)"""
        start = self.given.start or (datetime.now(UTC) - timedelta(days=90)).date().isoformat()
        more = {"endDate": self.given.end} if self.given.end else {}
        return await self.trial.purchases(self.given.number, startDate=start, **more)

    async def offers(self) -> Answer:
        """8: offers for card NUMBER"""
        return await self.trial.offers(self.given.number)

    async def users(self) -> Answer:
        """9: phones of all users"""
        return await self.trial.call(9, "GET", "/v1/card/getAllUsers")

    async def users_extended(self) -> Answer:
        """9: all users with parameters"""
        return await self.trial.call(9, "GET", "/v1/card/getAllUsersExtended")

    async def receipt(self) -> Answer:
        """10: a receipt for card NUMBER (--qr, else a made-up sale; --msisdn)"""
        qr = self.given.qr or qr_text(self.trial.people.receipt())
        made = {self.trial.options.qr_field: qr} | (self._holder() if self.given.body is None else {})
        return await self.trial.receipt(self._body(made))

    async def issue(self) -> Answer:
        """11: issue a card (--msisdn, --email; the rest is made up)"""
        return await self.trial.issue(self._profile(whole=True))

    async def promo(self) -> Answer:
        """12: a promo code for card NUMBER (--code, --msisdn)"""
        code = self.given.code or self.trial.options.promo_code
        if code is None and self.given.body is None:
            raise CannotPlay("this call needs a promo code (--code)")
        made = {self.trial.options.promo_field: code} | (self._holder() if self.given.body is None else {})
        return await self.trial.promo(self._body(made))


CALLS: dict[str, Callable[[_Player], Awaitable[Answer]]] = {
    "find": _Player.find,
    "consents": _Player.consents,
    "card": _Player.card,
    "update": _Player.update,
    "reserve": _Player.reserve,
    "issue-reserved": _Player.issue_reserved,
    "purchases": _Player.purchases,
    "offers": _Player.offers,
    "users": _Player.users,
    "users-extended": _Player.users_extended,
    "receipt": _Player.receipt,
    "issue": _Player.issue,
    "promo": _Player.promo,
}
SCENARIOS: dict[str, Callable[[Trial], Awaitable[None]]] = {
    "existing-card": scenarios.existing,
    "new-card-reserved": scenarios.new_card_with_reservation,
    "new-card": scenarios.new_card,
    "plastic": scenarios.ownerless_plastic,
    "open": scenarios.opened_again,
    "receipt": scenarios.receipt,
    "promo-code": scenarios.promo_code,
}


def _explained(calls: dict[str, Any]) -> list[str]:
    return [f"  {name:<18} {(function.__doc__ or '').strip()}" for name, function in calls.items()]


def list_calls() -> str:
    """Every call and scenario that can be played, each with its options."""
    return "\n".join(
        [
            "play URL CALL [NUMBER] [options]",
            *_explained(CALLS),
            "",
            "play URL scenario NAME",
            *_explained(SCENARIOS),
        ]
    )


class _Open(Redactor):
    """Shows personal values, since the user has typed them; credentials never."""

    def hide(self, value: str | None, mask: str) -> None:
        if mask in ("credentials", "password"):
            super().hide(value, mask)

    def hide_card(self, number: str) -> None:
        return None

    def text(self, text: str) -> str:
        return self.known(text)

    def body(
        self, body: bytes, *, strangers: bool = False, request: bool = False, refused: bool = False
    ) -> str:
        return self.known(body.decode("utf-8", errors="backslashreplace"))


def _lines(body: str) -> list[str]:
    return laid_out(body, MOST_SHOWN).splitlines()


def shown(exchange: Exchange) -> str:
    """One exchange as text."""
    lines = [f"> {exchange.verb} {exchange.url}"]
    lines += [f"> {name}: {value}" for name, value in exchange.request_headers]
    if exchange.request_body is not None:
        lines += [">", *[f"> {line}" for line in _lines(exchange.request_body)]]
    lines.append("")
    if exchange.status is None:
        lines.append(f"< no answer: {exchange.problem}")
    else:
        took = f"{exchange.seconds * 1000:.0f} ms"
        lines.append(f"< {exchange.http_version} {exchange.status} {exchange.reason} ({took})")
        lines += [f"< {name}: {value}" for name, value in exchange.response_headers]
        lines += ["<", *[f"< {line}" for line in _lines(exchange.response_body) or ["(empty body)"]]]
    return "\n".join([*(printable(line, MOST_SHOWN) for line in lines), ""])


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one call or scenario."""

    exchanges: tuple[Exchange, ...]
    """Everything that went over the wire, in the order in which it did."""
    answers: tuple[Answer, ...]
    """The same as it was answered; none of it is redacted."""
    well: bool
    """Every call was answered 200."""
    end: str = ""
    """How a scenario ended, as a sentence."""


async def play(
    options: Options,
    password: str,
    call: str,
    given: Given,
    say: Callable[[str], None],
    *,
    masked: bool,
    language: Language = ENGLISH,
) -> bool:
    """Make the call and show it; whether everything was answered 200. Raises ``CannotPlay``."""
    played = await perform(options, password, call, given, masked=masked)
    for exchange in played.exchanges:
        say(shown(exchange))
    if played.end:
        say(printable(language.sentence(played.end)))
    return played.well


async def perform(options: Options, password: str, call: str, given: Given, *, masked: bool) -> Played:
    """Make the call, or the scenario that ``given.what`` names. Raises ``CannotPlay``."""
    try:
        (url,) = options.urls
        address = Address.parse(url, options.base_path)
    except ValueError as error:
        raise CannotPlay(str(error)) from None
    redactor = _redactor(options, password, given, masked=masked)
    try:
        client = Client(
            address, options.login, password, redactor=redactor,
            timeout=options.timeout, list_timeout=options.list_timeout, ca_file=options.ca_file,
        )  # fmt: skip
        async with client:
            trial = Trial(Target(address, options, client, People(options, redactor), password))
            if call == "scenario":
                return await _scenario(trial, given.what)
            if call not in CALLS:
                raise CannotPlay(f"there is no call {call}; there are: {', '.join(CALLS)}, scenario")
            answer = await CALLS[call](_Player(trial, given))
    except (CannotConnect, Stopped) as error:
        raise CannotPlay(str(error)) from None
    return Played((answer.exchange,), (answer,), answer.status == 200)


def _redactor(options: Options, password: str, given: Given, *, masked: bool) -> Redactor:
    """Hides the credentials; ``masked``: what was typed, too."""
    redactor = Redactor() if masked else _Open()
    redactor.hide_credentials(options.login, password)
    redactor.hide_all([(given.msisdn, "phone"), (given.email, "email"), (given.birth_date, "birth date")])
    redactor.hide_all([(given.qr, "receipt"), (given.code, "promo code")])
    for number in (given.card, given.what):
        redactor.hide_card(number or "")
    return redactor


async def _scenario(trial: Trial, name: str | None) -> Played:
    if name not in SCENARIOS:
        raise CannotPlay(f"there is no scenario {name or ''}; there are: {', '.join(SCENARIOS)}")
    end, well = "Every step succeeded.", True
    try:
        await SCENARIOS[name](trial)
    except Skip as lack:
        end, well = f"It stopped: {lack}", False
    except Breach as breach:
        end, well = f"It stopped. Expected: {breach.expected}. Actual: {breach.actual}", False
    return Played(tuple(trial.exchanges), tuple(trial.target.client.answers), well, end)
