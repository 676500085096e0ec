"""Calls to Perx as its three kinds of user, and what their answers come to. It may not know a port.

A customer's token is refused with 401 both for an unknown customer and for wrong credentials; the
application's search tells which.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote
from weakref import WeakValueDictionary

from crm_backends.http import Auth, ClientCredentials, HttpClient, Reply, TokenRefused
from crm_backends.perx import identity, replies
from crm_backends.perx.replies import NO_USER, Said, Verdict, mapping, unexpected, verdict
from crm_backends.perx.settings import PerxSettings
from crm_backends.ports import (
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
    Refusal,
    Written,
)

Account = Mapping[str, object]
"""A customer as Perx tells it; ``identifier`` is a text."""
VOUCHERS = "/v4/vouchers"


def auth_of(settings: PerxSettings) -> Auth:
    """The application's token, the merchant user's, and one for each customer."""
    return ClientCredentials(
        "/v4/oauth/token",
        settings.client_id,
        settings.client_secret.get_secret_value(),
        body="json",
        scope_fields=lambda scope: identity.scope_fields(settings, scope),
        token_fields=("access_token", "bearer_token"),
        most=settings.tokens_kept,
    )


class PerxRequests:
    """The calls, over one client."""

    def __init__(self, client: HttpClient, settings: PerxSettings) -> None:
        self._client = client
        self._settings = settings
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def turn(self, key: str, deadline: Deadline) -> AsyncIterator[None]:
        """One after the other for the same key.

        Raises:
            BackendUnavailable: the turn did not come before the deadline.
        """
        lock = self._turns.setdefault(key, asyncio.Lock())
        try:
            async with asyncio.timeout(deadline.remaining()):
                await lock.acquire()
        except TimeoutError:
            raise BackendUnavailable("perx: no time left while others changed the same customer") from None
        try:
            yield
        finally:
            lock.release()

    # -- as the application and the merchant user ------------------------------------------------------

    async def account(self, identifier: str, deadline: Deadline) -> Account | None:
        """The customer of this identifier."""
        if not identity.usable(identifier):
            return None
        reply = await self._client.read(
            "GET", "/v4/pos/user_accounts/search", params={"identifier": identifier}, deadline=deadline
        )
        found = _found("the search by identifier", reply)
        if found is not None and found["identifier"] != identifier:
            raise BackendMisconfigured("perx: the search by identifier answers with another customer")
        return found

    async def account_by_phone(self, phone: str, deadline: Deadline) -> Account | None:
        """The customer of this phone (E.164), by the merchant user's search."""
        reply = await self._client.read(
            "GET",
            "/v4/merchant_admin/user_accounts/search",
            params={"phone": identity.on_the_wire(self._settings, phone)},
            scope=identity.MERCHANT,
            deadline=deadline,
        )
        found = _found("the search by phone", reply)
        return found if found is not None and identity.usable(str(found["identifier"])) else None

    async def write(self, method: str, path: str, body: object, deadline: Deadline) -> Verdict | Written:
        """A write as the application."""
        answer = await self._client.write(method, path, json=body, deadline=deadline)
        return answer if isinstance(answer, Written) else verdict(answer)

    # -- as a customer ---------------------------------------------------------------------------------

    async def read_as(
        self,
        identifier: str,
        path: str,
        deadline: Deadline,
        params: Mapping[str, str | int] | None = None,
    ) -> Reply | None:
        """A read as this customer; ``None``: Perx knows no such customer."""
        if not identity.usable(identifier):
            return None
        try:
            return await self._client.read(
                "GET", path, params=params or {}, scope=identity.user_scope(identifier), deadline=deadline
            )
        except TokenRefused:
            if await self.account(identifier, deadline) is None:
                return None
            raise

    async def data_as(self, identifier: str, path: str, what: str, deadline: Deadline) -> Account | None:
        """The object that such a read answers with."""
        reply = await self.read_as(identifier, path, deadline)
        if reply is None:
            return None
        found = verdict(reply)
        if found.said is not Said.DATA or not isinstance(found.data, dict):
            raise unexpected(what, found)
        return found.data

    async def pages_as(
        self, identifier: str, path: str, what: str, params: Mapping[str, str], deadline: Deadline
    ) -> AsyncIterator[replies.Page]:
        """Pages of a list, up to the most that is read; no page at all for a customer nobody knows."""
        size = self._settings.page_size
        for number in range(1, self._settings.most_pages + 1):
            asked: dict[str, str | int] = {**params, "page": number, "size": size}
            reply = await self.read_as(identifier, path, deadline, asked)
            if reply is None:
                return
            page = replies.page(what, reply, number, size)
            yield page
            if page.last:
                return

    async def write_as(
        self,
        identifier: str,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        body: object = None,
        params: Mapping[str, str | int] | None = None,
    ) -> Verdict | Written:
        """A write as this customer."""
        if not identity.usable(identifier):
            return Written.refused(Refusal.NO_SUCH_CUSTOMER)
        try:
            answer = await self._client.write(
                method,
                path,
                json=body,
                params=params or {},
                scope=identity.user_scope(identifier),
                deadline=deadline,
            )
        except TokenRefused as error:
            return await self.refused_if_absent(identifier, Written.not_sent(str(error)), deadline)
        return answer if isinstance(answer, Written) else verdict(answer)

    async def refused_if_absent(self, identifier: str, otherwise: Written, deadline: Deadline) -> Written:
        """What a write that did nothing comes to: the customer is unknown, or ``otherwise``."""
        try:
            absent = await self.account(identifier, deadline) is None
        except BackendError:
            return otherwise
        return Written.refused(Refusal.NO_SUCH_CUSTOMER) if absent else otherwise


def segment(text: object) -> str:
    """A part of a path."""
    return quote(str(text), safe="")


def _found(what: str, reply: Reply) -> Account | None:
    """What a search found. Nobody is code 1 or 40, whatever the status."""
    answer = verdict(reply)
    if answer.said is Said.NO and answer.code in NO_USER:
        return None
    if answer.said is not Said.DATA:
        raise unexpected(what, answer)
    if answer.data is None or answer.data == []:
        return None
    found = mapping(answer.data)
    if not isinstance(found.get("identifier"), str):
        raise unexpected(what, answer)
    return found
