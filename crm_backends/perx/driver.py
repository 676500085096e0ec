"""The Perx driver: the three ports over one tenant.

A customer's reference, in all three ports, is the identifier it has in Perx. This module may not know how a
call is made (``calls``) nor what an answer looks like (``answers``).
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar, cast

from crm_backends.model import (
    Balance,
    ChannelConsents,
    Credit,
    CrmCard,
    CrmCardState,
    Customer,
    FiscalReceipt,
    Holder,
    ListedPhone,
    Offer,
    PointsEntry,
    Profile,
    Purchase,
)
from crm_backends.perx import answers, checking, people
from crm_backends.perx.answers import REWARD_LIMIT, Said, Verdict, mapping
from crm_backends.perx.calls import Account, Calls, segment
from crm_backends.perx.capabilities import capabilities
from crm_backends.perx.memory import Memory
from crm_backends.perx.settings import PerxSettings, fold
from crm_backends.ports import (
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
    Finding,
    HolderUnnamed,
    NotSupported,
    Outcome,
    Reconciliation,
    Refusal,
    Written,
)
from crm_backends.registry import BackendContext

NAME: Final = "perx"

_HISTORY = "/v4/loyalty/transactions_history"
_VOUCHERS = "/v4/vouchers"
_NEWEST_FIRST = {"sort_by": "transacted_at", "order_by": "desc"}
_NOBODY = Written.refused(Refusal.NO_SUCH_CUSTOMER)
_NO_POINTS = Balance(total=Decimal(0), available=Decimal(0))
_SALE = 1
_LOTS_SHOWN = 5
"""Lots of points that will expire, at most, in one list of entries: what was moved is to be seen too."""
_ASIDE = frozenset({"reserved", "redemption_in_progress"})
_REMEMBERED = 10_000
"""Vouchers, and refused registrations, that one process remembers."""

Write = TypeVar("Write", bound=Callable[..., Coroutine[Any, Any, Written]])


def _write(method: Write) -> Write:
    """A write of a port. What it reads beforehand may fail; then nothing was sent."""

    @functools.wraps(method)
    async def writing(self: PerxBackend, *args: Any, deadline: Deadline, **kwargs: Any) -> Written:
        if not deadline.remaining():
            return Written.not_sent()
        try:
            return await method(self, *args, deadline=deadline, **kwargs)
        except (BackendUnavailable, BackendCredentials):
            return Written.not_sent()

    return cast(Write, writing)


class PerxBackend:
    """Users, Points and Coupons on Perx.

    Reads raise a ``BackendError``. Writes return a ``Written``; they raise ``BackendMisconfigured`` or
    ``NotSupported`` only where nothing has been changed.
    """

    name = NAME
    reconciliation = Reconciliation.PROBE
    finds_by_email = False
    find_tells_card_state = False

    def __init__(self, settings: PerxSettings, context: BackendContext) -> None:
        self._settings = settings
        self._zone = context.timezone
        self._region = context.region
        self._calls = Calls(NAME, settings)
        self._vouchers_of: Memory[str] = Memory(_REMEMBERED)
        """Number of a voucher that was told as the result of a write -> reference of that write."""
        self._refused_at: Memory[float] = Memory(_REMEMBERED)
        """Identifier that Perx refuses to create although nobody is found -> since when."""
        self.capabilities = capabilities(settings)

    async def open(self) -> None:
        """Prepare connections; Perx is not asked."""
        await self._calls.open()

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()

    @property
    def left_alone(self) -> bool:
        """See ``NoticesAbsence``."""
        return self._calls.left_alone

    @property
    def harmless_again(self) -> frozenset[str]:
        """Registrations: an identifier that we make, from phone or reference, is unique in Perx."""
        return frozenset() if self._settings.identifier == "membership" else frozenset({"users.register"})

    async def check(self) -> Sequence[Finding]:
        """Get each kind of token and make a read with it; changes nothing, works before ``open`` as well."""
        if self._calls.is_open:
            return await checking.findings(self._calls, self._settings)
        await self._calls.open()
        try:
            return await checking.findings(self._calls, self._settings)
        finally:
            await self._calls.close()

    # -- users -----------------------------------------------------------------------------------------

    async def find(
        self, *, phone: str | None, email: str | None, birth_date: date | None, deadline: Deadline
    ) -> Sequence[Customer]:
        """The customer of this phone. Perx cannot be asked for an e-mail: with that alone, nobody."""
        if phone is None:
            return ()
        found = await self._by_phone(phone, deadline)
        return () if found is None else (found,)

    async def _by_phone(self, phone: str, deadline: Deadline) -> Customer | None:
        """The customer of this phone, unless Perx says that the customer has another."""
        if self._settings.searches_by_phone:
            account = await self._calls.account_by_phone(phone, deadline)
        else:
            account = await self._calls.account(people.phone_identifier(self._settings, phone), deadline)
        if account is None:
            return None
        found = self._customer(account, phone)
        return found if found.profile.phone == phone else None

    def _customer(self, account: Account, phone: str | None = None) -> Customer:
        return people.customer(self._settings, account, self._zone, self._region, phone)

    async def get(self, customer_id: str, *, deadline: Deadline) -> Customer | None:
        """The customer of this identifier; the phone is there only where the settings let Perx know it."""
        account = await self._calls.account(customer_id, deadline)
        return None if account is None else self._customer(account)

    @_write
    async def register(self, profile: Profile, *, idempotency_key: str, deadline: Deadline) -> Written:
        """Create an account, unless the phone has one; that one is DONE as well.

        Raises:
            NotSupported: identifiers are card numbers, which a registration does not carry.
        """
        identifier = self._new_identifier(profile, idempotency_key)
        if identifier is None:
            return Written.refused()
        async with self._calls.turn(profile.phone or identifier, deadline):
            known = await self._registered(profile, identifier, deadline)
            if known is not None:
                return known
            body = {"identifier": identifier, "state": "active"}
            body |= people.own_fields(self._settings, profile)
            named = people.properties(self._settings, profile)
            answer = await self._calls.write(
                "POST",
                "/v4/pos/user_accounts",
                {**body, "personal_properties": named} if named else body,
                deadline,
            )
            if isinstance(answer, Written):
                return answer
            if answer.said is Said.DATA and mapping(answer.data).get("identifier") == identifier:
                return Written.done(identifier)
            if answer.said is not Said.NO:
                return Written.unknown()
            return await self._taken(profile, identifier, deadline)

    def _new_identifier(self, profile: Profile, reference: str) -> str | None:
        """What a new customer is called; ``None``: the profile does not say."""
        if self._settings.identifier == "membership":
            raise NotSupported(
                "perx: a customer called by the card number is registered where cards are issued"
            )
        if self._settings.identifier == "token":
            return people.reference_identifier(self._settings, reference)
        return None if profile.phone is None else people.phone_identifier(self._settings, profile.phone)

    async def _registered(
        self, profile: Profile, identifier: str, deadline: Deadline, *, closely: bool = False
    ) -> Written | None:
        """What the customer that is there already means for this registration; ``None``: nobody is there.

        ``closely``: ask as the customer too, since a search may not show a new customer yet.
        """
        if self._settings.searches_by_phone and profile.phone is not None:
            found = await self._by_phone(profile.phone, deadline)
            if found is not None:
                return Written.done(found.customer_id)
        account = await self._calls.account(identifier, deadline)
        if account is None and closely:
            account = await self._calls.data_as(identifier, "/v4/customers/me", "the customer", deadline)
        if account is None:
            return None
        if account.get("identifier") != identifier:
            raise BackendMisconfigured("perx: another customer is told than the one asked for")
        told = self._customer(account).profile
        return self._compared(profile, told, identifier)

    def _compared(self, profile: Profile, told: Profile, identifier: str) -> Written:
        """DONE where the customer of the identifier is the person who is to be registered.

        An identifier made of the phone speaks for the person, unless Perx tells another phone. One made of
        the reference does not: it is believed only where Perx tells the same phone, or e-mail without one.
        """
        if self._settings.identifier == "hmac_phone":
            if None not in (told.phone, profile.phone) and told.phone != profile.phone:
                return Written.refused(Refusal.CONFLICT)
            return Written.done(identifier)
        by_phone = profile.phone is not None
        asked, kept = (profile.phone, told.phone) if by_phone else (profile.email, told.email)
        if asked is None or kept is None:
            return Written.unknown("perx: tells the customer without the phone or e-mail to compare")
        if asked.casefold() == kept.casefold():
            return Written.done(identifier)
        return Written.refused(Refusal.KEY_TAKEN, "perx: the identifier is another person's")

    async def _taken(self, profile: Profile, identifier: str, deadline: Deadline) -> Written:
        """What a refused registration comes to: the customer may have been made a moment ago.

        Perx does not say in a known way that identifier or phone are taken, and its searches are behind. So
        with nobody to be seen a refusal is a doubt, and final only when it stands after ``search_lag``.
        """
        try:
            known = await self._registered(profile, identifier, deadline, closely=True)
        except BackendError as error:
            return Written.unknown(str(error))
        now = time.monotonic()
        if known is None and now - self._refused_at.first(identifier, now) < self._settings.search_lag:
            return Written.unknown("perx: refuses to create a customer whom its searches do not show")
        self._refused_at.forget(identifier)
        return known or Written.refused()

    async def reconcile_register(
        self, profile: Profile, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """Look the customer up: the identifier of a registration is the same at each attempt.

        REFUSED with KEY_TAKEN where the identifier, made of the reference, is another person's.
        """
        identifier = self._new_identifier(profile, idempotency_key)
        if identifier is None:
            return Written.not_sent()
        known = await self._registered(profile, identifier, deadline, closely=True)
        if known is None:
            return Written.not_sent()
        return Written.unknown() if known.refusal is Refusal.CONFLICT else known

    @_write
    async def update(self, customer: str, profile: Profile, *, deadline: Deadline) -> Written:
        """Set the fields that the settings let out; others are not Perx's business and are passed over.

        A phone other than the one the identifier is made of is REFUSED: nobody would find the customer again.
        """
        derived = self._settings.identifier == "hmac_phone" and not self._settings.searches_by_phone
        moved = derived and profile.phone is not None
        if moved and people.phone_identifier(self._settings, profile.phone or "") != customer:
            return await self._calls.refused_if_absent(customer, Written.refused(), deadline)
        own = people.own_fields(self._settings, profile)
        named = people.properties(self._settings, profile)
        if not own and not named:
            known = await self._calls.account(customer, deadline)
            return _NOBODY if known is None else Written.done(customer)
        if own:
            written = await self._set_own(customer, own, deadline)
            if written.outcome is not Outcome.DONE or not named:
                return written
            try:
                rest = await self._merge(customer, named, deadline)
            except BackendError:
                return Written.unknown()
            # A half that was done must not look as if nothing had been.
            return Written.unknown() if rest.outcome is Outcome.NOT_SENT else rest
        return await self._merge(customer, named, deadline)

    async def _set_own(self, customer: str, own: Mapping[str, str], deadline: Deadline) -> Written:
        answer = await self._calls.write(
            "PUT", "/v4/pos/user_accounts/update_user", {"identifier": customer, **own}, deadline
        )
        return await self._ended(answer, customer, deadline, lambda data: Written.done(customer))

    @_write
    async def set_consents(self, customer: str, consents: ChannelConsents, *, deadline: Deadline) -> Written:
        """Keep the named channels in ``personal_properties``.

        Raises:
            NotSupported: the settings give them no place there.
        """
        prefix = self._settings.consent_prefix
        if prefix is None:
            raise NotSupported("perx: consents have no place there: consent_prefix is not set")
        return await self._merge(customer, people.consent_properties(prefix, consents), deadline)

    async def find_by_card(self, number: str, *, deadline: Deadline) -> CrmCard | None:
        """The membership of this number; the state is that of the membership in the programme.

        Raises:
            NotSupported: identifiers are not card numbers, and no call searches by another thing.
        """
        if self._settings.identifier != "membership":
            raise NotSupported("perx: can be asked for a card number only with identifier = membership")
        programme = await self._programme(number, deadline)
        if programme is None:
            return None
        told = programme.get("membership_state", "active")
        state: CrmCardState = "active" if told == "active" else "inactive"
        return CrmCard(number, state, customer=Customer(number, Profile(), card_number=number))

    @_write
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
        """Keep number and barcode in ``personal_properties``.

        Raises:
            NotSupported: the settings give them no place there.
        """
        if self._settings.card_property is None:
            raise NotSupported("perx: cards have no place there: card_property is not set")

        def has_another(kept: Mapping[str, Any]) -> bool:
            return people.card_kept(self._settings, kept) not in (None, number, replaces)

        changes = people.card_properties(self._settings, number, barcode)
        return await self._merge(customer, changes, deadline, conflicts=has_another)

    async def _merge(
        self,
        customer: str,
        changes: Mapping[str, object],
        deadline: Deadline,
        *,
        conflicts: Callable[[Mapping[str, Any]], bool] = lambda kept: False,
    ) -> Written:
        """Change some of the properties: Perx replaces all of them, so read, merge, write, one at a time."""
        async with self._calls.turn(customer, deadline):
            try:
                known = await self._calls.data_as(customer, "/v4/customers/me", "the customer", deadline)
            except (BackendUnavailable, BackendCredentials):
                return Written.not_sent()
            if known is None:
                return _NOBODY
            kept = known.get("personal_properties", "absent")
            if not isinstance(kept, dict | None) or not isinstance(known.get("id"), int):
                # To write over what cannot be seen would lose it.
                raise BackendMisconfigured("perx: the customer is told without id or personal_properties")
            if conflicts(kept or {}):
                return Written.refused(Refusal.CONFLICT)
            merged = {**(kept or {}), **changes}
            if merged == (kept or {}):
                return Written.done(customer)
            answer = await self._calls.write_as(
                customer,
                "PATCH",
                f"/v4/customers/{known['id']}",
                deadline,
                body={"personal_properties": answers.plain(merged)},
            )
            return await self._ended(answer, customer, deadline, lambda data: Written.done(customer))

    def list_phones(self) -> AsyncIterator[Sequence[str]]:
        """Not possible: no call lists customers."""
        raise NotSupported("perx: no call lists customers")

    def list_users(self) -> AsyncIterator[Sequence[ListedPhone]]:
        """Not possible: no call lists customers."""
        raise NotSupported("perx: no call lists customers")

    # -- whose account ---------------------------------------------------------------------------------

    async def points_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """Identifier of the holder, as ``account_by`` says; an identifier made here is known by its shape."""
        by = self._settings.names_account_by
        reference = holder.users_reference
        if (by == "users_reference" or people.is_ours(reference)) and (
            await self._calls.account(reference, deadline) is not None
        ):
            return reference
        if by == "card_number" and await self._calls.account(holder.card_number, deadline) is not None:
            return holder.card_number
        if by == "phone":
            if holder.profile.phone is None:
                raise HolderUnnamed("perx: goes by phone, and the users CRM tells none of this customer")
            found = await self._by_phone(holder.profile.phone, deadline)
            return None if found is None else found.customer_id
        return None

    async def coupons_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """The same as for points."""
        return await self.points_account(holder, deadline=deadline)

    # -- points ----------------------------------------------------------------------------------------

    async def _programme(self, account: str, deadline: Deadline) -> Account | None:
        path = f"/v4/loyalty/{self._settings.loyalty_program_id}"
        return await self._calls.data_as(account, path, "the loyalty programme", deadline)

    async def balance(self, account: str, *, deadline: Deadline) -> Balance:
        """Available is what may be spent; total adds the points set aside for a purchase under way."""
        data = await self._programme(account, deadline)
        return _NO_POINTS if data is None else answers.balance(data)

    async def entries(self, account: str, *, limit: int, deadline: Deadline) -> Sequence[PointsEntry]:
        """The points that will expire soonest, then movements, newest first; failed burns are no such."""
        found: list[PointsEntry] = []
        if self._settings.expiring_as_entries:
            data = await self._programme(account, deadline)
            if data is None:
                return ()
            lots = answers.expiring(data, self._settings.expiring_description, self._zone)
            found += lots[: min(_LOTS_SHOWN, limit // 2)]
        async for row in self._history(account, deadline):
            found.append(answers.entry(row, self._zone))
            if len(found) >= limit:
                break
        return found

    async def purchases(
        self, account: str, *, since: date, until: date, deadline: Deadline
    ) -> Sequence[Purchase]:
        """Purchases of whole days in the programme's zone, newest first, each as one line."""
        found: list[Purchase] = []
        async for row in self._history(account, deadline):
            day = answers.moved_at(row, self._zone).astimezone(self._zone).date()
            if day < since:
                break
            purchase = answers.purchase(row, self._zone) if day <= until else None
            if purchase is not None:
                found.append(purchase)
        return found

    async def _history(
        self, account: str, deadline: Deadline, reference: str | None = None
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Movements that happened, newest first; a row that slid to the next page meanwhile comes once."""
        params = dict(_NEWEST_FIRST)
        if reference is not None:
            params["transaction_reference"] = reference
        seen: set[object] = set()
        async for page in self._calls.pages_as(account, _HISTORY, "the history", params, deadline):
            for row in page.rows:
                number = row.get("id")
                if number is not None and number in seen:
                    continue
                seen.add(number)
                if answers.happened(row):
                    yield row

    @_write
    async def credit(
        self, account: str, credit: Credit, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """Put a number of points on, or report the purchase and let Perx's rules award.

        A credit that is neither (no points, and no receipt of a sale or no leave to report it) is REFUSED.
        """
        if credit.points is not None:
            return await self._put_on(account, credit.points, idempotency_key, deadline)
        receipt = credit.receipt
        if self._settings.credit_by == "points" or receipt is None or receipt.calculation_type != _SALE:
            return Written.refused()
        return await self._report(account, receipt, idempotency_key, deadline)

    async def _put_on(self, account: str, points: Decimal, reference: str, deadline: Deadline) -> Written:
        if points <= 0:
            return Written.done(points=Decimal(0)) if points == 0 else Written.refused()
        body = {
            "user_account": {"identifier": account},
            "loyalty_program_id": self._settings.loyalty_program_id,
            "points": answers.amount(points),
            "transaction_reference": reference,
        }
        answer = await self._calls.write("POST", "/v4/pos/loyalty_transactions", body, deadline)
        return await self._ended(answer, account, deadline, lambda data: _credited(data, "points"))

    async def _report(
        self, account: str, receipt: FiscalReceipt, reference: str, deadline: Deadline
    ) -> Written:
        known = await self._calls.account(account, deadline)
        if known is None:
            return _NOBODY
        if not isinstance(known.get("id"), int):
            raise BackendMisconfigured("perx: the customer is told without id")
        body = {
            "user_account_id": known["id"],
            "transaction_data": {
                "transaction_type": self._settings.transaction_type,
                "transaction_reference": reference,
                "amount": answers.amount(Decimal(receipt.total_kopecks).scaleb(-2)),
                "currency": self._settings.currency,
                "transaction_date": receipt.issued_at.isoformat(timespec="seconds"),
            },
        }
        answer = await self._calls.write("POST", "/v4/pos/transactions", body, deadline)
        return await self._ended(answer, account, deadline, lambda data: _credited(data, "points_earned"))

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
        """Look our reference up in the history: DONE with its points, NOT_SENT where it is not there.

        What is there is compared with what was asked: other points, or another sum of the receipt, are a
        conflict. Several rows that are as asked were credited several times: all are named, the points are
        those of one. A sale left to the rules may be awarded nothing, and nobody knows whether the history
        shows it then: not there, it is UNKNOWN.

        Raises:
            BackendError: Perx could not be asked.
        """
        rows = [row async for row in self._history(account, deadline, idempotency_key)]
        if not rows and credit.points is None:
            return Written.unknown("perx: the history does not show the sale; it may have earned nothing")
        if not rows:
            return Written.not_sent()
        ours = [row for row in rows if answers.own_key(row) == idempotency_key]
        if not ours:
            if not await self._filters_by(idempotency_key, rows, account, deadline):
                return Written.unknown("perx: the history is not filtered by the reference as it was sent")
            ours = rows
        if not all(answers.is_what_was_asked(row, credit) for row in ours):
            return Written.refused(Refusal.KEY_TAKEN, "perx: has other points or another sum under it")
        found = [str(row.get("id")) for row in reversed(ours)]
        written = Written.done(found[0], answers.row_points(ours[-1]))
        return dataclasses.replace(written, entries=tuple(found)) if len(found) > 1 else written

    async def _filters_by(
        self, reference: str, rows: Sequence[Mapping[str, Any]], account: str, deadline: Deadline
    ) -> bool:
        """Whether rows that do not repeat their reference have this one: only if the filter proves to filter.

        Another reference, letter by letter, tells that it does not.
        """
        if any(answers.own_key(row) not in (None, reference) for row in rows):
            return False
        async for _ in self._history(account, deadline, f"{reference}-not"):
            return False
        return True

    # -- coupons ---------------------------------------------------------------------------------------

    async def offers(self, account: str, *, deadline: Deadline) -> Sequence[Offer]:
        """The holder's active vouchers."""
        found: dict[str, Offer] = {}
        async for page in self._vouchers(account, "active", deadline):
            for row in page.rows:
                offer = answers.offer(row, self._zone)
                if offer is not None:
                    found[offer.offer_id] = offer
        return list(found.values())

    def _vouchers(self, account: str, kind: str, deadline: Deadline) -> AsyncIterator[answers.Page]:
        return self._calls.pages_as(account, _VOUCHERS, "the vouchers", {"type": kind}, deadline)

    @_write
    async def issue(
        self, account: str, occasion: str, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """A voucher of the occasion's reward; an occasion without one gives nothing and is DONE."""
        reward = self._settings.occasions.get(occasion)
        if reward is None:
            return Written.done()
        answer = await self._issue(account, reward, deadline)
        return await self._issued(answer, account, idempotency_key, deadline)

    @_write
    async def redeem(self, account: str, code: str, *, idempotency_key: str, deadline: Deadline) -> Written:
        """Issue the reward, or fire the trigger, that the settings give the code."""
        target = self._settings.promo_codes.get(fold(code))
        if target is None:
            return Written.refused(Refusal.CODE_UNKNOWN)
        if target.reward is None:
            path = f"/v4/app_triggers/{segment(target.trigger)}"
            answer = await self._calls.write_as(account, "PUT", path, deadline)
            return _fired(answer)
        answer = await self._issue(account, target.reward, deadline)
        if isinstance(answer, Verdict) and answer.said is Said.NO:
            return Written.refused(await self._why_not(account, target.reward, answer, deadline))
        return await self._issued(answer, account, idempotency_key, deadline)

    async def _issued(
        self, answer: Verdict | Written, account: str, reference: str, deadline: Deadline
    ) -> Written:
        """How the issue of a voucher ended; the voucher is remembered as this operation's."""
        written = await self._ended(answer, account, deadline, _voucher)
        if written.crm_reference is not None:
            self._vouchers_of.first(written.crm_reference, reference)
        return written

    async def _issue(self, account: str, reward: int, deadline: Deadline) -> Verdict | Written:
        return await self._calls.write_as(account, "POST", f"/v4/rewards/{reward}/issue", deadline)

    async def _why_not(self, account: str, reward: int, answer: Verdict, deadline: Deadline) -> Refusal:
        """Why a reward was not issued. Its limit is this customer's, who has had it, or everybody's."""
        if answer.code != REWARD_LIMIT:
            return Refusal.CODE_UNKNOWN if answer.status == 404 else Refusal.OTHER
        try:
            async for page in self._vouchers(account, "all", deadline):
                if any(answers.is_of(row, reward) for row in page.rows):
                    return Refusal.CODE_USED
        except BackendError:
            pass  # the refusal stands, only its reason stays the general one
        return Refusal.CODE_EXHAUSTED

    async def reconcile_redeem(
        self, account: str, code: str, *, idempotency_key: str, since: datetime, deadline: Deadline
    ) -> Written:
        """Look for a voucher of the code's reward issued since then; of a trigger nobody can tell.

        Perx keeps no reference with a voucher. So DONE takes one voucher that nothing else of ours can have
        got: no other code and no occasion gives the reward, no other operation of this process was told it,
        and no second one was, or may have been, issued since then. NOT_SENT takes that there is none.

        Raises:
            BackendError: Perx could not be asked.
        """
        target = self._settings.promo_codes.get(fold(code))
        if target is None or target.reward is None:
            return Written.unknown("perx: nobody can tell what a trigger, or a code without a reward, did")
        earliest = since - timedelta(seconds=self._settings.clock_tolerance)
        found: list[Mapping[str, Any]] = []
        last = True
        async for page in self._vouchers(account, "all", deadline):
            found += [
                row
                for row in page.rows
                if mapping(row.get("reward")).get("id", target.reward) == target.reward
                and answers.issued_since(row, earliest, self._zone) is not False
                and self._vouchers_of.get(str(row.get("id"))) in (None, idempotency_key)
            ]
            last = page.last
        if not found and last:
            return Written.not_sent()
        if self._settings.is_shared(target.reward):
            return Written.unknown("perx: another code or occasion gives the same reward")
        if len(found) != 1 or not last:
            return Written.unknown("perx: there are several vouchers that the code may have given")
        (row,) = found
        if not answers.is_of(row, target.reward) or not answers.issued_since(row, earliest, self._zone):
            return Written.unknown("perx: a voucher does not tell its reward, or when it was issued")
        written = _voucher(row)
        if self._vouchers_of.first(written.crm_reference or "", idempotency_key) != idempotency_key:
            return Written.unknown("perx: the voucher is another operation's")
        return written

    # -- vouchers at the till: for programs that use this class, no port has them ------------------------

    @_write
    async def reserve_voucher(self, account: str, voucher: str, *, deadline: Deadline) -> Written:
        """Set a voucher aside for a purchase under way; ``voucher`` is an offer's reference."""
        return await self._move_voucher(
            account, voucher, "POST", "redeem", _ASIDE, deadline, {"confirm": "false"}
        )

    @_write
    async def confirm_voucher(self, account: str, voucher: str, *, deadline: Deadline) -> Written:
        """The purchase was made: use up a voucher that was set aside."""
        return await self._move_voucher(
            account, voucher, "PATCH", "confirm", frozenset({"redeemed"}), deadline
        )

    @_write
    async def release_voucher(self, account: str, voucher: str, *, deadline: Deadline) -> Written:
        """The purchase was not made: give a voucher that was set aside back."""
        return await self._move_voucher(
            account, voucher, "PATCH", "release", frozenset({"issued", "released"}), deadline
        )

    async def voucher_state(self, account: str, voucher: str, *, deadline: Deadline) -> str | None:
        """What became of a voucher, in Perx's words; ``None``: there is none. It reconciles an UNKNOWN."""
        if not voucher.isdecimal():
            return None
        reply = await self._calls.read_as(account, f"{_VOUCHERS}/{segment(voucher)}", deadline)
        if reply is None or reply.status == 404:
            return None
        found = answers.verdict(reply)
        state = mapping(found.data).get("state")
        if not isinstance(state, str):
            raise answers.unexpected("the voucher", found)
        return state

    async def _move_voucher(
        self,
        account: str,
        voucher: str,
        method: str,
        step: str,
        expected: frozenset[str],
        deadline: Deadline,
        params: Mapping[str, str | int] | None = None,
    ) -> Written:
        if not voucher.isdecimal():
            return Written.refused(Refusal.CODE_UNKNOWN)
        path = f"{_VOUCHERS}/{segment(voucher)}/{step}"
        answer = await self._calls.write_as(account, method, path, deadline, params=params)
        if isinstance(answer, Verdict) and answer.said is Said.NO:
            return Written.refused(await self._why_not_voucher(account, voucher, deadline))

        def moved(data: Mapping[str, Any]) -> Written:
            return Written.done(voucher) if data.get("state") in expected else Written.unknown()

        return await self._ended(answer, account, deadline, moved)

    async def _why_not_voucher(self, account: str, voucher: str, deadline: Deadline) -> Refusal:
        try:
            state = await self.voucher_state(account, voucher, deadline=deadline)
        except BackendError:
            return Refusal.OTHER
        if state is None:
            return Refusal.CODE_UNKNOWN
        return {"redeemed": Refusal.CODE_USED, "expired": Refusal.CODE_EXPIRED}.get(state, Refusal.OTHER)

    # -- how a write ended -----------------------------------------------------------------------------

    async def _ended(
        self,
        answer: Verdict | Written,
        account: str,
        deadline: Deadline,
        done: Callable[[Mapping[str, Any]], Written],
    ) -> Written:
        """DONE as ``done`` reads it, REFUSED with a reason as far as it is known, else UNKNOWN."""
        if isinstance(answer, Written):
            return answer
        if answer.said is Said.DATA and isinstance(answer.data, dict):
            return done(answer.data)
        if answer.said is Said.NO:
            return await self._calls.refused_if_absent(account, Written.refused(), deadline)
        return Written.unknown()


def _credited(data: Mapping[str, Any], field: str) -> Written:
    points = answers.number(data.get(field))
    return Written.unknown() if data.get("id") is None else Written.done(str(data["id"]), points)


def _voucher(data: Mapping[str, Any]) -> Written:
    return Written.unknown() if data.get("id") is None else Written.done(str(data["id"]))


def _fired(answer: Verdict | Written) -> Written:
    """A trigger answers nothing, or something that nobody has described."""
    if isinstance(answer, Written):
        return answer
    if answer.said is Said.NO:
        return Written.refused(Refusal.CODE_UNKNOWN if answer.status == 404 else Refusal.OTHER)
    return Written.done() if 200 <= answer.status < 300 else Written.unknown()
