"""What people see of held operations, and what their decisions change: the commands, and what is behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from adapter.errors import Code
from adapter.loyalty.idempotency_keys import new_key
from adapter.loyalty.model import CERTAINLY_NOT_SENT, CONFLICT, IN_DOUBT, NewOperation, OperationState
from adapter.loyalty.payloads import RegistrationPayload
from adapter.loyalty.review import CannotDecide
from adapter.process.embedded import EmbeddedServer
from adapter.store.migrate import latest_version, migrate, migrations
from adapter.store.review import PostgresReview
from crm_backends.model import Profile
from tests.integration.processes import Ended, run
from tests.support.waiting import until

from ..conftest import create_database
from .conftest import Adapter, StartAdapter, new_phone

QR = "/v1/promo/qrCode"
PHONE, NAME = "+79995550177", "Plantedname"
QUEUE = "koshelek.pgqueuer"


@dataclass(frozen=True)
class Sent:
    """A receipt that was accepted: what was sent, and the operation it became."""

    id: int
    card: str
    qr: str
    idempotency_key: str


@pytest.fixture
async def adapter(start: StartAdapter) -> Adapter:
    """An adapter that records and does not deliver until it is told to."""
    return await start(receipts={"wait": 0}, delivery={"in_process": False, "retry_first": 0.05})


@pytest.fixture
def review(adapter: Adapter) -> PostgresReview:
    return PostgresReview(adapter.service.gateway)


async def card_of_somebody(adapter: Adapter) -> str:
    """A card whose owner was not registered through the ledger."""
    customer = await adapter.register(phone=f"+{new_phone()}")
    return (await adapter.service.cards.issue(customer, None)).number


async def send(adapter: Adapter) -> Sent:
    """A receipt that waits to be delivered."""
    card, qr = await card_of_somebody(adapter), adapter.qr()
    assert (await adapter.post(QR, {"qrCode": qr, "cardNumber": card})).body["status"] == "accepted"
    operation = await adapter.sql("SELECT max(id) FROM koshelek.operations")
    key = await adapter.sql("SELECT reference FROM koshelek.operations WHERE id = $1", operation)
    return Sent(operation, card, qr, key)


async def hold(adapter: Adapter, operation_id: int) -> None:
    """Let it be sent and stay in doubt; its job is done then."""
    operations = adapter.service.operations
    begun = await operations.begin(operation_id)
    assert begun is not None
    assert await operations.lease(begun, f"account-{operation_id}", 3600)
    await operations.end(begun, OperationState.UNKNOWN)
    await operations.end(begun, OperationState.HELD)
    await adapter.sql(f"DELETE FROM {QUEUE} WHERE payload = $1", str(operation_id).encode())


async def held_receipt(adapter: Adapter) -> Sent:
    sent = await send(adapter)
    await hold(adapter, sent.id)
    return sent


async def held_registration(adapter: Adapter) -> int:
    operation, _ = await adapter.service.operations.record(
        NewOperation(
            identity=PHONE,
            card_number=None,
            fingerprint="",
            payload=RegistrationPayload(Profile(phone=PHONE, first_name=NAME)),
            idempotency_key=new_key(),
        )
    )
    await hold(adapter, operation.id)
    return operation.id


async def repeat(adapter: Adapter, sent: Sent) -> Any:
    return await adapter.post(QR, {"qrCode": sent.qr, "cardNumber": sent.card})


@pytest.fixture
def receipts(tmp_path: Path, database: str) -> Callable[..., Awaitable[Ended]]:
    """Runs ``koshelek-adapter receipts`` as a person does, beside the running adapter."""

    async def command(*words: str, given: str = "", anew: bool = False) -> Ended:
        env = {"KOSHELEK_DATABASE__URL": database, "LOGNAME": "olga"}
        return await asyncio.to_thread(run, "receipts", *words, cwd=tmp_path, env=env, given=given, anew=anew)

    return command


Command = Callable[..., Awaitable[Ended]]


# --- looking -------------------------------------------------------------------------------------------


async def test_held_ones_are_listed_oldest_first_and_nothing_private_is_shown(
    adapter: Adapter, receipts: Command
) -> None:
    assert (await receipts("held", anew=True)).out == "nothing waits for a person\n"
    first = await held_receipt(adapter)
    second = await held_registration(adapter)
    third = await held_receipt(adapter)
    await send(adapter)  # not held
    printed = await receipts("held")
    assert [line.split()[0] for line in printed.out.splitlines()] == [
        "id", str(first.id), str(second), str(third.id), "->"
    ]  # fmt: skip
    heading, line = printed.out.splitlines()[:2]
    assert "key" in heading.split()
    assert first.idempotency_key in line
    assert "receipts recheck ID asks the CRM" in printed.out
    assert f"***{first.card[-4:]}" in printed.out
    cut = await receipts("held", "--json", "--limit", "1")
    shown = json.loads(cut.out)
    assert [row["id"] for row in shown] == [first.id]
    assert (printed.err, cut.err) == ("", "only 1 are shown, there are more (--limit)\n")
    assert shown[0] | {"recorded": "", "sent": "", "held": ""} == {
        "id": first.id,
        "kind": "receipt",
        "state": "held",
        "key": first.idempotency_key,
        "reference": first.idempotency_key,
        "card": f"***{first.card[-4:]}",
        "attempt": 1,
        "recorded": "",
        "sent": "",
        "tried": None,
        "next": None,
        "held": "",
        "finished": None,
        "waiting": "0 min",
        "detail": None,
        "reason": None,
        "may_double": True,
        "points": "62",
        "code": None,
        "crm_reference": None,
        "fn": "***654",
        "i": f"***{dict(part.split('=') for part in first.qr.split('&'))['i'][-3:]}",
        "fp": "***795",
    }
    only = json.loads((await receipts("held", "--kind", "registration", "--json")).out)
    assert [row["id"] for row in only] == [second]
    revealed = await receipts("show", str(second), "--reveal", anew=True)
    for done in (printed, revealed, await receipts("list", "--json", anew=True)):
        for private in (PHONE, PHONE[1:], NAME, first.card, "1250448795", "8710000101125654", "1250.00"):
            assert private not in done.text


async def test_the_list_is_filtered_and_reveals_only_when_asked(adapter: Adapter, receipts: Command) -> None:
    waiting, other = await send(adapter), await held_receipt(adapter)

    async def ids(*words: str) -> list[int]:
        return [row["id"] for row in json.loads((await receipts("list", "--json", *words)).out)]

    assert await ids("--state", "recorded") == [waiting.id]
    assert await ids("--card", other.card) == [other.id]
    assert await ids("--kind", "receipt") == [other.id, waiting.id]
    assert await ids("--kind", "receipt", "--limit", "1") == [other.id]
    assert await ids("--since", "2199-01-01") == []
    assert await ids("--since", "2020-01-01T00:00", "--kind", "receipt") == [other.id, waiting.id]
    revealed = json.loads((await receipts("list", "--json", "--reveal", "--card", other.card)).out)[0]
    assert (revealed["card"], revealed["total"]) == (other.card, "1250.00")
    assert (revealed["fn"], revealed["fp"]) == ("8710000101125654", "1250448795")


async def test_the_history_tells_doubts_and_decisions(adapter: Adapter, receipts: Command) -> None:
    sent = await held_receipt(adapter)
    again = ("requeue", str(sent.id), "--note", "not there", "--yes")
    assert (await receipts(*again, anew=True)).status == 0
    await hold(adapter, sent.id)
    done = ("settle", str(sent.id), "--as", "credited", "--note", "seen now")
    assert (await receipts(*done, anew=True)).status == 0
    shown = json.loads((await receipts("show", str(sent.id), "--json")).out)
    history = [(row["from"], row["to"], row["attempt"], row["by"], row["note"]) for row in shown["history"]]
    assert history == [
        ("sent", "unknown", 1, None, None),
        ("unknown", "held", 1, None, None),
        ("held", "recorded", 1, "olga", "not there"),
        ("sent", "unknown", 2, None, None),
        ("unknown", "held", 2, None, None),
        ("held", "done", 2, "olga", "seen now"),
    ]
    text = (await receipts("show", str(sent.id))).out
    assert "held -> done, attempt 2, by olga: seen now" in text
    missing = await receipts("show", "999999")
    assert (missing.status, missing.err) == (1, "error: there is no operation 999999\n")
    for command in ("show", "recheck"):
        too_large = await receipts(command, str(2**63))
        assert too_large.status == 2
        assert "is not in the range" in too_large.err


async def test_every_attempt_is_told_with_its_time_and_why_it_came_to_nothing(
    adapter: Adapter, receipts: Command
) -> None:
    sent, operations = await send(adapter), adapter.service.operations
    first = await operations.begin(sent.id)
    assert first is not None
    assert await operations.again(first, "nothing listens on crm:443")
    second = await operations.begin(sent.id)
    assert second is not None
    while_it_is_sent = json.loads((await receipts("show", str(sent.id), "--json")).out)
    assert while_it_is_sent["detail"] is None, "it told of the first attempt"
    await operations.end(second, OperationState.DONE)
    shown = json.loads((await receipts("show", str(sent.id), "--json")).out)
    assert [(row["from"], row["to"], row["attempt"], row["note"]) for row in shown["history"]] == [
        ("sent", "recorded", 1, "nothing listens on crm:443")
    ]
    assert first.sent_at is not None
    assert datetime.fromisoformat(shown["history"][0]["sent"]) == first.sent_at.replace(microsecond=0)
    told = [line.split("  ", 1) for line in (await receipts("show", str(sent.id))).out.splitlines()[-5:]]
    assert [what for _, what in told] == [
        "recorded",
        "sent to the CRM, attempt 1",
        "sent -> recorded, attempt 1, by the service: nothing listens on crm:443",
        "sent to the CRM, attempt 2",
        "done, by the service",
    ]
    assert told[1][0] == first.sent_at.astimezone(adapter.service.settings.zone).isoformat(" ", "seconds")


async def test_of_many_attempts_the_first_ten_and_the_last_are_told(
    adapter: Adapter, receipts: Command
) -> None:
    sent, operations = await send(adapter), adapter.service.operations
    for _ in range(12):
        begun = await operations.begin(sent.id)
        assert begun is not None
        assert await operations.again(begun, "it does not answer")
    assert await adapter.sql("SELECT count(*) FROM koshelek.operation_events") == 10
    text = (await receipts("show", str(sent.id))).out
    assert [number for number in range(1, 13) if f"sent to the CRM, attempt {number}\n" in text] == [
        *range(1, 11), 12
    ]  # fmt: skip
    assert "(attempts whose times were not kept: 1" in text


async def test_the_normal_course_leaves_no_events(start: StartAdapter) -> None:
    adapter = await start(receipts={"wait": 5.0})
    card = await adapter.issue(phone=new_phone())
    answer = await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": card})
    assert answer.body["status"] == "credited"
    assert await adapter.sql("SELECT count(*) FROM koshelek.operation_events") == 0


# --- not waiting any longer ----------------------------------------------------------------------------


async def test_what_was_put_off_is_hurried(adapter: Adapter, receipts: Command) -> None:
    assert (await receipts("hurry")).out == "nothing was put off\n"
    sent = await send(adapter)
    await adapter.sql(f"UPDATE {QUEUE} SET execute_after = now() + interval '1 minute'")
    await adapter.service.start_delivery()
    assert (await receipts("hurry", "--kind", "promo_code")).out == "nothing was put off\n"
    assert (await repeat(adapter, sent)).body["status"] == "accepted"
    done = await receipts("hurry", "--kind", "receipt")
    assert (done.status, done.out, done.err) == (
        0,
        "1 will be looked at now; a doubt goes on waiting until the CRM can be believed\n",
        "",
    )

    async def credited() -> bool:
        return bool((await repeat(adapter, sent)).body["status"] == "credited")

    await until(credited)


async def test_hurrying_where_nobody_delivers_says_so(adapter: Adapter, receipts: Command) -> None:
    await send(adapter)
    assert (await receipts("hurry")).out == "nothing was put off\n"
    await adapter.sql(f"UPDATE {QUEUE} SET execute_after = now() - interval '1 minute'")
    assert (await receipts("hurry")).out == (
        "1 could be tried already, and nobody delivers; koshelek-adapter check says more\n"
        "nothing was put off\n"
    )


# --- sending again -------------------------------------------------------------------------------------


async def test_a_requeued_receipt_is_delivered_with_the_same_key(adapter: Adapter, receipts: Command) -> None:
    sent = await held_receipt(adapter)
    before = await adapter.service.operations.get(sent.id)
    done = await receipts("requeue", str(sent.id), "--note", "CRM was down", "--yes")
    assert (done.status, done.out, done.err) == (0, "1 will be sent again\n", "")
    assert await adapter.sql("SELECT count(*) FROM koshelek.account_leases") == 0
    await adapter.service.start_delivery()

    async def credited() -> bool:
        return bool((await repeat(adapter, sent)).body["status"] == "credited")

    await until(credited)
    after = await adapter.service.operations.get(sent.id)
    assert before is not None
    assert after is not None
    assert (after.attempt, after.idempotency_key) == (2, before.idempotency_key)
    assert (await adapter.get(f"/v1/card/{sent.card}")).body["card"]["bonus"]["total"] == "62"


async def test_a_doubtful_one_is_sent_again_only_after_a_yes(adapter: Adapter, receipts: Command) -> None:
    sent = await held_receipt(adapter)
    for given in ("n\n", ""):
        words = ("requeue", str(sent.id), "--without-asking", "--note", "why not")
        asked = await receipts(*words, given=given)
        assert asked.status == 1
        assert "credited twice" in asked.err
        assert str(sent.id) in asked.err
    assert await adapter.sql("SELECT state FROM koshelek.operations WHERE id = $1", sent.id) == "held"
    assert (await receipts(*words, given="y\n")).status == 0


async def test_one_that_never_got_through_needs_no_yes_unless_there_was_a_doubt_before(
    adapter: Adapter, receipts: Command
) -> None:
    sent, doubted = await send(adapter), await send(adapter)
    operations = adapter.service.operations
    for operation_id in (sent.id, doubted.id):
        begun = await operations.begin(operation_id)
        assert begun is not None
        if operation_id == doubted.id:
            await operations.end(begun, OperationState.UNKNOWN)
        await operations.end(begun, OperationState.HELD, reason=CERTAINLY_NOT_SENT)
    shown = json.loads((await receipts("held", "--json")).out)
    assert [(row["reason"], row["may_double"]) for row in shown] == [
        ("never got through", False),
        ("never got through", True),
    ]
    blindly = ("--without-asking", "--note", "CRM is back")
    assert (await receipts("requeue", str(doubted.id), *blindly)).status == 1
    done = await receipts("requeue", str(sent.id), "--note", "CRM is back")
    assert (done.status, done.err) == (0, "")


async def test_what_was_put_back_was_tried_and_not_sent(adapter: Adapter, receipts: Command) -> None:
    sent = await send(adapter)
    begun = await adapter.service.operations.begin(sent.id)
    assert begun is not None
    during = json.loads((await receipts("show", str(sent.id), "--json")).out)
    assert (during["sent"] is None, during["tried"]) == (False, None)
    assert await adapter.service.operations.again(begun, "nothing listens on db:5432")
    after = json.loads((await receipts("show", str(sent.id), "--json")).out)
    assert (after["sent"], after["tried"]) == (None, during["sent"])
    assert after["detail"] == "nothing listens on db:5432"
    put_off = "UPDATE koshelek.pgqueuer SET execute_after = '2040-01-02 03:04:05+00' WHERE payload = $1"
    await adapter.sql(put_off, str(sent.id).encode())
    text = (await receipts("show", str(sent.id))).out.splitlines()
    assert f"{'next':<14} 2040-01-02 06:04:05+03:00" in text, "the programme's zone, and its offset"


async def test_what_is_to_be_done_is_said_where_it_is_shown(adapter: Adapter, receipts: Command) -> None:
    sent = await held_receipt(adapter)
    shown = (await receipts("show", str(sent.id))).out.splitlines()
    assert f"{'key':<14} {sent.idempotency_key}" in shown
    assert any(line.startswith("may_double     yes: it may be in the CRM already") for line in shown)
    assert shown[-1].startswith(f"-> koshelek-adapter receipts recheck {sent.id} asks the CRM")


async def test_a_conflict_is_not_called_harmless_where_the_crm_honours_the_key(
    adapter: Adapter, receipts: Command
) -> None:
    """Sent again it would only come back as the same conflict."""
    sent, doubtful = await send(adapter), await send(adapter)
    for one, reason in ((sent, CONFLICT), (doubtful, IN_DOUBT)):
        begun = await adapter.service.operations.begin(one.id)
        assert begun is not None
        await adapter.service.operations.end(
            begun, OperationState.HELD, reason=reason, detail="points_credit.sql: its outcome is key_taken"
        )
    asked = (await receipts("recheck", "--all-held")).out
    assert f"operation {sent.id}: the CRM knows our key with other contents" in asked
    assert f"operation {doubtful.id}: sending it again has no second effect" in asked
    done = await receipts("requeue", str(sent.id), "--note", "why not")
    assert done.status == 1
    assert "once that is mended there, requeue it --without-asking" in done.err
    assert (
        await receipts("requeue", str(sent.id), "--without-asking", "--yes", "--note", "mended")
    ).status == 0


async def test_all_held_are_sent_again_and_others_left_alone(adapter: Adapter, receipts: Command) -> None:
    first, second = await held_receipt(adapter), await held_receipt(adapter)
    registration = await held_registration(adapter)
    done = await receipts("requeue", "--all-held", "--kind", "receipt", "--note", "CRM is back", "--yes")
    assert (done.status, done.out) == (0, "2 will be sent again\n")
    states = await adapter.sql(
        "SELECT array_agg(state ORDER BY id) FROM koshelek.operations WHERE id = ANY($1)",
        [first.id, second.id, registration],
    )
    assert sorted(states) == ["held", "recorded", "recorded"]
    jobs = await adapter.sql(
        f"SELECT count(*) FROM {QUEUE} WHERE payload = ANY($1)",
        [str(first.id).encode(), str(second.id).encode()],
    )
    assert jobs == 2


async def test_what_cannot_be_sent_again_is_told_and_the_rest_is(adapter: Adapter, receipts: Command) -> None:
    waiting, held = await send(adapter), await held_receipt(adapter)
    words = [str(waiting.id), str(held.id), "999999"]
    done = await receipts("requeue", *words, "--note", "try", "--by", "ivan", "--yes")
    assert (done.status, done.out) == (1, "1 will be sent again\n")
    assert done.err.splitlines() == [
        f"error: operation {waiting.id} is recorded, only a held one can be sent again",
        "error: there is no operation 999999",
    ]
    again = await receipts("requeue", str(held.id), "--note", "try", "--yes")
    assert again.status == 1
    assert f"operation {held.id} is recorded, only a held one can be sent again; ivan sent it again at" in (
        again.err
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("requeue", "--note", "x"), "name the operations, or give --all-held"),
        (("requeue", "1", "--all-held", "--note", "x"), "name the operations, or give --all-held"),
        (("requeue", "1", "--kind", "receipt", "--note", "x"), "--kind goes with --all-held"),
        (("requeue", "1", "--note", " "), "say with --note why (up to 500 characters)"),
        (("settle", "1", "--as", "done", "--note", "x", "--by", " "), "say with --by who decides"),
        (("settle", "1", "--as", "done", "--note", "x", "--points", "many"), "--points is a number"),
        (("settle", "1", "--as", "done", "--note", "x", "--points", "-1"), "--points is a number from 0"),
        (
            ("settle", "1", "--as", "done", "--note", "x", "--points", "62.505"),
            "--points has more than two decimals",
        ),
        (("settle", "1", "--as", "done", "--note", "x"), "there is no operation 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_wrong_words_are_one_sentence(receipts: Command, words: Sequence[str], sentence: str) -> None:
    done = await receipts(*words)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"error: {sentence}")
    assert len(done.err.splitlines()) == 1


# --- settling ------------------------------------------------------------------------------------------


async def test_a_receipt_settled_as_credited_is_answered_as_credited(
    adapter: Adapter, receipts: Command, review: PostgresReview
) -> None:
    sent, other = await held_receipt(adapter), await held_receipt(adapter)
    assert (await repeat(adapter, sent)).body["status"] == "accepted"
    done = await receipts("settle", str(sent.id), "--as", "credited", "--note", "seen in the CRM")
    assert (done.status, done.out, done.err) == (0, f"operation {sent.id} is done\n", "")
    assert (await repeat(adapter, sent)).body == {
        "status": "credited",
        "points": "62",
        "description": "Баллы за чек начислены",
    }
    await review.settle(other.id, OperationState.DONE, by="olga", note="less", points=Decimal("60"))
    assert (await repeat(adapter, other)).body["points"] == "60"
    assert await adapter.sql("SELECT count(*) FROM koshelek.account_leases") == 0
    with pytest.raises(CannotDecide, match="is already done; olga settled it at"):
        await review.settle(other.id, OperationState.DONE, by="ivan", note="more", points=Decimal("61"))
    again = await receipts("settle", str(sent.id), "--as", "credited", "--note", "twice")
    assert again.status == 0
    assert f"operation {sent.id} is already done; olga settled it at" in again.out
    other_way = await receipts("settle", str(sent.id), "--as", "refused", "--note", "twice")
    assert other_way.status == 1
    assert f"error: operation {sent.id} is already done; olga settled it at" in other_way.err


async def test_a_receipt_settled_as_refused_is_answered_as_refused(
    adapter: Adapter, review: PostgresReview
) -> None:
    sent = await held_receipt(adapter)
    await review.settle(sent.id, OperationState.REFUSED, by="olga", note="forged")
    assert (await repeat(adapter, sent)).code == Code.RECEIPT_REFUSED
    assert (await repeat(adapter, sent)).code == Code.RECEIPT_REFUSED


async def test_a_caller_who_waits_is_told_the_decision(start: StartAdapter) -> None:
    adapter = await start(receipts={"wait": 10.0}, server={"deadline": 15.0}, delivery={"in_process": False})
    review = PostgresReview(adapter.service.gateway)
    card = await card_of_somebody(adapter)
    call = asyncio.create_task(adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": card}))

    async def recorded() -> bool:
        return bool(await adapter.sql("SELECT count(*) FROM koshelek.operations WHERE kind = 'receipt'"))

    await until(recorded)
    operation_id = await adapter.sql("SELECT max(id) FROM koshelek.operations")
    begun = await adapter.service.operations.begin(operation_id)
    assert begun is not None
    await adapter.service.operations.end(begun, OperationState.UNKNOWN)
    await review.settle(operation_id, OperationState.DONE, by="olga", note="seen")
    assert (await asyncio.wait_for(call, 5)).body["status"] == "credited"
    late = await adapter.service.operations.end(begun, OperationState.REFUSED, code=Code.RECEIPT_REFUSED)
    assert late is None


async def test_a_registration_is_settled_with_the_person_and_keeps_no_profile(
    adapter: Adapter, review: PostgresReview
) -> None:
    registration = await held_registration(adapter)
    with pytest.raises(CannotDecide, match="is a registration") as lacking:
        await review.settle(registration, OperationState.DONE, by="olga", note="seen")
    assert lacking.value.needs == "customer"
    with pytest.raises(CannotDecide, match="points go with"):
        await review.settle(registration, OperationState.DONE, by="o", note="n", points=Decimal(1))
    customer = await adapter.register(phone=PHONE)
    await review.settle(registration, OperationState.DONE, by="olga", note="seen", customer=customer)
    assert await adapter.sql("SELECT request FROM koshelek.operations WHERE id = $1", registration) == "{}"
    assert await adapter.issue(phone=PHONE[1:])


async def test_a_refused_registration_may_come_again(adapter: Adapter, review: PostgresReview) -> None:
    registration = await held_registration(adapter)
    await review.settle(registration, OperationState.REFUSED, by="olga", note="not there")
    await adapter.service.start_delivery()
    assert await adapter.issue(phone=PHONE[1:])


async def test_what_is_being_delivered_cannot_be_settled(adapter: Adapter, review: PostgresReview) -> None:
    sent = await send(adapter)
    with pytest.raises(CannotDecide, match="is recorded: it is being delivered"):
        await review.settle(sent.id, OperationState.DONE, by="olga", note="x")


async def test_of_two_decisions_at_once_one_counts(adapter: Adapter, review: PostgresReview) -> None:
    for _ in range(5):
        sent = await held_receipt(adapter)
        outcomes = await asyncio.gather(
            review.settle(sent.id, OperationState.DONE, by="olga", note="a"),
            review.settle(sent.id, OperationState.REFUSED, by="ivan", note="b"),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, CannotDecide) for outcome in outcomes) == 1
        requeued, settled = await asyncio.gather(
            review.requeue([sent.id], by="olga", note="c"),
            review.requeue([sent.id], by="ivan", note="d"),
        )
        assert list(requeued) == list(settled) == [sent.id]
        decisions = await adapter.sql(
            "SELECT count(*) FROM koshelek.operation_events WHERE operation_id = $1 AND who IS NOT NULL",
            sent.id,
        )
        assert decisions == 1


# --- upgrade -------------------------------------------------------------------------------------------


async def test_a_database_of_the_version_before_is_upgraded_with_its_rows(
    postgresql: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await create_database(postgresql, "template0")
    before = [entry for entry in migrations() if entry[0] <= 3]
    monkeypatch.setattr("adapter.store.migrate.migrations", lambda: before)
    assert await migrate(url) == (0, 3)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            """
            INSERT INTO koshelek.operations
                   (kind, identity, fingerprint, request, state, attempt, finished_at)
            SELECT 'receipt', 'fn:i:' || number, '', '{"points": "5"}', state, 1,
                   CASE WHEN state = 'done' THEN now() END
              FROM unnest(ARRAY['held', 'done', 'unknown']) WITH ORDINALITY AS row (state, number)
            """
        )
        monkeypatch.undo()
        assert await migrate(url) == (3, latest_version())
        assert await migrate(url) == (latest_version(), latest_version())
        rows = await connection.fetch("SELECT state, reason FROM koshelek.operations ORDER BY id")
        assert [tuple(row) for row in rows] == [("held", None), ("done", None), ("unknown", None)]
        await connection.execute("UPDATE koshelek.operations SET state = 'held', reason = 'r' WHERE id = 3")
        events = await connection.fetch("SELECT operation_id, who, note FROM koshelek.operation_events")
        assert [tuple(row) for row in events] == [(3, None, "r")]
    finally:
        await connection.close()
