"""People to test with: those the configuration names, and made-up ones of the test range.

It may not know how a card is issued.
"""

from __future__ import annotations

import dataclasses
import random
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.suite.config import Identity, Options
from contracts.suite.redaction import Redactor

_MOSCOW = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with, or still without, a card."""

    phone: str | None
    """Digits with the country code."""
    email: str | None
    birth_date: str | None
    """YYYY-MM-DD."""
    card_number: str | None = None

    def profile(self, **changed: Any) -> dict[str, Any]:
        """The profile object with every official field; ``None`` leaves one out."""
        fields = {
            "phone": self.phone,
            "email": self.email,
            "firstname": "Евгения",
            "patronymic": "Ильинична",
            "surname": "Проверочная-Ёжикова",
            "birthDate": self.birth_date,
            "sex": "f",
            "countryCode": "RU",
        } | changed
        return {key: value for key, value in fields.items() if value is not None}

    def with_card(self, number: str) -> Person:
        return dataclasses.replace(self, card_number=number)


class People:
    """Makes people up and remembers whom it may not show."""

    def __init__(self, options: Options, redactor: Redactor) -> None:
        self._options = options
        self._redactor = redactor
        self._random = random.SystemRandom()
        self._taken: set[str] = set()
        for identity in (options.existing, options.blocked, options.ambiguous, options.unknown):
            if identity is not None:
                self._hide(self.of(identity))
        redactor.hide_card(options.plastic or "")
        redactor.hide(options.promo_code, "promo code")
        redactor.hide(options.receipt, "receipt")

    def of(self, identity: Identity) -> Person:
        """The person that the configuration names."""
        born = identity.birth_date.isoformat() if identity.birth_date else None
        return Person(identity.phone, identity.email, born, identity.card_number)

    def stranger(self) -> Person:
        """Somebody whom the service does not know: a random phone of the test range, a new e-mail."""
        prefix = self._options.test_range
        length = 11 if len(prefix) < 11 else 15
        while True:
            phone = prefix + "".join(self._random.choices("0123456789", k=length - len(prefix)))
            if phone not in self._taken:
                break
        self._taken.add(phone)
        born = (
            f"{self._random.randint(1950, 2005)}-0{self._random.randint(1, 9)}-{self._random.randint(10, 28)}"
        )
        made = Person(phone, f"klo-{secrets.token_hex(6)}@example.com", born)
        self._redactor.show(made.phone, made.email, made.birth_date)
        return made

    def email(self) -> str:
        """A new address."""
        address = f"klo-{secrets.token_hex(6)}@example.com"
        self._redactor.show(address)
        return address

    def unknown_card(self) -> str:
        """A card number that nobody has: long, random, of digits."""
        number = "9" + "".join(self._random.choices("0123456789", k=17))
        self._redactor.show(number)
        return number

    def receipt(self, **changed: str) -> dict[str, str]:
        """The six values of a made-up sale an hour ago."""
        bought = datetime.now(UTC) + _MOSCOW - timedelta(hours=1)
        values = {
            "t": f"{bought:%Y%m%dT%H%M}",
            "s": self._options.receipt_total,
            "fn": "99" + "".join(self._random.choices("0123456789", k=14)),
            "i": str(self._random.randint(1, 999_999)),
            "fp": str(self._random.randint(10**8, 4_294_967_295)),
            "n": "1",
        }
        values |= changed
        self._redactor.show(values["fn"], values["i"], values["fp"], qr_text(values))
        return values

    def _hide(self, person: Person) -> None:
        self._redactor.hide_all(
            [(person.phone, "phone"), (person.email, "email"), (person.birth_date, "birth date")]
        )
        if person.phone and len(person.phone) > 10:
            self._redactor.hide(person.phone[-10:], "phone")
        self._redactor.hide_card(person.card_number or "")


def qr_text(values: dict[str, str]) -> str:
    """The text of a receipt's QR code."""
    return "&".join(f"{key}={value}" for key, value in values.items())
