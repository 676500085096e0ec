"""The users port of Perx: customers without personal data, but for what the settings let out.

It may not know how a call is made (``requests``) nor what a reply looks like (``replies``).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import date

from crm_backends.http import port_write
from crm_backends.model import ChannelConsents, CrmCard, CrmCardState, Customer, ListedPhone, Profile
from crm_backends.perx import identity, replies
from crm_backends.perx.base import PerxDriver
from crm_backends.perx.memory import Memory
from crm_backends.perx.replies import Said, mapping
from crm_backends.perx.settings import PerxSettings
from crm_backends.ports import (
    BackendError,
    BackendMisconfigured,
    Deadline,
    NotSupported,
    Outcome,
    Refusal,
    Written,
)
from crm_backends.registry import BackendContext

_NOBODY = Written.refused(Refusal.NO_SUCH_CUSTOMER)
_REMEMBERED = 10_000
"""Refused registrations that one process remembers."""


class PerxUsers(PerxDriver):
    """Users on Perx."""

    finds_by_email = False
    find_tells_card_state = False

    def __init__(self, settings: PerxSettings, context: BackendContext) -> None:
        super().__init__(settings, context)
        self._refused_at: Memory[float] = Memory(_REMEMBERED)
        """Identifier that Perx refuses to create although nobody is found -> since when."""

    @property
    def harmless_again(self) -> frozenset[str]:
        """Registrations: an identifier that we make, from phone or key, is unique in Perx."""
        return frozenset() if self._settings.identifier == "membership" else frozenset({"users.register"})

    async def find(
        self, *, phone: str | None, email: str | None, birth_date: date | None, deadline: Deadline
    ) -> Sequence[Customer]:
        """The customer of this phone. Perx cannot be asked for an e-mail: with that alone, nobody."""
        if phone is None:
            return ()
        found = await self._by_phone(phone, deadline)
        return () if found is None else (found,)

    async def get(self, customer_id: str, *, deadline: Deadline) -> Customer | None:
        """The customer of this identifier; the phone is there only where the settings let Perx know it."""
        account = await self._requests.account(customer_id, deadline)
        return None if account is None else self._customer(account)

    @port_write
    async def register(self, profile: Profile, *, idempotency_key: str, deadline: Deadline) -> Written:
        """Create an account, unless the phone has one; that one is DONE as well.

        Raises:
            NotSupported: identifiers are card numbers, which a registration does not carry.
        """
        identifier = self._new_identifier(profile, idempotency_key)
        if identifier is None:
            return Written.refused()
        async with self._requests.turn(profile.phone or identifier, deadline):
            known = await self._registered(profile, identifier, deadline)
            if known is not None:
                return known
            body = {"identifier": identifier, "state": "active"}
            body |= identity.own_fields(self._settings, profile)
            named = identity.properties(self._settings, profile)
            answer = await self._requests.write(
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
            return await self._after_refused_create(profile, identifier, deadline)

    def _new_identifier(self, profile: Profile, idempotency_key: str) -> str | None:
        """What a new customer is called; ``None``: the profile does not say."""
        if self._settings.identifier == "membership":
            raise NotSupported(
                "perx: a customer called by the card number is registered where cards are issued"
            )
        if self._settings.identifier == "token":
            return identity.key_identifier(self._settings, idempotency_key)
        return None if profile.phone is None else identity.phone_identifier(self._settings, profile.phone)

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
        account = await self._requests.account(identifier, deadline)
        if account is None and closely:
            account = await self._requests.data_as(identifier, "/v4/customers/me", "the customer", deadline)
        if account is None:
            return None
        if account.get("identifier") != identifier:
            raise BackendMisconfigured("perx: answers with another customer than was asked for")
        told = self._customer(account).profile
        return self._compared(profile, told, identifier)

    def _compared(self, profile: Profile, told: Profile, identifier: str) -> Written:
        """DONE where the customer of the identifier is the person who is to be registered.

        An identifier made of the phone proves the person, unless Perx tells another phone. An identifier made
        of our key proves nothing: Perx has to tell the same phone, or, without a phone, the same e-mail.
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

    async def _after_refused_create(self, profile: Profile, identifier: str, deadline: Deadline) -> Written:
        """How a registration ends that Perx refused: the customer may have been made a moment ago.

        Perx has no known way to say that an identifier or phone is taken, and its searches are late. So while
        no search shows the customer, a refusal is a doubt; it is final if repeated after ``search_lag``.
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

        REFUSED with KEY_TAKEN where the identifier, made of our key, is another person's.
        """
        identifier = self._new_identifier(profile, idempotency_key)
        if identifier is None:
            return Written.not_sent()
        known = await self._registered(profile, identifier, deadline, closely=True)
        if known is None:
            return Written.not_sent()
        return Written.unknown() if known.refusal is Refusal.CONFLICT else known

    @port_write
    async def update(self, customer: str, profile: Profile, *, deadline: Deadline) -> Written:
        """Set the fields that the settings let out; others are not Perx's business and are passed over.

        A phone other than the one the identifier is made of is REFUSED: nobody would find the customer again.
        """
        derived = self._settings.identifier == "hmac_phone" and not self._settings.searches_by_phone
        moved = derived and profile.phone is not None
        if moved and identity.phone_identifier(self._settings, profile.phone or "") != customer:
            return await self._requests.refused_if_absent(customer, Written.refused(), deadline)
        own = identity.own_fields(self._settings, profile)
        named = identity.properties(self._settings, profile)
        if not own and not named:
            known = await self._requests.account(customer, deadline)
            return _NOBODY if known is None else Written.done(customer)
        if own:
            written = await self._set_own(customer, own, deadline)
            if written.outcome is not Outcome.DONE or not named:
                return written
            try:
                rest = await self._merge(customer, named, deadline)
            except BackendError:
                return Written.unknown()
            # The first half is done: NOT_SENT would say that nothing is.
            return Written.unknown() if rest.outcome is Outcome.NOT_SENT else rest
        return await self._merge(customer, named, deadline)

    async def _set_own(self, customer: str, own: Mapping[str, str], deadline: Deadline) -> Written:
        answer = await self._requests.write(
            "PUT", "/v4/pos/user_accounts/update_user", {"identifier": customer, **own}, deadline
        )
        return await self._ended(answer, customer, deadline, lambda data: Written.done(customer))

    @port_write
    async def set_consents(self, customer: str, consents: ChannelConsents, *, deadline: Deadline) -> Written:
        """Keep the named channels in ``personal_properties``.

        Raises:
            NotSupported: the settings give them no place there.
        """
        prefix = self._settings.consent_prefix
        if prefix is None:
            raise NotSupported("perx: consents have no place there: consent_prefix is not set")
        return await self._merge(customer, identity.consent_properties(prefix, consents), deadline)

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

    @port_write
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

        def has_another(kept: Mapping[str, object]) -> bool:
            return identity.card_kept(self._settings, kept) not in (None, number, replaces)

        changes = identity.card_properties(self._settings, number, barcode)
        return await self._merge(customer, changes, deadline, conflicts=has_another)

    async def _merge(
        self,
        customer: str,
        changes: Mapping[str, object],
        deadline: Deadline,
        *,
        conflicts: Callable[[Mapping[str, object]], bool] = lambda kept: False,
    ) -> Written:
        """Change some of the properties: Perx replaces all of them, so read, merge, write, one at a time."""
        async with self._requests.turn(customer, deadline):
            known = await self._requests.data_as(customer, "/v4/customers/me", "the customer", deadline)
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
            answer = await self._requests.write_as(
                customer,
                "PATCH",
                f"/v4/customers/{known['id']}",
                deadline,
                body={"personal_properties": replies.plain(merged)},
            )
            return await self._ended(answer, customer, deadline, lambda data: Written.done(customer))

    def list_phones(self) -> AsyncIterator[Sequence[str]]:
        """Not possible: no call lists customers."""
        raise NotSupported("perx: no call lists customers")

    def list_users(self) -> AsyncIterator[Sequence[ListedPhone]]:
        """Not possible: no call lists customers."""
        raise NotSupported("perx: no call lists customers")
