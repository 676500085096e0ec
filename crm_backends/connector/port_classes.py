"""The ports over a connector's operations.

A class of its own is made for each connector, of the ports it has: what it cannot do it has no method for, or
one that says so. It may not know the adapter, nor any CRM.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from crm_backends.comparing import SEARCHED, balance_to_compare, compared
from crm_backends.connector.backend import ConnectorBackend, person_of
from crm_backends.connector.judging import decided
from crm_backends.connector.plans import Plan
from crm_backends.connector.running import NothingFound, Run
from crm_backends.connector.scope import CannotTell
from crm_backends.model import (
    Balance,
    Channel,
    ChannelConsents,
    Credit,
    CrmCard,
    Customer,
    FiscalReceipt,
    Holder,
    ListedPhone,
    Offer,
    PointsEntry,
    Profile,
    Purchase,
)
from crm_backends.ports import (
    AccountUnknown,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
    Reconciliation,
    Written,
)

_SLACK = timedelta(seconds=10)
"""How much the CRM's clock may be behind ours."""
_ANOTHER = (
    "the answer is about another customer than was asked for; where the CRM joins customers and then "
    "answers with the one that is left, write id: input.customer"
)


class UsersPort(ConnectorBackend):
    finds_by_email: bool

    async def find(
        self, *, phone: str | None, email: str | None, birth_date: date | None, deadline: Deadline
    ) -> Sequence[Customer]:
        """Customers with this very phone or e-mail: whoever else the CRM finds is left out."""
        plan = self._plan("users.find")
        email = None if email is None else email.lower()
        if not deadline.remaining():
            raise BackendUnavailable(f"{self.name}: no time left to ask")
        if phone is None and email is None:
            return []
        asked = {"phone": phone, "email": email, "birth_date": birth_date}
        try:
            contexts = await self._read(plan, self._begin("users.find", deadline, asked))
        except NothingFound:
            return []
        return self.worked_out(lambda: self._asked_for(plan, contexts, phone, email))

    def _asked_for(
        self, plan: Plan, contexts: Sequence[dict[str, Any]], phone: str | None, email: str | None
    ) -> list[Customer]:
        """Those with this very phone or e-mail, each once. Raises ``CannotTell``."""
        found: dict[str, Customer] = {}
        for context in contexts:
            # What somebody has typed into a phone's field is not the phone that is looked for.
            readable = self._reader.phone_can_be_read(plan, context)
            customer = self._reader.customer(plan, context, phone=readable)
            told = customer.profile
            if _is_asked_for(told, phone, email) if readable else email is not None and told.email == email:
                found.setdefault(customer.customer_id, customer)
        return list(found.values())

    async def get(self, customer_id: str, *, deadline: Deadline) -> Customer | None:
        """The customer of this id. An answer about another one is an error: a cache before the CRM may give
        what was asked before, and by the phone in it another's points would be found."""
        plan = self._plan("users.get")
        try:
            contexts = await self._read(plan, self._begin("users.get", deadline, {"customer": customer_id}))
        except NothingFound:
            return None
        if len(contexts) > 1:
            raise BackendMisconfigured(f"{self.name}: users.get: several customers of one id")
        found: Customer | None = self.worked_out(
            lambda: self._reader.customer(plan, contexts[0]) if contexts else None
        )
        if found is not None and found.customer_id != customer_id:
            raise BackendMisconfigured(f"{self.name}: users.get: {_ANOTHER}")
        return found

    async def register(self, profile: Profile, *, idempotency_key: str, deadline: Deadline) -> Written:
        return await self._write("users.register", deadline, person_of(profile), idempotency_key)

    async def reconcile_register(
        self, profile: Profile, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        return await self._reconcile("users.register", deadline, person_of(profile), idempotency_key, None)

    async def update(self, customer: str, profile: Profile, *, deadline: Deadline) -> Written:
        return await self._write("users.update", deadline, {"customer": customer, **person_of(profile)})

    async def set_consents(self, customer: str, consents: ChannelConsents, *, deadline: Deadline) -> Written:
        told: dict[str, object] = {str(channel): channel in consents.allow for channel in _named(consents)}
        return await self._write("users.set_consents", deadline, {"customer": customer, **told})

    def list_phones(self) -> AsyncIterator[Sequence[str]]:
        return self._phones(self._plan("users.list_phones"))

    def list_users(self) -> AsyncIterator[Sequence[ListedPhone]]:
        return self._listed(self._plan("users.list_phones"))

    async def _phones(self, plan: Plan) -> AsyncIterator[Sequence[str]]:
        async for batch in self._listed(plan):
            yield [one.phone for one in batch]

    async def _listed(self, plan: Plan) -> AsyncIterator[Sequence[ListedPhone]]:
        """Page by page, each with a deadline of its own; the earlier steps run once."""
        settings = self._settings
        patience = settings.connect_timeout + settings.attempts * settings.read_timeout
        run = self._begin("users.list_phones", Deadline.after(patience), {})
        *before, last = plan.steps
        try:
            await self._runner.read(before, run)
            if last.paging is None:
                await self._runner.read([last], run)
                yield self._phones_in(plan, run)
                return
            async for rows in self._runner.pages(last, last.paging, run):
                run.context["body"] = run.context["content"] = rows
                run.deadline = Deadline.after(patience)
                if batch := self._phones_in(plan, run):
                    yield batch
        except NothingFound:
            return
        except CannotTell as error:
            raise self._runner.untold(error) from None

    def _phones_in(self, plan: Plan, run: Run) -> list[ListedPhone]:
        contexts = self.worked_out(lambda: self._runner.rows(plan.mapping, run))
        listed = [self._reader.listed(plan, context) for context in contexts]
        return [one for one in listed if one is not None]


class CardsFound(ConnectorBackend):
    @property
    def find_tells_card_state(self) -> bool:
        return "card_state" in self._plan("users.find").mapping.result

    async def find_by_card(self, number: str, *, deadline: Deadline) -> CrmCard | None:
        plan = self._plan("users.find_by_card")
        try:
            contexts = await self._read(plan, self._begin(plan.name, deadline, {"number": number}))
        except NothingFound:
            return None
        cards: list[CrmCard] = self.worked_out(lambda: [self._reader.card(plan, one) for one in contexts])
        return next((card for card in cards if card.number == number), None)


class CardsKept(ConnectorBackend):
    async def set_card(
        self,
        customer: str,
        number: str,
        barcode: str,
        barcode_type: str,
        *,
        replaces: str | None,
        idempotency_key: str,
        deadline: Deadline,
    ) -> Written:
        asked = {
            "customer": customer,
            "number": number,
            "barcode": barcode,
            "barcode_type": barcode_type,
            "replaces": replaces,
        }
        return await self._write("users.set_card", deadline, asked, idempotency_key)


class PointsPort(ConnectorBackend):
    async def points_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        return await self._account("points.account", holder, deadline)

    async def balance(self, account: str, *, deadline: Deadline) -> Balance:
        """See ``Points``: an answer that means ``nothing`` says that whoever has no account has nothing."""
        plan = self._plan("points.balance")
        try:
            contexts = await self._read(plan, self._begin(plan.name, deadline, {"account": account}))
        except NothingFound as found:
            raise self._account_unknown(lost=found.customer) from None
        if len(contexts) > 1:
            raise BackendMisconfigured(f"{self.name}: points.balance: several balances of one account")
        if not contexts:
            raise self._account_unknown(lost=False)
        told: Balance = self.worked_out(lambda: self._reader.balance(plan, contexts[0]))
        return told

    def _account_unknown(self, *, lost: bool) -> AccountUnknown:
        return AccountUnknown(f"{self.name}: points.balance: there is no such account", has_nothing=not lost)

    async def entries(self, account: str, *, limit: int, deadline: Deadline) -> Sequence[PointsEntry]:
        plan = self._plan("points.entries")
        run = self._begin(plan.name, deadline, {"account": account, "limit": limit})
        run.enough = limit
        try:
            contexts = await self._read(plan, run)
        except NothingFound:
            return []
        found: list[PointsEntry] = self.worked_out(
            lambda: [self._reader.entry(plan, one) for one in contexts]
        )
        found.sort(key=lambda entry: entry.at, reverse=True)
        return found[:limit]

    async def purchases(
        self, account: str, *, since: date, until: date, deadline: Deadline
    ) -> Sequence[Purchase]:
        plan = self._plan("points.purchases")
        begin = datetime.combine(since, time.min, self._zone)
        end = datetime.combine(until + timedelta(days=1), time.min, self._zone)
        asked = {"account": account, "since": since, "until": until, "from": begin, "to": end}
        try:
            contexts = await self._read(plan, self._begin(plan.name, deadline, asked))
        except NothingFound:
            return []
        found: list[Purchase] = self.worked_out(
            lambda: [self._reader.purchase(plan, one) for one in contexts]
        )
        within = [line for line in found if begin <= line.at < end]
        within.sort(key=lambda line: line.at, reverse=True)
        return within

    async def credit(
        self, account: str, credit: Credit, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        if credit.points is not None and credit.points < 0:
            return Written.refused(reason=f"{self.name}: a credit is not below zero")
        return await self._write("points.credit", deadline, _credit(account, credit), idempotency_key)

    def foreseen(self, credit: Credit) -> str | None:
        """See ``ForeseesCredits``: what the connector decides at once, and what its first call would send."""
        plan = self._program.plans.get("points.credit")
        if plan is None:
            return None
        key = "K" * self.loaded.model.key_length
        run = self._begin(plan.name, Deadline.after(1), _credit("1", credit), idempotency_key=key)
        try:
            ruling = decided(plan.at_once, run.context)
            if ruling is not None:
                return self._runner.told_at_once(ruling, run)
            self._runner.prepared(plan.steps, run)
        except CannotTell as error:
            return f"{self.name}: {plan.name}: {error}"
        return None

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
        if self.reconciliation is Reconciliation.COMPARE:
            return await self._compare(account, credit, since, before, deadline)
        return await self._reconcile(
            "points.credit", deadline, _credit(account, credit), idempotency_key, since
        )

    async def _compare(
        self, account: str, credit: Credit, since: datetime, before: Balance | None, deadline: Deadline
    ) -> Written:
        if credit.points is None:
            return Written.unknown(f"{self.name}: the CRM's rules decided how many points")
        now = await balance_to_compare(self, account, deadline)
        moved = None
        if "points.entries" in self._program.plans:
            entries = await self.entries(account, limit=SEARCHED, deadline=deadline)
            moved = [entry for entry in entries if entry.at >= since - _SLACK - timedelta(seconds=1)]
        return compared(self.name, credit.points, since, before, now, moved)


class NamedPoints(PointsPort):
    def account_name(self, holder: Holder) -> str | None:
        """See ``NamesAccounts``."""
        return self._named("points.account", holder)

    def _account_unknown(self, *, lost: bool) -> AccountUnknown:
        """We call the account by what we know of its holder; this CRM need not have heard of them."""
        return super()._account_unknown(lost=False)


class CouponsPort(ConnectorBackend):
    async def coupons_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        return await self._account("coupons.account", holder, deadline)

    async def offers(self, account: str, *, deadline: Deadline) -> Sequence[Offer]:
        plan = self._plan("coupons.offers")
        try:
            contexts = await self._read(plan, self._begin(plan.name, deadline, {"account": account}))
        except NothingFound:
            return []
        found: list[Offer] = self.worked_out(lambda: [self._reader.offer(plan, one) for one in contexts])
        return found

    async def issue(
        self, account: str, occasion: str, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        asked = {"account": account, "occasion": occasion}
        return await self._write("coupons.issue", deadline, asked, idempotency_key)

    async def redeem(self, account: str, code: str, *, idempotency_key: str, deadline: Deadline) -> Written:
        asked = {"account": account, "code": code}
        return await self._write("coupons.redeem", deadline, asked, idempotency_key)

    async def reconcile_redeem(
        self, account: str, code: str, *, idempotency_key: str, since: datetime, deadline: Deadline
    ) -> Written:
        asked = {"account": account, "code": code}
        return await self._reconcile("coupons.redeem", deadline, asked, idempotency_key, since)


class ShortKeys(ConnectorBackend):
    @property
    def key_length(self) -> int:
        """See ``LimitsKeys``."""
        return self.loaded.model.key_length


class HarmlessAgain(ConnectorBackend):
    @property
    def harmless_again(self) -> frozenset[str]:
        """See ``RepeatsHarmlessly``."""
        operations = self.loaded.model.operations
        return frozenset(name for name, operation in operations.items() if operation.repeats_harmlessly)


def _named(consents: ChannelConsents) -> frozenset[Channel]:
    return consents.allow | consents.deny


def _is_asked_for(told: Profile, phone: str | None, email: str | None) -> bool:
    """Whether this is who was asked for, as far as the CRM tells phone and e-mail."""
    pairs = ((phone, told.phone), (email, told.email))
    known = [asked == value for asked, value in pairs if asked is not None and value is not None]
    return any(known) or not known


def _credit(account: str, credit: Credit) -> dict[str, Any]:
    receipt = None if credit.receipt is None else _receipt(credit.receipt)
    return {
        "account": account,
        "points": credit.points,
        "description": credit.description,
        "receipt": receipt,
    }


def _receipt(receipt: FiscalReceipt) -> dict[str, Any]:
    return {name: getattr(receipt, name) for name in FiscalReceipt.__dataclass_fields__}
