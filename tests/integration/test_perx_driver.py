"""The Perx driver over real sockets: tokens as they live and die, faults with the stand-in's ledger as judge,
reconciling afterwards, and vouchers in two phases."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest

from contracts.sandbox import Sandbox, perx, running
from contracts.sandbox.faults import FaultKind
from contracts.sandbox.people import ANNA, BORIS
from crm_backends.conformance import ZONE, context
from crm_backends.conformance.port_calls import new_key, new_person, new_receipt
from crm_backends.model import ChannelConsents, Credit, Holder, Profile
from crm_backends.perx import PerxBackend, PerxSettings
from crm_backends.ports import (
    AccountUnknown,
    BackendUnavailable,
    Deadline,
    HolderUnnamed,
    Outcome,
    Refusal,
    Written,
)

ID = perx.IDENTIFIERS[ANNA.phone]
FIVE = Credit(Decimal(5), "Purchase")


def soon() -> Deadline:
    return Deadline.after(10)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Sandbox]:
    async with running("perx", absent_status=200) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: Sandbox) -> Sandbox:
    server.reset()
    return server


def build(sandbox: Sandbox, **chosen: Any) -> PerxBackend:
    fields = {
        "base_url": sandbox.base_url,
        "client_id": perx.CLIENT_ID,
        "client_secret": perx.CLIENT_SECRET,
        "loyalty_program_id": perx.LOYALTY_PROGRAM_ID,
        "identifier_secret": "a key of some length",
        "find_by": "merchant_search",
        "merchant_identifier": perx.MERCHANT_IDENTIFIER,
        "occasions": {"visit": perx.COFFEE},
        "promo_codes": {"GIFT": {"reward": perx.GIFT}, "HELLO": {"trigger": perx.WELCOME_TRIGGER}},
        "properties": {"locality": "city"},
        "consent_prefix": "may_",
    }
    return PerxBackend(PerxSettings.model_validate({**fields, **chosen}), context())


@pytest.fixture
async def backend(sandbox: Sandbox) -> AsyncIterator[PerxBackend]:
    driver = build(sandbox)
    await driver.open()
    yield driver
    await driver.close()
    assert sandbox.ledger().invalid_calls == []


def account(sandbox: Sandbox) -> perx.Account:
    found = cast(perx.Perx, sandbox.stand_in)._by_identifier(ID)
    assert found is not None
    return found


# -- tokens --------------------------------------------------------------------------------------------


async def test_each_kind_of_token_is_fetched_once(sandbox: Sandbox, backend: PerxBackend) -> None:
    for phone in (ANNA.phone, BORIS.phone, ANNA.phone):
        (found,) = await backend.find(phone=phone, email=None, birth_date=None, deadline=soon())
        await asyncio.gather(*(backend.balance(found.customer_id, deadline=soon()) for _ in range(5)))
        assert await backend.get(found.customer_id, deadline=soon())
    assert sandbox.ledger().tokens_issued == {"application": 1, "merchant": 1, "user": 2}


async def test_a_token_that_expired_is_renewed_and_the_write_happens_once(
    sandbox: Sandbox, backend: PerxBackend
) -> None:
    await backend.balance(ID, deadline=soon())
    assert (await backend.credit(ID, FIVE, idempotency_key="a", deadline=soon())).outcome is Outcome.DONE
    sandbox.fault("expire_token", "submitLoyaltyTransaction")
    assert (await backend.credit(ID, FIVE, idempotency_key="b", deadline=soon())).outcome is Outcome.DONE
    assert sandbox.ledger().count("points_credited") == 2
    written = await backend.issue(ID, "visit", idempotency_key="c", deadline=soon())  # its token is gone too
    assert written.outcome is Outcome.DONE
    assert sandbox.ledger().tokens_issued == {"application": 2, "user": 2}


async def test_a_customer_that_is_gone_is_told_from_wrong_credentials(
    sandbox: Sandbox, backend: PerxBackend
) -> None:
    await backend.balance(ID, deadline=soon())
    cast(perx.Perx, sandbox.stand_in).accounts.clear()
    with pytest.raises(AccountUnknown) as lost:
        await backend.balance(ID, deadline=soon())
    assert not lost.value.has_nothing
    written = await backend.redeem(ID, "gift", idempotency_key="r", deadline=soon())
    assert written == Written.refused(Refusal.NO_SUCH_CUSTOMER)


# -- faults --------------------------------------------------------------------------------------------

FAULTS: list[tuple[FaultKind, Outcome, int]] = [
    ("hang_up_before", Outcome.UNKNOWN, 0),
    ("hang_up_after", Outcome.UNKNOWN, 1),
    ("error_before", Outcome.UNKNOWN, 0),
    ("error_after", Outcome.UNKNOWN, 1),
    ("too_many", Outcome.NOT_SENT, 0),
    ("garbage", Outcome.UNKNOWN, 1),
    ("expire_token", Outcome.DONE, 1),
]
RECONCILED = {0: Outcome.NOT_SENT, 1: Outcome.DONE}


@pytest.mark.parametrize(("fault", "outcome", "effects"), FAULTS)
@pytest.mark.parametrize("by", ["points", "rules"])
async def test_a_credit_under_a_fault_happens_at_most_once_and_is_settled(
    sandbox: Sandbox, backend: PerxBackend, by: str, fault: FaultKind, outcome: Outcome, effects: int
) -> None:
    credit = FIVE if by == "points" else Credit(None, "Purchase", new_receipt())
    sandbox.fault(fault, "submitLoyaltyTransaction" if by == "points" else "submitTransaction")
    reference, since = new_key(), datetime.now(UTC)
    written = await backend.credit(ID, credit, idempotency_key=reference, deadline=soon())
    assert written.outcome is outcome
    ledger = sandbox.ledger()
    assert ledger.count("points_credited", reference=reference) == effects
    if outcome is Outcome.UNKNOWN:
        reconciled = await backend.reconcile_credit(
            ID, credit, idempotency_key=reference, since=since, before=None, deadline=soon()
        )
        # A sale that is not there may have been awarded nothing.
        assert reconciled.outcome is (RECONCILED[effects] if effects or by == "points" else Outcome.UNKNOWN)
        assert reconciled.points == (ledger.total("points_credited") if effects else None)
    assert ledger.count("points_credited") == effects


@pytest.mark.parametrize(("fault", "outcome", "effects"), FAULTS)
async def test_a_redemption_under_a_fault_happens_at_most_once_and_is_settled(
    sandbox: Sandbox, backend: PerxBackend, fault: FaultKind, outcome: Outcome, effects: int
) -> None:
    sandbox.fault(fault, "issueReward")
    since = datetime.now(UTC)
    written = await backend.redeem(ID, "GIFT", idempotency_key="r", deadline=soon())
    assert written.outcome is outcome
    if outcome is Outcome.UNKNOWN:
        reconciled = await backend.reconcile_redeem(
            ID, "GIFT", idempotency_key="r", since=since, deadline=soon()
        )
        assert reconciled.outcome is RECONCILED[effects]
    assert sandbox.ledger().count("voucher_issued") == effects


@pytest.mark.parametrize(("fault", "outcome", "effects"), FAULTS)
async def test_a_registration_under_a_fault_happens_at_most_once_and_is_settled(
    sandbox: Sandbox, backend: PerxBackend, fault: FaultKind, outcome: Outcome, effects: int
) -> None:
    sandbox.fault(fault, "createUserAccount")
    person = new_person()
    written = await backend.register(person, idempotency_key="r", deadline=soon())
    assert written.outcome is outcome
    if outcome is Outcome.UNKNOWN:
        reconciled = await backend.reconcile_register(person, idempotency_key="r", deadline=soon())
        assert reconciled.outcome is RECONCILED[effects]
    assert sandbox.ledger().count("customer_created") == effects


# -- references that are known already, promo codes that share a reward -----------------------------------


async def reconciled(backend: PerxBackend, credit: Credit, reference: str) -> Written:
    return await backend.reconcile_credit(
        ID, credit, idempotency_key=reference, since=datetime.now(UTC), before=None, deadline=soon()
    )


async def test_a_credit_under_a_known_reference_is_done_only_with_the_same_contents(
    sandbox: Sandbox, backend: PerxBackend
) -> None:
    """As after a restored database, or by a second adapter: reconciling asks before anything is sent."""
    sale = Credit(None, "Purchase", new_receipt())
    assert (await backend.credit(ID, FIVE, idempotency_key="R", deadline=soon())).outcome is Outcome.DONE
    assert (await backend.credit(ID, sale, idempotency_key="S", deadline=soon())).points == 12
    receipt = dataclasses.replace(new_receipt(), total_kopecks=125001)
    taken = Written.refused(Refusal.KEY_TAKEN)
    for credit, reference, points in ((FIVE, "R", 5), (sale, "S", 12)):
        assert (await reconciled(backend, credit, reference)).points == points
    for credit, reference in ((Credit(Decimal(6), ""), "R"), (Credit(None, "", receipt), "S")):
        assert await reconciled(backend, credit, reference) == taken
    assert sandbox.ledger().count("points_credited") == 2


async def test_a_credit_that_perx_has_twice_names_both_rows(sandbox: Sandbox, backend: PerxBackend) -> None:
    ends = [await backend.credit(ID, FIVE, idempotency_key="R", deadline=soon()) for _ in range(2)]
    assert sandbox.ledger().count("points_credited", reference="R") == 2
    written = await reconciled(backend, FIVE, "R")
    assert (written.outcome, written.points) == (Outcome.DONE, Decimal(5))
    assert written.entries == tuple(end.crm_reference for end in ends)


async def test_promo_codes_that_share_a_reward_do_not_vouch_for_each_other(sandbox: Sandbox) -> None:
    codes = {"SPRING": {"reward": perx.DISCOUNT}, "MAY": {"reward": perx.DISCOUNT}}
    backend = build(sandbox, promo_codes=codes)
    await backend.open()
    since = datetime.now(UTC)
    sandbox.fault("hang_up_before", "issueReward")
    assert await backend.redeem(ID, "MAY", idempotency_key="lost", deadline=soon()) == Written.unknown()

    async def reconcile(driver: PerxBackend) -> Written:
        return await driver.reconcile_redeem(ID, "MAY", idempotency_key="lost", since=since, deadline=soon())

    # The discount that the customer has from the start was issued just now, too.
    assert await reconcile(backend) == Written.unknown()
    for voucher in cast(perx.Perx, sandbox.stand_in).vouchers.values():
        voucher.valid_from -= timedelta(days=1)
    assert await reconcile(backend) == Written.not_sent()
    assert (await backend.redeem(ID, "SPRING", idempotency_key="r", deadline=soon())).outcome is Outcome.DONE
    # This process knows whose voucher that is, another one cannot.
    other = build(sandbox, promo_codes=codes)
    await other.open()
    assert [await reconcile(driver) for driver in (backend, other)] == [Written.not_sent(), Written.unknown()]
    for driver in (backend, other):
        await driver.close()


# -- registrations while the searches are behind -----------------------------------------------------------

BY_TOKEN = {"identifier": "token", "send_phone": True}
BY_PHONE = {"find_by": None, "merchant_identifier": None}


@pytest.fixture
async def lagging() -> AsyncIterator[Sandbox]:
    """Its searches show a new customer after a minute, which is never here."""
    async with running("perx", search_seconds=60) as sandbox:
        yield sandbox
        assert sandbox.ledger().invalid_calls == []


@asynccontextmanager
async def opened(sandbox: Sandbox, count: int, chosen: Mapping[str, Any]) -> AsyncIterator[list[PerxBackend]]:
    """Drivers as of so many processes."""
    drivers = [build(sandbox, **chosen) for _ in range(count)]
    for driver in drivers:
        await driver.open()
    yield drivers
    for driver in drivers:
        await driver.close()


@pytest.mark.parametrize("chosen", [BY_PHONE, BY_TOKEN])
async def test_a_registration_sent_again_unseen_makes_no_second_customer(
    lagging: Sandbox, chosen: Mapping[str, Any]
) -> None:
    person, reference = new_person(), new_key()
    async with opened(lagging, 3, chosen) as drivers:
        lagging.fault("hang_up_after", "createUserAccount")
        lost = await drivers[0].register(person, idempotency_key=reference, deadline=soon())
        assert lost == Written.unknown()
        ends = [
            await driver.register(person, idempotency_key=reference, deadline=soon()) for driver in drivers
        ]
        ends.append(await drivers[0].reconcile_register(person, idempotency_key=reference, deadline=soon()))
    assert {end.outcome for end in ends} == {Outcome.DONE}
    assert len({end.crm_reference for end in ends}) == 1
    assert lagging.ledger().count("customer_created") == 1


@pytest.mark.parametrize("chosen", [BY_PHONE, BY_TOKEN])
async def test_a_registration_refused_while_nobody_can_be_seen_is_no_refusal(
    lagging: Sandbox, chosen: Mapping[str, Any]
) -> None:
    """Not even the customer's own token works yet: in doubt, and DONE as soon as the customer is seen."""
    person, reference = new_person(), new_key()
    async with opened(lagging, 2, chosen) as (first, second):
        assert (
            await first.register(person, idempotency_key=reference, deadline=soon())
        ).outcome is Outcome.DONE
        lagging.fault("error_before", "getCustomer", times=None, status=404)
        refused = await second.register(person, idempotency_key=reference, deadline=soon())
        assert refused == Written.unknown()
        lagging.clear_faults()
        reconciled = await second.reconcile_register(person, idempotency_key=reference, deadline=soon())
        assert reconciled.outcome is Outcome.DONE
    assert lagging.ledger().count("customer_created") == 1


async def test_a_reference_of_somebody_else_gives_no_stranger(sandbox: Sandbox) -> None:
    """Two databases that count alike, as by references of the version before."""
    one, other = new_person(), new_person()
    async with opened(sandbox, 2, BY_TOKEN) as (first, second):
        reference = "koshelek-registration-1"
        assert (await first.register(one, idempotency_key=reference, deadline=soon())).outcome is Outcome.DONE
        taken = Written.refused(Refusal.KEY_TAKEN)
        assert await second.register(other, idempotency_key=reference, deadline=soon()) == taken
        assert await second.reconcile_register(other, idempotency_key=reference, deadline=soon()) == taken
        again = await second.register(other, idempotency_key=new_key(), deadline=soon())
        assert again.outcome is Outcome.DONE
        assert await second.find(phone=one.phone, email=None, birth_date=None, deadline=soon())
    assert sandbox.ledger().count("customer_created") == 2


async def test_a_late_answer_leaves_the_credit_in_doubt(sandbox: Sandbox, backend: PerxBackend) -> None:
    sandbox.fault("late", "submitLoyaltyTransaction", seconds=0.6)
    written = await backend.credit(ID, FIVE, idempotency_key="r", deadline=Deadline.after(0.3))
    assert written == Written.unknown()
    reconciled = await backend.reconcile_credit(
        ID, FIVE, idempotency_key="r", since=datetime.now(UTC), before=None, deadline=soon()
    )
    assert (reconciled.outcome, reconciled.points) == (Outcome.DONE, Decimal(5))


@pytest.mark.parametrize("operation", ["listTransactionsHistory", "listVouchers", "searchUserAccount"])
async def test_a_reconciliation_that_cannot_ask_claims_nothing(
    sandbox: Sandbox, backend: PerxBackend, operation: str
) -> None:
    sandbox.fault("error_before", operation, times=None)
    now = datetime.now(UTC)
    reconciling = {
        "listTransactionsHistory": lambda: backend.reconcile_credit(
            ID, FIVE, idempotency_key="r", since=now, before=None, deadline=Deadline.after(1)
        ),
        "listVouchers": lambda: backend.reconcile_redeem(
            ID, "gift", idempotency_key="r", since=now, deadline=Deadline.after(1)
        ),
        "searchUserAccount": lambda: backend.reconcile_register(
            new_person(), idempotency_key="r", deadline=Deadline.after(1)
        ),
    }
    with pytest.raises(BackendUnavailable):
        await reconciling[operation]()


async def test_an_update_half_done_is_not_told_as_not_sent(sandbox: Sandbox) -> None:
    backend = build(sandbox, send_names=True)
    await backend.open()
    sandbox.fault("too_many", "updateCustomer", times=None)
    written = await backend.update(ID, Profile(first_name="Anya", locality="Omsk"), deadline=soon())
    await backend.close()
    assert written == Written.unknown()
    assert (account(sandbox).first_name, sandbox.ledger().count("customer_updated")) == ("Anya", 1)


# -- people --------------------------------------------------------------------------------------------


async def test_changes_at_once_lose_nothing(sandbox: Sandbox, backend: PerxBackend) -> None:
    account(sandbox).personal_properties["rate"] = 1.25
    ends = await asyncio.gather(
        backend.update(ID, Profile(locality="Omsk"), deadline=soon()),
        *(
            backend.set_consents(ID, ChannelConsents(frozenset({channel}), frozenset()), deadline=soon())
            for channel in ("sms", "email", "call", "push")
        ),
    )
    assert {end.outcome for end in ends} == {Outcome.DONE}
    kept = account(sandbox).personal_properties
    channels = {f"may_{channel}": True for channel in ("sms", "email", "call", "push")}
    birthday = ANNA.birth_date.isoformat()
    assert kept == {"birthday": birthday, "rate": Decimal("1.25"), "city": "Omsk", **channels}


async def test_the_account_of_a_holder_whom_another_crm_keeps(backend: PerxBackend) -> None:
    """``1004`` is somebody's number in another CRM; here the phone decides."""
    holder = Holder("2900000000001", "1004", Profile(phone=ANNA.phone))
    assert await backend.points_account(holder, deadline=soon()) == ID
    assert await backend.coupons_account(holder, deadline=soon()) == ID
    nobody = dataclasses.replace(holder, profile=Profile(phone="+79998887766"))
    assert await backend.points_account(nobody, deadline=soon()) is None
    unnamed = dataclasses.replace(holder, profile=Profile())
    with pytest.raises(HolderUnnamed):
        await backend.points_account(unnamed, deadline=soon())


async def test_nothing_personal_reaches_perx_by_default(sandbox: Sandbox) -> None:
    backend = build(sandbox, properties={}, find_by=None, merchant_identifier=None, consent_prefix=None)
    await backend.open()
    person = new_person()
    written = await backend.register(person, idempotency_key="r", deadline=soon())
    assert written.crm_reference is not None
    await backend.update(written.crm_reference, person, deadline=soon())
    (found,) = await backend.find(phone=person.phone, email=person.email, birth_date=None, deadline=soon())
    await backend.close()
    assert found.customer_id == written.crm_reference
    kept = cast(perx.Perx, sandbox.stand_in)._by_identifier(written.crm_reference)
    assert kept is not None
    assert (kept.first_name, kept.last_name, kept.phone, kept.email) == (None, None, None, None)
    assert kept.personal_properties == {}


# -- what the stand-in has from the start --------------------------------------------------------------


async def test_a_failed_burn_is_no_movement(backend: PerxBackend) -> None:
    boris = perx.IDENTIFIERS[BORIS.phone]
    entries = await backend.entries(boris, limit=10, deadline=soon())
    assert [entry.amount for entry in entries] == [BORIS.points]
    aging = await backend.entries(ID, limit=10, deadline=soon())
    assert [entry.amount for entry in aging] == [250, 400, ANNA.points]
    assert [entry.valid_until is not None for entry in aging] == [True, True, False]
    today = datetime.now(ZONE).date()
    (purchase,) = await backend.purchases(
        boris, since=today - timedelta(days=30), until=today, deadline=soon()
    )
    assert (purchase.amount_kopecks, purchase.bonuses) == (800000, BORIS.points)


async def test_a_trigger_is_fired_once_and_never_settled(sandbox: Sandbox, backend: PerxBackend) -> None:
    assert await backend.redeem(ID, "hello", idempotency_key="r", deadline=soon()) == Written.done()
    assert sandbox.ledger().count("trigger_fired") == 1
    sandbox.fault("hang_up_after", "fireTrigger")
    written = await backend.redeem(ID, "hello", idempotency_key="s", deadline=soon())
    assert written == Written.unknown()
    reconciled = await backend.reconcile_redeem(
        ID, "hello", idempotency_key="s", since=datetime.now(UTC), deadline=soon()
    )
    assert reconciled == Written.unknown()
    assert sandbox.ledger().count("trigger_fired") == 2


# -- vouchers in two phases ----------------------------------------------------------------------------


async def test_a_voucher_is_reserved_released_and_used_once(sandbox: Sandbox, backend: PerxBackend) -> None:
    voucher = (await backend.offers(ID, deadline=soon()))[0].offer_id
    for move in (
        backend.reserve_voucher,
        backend.release_voucher,
        backend.reserve_voucher,
        backend.confirm_voucher,
    ):
        assert await move(ID, voucher, deadline=soon()) == Written.done(voucher)
    assert await backend.voucher_state(ID, voucher, deadline=soon()) == "redeemed"
    again = await backend.reserve_voucher(ID, voucher, deadline=soon())
    assert again == Written.refused(Refusal.CODE_USED)
    ledger = sandbox.ledger()
    kinds = ("voucher_reserved", "voucher_released", "voucher_redeemed")
    assert [ledger.count(kind, reference=voucher) for kind in kinds] == [2, 1, 1]


async def test_a_voucher_of_somebody_else_cannot_be_used(sandbox: Sandbox, backend: PerxBackend) -> None:
    (theirs,) = await backend.offers(perx.IDENTIFIERS[BORIS.phone], deadline=soon())
    for move in (backend.reserve_voucher, backend.confirm_voucher, backend.release_voucher):
        written = await move(ID, theirs.offer_id, deadline=soon())
        assert written == Written.refused(Refusal.CODE_UNKNOWN)
    assert sandbox.ledger().effects == []


@pytest.mark.parametrize(("fault", "outcome", "effects"), FAULTS)
async def test_a_reservation_under_a_fault_is_settled_by_the_vouchers_state(
    sandbox: Sandbox, backend: PerxBackend, fault: FaultKind, outcome: Outcome, effects: int
) -> None:
    voucher = (await backend.offers(ID, deadline=soon()))[0].offer_id
    sandbox.fault(fault, "redeemVoucher")
    assert (await backend.reserve_voucher(ID, voucher, deadline=soon())).outcome is outcome
    state = await backend.voucher_state(ID, voucher, deadline=soon())
    assert state == ("reserved" if effects else "issued")
    assert sandbox.ledger().count("voucher_reserved") == effects
