"""The Pegke driver: the points port over either dialect.

No request carries a reference, so a credit in doubt is reconciled by comparing balances. It may not know the
adapter, nor how requests and replies look: that is ``dialects`` and ``answers``.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import cast
from zoneinfo import ZoneInfo

import phonenumbers

from crm_backends.http import Auth, Bearer, ClientCredentials, Details, HttpClient, Reply
from crm_backends.model import Balance, Credit, Holder, PointsEntry, Purchase
from crm_backends.pegke.answers import Answers, Verdict
from crm_backends.pegke.dialects import MERCHANT_OFFERS, Dialect, Merchant, Request, Site
from crm_backends.pegke.settings import PegkeSettings
from crm_backends.ports import (
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Capability,
    Deadline,
    Finding,
    HolderUnnamed,
    NotSupported,
    Reconciliation,
    Refusal,
    Support,
    Written,
)
from crm_backends.registry import BackendContext

NAME = "pegke"

_SEARCHED = 50
"""Movements looked through to reconcile a doubt: all that can have happened since."""
_TOLD_SHORT = 1.0
"""Seconds a token may last longer than told, as whole seconds are told. While it lives Pegke gives the same
one again and soon says "too often"; one that is over costs a 401 and is renewed."""
_CREDIT_NOTE = "existing customers, by phone, customer id or e-mail; the adapter computes the points"
_SHAPE = "the reply's shape is not documented, the settings say where values are"


def capabilities(*, balance: bool, history: bool) -> Mapping[str, Capability]:
    """What the driver can do where the settings give it a balance and a history."""
    nobody = Capability(Support.IMPOSSIBLE, "Pegke has no call for it: the documented search gives points")
    no_coupons = Capability(Support.IMPOSSIBLE, "Pegke has no call for it")
    return {
        "users.find": nobody,
        "users.get": nobody,
        "users.register": Capability(Support.IMPOSSIBLE, "Pegke has no call for it"),
        "users.update": Capability(Support.IMPOSSIBLE, "Pegke has no call for it"),
        "users.set_consents": Capability(Support.IMPOSSIBLE, "Pegke keeps no consents"),
        "users.list_phones": Capability(Support.IMPOSSIBLE, "Pegke has no call for it"),
        "users.find_by_card": Capability(Support.IMPOSSIBLE, "Pegke knows no card numbers"),
        "users.set_card": Capability(Support.IMPOSSIBLE, "Pegke knows no card numbers"),
        "points.balance": Capability(
            Support.PARTIAL if balance else Support.NOT_IMPLEMENTED,
            f"merchant_v1, or site_v1_1 with balance_path; one number, no expiry; {_SHAPE}"
            if balance
            else "site_v1_1 documents no balance; set balance_path when the vendor names one",
        ),
        "points.entries": Capability(
            Support.PARTIAL if history else Support.NOT_IMPLEMENTED,
            f"merchant_v1, or site_v1_1 with history_path; {_SHAPE}"
            if history
            else "site_v1_1 documents no history; set history_path, or history = true",
        ),
        "points.purchases": Capability(Support.IMPOSSIBLE, "Pegke knows points, no purchases"),
        "points.credit": Capability(
            Support.PARTIAL,
            f"{_CREDIT_NOTE}; a doubt is reconciled by comparing balances"
            if balance
            else f"{_CREDIT_NOTE}; without a balance a doubt is held for a person",
        ),
        "coupons.offers": Capability(
            Support.NOT_IMPLEMENTED, "my_offers is a catalogue, the same for everybody"
        ),
        "coupons.issue": no_coupons,
        "coupons.redeem": no_coupons,
    }


CAPABILITIES = capabilities(balance=True, history=True)


class PegkeBackend:
    """Points at Pegke. Reads raise a ``BackendError``, writes return a ``Written``."""

    name = NAME

    def __init__(self, settings: PegkeSettings, context: BackendContext) -> None:
        """Raises ``BackendMisconfigured`` where a credential cannot be sent in a header."""
        self._settings = settings
        zone = context.timezone if settings.history_timezone is None else ZoneInfo(settings.history_timezone)
        self._answers = Answers(settings, zone)
        self._prefix = _prefix(settings.country_prefix, context.region)
        self._dialect: Dialect = Site(settings) if settings.dialect == "site_v1_1" else Merchant(settings)
        self._token = self._token_flow() if settings.dialect == "site_v1_1" else None
        self._http = HttpClient(NAME, settings, self._token or self._fixed_key())
        self.capabilities = capabilities(balance=self._dialect.has_balance, history=self._dialect.has_history)
        self.reconciliation = Reconciliation.COMPARE if self._dialect.has_balance else Reconciliation.MANUAL

    def _token_flow(self) -> ClientCredentials:
        settings = self._settings
        secret = settings.client_secret
        return ClientCredentials(
            settings.token_path,
            settings.client_id or "",
            secret.get_secret_value() if secret else "",
            body=settings.token_body,
            credentials_in=settings.token_credentials,
            margin=-_TOLD_SHORT,
            back_off=lambda reply: settings.back_off if self._answers.too_often(reply) else 0.0,
        )

    def _fixed_key(self) -> Auth:
        secret = self._settings.consumer_secret
        return Bearer(f"{self._settings.consumer_code}.{secret.get_secret_value() if secret else ''}")

    # -- life ------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Prepare connections; Pegke is not asked."""
        await self._http.open()

    async def close(self) -> None:
        await self._http.close()

    @property
    def left_alone(self) -> bool:
        """See ``NoticesAbsence``."""
        return self._http.left_alone

    async def check(self) -> Sequence[Finding]:
        """Prove the credentials, and read the balance of ``check_account``; changes nothing.

        Works before ``open`` as well. In site_v1_1 each check asks for one token.
        """
        settings = self._settings
        deadline = Deadline.after(settings.connect_timeout + 2 * settings.read_timeout)
        reads = settings.check_account is not None and self._dialect.has_balance
        findings: list[Finding] = []
        try:
            if self._token is None:
                findings.append(await self._check_key(deadline))
            elif not reads:  # else the read needs a token anyway
                async with _opened(HttpClient(NAME, settings)) as client:
                    await self._fetch_token(client, self._token, deadline)
                findings.append(Finding("credentials", True, "Pegke gives a token for them"))
            if reads:
                findings.append(await self._check_reading(settings.check_account or "", deadline))
        except BackendError as error:
            subject = "replies" if isinstance(error, BackendMisconfigured) else "credentials"
            findings.append(Finding(subject, False, str(error), _remedy(error)))
        return findings

    async def _check_key(self, deadline: Deadline) -> Finding:
        async with _opened(HttpClient(NAME, self._settings, self._fixed_key())) as client:
            reply = await self._read(client, MERCHANT_OFFERS, deadline)
        if not reply.ok or self._answers.verdict(reply) in (Verdict.REFUSED, Verdict.ABSENT):
            raise BackendMisconfigured(f"pegke: my_offers is answered with an error (status {reply.status})")
        return Finding("credentials", True, "Pegke shows its offers for them")

    async def _check_reading(self, account: str, deadline: Deadline) -> Finding:
        async with _opened(HttpClient(NAME, self._settings, self._token_or_key())) as client:
            reply = await self._read(client, self._dialect.balance(account), deadline)
        if self._answers.balance(reply) is None:
            return Finding(
                "balance",
                False,
                "Pegke does not know check_account",
                "name a customer that Pegke has, in its own form; if it has this one, correct base_url, "
                "balance_path, absent_statuses or absent_pattern",
            )
        return Finding("balance", True, "that of check_account can be read")

    def _token_or_key(self) -> Auth:
        """A flow of its own, as closing a client ends the flow it has."""
        return self._fixed_key() if self._token is None else self._token_flow()

    # -- token -----------------------------------------------------------------------------------------

    async def invalidate_token(self, *, deadline: Deadline) -> Written:
        """Have Pegke forget the application's token, as after a leak; the next call gets a new one.

        There is one token per application, so this ends it for every process that uses it.

        Raises:
            NotSupported: the dialect has no tokens.
            BackendError: there is no token to give up; nothing was done.
        """
        if self._token is None:
            raise NotSupported("merchant_v1 has a fixed key: have the vendor replace it")
        token = self._token
        async with _opened(HttpClient(NAME, self._settings)) as client:
            value = await self._fetch_token(client, token, deadline)
            _, details = _token_request(token, deadline, given_up=value)
            answer = await client.write("POST", self._settings.invalidate_path, **details)
        token.renew(None, {"Authorization": f"Bearer {value}"})
        if isinstance(answer, Written):
            return answer
        return Written.done() if answer.ok else Written.refused()

    async def _fetch_token(self, client: HttpClient, token: ClientCredentials, deadline: Deadline) -> str:
        """The application's token, by a request of its own."""
        path, details = _token_request(token, deadline)
        reply = await client.read("POST", path, **details)
        if self._answers.too_often(reply):
            raise BackendUnavailable("pegke: asked for tokens too often")
        value = reply.body.get("access_token") if isinstance(reply.body, dict) else None
        if reply.ok and isinstance(value, str):
            return value
        if reply.status in (400, 403):
            raise BackendCredentials(f"pegke: gives no token (status {reply.status})")
        raise BackendMisconfigured(f"pegke: the token endpoint gives no token (status {reply.status})")

    # -- points ----------------------------------------------------------------------------------------

    async def points_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """The holder's phone in local form, customer id or e-mail, as ``id_type`` says.

        ``None`` for a phone of another country, or where Pegke can be asked and does not know it.
        """
        account = self.account_name(holder)
        if account is None or not self._dialect.has_balance:
            return account
        return None if await self._points(account, deadline) is None else account

    def account_name(self, holder: Holder) -> str | None:
        """See ``NamesAccounts``: local phone, customer id or e-mail, as ``id_type`` says."""
        if self._settings.id_type == "cid":
            return holder.users_reference
        if self._settings.id_type == "email":
            if holder.profile.email is None:
                raise HolderUnnamed("pegke: goes by e-mail, and the users CRM tells none of this customer")
            return holder.profile.email
        if holder.profile.phone is None:
            raise HolderUnnamed("pegke: goes by phone, and the users CRM tells none of this customer")
        return self._local(holder.profile.phone)

    def _local(self, phone: str) -> str | None:
        """A phone (E.164) without the country's code; ``None`` for another country's."""
        return phone.removeprefix(self._prefix) if phone.startswith(self._prefix) else None

    async def balance(self, account: str, *, deadline: Deadline) -> Balance:
        """Points on the account, all of them spendable; none where Pegke does not know the customer."""
        if not self._dialect.has_balance:
            raise NotSupported("points.balance: balance_path is not set")
        points = await self._points(account, deadline) or Decimal(0)
        return Balance(total=points, available=max(points, Decimal(0)))

    async def _points(self, account: str, deadline: Deadline) -> Decimal | None:
        """Points on the account; ``None`` where Pegke does not know the customer."""
        reply = await self._read(self._http, self._dialect.balance(account), deadline)
        return self._answers.balance(reply)

    async def entries(self, account: str, *, limit: int, deadline: Deadline) -> Sequence[PointsEntry]:
        """Movements, newest first, from as many pages as are needed, up to ``history_pages``."""
        if not self._dialect.has_history:
            raise NotSupported("points.entries: Pegke is not asked for movements")
        found: list[PointsEntry] = []
        last: list[object] = []
        for page in range(1, self._settings.history_pages + 1):
            reply = await self._read(self._http, self._dialect.history(account, page), deadline)
            rows, pages = self._answers.page(reply)
            if not rows or rows == last:  # a Pegke that does not page gives the same list again
                break
            found += [self._answers.entry(row) for row in rows]
            last = rows
            if len(found) >= limit or (pages is not None and page >= pages):
                break
        found.sort(key=lambda entry: entry.at, reverse=True)
        return found[:limit]

    async def purchases(
        self, account: str, *, since: date, until: date, deadline: Deadline
    ) -> Sequence[Purchase]:
        """Not there: Pegke keeps points without what was bought for them."""
        raise NotSupported("points.purchases: Pegke knows points, no purchases")

    async def credit(
        self, account: str, credit: Credit, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """Give points. Pegke takes no reference: sent twice, it gives twice.

        A credit without an amount is REFUSED, as is one that Pegke cannot express; one of zero points is
        DONE without asking Pegke.
        """
        points = credit.points
        if not deadline.remaining():
            return Written.not_sent()
        if points is None or points < 0:
            return Written.refused()
        if self._settings.whole_points and points != points.to_integral_value():
            return Written.refused()
        if not points:
            return Written.done(points=points)
        request = self._dialect.give(account, points)
        try:
            answer = await self._http.write(request.method, request.path, **request.details(deadline))
        except BackendError:
            return Written.not_sent()  # raised only where nothing can have been done
        if isinstance(answer, Written):
            return answer
        if answer.status == 403:
            return Written.not_sent()
        match self._answers.verdict(answer):
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
        """Tell by the balance and, where they can be read, by the movements of just these points since then.

        Several that account for all that the balance rose by are DONE with each of them named: given twice.

        Raises:
            BackendError: Pegke cannot be asked now.
        """
        points = credit.points
        if points is None or not self._dialect.has_balance:
            return Written.unknown("pegke: there is no balance to compare")
        now = await self.balance(account, deadline=deadline)
        since = since.replace(microsecond=0)  # their times may be whole seconds
        slack = timedelta(seconds=self._settings.clock_slack)
        moved = await self._moved(account, since - slack, deadline=deadline)
        alike = None if moved is None else [entry for entry in moved if entry.amount == points]
        after = [entry for entry in alike or () if entry.at >= since]
        done = Written.done(points=points)
        rose = None if before is None else now.total - before.total
        if len(after) > 1 and rose == len(after) * points:
            return dataclasses.replace(done, entries=tuple(_named(entry) for entry in reversed(after)))
        if rose == 0:
            # Given and spent again leaves the balance as it was; a movement like ours would show it.
            if not alike:
                return Written.not_sent()
            return Written.unknown("pegke: the balance is as before, but a movement like it is there")
        if alike is None and rose == points:
            return done
        if len(after) > 1 and rose == points:
            # Of those in the very second of sending some may be earlier credits.
            after = [entry for entry in after if entry.at >= since + timedelta(seconds=1)] or after[:1]
        moved_since = sum((entry.amount for entry in moved or () if entry.at >= since), Decimal(0))
        if len(after) == 1 and rose in (points, moved_since):
            return done
        # Where movements are read, one has to be there: a balance may show late what another credit did. And
        # the balance has to have risen as the movements say: one alone may be an earlier one, by their clock.
        return Written.unknown("pegke: the movements do not tell whether it was given")

    async def _moved(self, account: str, since: datetime, *, deadline: Deadline) -> list[PointsEntry] | None:
        """The movements from ``since`` on, newest first; ``None`` without a history."""
        if not self._dialect.has_history:
            return None
        entries = await self.entries(account, limit=_SEARCHED, deadline=deadline)
        return [entry for entry in entries if entry.at >= since]

    async def _read(self, client: HttpClient, request: Request, deadline: Deadline) -> Reply:
        """A reply of 2xx or of 4xx that says something of the request.

        Raises:
            BackendError: there is none, or it refuses us.
        """
        reply = await client.read(request.method, request.path, **request.details(deadline))
        if self._answers.too_often(reply):
            raise BackendUnavailable("pegke: asked too often (status 403)")
        if reply.status == 403:
            raise BackendCredentials("pegke: refuses the credentials (status 403)")
        return reply


@contextlib.asynccontextmanager
async def _opened(client: HttpClient) -> AsyncIterator[HttpClient]:
    await client.open()
    try:
        yield client
    finally:
        await client.close()


def _named(entry: PointsEntry) -> str:
    """How a person finds a movement: Pegke has no number for it."""
    return f"{entry.amount:f} at {entry.at.isoformat()}"


def _prefix(wanted: str | None, region: str) -> str:
    """What is taken off an E.164 phone, with its plus sign."""
    if wanted is None:
        return f"+{phonenumbers.country_code_for_region(region) or ''}"
    return f"+{wanted.removeprefix('+')}"


def _token_request(
    token: ClientCredentials, deadline: Deadline, given_up: str | None = None
) -> tuple[str, Details]:
    """Path and details of a token request as the flow makes it, or the details of giving a token up."""
    call = token.request(None)
    fields = dict(call.form if call.form is not None else cast("Mapping[str, str]", call.json))
    if given_up is not None:
        del fields["grant_type"]
        fields["access_token"] = given_up
    details = Details(headers=call.headers, deadline=deadline, accept=(403,))
    details["form" if call.form is not None else "json"] = fields
    return call.path, details


def _remedy(error: BackendError) -> str:
    if isinstance(error, BackendCredentials):
        return "correct client_id and client_secret, or consumer_code and consumer_secret; ask the vendor"
    if isinstance(error, BackendMisconfigured):
        return "correct dialect, base_url, the paths and the fields of the replies; see the driver's README"
    return "see whether base_url can be reached from here, or wait"
