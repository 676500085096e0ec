"""What the three ports of the Perx driver share: the calls, who a person is, and how a write ended.

A customer is called by the identifier it has in Perx, in all three ports. It may not know a port.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import BaseModel

from crm_backends.http import Auth, HttpClient, HttpDriver
from crm_backends.model import Customer
from crm_backends.outcomes import Written
from crm_backends.perx import identity
from crm_backends.perx.replies import Said, Verdict
from crm_backends.perx.requests import Account, PerxRequests, auth_of
from crm_backends.perx.settings import PerxSettings
from crm_backends.ports import Deadline
from crm_backends.registry import BackendContext

NAME: Final = "perx"


class PerxDriver(HttpDriver):
    """Base of the ports."""

    def __init__(self, settings: PerxSettings, context: BackendContext) -> None:
        super().__init__(HttpClient(NAME, settings, auth_of(settings)))
        self._settings = settings
        self._zone = context.timezone
        self._region = context.region
        self._requests = PerxRequests(self._http, settings)

    def proof_of(self, settings: BaseModel) -> Auth | None:
        """See ``HttpDriver``. Identifiers made of another ``identifier_secret`` would be other customers'."""
        before = self._settings.identifier_secret
        if not isinstance(settings, PerxSettings) or settings.identifier_secret != before:
            return None
        return auth_of(settings)

    async def _by_phone(self, phone: str, deadline: Deadline) -> Customer | None:
        """The customer of this phone, unless Perx says that the customer has another."""
        if self._settings.searches_by_phone:
            account = await self._requests.account_by_phone(phone, deadline)
        else:
            account = await self._requests.account(identity.phone_identifier(self._settings, phone), deadline)
        if account is None:
            return None
        found = self._customer(account, phone)
        return found if found.profile.phone == phone else None

    def _customer(self, account: Account, phone: str | None = None) -> Customer:
        return identity.customer(self._settings, account, self._zone, self._region, phone)

    async def _programme(self, account: str, deadline: Deadline) -> Account | None:
        path = f"/v4/loyalty/{self._settings.loyalty_program_id}"
        return await self._requests.data_as(account, path, "the loyalty programme", deadline)

    async def _ended(
        self,
        answer: Verdict | Written,
        account: str,
        deadline: Deadline,
        done: Callable[[Mapping[str, object]], Written],
    ) -> Written:
        """DONE as ``done`` reads it, REFUSED with a reason as far as it is known, else UNKNOWN."""
        if isinstance(answer, Written):
            return answer
        if answer.said is Said.DATA and isinstance(answer.data, dict):
            return done(answer.data)
        if answer.said is Said.NO:
            return await self._requests.refused_if_absent(account, Written.refused(), deadline)
        return Written.unknown()
