"""Scenarios P: a driver of the points port. They are told in prose in ``SCENARIOS.md``.

This module may not know any driver.
"""
# ruff: noqa: S101

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest

from crm_backends.comparing import balance_to_compare
from crm_backends.conformance.base import (
    Conformance,
    assert_refused,
    effects,
    is_there,
    needs,
    nothing_changes,
    soon,
)
from crm_backends.conformance.port_calls import (
    FIVE,
    five,
    new_key,
    new_person,
    new_receipt,
    of_port,
    points,
    points_account,
)
from crm_backends.conformance.rig import ZONE, Rig
from crm_backends.conformance.users import assert_as_declared
from crm_backends.model import Balance, Credit, Holder
from crm_backends.ports import (
    AccountUnknown,
    Backend,
    Outcome,
    ReconcilesCredit,
    Reconciliation,
    Refusal,
    Written,
)


class BasePoints(Conformance):
    """A driver of the points port."""

    @pytest.mark.parametrize("operation", of_port("points"))
    async def test_it_does_what_it_declares_and_refuses_the_rest(
        self, rig: Rig, backend: Backend, operation: str
    ) -> None:
        """P1. Every operation a driver declares is carried out; any other is refused before it is sent."""
        await assert_as_declared(rig, backend, operation)

    async def test_a_holder_has_an_account_of_their_own(self, rig: Rig, backend: Backend) -> None:
        """P2. Each holder the CRM knows has one account, always the same and nobody else's."""
        one, other = await rig.new_customer(new_person()), await rig.new_customer(new_person())
        account = await points_account(backend, one)
        assert account == await points_account(backend, one)
        assert account != await points_account(backend, other)

    async def test_a_holder_the_crm_does_not_know_has_no_account(self, rig: Rig, backend: Backend) -> None:
        """P3. A holder the CRM does not know has no account."""
        stranger = Holder(card_number="2900000000001", users_reference=rig.nobody, profile=new_person())
        assert await points(backend).points_account(stranger, deadline=soon()) is None

    @needs("points.balance")
    async def test_the_balance_is_what_was_earned_less_what_was_spent(
        self, rig: Rig, backend: Backend
    ) -> None:
        """P4. The balance is nothing at first, and then what was earned less what was spent."""
        account = await _new_account(rig, backend)
        assert (await _balance(backend, account)).total == 0
        for moved, total in ((12, 12), (-4, 8)):
            await rig.move(account, Decimal(moved))
            balance = await _balance(backend, account)
            assert balance.total == total
            assert 0 <= balance.available <= balance.total
            assert isinstance(balance.total, Decimal)
            assert isinstance(balance.available, Decimal)

    @needs("points.entries")
    async def test_movements_come_newest_first_and_spending_is_negative(
        self, rig: Rig, backend: Backend
    ) -> None:
        """P5. Movements come newest first, no more than asked for, and what was spent is negative."""
        account = await _new_account(rig, backend)
        for moved in (12, -4, 7):
            await rig.move(account, Decimal(moved))
        entries = await points(backend).entries(account, limit=10, deadline=soon())
        assert [entry.amount for entry in entries] == [7, -4, 12]
        assert all(isinstance(entry.amount, Decimal) for entry in entries)
        assert all(abs(entry.at - datetime.now(UTC)) < timedelta(hours=1) for entry in entries)
        fewer = await points(backend).entries(account, limit=2, deadline=soon())
        assert [entry.amount for entry in fewer] == [7, -4]

    @needs("points.purchases")
    async def test_purchases_are_of_whole_days(self, rig: Rig, backend: Backend) -> None:
        """P6. Purchases are of whole days in the programme's zone, both ends included, newest first."""
        account = await _new_account(rig, backend)
        day = datetime.now(ZONE).date() - timedelta(days=10)
        moments = [
            _at(day, time.min) - timedelta(minutes=1),
            _at(day, time.min),
            _at(day + timedelta(days=1), time(23, 59)),
            _at(day + timedelta(days=2), time.min),
        ]
        for number, moment in enumerate(moments, start=1):
            await rig.purchase(account, moment, 10000 * number)
        lines = await points(backend).purchases(
            account, since=day, until=day + timedelta(days=1), deadline=soon()
        )
        assert [(line.at, line.amount_kopecks) for line in lines] == [
            (moments[2], 30000),
            (moments[1], 20000),
        ]

    @needs("points.credit")
    async def test_a_credit_puts_its_points_on_the_account(self, rig: Rig, backend: Backend) -> None:
        """P7. A credit is DONE, takes effect once, and raises the balance by its points."""
        attempt = await _Attempt.of(rig, backend)
        before = await _known_balance(backend, attempt.account)
        async with effects(rig, "points.credit", 1):
            written = await attempt.send()
        assert written.outcome is Outcome.DONE
        assert written.points in (None, FIVE)
        if before is not None:
            assert (await _balance(backend, attempt.account)).total == before.total + FIVE

    @needs("points.credit")
    async def test_a_credit_without_an_amount_goes_by_the_rules_of_the_crm(
        self, rig: Rig, backend: Backend
    ) -> None:
        """P8. A credit without an amount goes by the rules of the CRM, or is REFUSED where it has none."""
        attempt = await _Attempt.of(rig, backend, Credit(None, "Purchase", new_receipt()))
        earlier = await rig.ledger()
        before = await _known_balance(backend, attempt.account)
        written = await attempt.send()
        if written.outcome is Outcome.DONE:
            assert written.points is not None
            assert written.points > 0
            if before is not None:
                assert (await _balance(backend, attempt.account)).total == before.total + written.points
        else:
            assert_refused(written)
            assert await rig.ledger() == earlier

    @needs("points.credit")
    async def test_a_credit_of_nobody_is_refused(self, rig: Rig, backend: Backend) -> None:
        """P9. A credit of an account nobody has is REFUSED as such."""
        async with nothing_changes(rig):
            written = await points(backend).credit(
                rig.nobody, five(rig), idempotency_key=new_key(backend), deadline=soon()
            )
        assert_refused(written, Refusal.NO_SUCH_CUSTOMER)

    @needs("points.credit", Reconciliation.KEY)
    async def test_a_credit_sent_many_times_takes_effect_once(self, rig: Rig, backend: Backend) -> None:
        """P10. Rated KEY, one key sent five times at once takes effect once."""
        attempt = await _Attempt.of(rig, backend)
        async with effects(rig, "points.credit", 1):
            ends = await asyncio.gather(*(attempt.send() for _ in range(5)))
        assert {end.outcome for end in ends} == {Outcome.DONE}
        assert set(ends) == {ends[0]}

    @needs("points.credit")
    async def test_a_credit_whose_answer_is_lost_is_settled(self, rig: Rig, backend: Backend) -> None:
        """P11. A credit whose answer is lost is UNKNOWN, reconciled as declared, and happened once."""
        attempt = await _Attempt.of(rig, backend)
        async with effects(rig, "points.credit", 1):
            await rig.lose_reply("points.credit")
            assert await attempt.send() == Written.unknown()
            if backend.reconciliation is not Reconciliation.MANUAL:
                reconciled = await attempt.reconcile()
                assert reconciled.outcome is Outcome.DONE
                assert reconciled.points == FIVE

    @needs("points.credit")
    async def test_a_credit_that_was_lost_is_never_taken_as_done(self, rig: Rig, backend: Backend) -> None:
        """P12. A credit that was lost on its way is UNKNOWN, and is never reconciled as DONE."""
        attempt = await _Attempt.of(rig, backend)
        async with effects(rig, "points.credit", 0):
            await rig.lose_request("points.credit")
            sent = await attempt.send()
            assert sent == Written.unknown()
            if backend.reconciliation in (Reconciliation.PROBE, Reconciliation.COMPARE):
                sent = await attempt.reconcile()
                assert sent in (Written.not_sent(), Written.unknown())
        if backend.reconciliation is Reconciliation.KEY or sent == Written.not_sent():
            async with effects(rig, "points.credit", 1):
                assert (await attempt.send()).outcome is Outcome.DONE

    @needs("points.credit", Reconciliation.PROBE, Reconciliation.COMPARE)
    async def test_movements_of_others_do_not_mislead_the_settlement(
        self, rig: Rig, backend: Backend
    ) -> None:
        """P13. Where others moved points meanwhile, a credit is reconciled rightly or stays UNKNOWN."""
        lost = await _Attempt.of(rig, backend)
        await rig.lose_request("points.credit")
        assert await lost.send() == Written.unknown()
        await rig.move(lost.account, Decimal(3))
        assert (await lost.reconcile()).outcome is not Outcome.DONE

        account = await _new_account(rig, backend)
        await rig.move(account, Decimal(3))
        done = await _Attempt.on(rig, backend, account)
        await rig.lose_reply("points.credit")
        assert await done.send() == Written.unknown()
        await rig.move(account, Decimal(-3))
        assert (await done.reconcile()).outcome is not Outcome.NOT_SENT

    @needs("points.credit", Reconciliation.PROBE)
    async def test_one_credit_is_not_taken_for_another(self, rig: Rig, backend: Backend) -> None:
        """P14. Rated PROBE, a credit is not mistaken for another of the same amount."""
        first = await _Attempt.of(rig, backend)
        assert (await first.send()).outcome is Outcome.DONE
        second = await _Attempt.on(rig, backend, first.account)
        await rig.lose_request("points.credit")
        assert await second.send() == Written.unknown()
        assert (await second.reconcile()).outcome is not Outcome.DONE

    @needs("points.credit", Reconciliation.KEY, Reconciliation.PROBE)
    async def test_a_key_of_another_amount_is_a_conflict(self, rig: Rig, backend: Backend) -> None:
        """P15. A key that the CRM has stored with another amount is a conflict, never done."""
        first = await _Attempt.of(rig, backend)
        assert (await first.send()).outcome is Outcome.DONE
        receipt = first.credit.receipt
        assert receipt is not None
        changed = (
            {"points": Decimal(7)}
            if rig.takes_points
            else {"receipt": replace(receipt, total_kopecks=receipt.total_kopecks * 2)}
        )
        other = replace(first, credit=replace(first.credit, **changed))
        async with nothing_changes(rig):
            assert_refused(await other.reconcile(), Refusal.KEY_TAKEN)
            assert (await first.reconcile()).points == FIVE

    @needs("points.credit", Reconciliation.KEY, Reconciliation.PROBE)
    async def test_a_key_of_another_account_is_a_conflict(self, rig: Rig, backend: Backend) -> None:
        """P16. A key that the CRM has stored for another account is a conflict, never done."""
        first = await _Attempt.of(rig, backend)
        assert (await first.send()).outcome is Outcome.DONE
        other = replace(first, account=await _new_account(rig, backend))
        async with nothing_changes(rig):
            assert_refused(await other.reconcile(), Refusal.KEY_TAKEN)

    @needs("points.credit", Reconciliation.PROBE, Reconciliation.COMPARE)
    async def test_a_credit_that_is_there_twice_is_told_as_twice(self, rig: Rig, backend: Backend) -> None:
        """P17. A credit that is there twice is told with both entries, and with the points of one."""
        attempt = await _Attempt.of(rig, backend)
        assert (await attempt.send()).outcome is Outcome.DONE
        await rig.double(attempt.account, attempt.key)
        reconciled = await attempt.reconcile()
        if backend.reconciliation is Reconciliation.PROBE or reconciled.outcome is Outcome.DONE:
            assert (reconciled.outcome, reconciled.points) == (Outcome.DONE, FIVE)
            assert len(reconciled.entries) == 2
        else:
            assert reconciled == Written.unknown()

    @needs("points.balance")
    async def test_an_account_that_nobody_has_is_no_balance_of_zero(self, rig: Rig, backend: Backend) -> None:
        """P18. An account that the CRM does not know is told as such: a zero would be somebody's loss."""
        with pytest.raises(AccountUnknown):
            await points(backend).balance(rig.nobody, deadline=soon())


@dataclass(slots=True)
class _Attempt:
    """One credit, sent and reconciled as the adapter does it."""

    backend: Backend
    account: str
    credit: Credit
    before: Balance | None
    """Read beforehand for drivers that compare."""
    key: str = ""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.key = self.key or new_key(self.backend)

    @classmethod
    async def of(cls, rig: Rig, backend: Backend, credit: Credit | None = None) -> _Attempt:
        """A credit for a new customer."""
        return await cls.on(rig, backend, await _new_account(rig, backend), credit)

    @classmethod
    async def on(cls, rig: Rig, backend: Backend, account: str, credit: Credit | None = None) -> _Attempt:
        compares = backend.reconciliation is Reconciliation.COMPARE
        before = await _balance(backend, account) if compares else None
        return cls(backend, account, credit or five(rig), before)

    async def send(self) -> Written:
        return await points(self.backend).credit(
            self.account, self.credit, idempotency_key=self.key, deadline=soon()
        )

    async def reconcile(self) -> Written:
        if self.backend.reconciliation is Reconciliation.KEY:
            return await self.send()
        assert isinstance(self.backend, ReconcilesCredit)
        return await self.backend.reconcile_credit(
            self.account,
            self.credit,
            idempotency_key=self.key,
            since=self.since,
            before=self.before,
            deadline=soon(),
        )


async def _new_account(rig: Rig, backend: Backend) -> str:
    return await points_account(backend, await rig.new_customer(new_person()))


async def _balance(backend: Backend, account: str) -> Balance:
    """The balance; nothing on an account that the CRM opens with the first credit."""
    return await balance_to_compare(points(backend), account, soon())


async def _known_balance(backend: Backend, account: str) -> Balance | None:
    """The balance, where the driver can tell it."""
    return await _balance(backend, account) if is_there(backend, "points.balance") else None


def _at(day: date, moment: time) -> datetime:
    return datetime.combine(day, moment, ZONE)
