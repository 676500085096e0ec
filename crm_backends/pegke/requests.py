"""The requests of both dialects, and the calls made of them.

It may not know a port; what a reply means is in ``replies``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from crm_backends.http import Details, HttpClient, Reply
from crm_backends.model import PointsEntry
from crm_backends.pegke.replies import PegkeReplies
from crm_backends.pegke.settings import PegkeSettings
from crm_backends.ports import BackendCredentials, BackendUnavailable, Deadline, Written


@dataclass(slots=True, repr=False)  # not frozen, which takes three times as long to make
class PegkeRequest:
    """A call before it is made. It names a customer, so it has no ``repr``."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, object] | None = None
    form: Mapping[str, str] | None = None
    """Sent as multipart/form-data."""

    def details(self, deadline: Deadline) -> Details:
        """What the client wants to know besides method and path; a 403 is read here."""
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

    def give(self, account: str, points: Decimal) -> PegkeRequest: ...

    def balance(self, account: str) -> PegkeRequest: ...

    def history(self, account: str, page: int) -> PegkeRequest:
        """Page 1 is the first."""


class Site:
    """Web API v1.1: the request that gives points is documented, the look-ups are as the settings say."""

    def __init__(self, settings: PegkeSettings) -> None:
        self._settings = settings
        self._balance_path = settings.balance_path or ""
        self._history_path = settings.history_path or ""
        self.has_balance = bool(self._balance_path)
        self.has_history = bool(self._history_path) and settings.history

    def give(self, account: str, points: Decimal) -> PegkeRequest:
        whole = points == points.to_integral_value()
        body = {**self._named(account), "points": int(points) if whole else float(points)}
        return PegkeRequest("POST", self._settings.give_path, _FORMAT, json=body)

    def balance(self, account: str) -> PegkeRequest:
        return PegkeRequest("GET", self._balance_path, {**_FORMAT, **self._asked(account)})

    def history(self, account: str, page: int) -> PegkeRequest:
        paged = {self._settings.page_parameter: str(page)}
        return PegkeRequest("GET", self._history_path, {**_FORMAT, **self._asked(account), **paged})

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

    def give(self, account: str, points: Decimal) -> PegkeRequest:
        form = {"phone": account, "points": f"{points.normalize():f}"}
        return PegkeRequest("POST", "", {"q": "give_points"}, form=form)

    def balance(self, account: str) -> PegkeRequest:
        return PegkeRequest("GET", "", {"q": "check_points", "phone": account})

    def history(self, account: str, page: int) -> PegkeRequest:
        return PegkeRequest("POST", "", {"q": "check_history"}, form={"phone": account, "page": str(page)})


MERCHANT_OFFERS = PegkeRequest("GET", "", {"q": "my_offers"})
"""The catalogue, the same for everybody: asks for nothing but the key."""

_FORMAT = {"_format": "json"}


def _survives(text: str) -> bool:
    """Whether a number keeps the text as it is: no leading zero, nothing but digits."""
    return text.isascii() and text.isdecimal() and not text.startswith("0")


class PegkeRequests:
    """The calls, over one client, in the dialect that the settings name."""

    def __init__(self, client: HttpClient, settings: PegkeSettings, replies: PegkeReplies) -> None:
        self.replies = replies
        self._client = client
        self._most_pages = settings.history_pages
        self._dialect: Dialect = Site(settings) if settings.dialect == "site_v1_1" else Merchant(settings)
        self.has_balance = self._dialect.has_balance
        self.has_history = self._dialect.has_history

    async def read(self, request: PegkeRequest, deadline: Deadline) -> Reply:
        """A reply of 2xx or of 4xx that says something of the request.

        Raises:
            BackendError: there is none, or it refuses us.
        """
        reply = await self._client.read(request.method, request.path, **request.details(deadline))
        if self.replies.too_often(reply):
            raise BackendUnavailable("pegke: asked too often (status 403)")
        if reply.status == 403:
            raise BackendCredentials("pegke: refuses the credentials (status 403)")
        return reply

    async def points(self, account: str, deadline: Deadline) -> Decimal | None:
        """Points on the account; ``None`` where Pegke does not know the customer."""
        return self.replies.balance(await self.read(self._dialect.balance(account), deadline))

    async def movements(self, account: str, most: int, deadline: Deadline) -> Sequence[PointsEntry]:
        """Movements, newest first, from as many pages as are needed, up to ``history_pages``."""
        found: list[PointsEntry] = []
        last: list[object] = []
        for page in range(1, self._most_pages + 1):
            rows, pages = self.replies.page(await self.read(self._dialect.history(account, page), deadline))
            if not rows or rows == last:  # a Pegke that does not page gives the same list again
                break
            found += [self.replies.entry(row) for row in rows]
            last = rows
            if len(found) >= most or (pages is not None and page >= pages):
                break
        found.sort(key=lambda entry: entry.at, reverse=True)
        return found[:most]

    async def give(self, account: str, points: Decimal, deadline: Deadline) -> Reply | Written:
        """Give points; what the driver has to read, or how far the call got.

        Raises:
            BackendError: nothing was given; see ``HttpClient.write``.
        """
        request = self._dialect.give(account, points)
        answer = await self._client.write(request.method, request.path, **request.details(deadline))
        if isinstance(answer, Reply) and answer.status == 403:
            return Written.not_sent("pegke: refuses the credentials, or was asked too often (status 403)")
        return answer
