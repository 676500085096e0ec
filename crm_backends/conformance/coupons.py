"""Scenarios C: a driver of the coupons port. They are told in prose in ``SCENARIOS.md``.

This module may not know any driver.
"""
# ruff: noqa: S101

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from crm_backends.conformance.base import (
    Conformance,
    assert_refused,
    effects,
    is_there,
    needs,
    nothing_changes,
    soon,
)
from crm_backends.conformance.port_calls import coupons, coupons_account, new_key, new_person, of_port
from crm_backends.conformance.rig import Rig
from crm_backends.conformance.users import assert_as_declared
from crm_backends.model import Holder
from crm_backends.ports import Backend, Outcome, ReconcilesRedeem, Reconciliation, Refusal, Written


class BaseCoupons(Conformance):
    """A driver of the coupons port."""

    @pytest.mark.parametrize("operation", of_port("coupons"))
    async def test_it_does_what_it_declares_and_refuses_the_rest(
        self, rig: Rig, backend: Backend, operation: str
    ) -> None:
        """C1. Every operation a driver declares is carried out; any other is refused before it is sent."""
        await assert_as_declared(rig, backend, operation)

    async def test_a_holder_has_an_account_of_their_own(self, rig: Rig, backend: Backend) -> None:
        """C2. Each holder the CRM knows has one account, always the same and nobody else's."""
        one, other = await rig.new_customer(new_person()), await rig.new_customer(new_person())
        account = await coupons_account(backend, one)
        assert account == await coupons_account(backend, one)
        assert account != await coupons_account(backend, other)

    async def test_a_holder_the_crm_does_not_know_has_no_account(self, rig: Rig, backend: Backend) -> None:
        """C3. A holder the CRM does not know has no account."""
        stranger = Holder(card_number="2900000000001", users_reference=rig.nobody, profile=new_person())
        assert await coupons(backend).coupons_account(stranger, deadline=soon()) is None

    @needs("coupons.offers")
    async def test_a_holder_sees_the_offers_meant_for_them(self, rig: Rig, backend: Backend) -> None:
        """C4. A holder sees each offer meant for them once, with a title and an id of its own."""
        account = await _new_account(rig, backend)
        titles = {await rig.offer(account), await rig.offer(account)}
        offers = await coupons(backend).offers(account, deadline=soon())
        shown = [offer.title for offer in offers if offer.title in titles]
        assert sorted(shown) == sorted(titles)
        assert all(offer.title and offer.offer_id for offer in offers)
        assert len({offer.offer_id for offer in offers}) == len(offers)
        for offer in offers:
            for moment in (offer.valid_from, offer.valid_until):
                assert moment is None or moment.tzinfo is not None

    @needs("coupons.issue")
    async def test_an_occasion_gives_its_coupon(self, rig: Rig, backend: Backend) -> None:
        """C5. An occasion gives its coupon once, and the holder sees it."""
        account = await _new_account(rig, backend)
        before = await _offers(backend, account)
        async with effects(rig, "coupons.issue", 1):
            written = await coupons(backend).issue(
                account, await rig.occasion(), idempotency_key=new_key(backend), deadline=soon()
            )
        assert written.outcome is Outcome.DONE
        if is_there(backend, "coupons.offers"):
            assert len(await _offers(backend, account) - before) == 1

    @needs("coupons.issue")
    async def test_an_occasion_nobody_planned_gives_nothing(self, rig: Rig, backend: Backend) -> None:
        """C6. An occasion that is not configured gives nothing: DONE or REFUSED, never UNKNOWN."""
        account = await _new_account(rig, backend)
        async with nothing_changes(rig):
            written = await coupons(backend).issue(
                account, "no-such-occasion", idempotency_key=new_key(backend), deadline=soon()
            )
        assert written.outcome in (Outcome.DONE, Outcome.REFUSED)

    @needs("coupons.redeem")
    async def test_a_code_is_used(self, rig: Rig, backend: Backend) -> None:
        """C7. A code the holder can use is DONE and takes effect once."""
        use = await _Use.of(rig, backend)
        async with effects(rig, "coupons.redeem", 1):
            assert (await use.send()).outcome is Outcome.DONE

    @needs("coupons.redeem")
    async def test_a_code_that_does_not_exist_is_refused(self, rig: Rig, backend: Backend) -> None:
        """C8. A code that does not exist is REFUSED as unknown."""
        use = _Use(backend, await _new_account(rig, backend), "NO-SUCH-CODE")
        async with nothing_changes(rig):
            assert_refused(await use.send(), Refusal.CODE_UNKNOWN)

    @needs("coupons.redeem")
    async def test_a_used_code_is_refused(self, rig: Rig, backend: Backend) -> None:
        """C9. A code that has been used is REFUSED to a new key, as used."""
        use = await _Use.of(rig, backend)
        assert (await use.send()).outcome is Outcome.DONE
        async with nothing_changes(rig):
            assert_refused(await _Use(backend, use.account, use.code).send(), Refusal.CODE_USED)

    @needs("coupons.redeem")
    async def test_a_code_is_refused_with_its_reason(self, rig: Rig, backend: Backend) -> None:
        """C10. A code that exists and cannot be used is REFUSED with the reason."""
        account = await _new_account(rig, backend)
        codes = await rig.refused_codes(account)
        assert codes
        for code, refusal in codes.items():
            async with nothing_changes(rig):
                assert_refused(await _Use(backend, account, code).send(), refusal)

    @needs("coupons.redeem")
    async def test_a_code_used_five_times_at_once_is_used_once(self, rig: Rig, backend: Backend) -> None:
        """C11. A code used under five keys at once is used once, and REFUSED to the others."""
        use = await _Use.of(rig, backend)
        async with effects(rig, "coupons.redeem", 1):
            ends = await asyncio.gather(*(_Use(backend, use.account, use.code).send() for _ in range(5)))
        outcomes = sorted(end.outcome for end in ends)
        assert outcomes == [Outcome.DONE] + [Outcome.REFUSED] * 4

    @needs("coupons.redeem", Reconciliation.KEY)
    async def test_a_redemption_sent_many_times_takes_effect_once(self, rig: Rig, backend: Backend) -> None:
        """C12. Rated KEY, one key sent five times at once takes effect once."""
        use = await _Use.of(rig, backend)
        async with effects(rig, "coupons.redeem", 1):
            ends = await asyncio.gather(*(use.send() for _ in range(5)))
        assert {end.outcome for end in ends} == {Outcome.DONE}
        assert set(ends) == {ends[0]}

    @needs("coupons.redeem")
    async def test_a_redemption_whose_answer_is_lost_is_reconciled(self, rig: Rig, backend: Backend) -> None:
        """C13. A redemption whose answer is lost is UNKNOWN, reconciled as declared, and happened once."""
        use = await _Use.of(rig, backend)
        async with effects(rig, "coupons.redeem", 1):
            await rig.lose_reply("coupons.redeem")
            assert await use.send() == Written.unknown()
            if backend.reconciliation is not Reconciliation.MANUAL:
                assert (await use.reconcile()).outcome is Outcome.DONE

    @needs("coupons.redeem")
    async def test_a_redemption_that_was_lost_is_never_taken_as_done(
        self, rig: Rig, backend: Backend
    ) -> None:
        """C14. A redemption that was lost on its way is UNKNOWN, and is never reconciled as DONE."""
        use = await _Use.of(rig, backend)
        async with effects(rig, "coupons.redeem", 0):
            await rig.lose_request("coupons.redeem")
            sent = await use.send()
            assert sent == Written.unknown()
            if backend.reconciliation in (Reconciliation.PROBE, Reconciliation.COMPARE):
                sent = await use.reconcile()
                assert sent in (Written.not_sent(), Written.unknown())
        if backend.reconciliation is Reconciliation.KEY or sent == Written.not_sent():
            async with effects(rig, "coupons.redeem", 1):
                assert (await use.send()).outcome is Outcome.DONE

    @needs("coupons.issue")
    async def test_coupons_whose_answer_is_lost_are_given_once(self, rig: Rig, backend: Backend) -> None:
        """C15. Coupons whose answer is lost are UNKNOWN; with a key, asked again, given once."""
        account, occasion = await _new_account(rig, backend), await rig.occasion()
        key = new_key(backend)
        async with effects(rig, "coupons.issue", 1):
            await rig.lose_reply("coupons.issue")
            port = coupons(backend)
            lost = await port.issue(account, occasion, idempotency_key=key, deadline=soon())
            assert lost == Written.unknown()
            if backend.reconciliation is Reconciliation.KEY:
                again = await port.issue(account, occasion, idempotency_key=key, deadline=soon())
                assert again.outcome is Outcome.DONE

    @needs("coupons.issue", Reconciliation.KEY)
    async def test_a_key_of_another_holders_coupons_is_a_conflict(self, rig: Rig, backend: Backend) -> None:
        """C16. A key that the CRM has stored for another holder's coupons is a conflict, never done."""
        occasion, key = await rig.occasion(), new_key(backend)
        one, other = await _new_account(rig, backend), await _new_account(rig, backend)
        port = coupons(backend)
        first = await port.issue(one, occasion, idempotency_key=key, deadline=soon())
        assert first.outcome is Outcome.DONE
        async with nothing_changes(rig):
            taken = await port.issue(other, occasion, idempotency_key=key, deadline=soon())
            assert_refused(taken, Refusal.KEY_TAKEN)
            assert await port.issue(one, occasion, idempotency_key=key, deadline=soon()) == first

    @needs("coupons.redeem", Reconciliation.KEY, Reconciliation.PROBE)
    async def test_a_key_of_another_redemption_is_a_conflict(self, rig: Rig, backend: Backend) -> None:
        """C17. A key that the CRM has stored for another holder or code is a conflict, never done."""
        first = await _Use.of(rig, backend)
        assert (await first.send()).outcome is Outcome.DONE
        others = [
            replace(first, account=await _new_account(rig, backend)),
            replace(first, code=await rig.code(first.account)),
        ]
        for other in others:
            async with nothing_changes(rig):
                reconciled = await other.reconcile()
            if backend.reconciliation is Reconciliation.KEY or reconciled.outcome is Outcome.REFUSED:
                assert_refused(reconciled, Refusal.KEY_TAKEN)
            assert reconciled.outcome is not Outcome.DONE


@dataclass(slots=True)
class _Use:
    """One use of a code, sent and reconciled as the adapter does it."""

    backend: Backend
    account: str
    code: str
    key: str = ""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.key = self.key or new_key(self.backend)

    @classmethod
    async def of(cls, rig: Rig, backend: Backend) -> _Use:
        """A new customer and a code they can use."""
        account = await _new_account(rig, backend)
        return cls(backend, account, await rig.code(account))

    async def send(self) -> Written:
        return await coupons(self.backend).redeem(
            self.account, self.code, idempotency_key=self.key, deadline=soon()
        )

    async def reconcile(self) -> Written:
        if self.backend.reconciliation is Reconciliation.KEY:
            return await self.send()
        assert isinstance(self.backend, ReconcilesRedeem)
        return await self.backend.reconcile_redeem(
            self.account, self.code, idempotency_key=self.key, since=self.since, deadline=soon()
        )


async def _new_account(rig: Rig, backend: Backend) -> str:
    return await coupons_account(backend, await rig.new_customer(new_person()))


async def _offers(backend: Backend, account: str) -> set[str]:
    """Ids of the offers, where the driver can tell them."""
    if not is_there(backend, "coupons.offers"):
        return set()
    return {offer.offer_id for offer in await coupons(backend).offers(account, deadline=soon())}
