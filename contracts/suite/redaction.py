"""Takes credentials and personal values out of everything that is kept of an exchange.

What goes into a ``Result`` goes through here first. Values the suite knows are replaced wherever they stand,
in whatever encoding; values it does not know are found by the name of their field, or by their form. It may
not know how exchanges are made.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

LONGEST_BODY = 4096
"""Characters of a body that are kept."""

_PERSONAL = {
    "phone": "phone", "msisdn": "phone", "email": "email", "firstname": "name", "patronymic": "name",
    "surname": "name", "lastname": "name", "birthdate": "birth date", "code": "promo code",
    "promocode": "promo code", "qrcode": "receipt", "qr": "receipt", "fn": "receipt", "fp": "receipt",
    "locality": "place",
}  # fmt: skip
_CARD_KEYS = {"cardnumber", "barcodenumber", "card"}
_EMAIL = re.compile(r"[\w.+-]{1,64}(?:@|%40)[\w-]+(?:\.[\w-]+)+")
_PHONE = re.compile(r"(?<![\d.])(?:\+|%2B)?[78]9\d{9}(?!\d)")
_CARD_IN_PATH = re.compile(r"(?<=/card/)(anonymous/)?(\d{8,})")
_FISCAL = re.compile(r"\b(fn|fp|fpd|fd|i)(=|%3D)\d+", re.IGNORECASE)


def partly(number: str) -> str:
    """A card number as it may be shown: both ends."""
    return number if len(number) < 8 or "…" in number else f"{number[:4]}…{number[-3:]}"


class Redactor:
    """Knows what must not be shown; told more as the run learns it."""

    def __init__(self) -> None:
        self._masks: dict[str, str] = {}
        self._longest_first: list[tuple[str, str]] | None = None

    def hide(self, value: str | None, mask: str) -> None:
        """Never show ``value``; ``<mask>`` stands in its place. Very short values are left to their keys."""
        if value and len(value) >= 4 and value not in self._masks:
            for spelling in {value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]}:
                self._masks[spelling] = f"<{mask}>"
            self._longest_first = None

    def hide_credentials(self, login: str, password: str) -> None:
        pair = base64.b64encode(f"{login}:{password}".encode()).decode()
        self.hide(pair, "credentials")
        self.hide(password, "password")

    def hide_card(self, number: str) -> None:
        """Show a card number by its ends only."""
        if len(number) >= 8 and number not in self._masks:
            self._masks[number] = partly(number)
            self._longest_first = None

    def hide_all(self, values: Iterable[tuple[str | None, str]]) -> None:
        for value, mask in values:
            self.hide(value, mask)

    def text(self, text: str) -> str:
        """``text`` without known values, and without what looks like an e-mail, a phone or a receipt."""
        if self._longest_first is None:
            self._longest_first = sorted(self._masks.items(), key=lambda item: -len(item[0]))
        for value, mask in self._longest_first:  # far faster than one pattern that grows with every person
            if value in text:
                text = text.replace(value, mask)
        text = _CARD_IN_PATH.sub(lambda found: (found[1] or "") + partly(found[2]), text)
        text = _FISCAL.sub(r"\1\2<receipt>", text)
        if "@" in text or "%40" in text:
            text = _EMAIL.sub("<email>", text)
        return _PHONE.sub("<phone>", text)

    def header(self, name: str, value: str) -> str:
        if name.lower() in ("authorization", "proxy-authorization", "cookie", "set-cookie"):
            scheme, blank, _ = value.partition(" ")
            return f"{scheme} ***" if blank and scheme.isalpha() else "***"
        return self.text(value)

    def body(self, body: bytes, *, strangers: bool = False, request: bool = False) -> str:
        """A body as text. ``strangers``: every text in it is somebody's, as in a list of all users."""
        text = body.decode("utf-8", errors="backslashreplace").replace("\x00", "\\x00")
        try:
            value = json.loads(text) if len(body) < 1_000_000 else None
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, (dict, list)) or (strangers and value is not None):
            with contextlib.suppress(RecursionError):
                text = json.dumps(
                    self._value(value, strangers=strangers, request=request), ensure_ascii=False
                )
        elif strangers:
            return f"{len(body)} bytes"
        cut = text[: LONGEST_BODY * 2]
        shown = self.text(cut)[:LONGEST_BODY]
        return (
            shown if len(cut) == len(text) and len(shown) < LONGEST_BODY else f"{shown}… ({len(body)} bytes)"
        )

    def _value(self, value: Any, *, strangers: bool, request: bool, key: str = "") -> Any:
        if isinstance(value, dict):
            return {
                name: self._value(item, strangers=strangers, request=request, key=name.lower())
                for name, item in value.items()
            }
        if isinstance(value, list):
            shown = value[:50] if strangers else value
            kept = [self._value(item, strangers=strangers, request=request, key=key) for item in shown]
            return [*kept, f"… {len(value)} in all"] if len(shown) < len(value) else kept
        if value is None or isinstance(value, bool):
            return value
        if key in _CARD_KEYS:
            return partly(str(value)) if isinstance(value, str) else value
        # An error's own code is no promo code and must stay readable.
        if key in _PERSONAL and (key != "code" or request):
            return f"<{_PERSONAL[key]}>" if isinstance(value, str) else value
        if strangers and isinstance(value, str) and key != "name":
            return "<somebody's>"
        return value
