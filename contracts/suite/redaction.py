"""Takes credentials and personal values out of everything that is kept of an exchange.

What goes into a ``Result`` goes through here first. What the suite made up itself is shown. Of other JSON
only those fields are shown that a clause is about and that tell nothing of a person; every other value is
told by its kind and length. Values that it
knows are replaced wherever they stand, in whatever encoding; what is no JSON is searched for what looks like
a phone, an e-mail or a number of somebody's. It may not know how exchanges are made.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, quote_plus, unquote

LONGEST_BODY = 4096
"""Characters of a body that are kept."""
MOST_ELEMENTS = 50
"""Elements of an array that are kept."""
LARGEST_JSON = 1_000_000
"""Bytes of a body that is taken apart as JSON."""

_SHOWN = {
    "cardstate", "barcodetype", "total", "available", "bonuses", "amount", "validuntil", "date", "quantity",
    "sex", "countrycode", "allow", "deny", "code", "description",
}  # fmt: skip
"""Fields of the contract that are shown as they are."""
_SHOWN_IN_ERRORS = {"message", "error", "errors", "title", "detail", "status"}
"""What frameworks call the text of an error."""
_CARD_KEYS = {"cardnumber", "barcodenumber"}
_CONTAINERS = {"card", "bonus", "barcode", "params"}
_PERSONAL = {
    "phone": "phone", "msisdn": "phone", "email": "email", "firstname": "name", "patronymic": "name",
    "surname": "name", "birthdate": "birth date", "qrcode": "receipt",
}  # fmt: skip
"""Fields whose placeholder says what they hold."""
_KEY = re.compile(r"[A-Za-z_](?!.*\d{5})[\w.-]{0,60}")
_WORD = re.compile(r"\w+")
_WORDS = (
    _SHOWN
    | _CARD_KEYS
    | _CONTAINERS
    | _PERSONAL.keys()
    | {"html", "head", "body", "xml", "null", "true", "false"}
)
_EMAIL = re.compile(r"[\w.+-]{1,64}(?:@|%40)[\w-]+(?:\.[\w-]+)+")
_PHONE = re.compile(
    r"(?:(?:\+|%2B)(?:[ ()-]{0,2}\d){8,15}|(?<![\w.])[78][ (-]{0,2}9(?:[ ()-]{0,2}\d){9})(?!\d)"
)
_LONG_NUMBER = re.compile(r"(?<![\w.…])\d{10,16}(?!\w)")
_CARD_IN_PATH = re.compile(r"(?<=/card/)(anonymous/)?(?=[A-Za-z]{0,8}\d)([A-Za-z0-9]{8,})")
_FISCAL = re.compile(r"\b(fn|fp|fpd|fd|i)(=|%3D)(\d+)", re.IGNORECASE)
_DIGITS = re.compile(r"\d{8,}")
LEAST_OWN = 6
"""A value of the suite's that stands in an answer is no coincidence from this length on."""


def partly(number: str) -> str:
    """A card number as it may be shown: both ends."""
    return number if len(number) < 8 or "…" in number else f"{number[:4]}…{number[-3:]}"


def credentials_in(header: str) -> list[str]:
    """What of an ``Authorization`` header is secret: the text after the scheme, and what it says decoded."""
    scheme, _, given = header.partition(" ")
    text = given or scheme
    if len(text) < 8:
        return []
    try:
        return [text, base64.b64decode(text, validate=True).decode()]
    except ValueError:
        return [text]


def _of_the_form(text: str) -> str:
    """The text with other letters and digits in place of those that may tell something."""
    return _WORD.sub(
        lambda found: (
            found[0] if found[0].lower() in _WORDS else re.sub(r"[^\W\d]", "x", re.sub(r"\d", "9", found[0]))
        ),
        text,
    )


class Redactor:
    """Knows what must not be shown; told more as the run learns it."""

    def __init__(self) -> None:
        self._password = ""
        self._masks: dict[str, str] = {}
        self._own: set[str] = set()
        self._longest_first: list[tuple[str, str]] | None = None

    def hide(self, value: str | None, mask: str) -> None:
        """Never show ``value``; ``<mask>`` stands in its place. Too short a value is not searched for."""
        if value and len(value) >= 4 and value not in self._masks:
            for spelling in {value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]}:
                self._masks[spelling] = f"<{mask}>"
            self._longest_first = None

    def show(self, *values: str | None) -> None:
        """These were made up by the suite, and are shown wherever they stand; what is hidden stays hidden."""
        self._own.update(value for value in values if value and value not in self._masks)

    def alike(self, text: str, value: str | None, mask: str) -> None:
        """``text`` is ``value`` in another spelling: shown, or hidden, like that."""
        if value in self._own:
            self.show(text, re.sub(r"\D", "", text))
        else:
            self.hide(text, mask)

    def sent(self, value: Any) -> None:
        """What the suite puts into a request is its own, but for what it knows to hide."""
        if isinstance(value, dict):
            for name, item in value.items():
                self.sent(name)
                self.sent(item)
        elif isinstance(value, list):
            for item in value:
                self.sent(item)
        elif value is not None:
            text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
            if len(text) < LARGEST_JSON and self.known(text) == text:
                self.show(text)

    def is_own(self, text: str) -> bool:
        return text in self._own or unquote(text) in self._own or re.sub(r"\D", "", text) in self._own

    def hide_credentials(self, login: str, password: str) -> None:
        """Hide the agreed pair."""
        self._password = password
        self.hide(base64.b64encode(f"{login}:{password}".encode()).decode(), "credentials")
        self.hide(password, "password")

    def hide_authorization(self, header: str) -> None:
        """Hide what was sent as ``Authorization``: a wrong pair may be made from the right one."""
        for part in credentials_in(header):
            self.hide(part, "credentials")
            _, _, password = part.partition(":")
            if self._password and self._password.casefold() in password.casefold():
                self.hide(password, "password")

    def hide_card(self, number: str) -> None:
        """Show a card number by its ends only."""
        if len(number) >= 8 and number not in self._masks and number not in self._own:
            self._masks[number] = partly(number)
            self._longest_first = None

    def hide_all(self, values: Iterable[tuple[str | None, str]]) -> None:
        for value, mask in values:
            self.hide(value, mask)

    def bare(self, text: str) -> str:
        """What was sent on a bare socket, with its headers."""
        return self.text(re.sub(r"(?i)(authorization: *\w*) [^\r\n]*", r"\1 ***", text))

    def without_credentials(self, text: str) -> str:
        """``text`` with every value but the credentials."""
        for value, mask in self._masks.items():
            if mask in ("<credentials>", "<password>"):
                text = text.replace(value, mask)
        return text

    def known(self, text: str) -> str:
        """``text`` without the values that were told."""
        if self._longest_first is None:
            self._longest_first = sorted(self._masks.items(), key=lambda item: -len(item[0]))
        for value, mask in self._longest_first:  # far faster than one pattern that grows with every person
            if value in text:
                text = text.replace(value, mask)
        return text

    def text(self, text: str) -> str:
        """``text`` without known values, and without what looks like an e-mail, a phone or a receipt."""
        text = self.known(text)
        text = self._masked(_CARD_IN_PATH, text, 2, lambda found: (found[1] or "") + partly(found[2]))
        text = self._masked(_FISCAL, text, 3, lambda found: f"{found[1]}{found[2]}<receipt>")
        if "@" in text or "%40" in text:
            text = self._masked(_EMAIL, text, 0, lambda found: "<email>")
        text = self._masked(_PHONE, text, 0, lambda found: "<phone>")
        return self._masked(_LONG_NUMBER, text, 0, lambda found: f"<{len(found[0])} digits>")

    def _masked(
        self, form: re.Pattern[str], text: str, group: int, mask: Callable[[re.Match[str]], str]
    ) -> str:
        return form.sub(lambda found: found[0] if self.is_own(found[group]) else mask(found), text)

    def value_at(self, path: str | None, text: str) -> str:
        """A sentence about the value at a JSON path: digits only where the field may be shown."""
        key = (path or "$").rpartition(".")[2].partition("[")[0].lower()
        if key in _CARD_KEYS:
            text = self._masked(_DIGITS, text, 0, lambda found: partly(found[0]))
        elif path not in (None, "$") and key not in _SHOWN | _CONTAINERS:
            text = re.sub(r"\d", "9", text)
        return self.text(text)

    def header(self, name: str, value: str) -> str:
        if name.lower() in ("authorization", "proxy-authorization", "cookie", "set-cookie"):
            scheme, blank, _ = value.partition(" ")
            return f"{scheme} ***" if blank and scheme.isalpha() else "***"
        return self.text(value)

    def body(
        self, body: bytes, *, strangers: bool = False, request: bool = False, refused: bool = False
    ) -> str:
        """A body as text.

        ``strangers``: it is a list of all users, of which nothing is shown that is no JSON. ``refused``: an
        error, whose own text is shown.
        """
        text = body.decode("utf-8", errors="backslashreplace").replace("\x00", "\\x00")
        shown = _SHOWN | _SHOWN_IN_ERRORS if refused else _SHOWN - {"code"} if request else _SHOWN
        try:
            value = json.loads(text if len(body) < LARGEST_JSON else "")
            text = json.dumps(
                self._value(value, shown, least=1 if request else LEAST_OWN), ensure_ascii=False
            )
        except (ValueError, RecursionError):
            if strangers and body:
                return f"{len(body)} bytes"
            cut = len(text) > LONGEST_BODY * 2
            as_it_is = refused or request or self.is_own(text)
            text = text[: LONGEST_BODY * 2] if as_it_is else _of_the_form(text[: LONGEST_BODY * 2])
        else:
            cut = len(text) > LONGEST_BODY * 2
            text = text[: LONGEST_BODY * 2]
        kept = self.text(text)
        return f"{kept[:LONGEST_BODY]}… ({len(body)} bytes)" if cut or len(kept) > LONGEST_BODY else kept

    def value(self, value: Any) -> str:
        """A value out of an answer, as text."""
        return self.text(json.dumps(self._value(value, _SHOWN), ensure_ascii=False))

    def _value(self, value: Any, shown: set[str], key: str = "", least: int = LEAST_OWN) -> Any:
        """A JSON value with a placeholder for everything that may not be shown."""
        if isinstance(value, dict):
            return {
                name if least == 1 and name in self._own else _name(name): self._value(
                    item, shown, name.lower(), least
                )
                for name, item in value.items()
            }
        if isinstance(value, list):
            kept = [self._value(item, shown, key, least) for item in value[:MOST_ELEMENTS]]
            return [*kept, f"… {len(value)} in all"] if len(kept) < len(value) else kept
        if value is None or isinstance(value, bool) or key in shown or value == "":
            return value
        if len(str(value)) >= least and str(value) in self._own:
            return value
        if isinstance(value, str) and (key in _CARD_KEYS or key == "card"):
            return partly(value)
        if isinstance(value, str):
            return f"<{_PERSONAL[key]}>" if key in _PERSONAL else f"<text, {len(value)} characters>"
        return f"<{_PERSONAL[key]}, a number>" if key in _PERSONAL else "<number>"


def _name(name: str) -> str:
    """A field's name; what cannot be one may be a value."""
    return name if _KEY.fullmatch(name) else f"<name, {len(name)} characters>"
