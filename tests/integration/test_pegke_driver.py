"""The Pegke driver against the stand-in: tokens, faults with the ledger as judge, and receipts end to end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapter.loyalty.model import OperationKind
from contracts.sandbox import Sandbox, running
from contracts.sandbox import pegke as stand_in
from contracts.sandbox.faults import FaultKind
from contracts.sandbox.people import ANNA
from contracts.sandbox.server import now
from crm_backends.model import Credit, Holder, Profile
from crm_backends.pegke import PegkeBackend, PegkeSettings
from crm_backends.ports import (
    BackendUnavailable,
    Deadline,
    Outcome,
    Reconciliation,
    Refusal,
    Written,
)
from crm_backends.registry import BackendContext

from .conftest import Adapter, StartAdapter, new_phone
from .processes import Ended, run

CREDIT = Credit(Decimal(62), "Purchase")
ACCOUNT = ANNA.local_phone
LOOK_UPS = {"balance_path": "entity/user", "history_path": "entity/user/history"}
GIVE = {"merchant_v1": "merchantGivePoints", "site_v1_1": "siteGivePoints"}


def values_for(sandbox: Sandbox, dialect: str, **more: Any) -> dict[str, Any]:
    """Settings of the driver for the stand-in."""
    common = {"dialect": dialect, "history_timezone": "UTC", "attempts": 1, "read_timeout": 0.4}
    if dialect == "merchant_v1":
        own = {
            "base_url": f"{sandbox.base_url}/apiv1/",
            "consumer_code": stand_in.CONSUMER_CODE,
            "consumer_secret": stand_in.CONSUMER_SECRET,
        }
    else:
        own = {
            "base_url": f"{sandbox.base_url}/v1",
            "client_id": stand_in.CLIENT_ID,
            "client_secret": stand_in.CLIENT_SECRET,
        }
    return {**common, **own, **more}


@asynccontextmanager
async def opened(sandbox: Sandbox, dialect: str = "site_v1_1", **more: Any) -> AsyncIterator[PegkeBackend]:
    context = BackendContext(
        database_url="", database_pool=None, timezone=ZoneInfo("Europe/Moscow"), region="RU"
    )
    settings = PegkeSettings.model_validate(values_for(sandbox, dialect, **more))
    backend = PegkeBackend(settings, context)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def soon() -> Deadline:
    return Deadline.after(5)


async def give(backend: PegkeBackend, account: str = ACCOUNT) -> Written:
    return await backend.credit(account, CREDIT, idempotency_key="r-1", deadline=soon())


def asked_for_tokens(sandbox: Sandbox) -> int:
    return sandbox.ledger().calls["siteToken"]


def given(sandbox: Sandbox) -> int:
    return sandbox.ledger().count("points_credited")


# -- token ---------------------------------------------------------------------------------------------


async def test_calls_at_once_share_one_token() -> None:
    async with running("pegke", token_requests=1) as sandbox, opened(sandbox, **LOOK_UPS) as backend:
        balances = await asyncio.gather(*(backend.balance(ACCOUNT, deadline=soon()) for _ in range(20)))
        assert {balance.total for balance in balances} == {ANNA.points}
        assert (await give(backend)).outcome is Outcome.DONE
        assert asked_for_tokens(sandbox) == 1
        assert sandbox.ledger().invalid_calls == []


async def test_each_process_asks_for_each_token_once_and_not_before_its_end() -> None:
    """Asked earlier, Pegke gives the same token again, and soon refuses to."""
    async with (
        running("pegke", token_seconds=1, token_requests=1000) as sandbox,
        opened(sandbox) as first,
        AsyncExitStack() as stack,
    ):
        processes, ends = [first], []
        while (tokens := sandbox.ledger().tokens_issued["application"]) < 2:
            ends += [await give(backend) for backend in processes]
            if len(processes) == 1 and len(ends) > 10:  # takes over a token that is not new any more
                processes.append(await stack.enter_async_context(opened(sandbox)))
            await asyncio.sleep(0.02)
        assert {end.outcome for end in ends} == {Outcome.DONE}
        assert given(sandbox) == len(ends)
        assert asked_for_tokens(sandbox) <= tokens * len(processes)


async def test_a_token_that_pegke_forgot_is_renewed_and_points_are_given_once() -> None:
    async with running("pegke") as sandbox, opened(sandbox) as backend:
        await give(backend)
        sandbox.fault("expire_token", "siteGivePoints")
        assert (await give(backend)).outcome is Outcome.DONE
        assert asked_for_tokens(sandbox) == 2
        assert given(sandbox) == 2


async def test_a_token_given_up_by_one_process_is_renewed_by_the_other() -> None:
    async with running("pegke") as sandbox, AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(opened(sandbox)) for _ in range(2)]
        await give(one)
        await give(other)
        assert sandbox.ledger().tokens_issued["application"] == 1
        assert await one.invalidate_token(deadline=soon()) == Written.done()
        assert (await give(one)).outcome is Outcome.DONE
        assert (await give(other)).outcome is Outcome.DONE
        assert sandbox.ledger().tokens_issued["application"] == 2
        assert given(sandbox) == 4
        assert sandbox.ledger().invalid_calls == []


async def test_an_operator_gives_the_token_up_by_a_command(tmp_path: Path) -> None:
    async def commanded(*lines: str, anew: bool = False) -> Ended:
        (tmp_path / "koshelek-adapter.toml").write_text(
            "\n".join(("[crm.points]", 'driver = "pegke"', *lines))
        )
        return await asyncio.to_thread(run, "pegke", "invalidate-token", cwd=tmp_path, anew=anew)

    async with running("pegke") as sandbox, opened(sandbox) as backend:
        lines = [f"{key} = {json.dumps(value)}" for key, value in values_for(sandbox, "site_v1_1").items()]
        await give(backend)
        done = await commanded(*lines, anew=True)
        assert (done.status, done.out, done.err) == (0, "The token is given up.\n", "")
        assert (await give(backend)).outcome is Outcome.DONE
        assert sandbox.ledger().tokens_issued["application"] == 2
        wrong = await commanded(*(line.replace(stand_in.CLIENT_SECRET, "wrong") for line in lines))
        assert (wrong.status, wrong.out) == (1, "")
        assert wrong.err.startswith("error: pegke: ")
        assert sandbox.ledger().tokens_issued["application"] == 2


async def test_asked_for_tokens_too_often_the_driver_backs_off() -> None:
    async with running("pegke", token_requests=1, token_window=0.3) as sandbox, AsyncExitStack() as stack:
        assert all(
            finding.ok
            for finding in await (await stack.enter_async_context(opened(sandbox))).check()  # the one token
        )
        backend = await stack.enter_async_context(opened(sandbox, back_off=0.5, **LOOK_UPS))
        for _ in range(3):
            with pytest.raises(BackendUnavailable):
                await backend.balance(ACCOUNT, deadline=soon())
            assert await give(backend) == Written.not_sent()
        assert asked_for_tokens(sandbox) == 2  # the second was refused, and then the driver kept quiet
        await asyncio.sleep(0.6)
        assert (await give(backend)).outcome is Outcome.DONE
        assert given(sandbox) == 1


# -- faults --------------------------------------------------------------------------------------------

FAULTS: Mapping[FaultKind, tuple[Outcome, int, Outcome]] = {
    "hang_up_before": (Outcome.UNKNOWN, 0, Outcome.NOT_SENT),
    "hang_up_after": (Outcome.UNKNOWN, 1, Outcome.DONE),
    "error_before": (Outcome.UNKNOWN, 0, Outcome.NOT_SENT),
    "error_after": (Outcome.UNKNOWN, 1, Outcome.DONE),
    "garbage": (Outcome.UNKNOWN, 1, Outcome.DONE),
    "late": (Outcome.UNKNOWN, 1, Outcome.DONE),
    "too_many": (Outcome.NOT_SENT, 0, Outcome.NOT_SENT),
}
"""Fault -> how a credit ends, how often it happened, and what reconciling says."""


@pytest.mark.parametrize("dialect", GIVE)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_credit_is_sent_once_whatever_happens_and_settled_rightly(
    dialect: str, fault: FaultKind
) -> None:
    outcome, effects, reconciled = FAULTS[fault]
    async with running("pegke") as sandbox, opened(sandbox, dialect, **LOOK_UPS) as backend:
        before = await backend.balance(ACCOUNT, deadline=soon())
        since = now()
        sandbox.fault(fault, GIVE[dialect], seconds=0.6 if fault == "late" else 0)
        assert (await give(backend)).outcome is outcome
        assert sandbox.ledger().calls[GIVE[dialect]] == 1
        assert given(sandbox) == effects
        told = await backend.reconcile_credit(
            ACCOUNT, CREDIT, idempotency_key="r-1", since=since, before=before, deadline=soon()
        )
        assert told.outcome is reconciled
        assert told.points == (CREDIT.points if reconciled is Outcome.DONE else None)
        assert given(sandbox) == effects


async def test_given_and_spent_again_is_not_taken_for_not_sent() -> None:
    async with running("pegke") as sandbox, opened(sandbox, "merchant_v1") as backend:
        before = await backend.balance(ACCOUNT, deadline=soon())
        since = now()
        sandbox.fault("hang_up_after", "merchantGivePoints")
        await give(backend)
        assert isinstance(sandbox.stand_in, stand_in.Pegke)
        shop = sandbox.stand_in
        shop.shop.give(shop.customers[ACCOUNT], Decimal(-62), "till")
        told = await backend.reconcile_credit(
            ACCOUNT, CREDIT, idempotency_key="r-1", since=since, before=before, deadline=soon()
        )
        assert told == Written.unknown()


@pytest.mark.parametrize("status", [200, 404])
async def test_the_merchant_dialect_gives_to_existing_customers_alone(status: int) -> None:
    async with (
        running("pegke", absent_status=status) as sandbox,
        opened(sandbox, "merchant_v1") as backend,
    ):
        stranger = Holder("2900000000001", "1", Profile(phone="+79990009999"))
        assert await backend.points_account(stranger, deadline=soon()) is None
        assert await give(backend, "9990009999") == Written.refused(Refusal.NO_SUCH_CUSTOMER)
        assert given(sandbox) == 0


@pytest.mark.parametrize(("id_type", "account"), [("mob", ACCOUNT), ("cid", "C00001"), ("email", ANNA.email)])
async def test_the_site_knows_a_customer_by_phone_id_or_email(id_type: str, account: str) -> None:
    async with running("pegke") as sandbox, opened(sandbox, id_type=id_type, **LOOK_UPS) as backend:
        anna = Holder("2900000000001", "C00001", Profile(phone=ANNA.phone, email=ANNA.email))
        assert await backend.points_account(anna, deadline=soon()) == account
        assert (await give(backend, account)).outcome is Outcome.DONE
        assert (await backend.balance(account, deadline=soon())).total == ANNA.points + 62
        entries = await backend.entries(account, limit=5, deadline=soon())
        assert [entry.amount for entry in entries] == [62, ANNA.points]
        assert sandbox.ledger().invalid_calls == []


async def test_check_tells_a_balance_path_that_is_not_there() -> None:
    async with (
        running("pegke", site_lookup=False) as sandbox,
        opened(sandbox, check_account=ACCOUNT, **LOOK_UPS) as backend,
    ):
        credentials, finding = await backend.check()
        assert credentials.ok
        assert not finding.ok
        assert "balance_path" in finding.remedy


# -- through the adapter -------------------------------------------------------------------------------

DELIVERY = {"reconcile_after": 0.3, "call_timeout": 1.0, "retry_first": 0.1, "retry_ceiling": 0.2}
CREDITED = {"status": "credited", "points": "62", "description": "Баллы за чек начислены"}


async def started(start: StartAdapter, sandbox: Sandbox, dialect: str, **more: Any) -> Adapter:
    crm = {
        "users": {"driver": "postgres"},
        "points": {"driver": "pegke", **values_for(sandbox, dialect, **more)},
    }
    adapter = await start(crm=crm, delivery=DELIVERY, receipts={"wait": 15.0}, server={"deadline": 20.0})
    # Pegke has proved already that it shows what it was given; else the first doubt would wait for that.
    await adapter.service.visibility.found(OperationKind.RECEIPT, 0.0)
    return adapter


async def card_in_both(adapter: Adapter, sandbox: Sandbox) -> tuple[str, str]:
    """A card whose owner Pegke knows too, and the account there."""
    phone = new_phone()
    sandbox.add_customer(phone=phone[-10:])
    return await adapter.issue(phone=phone), phone[-10:]


@pytest.mark.parametrize(
    ("dialect", "faults"),
    [
        ("merchant_v1", ["hang_up_before", "hang_up_after", "error_after"]),
        ("site_v1_1", ["hang_up_after"]),
    ],
)
async def test_a_receipt_in_doubt_ends_credited_and_credited_once(
    start: StartAdapter, dialect: str, faults: list[FaultKind]
) -> None:
    async with running("pegke") as sandbox:
        adapter = await started(start, sandbox, dialect, **LOOK_UPS)
        for fault in faults:
            number, account = await card_in_both(adapter, sandbox)
            sandbox.fault(fault, GIVE[dialect])
            body = {"qrCode": adapter.qr("1250.00"), "cardNumber": number}
            for _ in range(2):
                answer = await adapter.post("/v1/promo/qrCode", body)
                assert (answer.status, answer.body) == (200, CREDITED), fault
            assert sandbox.ledger().count("points_credited", customer=account) == 1, fault
            card = (await adapter.get(f"/v1/card/{number}")).body["card"]
            assert (card["bonus"]["total"], card["bonus"]["available"]) == ("62", "62")
        assert await adapter.sql("SELECT count(*) FROM koshelek.operations WHERE state = 'held'") == 0
        assert sandbox.ledger().invalid_calls == []


async def test_many_receipts_of_one_customer_in_doubt_are_credited_once_each(start: StartAdapter) -> None:
    async with running("pegke") as sandbox:
        adapter = await started(start, sandbox, "merchant_v1", clock_slack=0)
        number, account = await card_in_both(adapter, sandbox)
        for fault in ("hang_up_after", "error_after"):
            sandbox.fault(fault, "merchantGivePoints")
        bodies = [{"qrCode": adapter.qr(f"{n}000.00"), "cardNumber": number} for n in (1, 2, 3)]
        answers = await asyncio.gather(*(adapter.post("/v1/promo/qrCode", body) for body in bodies))
        assert [answer.body["points"] for answer in answers] == ["50", "100", "150"]
        effects = sandbox.ledger().select("points_credited", customer=account)
        assert sorted(int(effect.amount or 0) for effect in effects) == [50, 100, 150]


async def test_as_documented_a_receipt_in_doubt_is_held_for_a_person(start: StartAdapter) -> None:
    async with running("pegke") as sandbox:
        adapter = await started(start, sandbox, "site_v1_1")
        assert adapter.service.by_port["points"] is not None
        assert adapter.service.by_port["points"].reconciliation is Reconciliation.MANUAL
        number, account = await card_in_both(adapter, sandbox)
        sandbox.fault("hang_up_after", "siteGivePoints")
        body = {"qrCode": adapter.qr("1250.00"), "cardNumber": number}
        answer = await adapter.post("/v1/promo/qrCode", body)
        assert (answer.status, answer.body["status"]) == (200, "accepted")
        assert await adapter.sql("SELECT count(*) FROM koshelek.operations WHERE state = 'held'") == 1
        assert sandbox.ledger().count("points_credited", customer=account) == 1


async def test_points_of_a_phone_that_went_to_another_person_are_not_shown_nor_added_to(
    start: StartAdapter,
) -> None:
    """Pegke calls accounts by phone; the users CRM knows that the card's owner has another one now."""
    async with running("pegke") as sandbox:
        adapter = await started(start, sandbox, "merchant_v1")
        number, old = await card_in_both(adapter, sandbox)
        newer = new_phone()
        sandbox.add_customer(phone=newer[-10:])
        assert (await adapter.get(f"/v1/card/{number}")).status == 200
        customer = (await adapter.service.cards.get(number)).users_reference  # type: ignore[union-attr]
        await adapter.sql("UPDATE crm.customers SET phone = $2 WHERE id::text = $1", customer, f"+{newer}")
        answer = await adapter.post("/v1/promo/qrCode", {"qrCode": adapter.qr(), "cardNumber": number})
        assert answer.body["status"] == "credited", answer
        assert sandbox.ledger().count("points_credited", customer=old) == 0
        assert sandbox.ledger().count("points_credited", customer=newer[-10:]) == 1
        card = (await adapter.get(f"/v1/card/{number}")).body["card"]
        assert card["bonus"]["total"] == "62"
