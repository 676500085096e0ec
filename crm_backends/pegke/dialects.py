"""The requests of both dialects, as data. It may not send anything, nor know what a reply means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from crm_backends.http import Details
from crm_backends.pegke.settings import PegkeSettings
from crm_backends.ports import Deadline


@dataclass(slots=True, repr=False)  # not frozen, which takes three times as long to make
class Request:
    """A call before it is made. It names a customer, so it has no ``repr``."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, object] | None = None
    form: Mapping[str, str] | None = None
    """Sent as multipart/form-data."""

    def details(self, deadline: Deadline) -> Details:
        """What the client wants to know besides method and path; the driver reads a 403 itself."""
        details = Details(params=self.params, deadline=deadline, accept=(403,))
        if self.json is not None:
            details["json"] = self.json
        if self.form is not None:
            details["form"] = self.form
            details["multipart"] = True
        return details


class Dialect(Protocol):
    """How Pegke is spoken to. An account is what ``id_type`` says."""

    has_balance: bool
    has_history: bool

    def give(self, account: str, points: Decimal) -> Request: ...

    def balance(self, account: str) -> Request: ...

    def history(self, account: str, page: int) -> Request:
        """Page 1 is the first."""


class Site:
    """Web API v1.1: the request that gives points is documented, the look-ups are as the settings say."""

    def __init__(self, settings: PegkeSettings) -> None:
        self._settings = settings
        self._balance_path = settings.balance_path or ""
        self._history_path = settings.history_path or ""
        self.has_balance = bool(self._balance_path)
        self.has_history = bool(self._history_path) and settings.history

    def give(self, account: str, points: Decimal) -> Request:
        whole = points == points.to_integral_value()
        body = {**self._named(account), "points": int(points) if whole else float(points)}
        return Request("POST", self._settings.give_path, _FORMAT, json=body)

    def balance(self, account: str) -> Request:
        return Request("GET", self._balance_path, {**_FORMAT, **self._asked(account)})

    def history(self, account: str, page: int) -> Request:
        paged = {self._settings.page_parameter: str(page)}
        return Request("GET", self._history_path, {**_FORMAT, **self._asked(account), **paged})

    def _asked(self, account: str) -> Mapping[str, str]:
        return {"idType": self._settings.id_type, self._settings.id_type: account}

    def _named(self, account: str) -> Mapping[str, object]:
        """idType, and the key it names."""
        kind = self._settings.id_type
        as_number = kind == "mob" and self._settings.mob_as == "number" and _survives(account)
        return {"idType": kind, kind: int(account) if as_number else account}


class Merchant:
    """The merchant API of 2016: one address, ``q`` names the operation, customers are phones."""

    has_balance = True

    def __init__(self, settings: PegkeSettings) -> None:
        self.has_history = settings.history

    def give(self, account: str, points: Decimal) -> Request:
        form = {"phone": account, "points": f"{points.normalize():f}"}
        return Request("POST", "", {"q": "give_points"}, form=form)

    def balance(self, account: str) -> Request:
        return Request("GET", "", {"q": "check_points", "phone": account})

    def history(self, account: str, page: int) -> Request:
        return Request("POST", "", {"q": "check_history"}, form={"phone": account, "page": str(page)})


MERCHANT_OFFERS = Request("GET", "", {"q": "my_offers"})
"""The catalogue, the same for everybody: asks for nothing but the key."""

_FORMAT = {"_format": "json"}


def _survives(text: str) -> bool:
    """Whether a number keeps the text as it is: no leading zero, nothing but digits."""
    return text.isascii() and text.isdecimal() and not text.startswith("0")
