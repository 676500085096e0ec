"""The Pegke driver: the points port over either dialect.

Pegke takes no key of ours, so a credit in doubt is reconciled by comparing balances. It may not know the
adapter, nor how requests and replies look: that is ``requests`` and ``replies``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import phonenumbers
from pydantic import BaseModel

from crm_backends.comparing import SEARCHED, balance_to_compare, compared
from crm_backends.http import Auth, HttpClient, HttpDriver, Probe, port_write
from crm_backends.model import Balance, Credit, Holder, PointsEntry, Purchase
from crm_backends.pegke import checking, tokens
from crm_backends.pegke.capabilities import capabilities
from crm_backends.pegke.replies import PegkeReplies, Verdict
from crm_backends.pegke.requests import PegkeRequests
from crm_backends.pegke.settings import PegkeSettings
from crm_backends.ports import AccountUnknown, Deadline, NotSupported, Reconciliation, Refusal, Written
from crm_backends.registry import BackendContext

NAME: Final = "pegke"


class PegkeBackend(HttpDriver):
    """Points at Pegke. Reads raise a ``BackendError``, writes return a ``Written``."""

    def __init__(self, settings: PegkeSettings, context: BackendContext) -> None:
        """Raises ``BackendMisconfigured`` where a credential cannot be sent in a header."""
        zone = context.timezone if settings.history_timezone is None else ZoneInfo(settings.history_timezone)
        replies = PegkeReplies(settings, zone)
        self._replies = replies
        self._auth = tokens.auth_of(settings, replies)
        super().__init__(HttpClient(NAME, settings, self._auth))
        self._settings = settings
        self._requests = PegkeRequests(self._http, settings, replies)
        self._prefix = _prefix(settings.country_prefix, context.region)
        balance, history = self._requests.has_balance, self._requests.has_history
        self.capabilities = capabilities(balance=balance, history=history)
        self.reconciliation = Reconciliation.COMPARE if balance else Reconciliation.MANUAL

    def proof_of(self, settings: BaseModel) -> Auth | None:
        """See ``HttpDriver``."""
        if not isinstance(settings, PegkeSettings):
            return None
        self._auth = tokens.auth_of(settings, self._replies)
        return self._auth

    def probes(self) -> Iterable[Probe]:
        """See ``checking``."""
        return checking.probes(self._requests, self._http, self._settings)

    async def invalidate_token(self, *, deadline: Deadline) -> Written:
        """Have Pegke forget the application's token, as after a leak; the next call gets a new one.

        There is one token per application, so this ends it for every process that uses it.

        Raises:
            NotSupported: the dialect has no tokens.
            BackendError: there is no token to give up; nothing was done.
        """
        async with self._http.at_hand():
            return await tokens.invalidate(self._http, self._auth, self._settings, deadline)

    async def points_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """The holder's phone in local form, customer id or e-mail, as ``id_type`` says.

        ``None`` for a phone of another country, or where Pegke can be asked and does not know it.
        """
        account = self.account_name(holder)
        if account is None or not self._requests.has_balance:
            return account
        return None if await self._requests.points(account, deadline) is None else account

    def account_name(self, holder: Holder) -> str | None:
        """See ``NamesAccounts``: local phone, customer id or e-mail, as ``id_type`` says."""
        if self._settings.id_type == "cid":
            return holder.users_reference
        if self._settings.id_type == "email":
            return self.required_from_users_crm(holder.profile.email, "e-mail")
        phone = self.required_from_users_crm(holder.profile.phone, "phone")
        return phone.removeprefix(self._prefix) if phone.startswith(self._prefix) else None

    async def balance(self, account: str, *, deadline: Deadline) -> Balance:
        """Points on the account, all of them spendable.

        Raises ``AccountUnknown`` where Pegke does not know the customer: it need not, as we call them by
        their phone.
        """
        if not self._requests.has_balance:
            raise NotSupported("points.balance: balance_path is not set")
        points = await self._requests.points(account, deadline)
        if points is None:
            raise AccountUnknown("pegke: points.balance: there is no such customer", has_nothing=True)
        return Balance(total=points, available=max(points, Decimal(0)))

    async def entries(self, account: str, *, limit: int, deadline: Deadline) -> Sequence[PointsEntry]:
        """Movements, newest first."""
        if not self._requests.has_history:
            raise NotSupported("points.entries: Pegke is not asked for movements")
        return await self._requests.movements(account, limit, deadline)

    async def purchases(
        self, account: str, *, since: date, until: date, deadline: Deadline
    ) -> Sequence[Purchase]:
        """Not there: Pegke keeps points without what was bought for them."""
        raise NotSupported("points.purchases: Pegke knows points, no purchases")

    @port_write
    async def credit(
        self, account: str, credit: Credit, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """Give points. Pegke takes no key of ours: sent twice, it gives twice.

        A credit without an amount is REFUSED, as is one that Pegke cannot express; one of zero points is
        DONE without asking Pegke.
        """
        points = credit.points
        if points is None or points < 0:
            return Written.refused()
        if self._settings.whole_points and points != points.to_integral_value():
            return Written.refused()
        if not points:
            return Written.done(points=points)
        answer = await self._requests.give(account, points, deadline)
        if isinstance(answer, Written):
            return answer
        match self._requests.replies.verdict(answer):
            case Verdict.DONE:
                return Written.done(points=points)
            case Verdict.ABSENT:
                return Written.refused(Refusal.NO_SUCH_CUSTOMER)
            case Verdict.REFUSED:
                return Written.refused()
            case _:
                return Written.unknown()

    async def reconcile_credit(
        self,
        account: str,
        credit: Credit,
        *,
        idempotency_key: str,
        since: datetime,
        before: Balance | None,
        deadline: Deadline,
    ) -> Written:
        """Tell by the balance and, where they can be read, by the movements since then; see ``reconciling``.

        Raises:
            BackendError: Pegke cannot be asked now.
        """
        if credit.points is None or not self._requests.has_balance:
            return Written.unknown("pegke: there is no balance to compare")
        now = await balance_to_compare(self, account, deadline)
        moved: list[PointsEntry] | None = None
        if self._requests.has_history:
            # Their times may be whole seconds.
            earliest = since.replace(microsecond=0) - timedelta(seconds=self._settings.clock_slack)
            entries = await self.entries(account, limit=SEARCHED, deadline=deadline)
            moved = [entry for entry in entries if entry.at >= earliest]
        return compared(self.name, credit.points, since, before, now, moved)


def _prefix(wanted: str | None, region: str) -> str:
    """What is taken off an E.164 phone, with its plus sign."""
    if wanted is None:
        return f"+{phonenumbers.country_code_for_region(region) or ''}"
    return f"+{wanted.removeprefix('+')}"
