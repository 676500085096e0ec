"""Held operations are asked about: what the CRM has is settled, and nothing is sent that may be there
already."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from adapter.loyalty.model import Operation, OperationKind
from contracts.sandbox import Sandbox, perx
from contracts.sandbox import running as sandbox_running
from tests.integration.processes import Ended, run
from tests.support.waiting import until

from .conftest import Adapter, StartAdapter, new_phone
from .held_receipts import QR, held, over_perx

CRM = """
driver = "perx"
base_url = "{url}"
client_id = "{id}"
client_secret = "{secret}"
loyalty_program_id = {programme}
identifier_secret = "only for tests, and long enough"
occasions = {{ visit = {reward} }}
"""
Command = Callable[..., Awaitable[Ended]]


@pytest.fixture
async def crm() -> AsyncIterator[Sandbox]:
    async with sandbox_running("perx") as sandbox:
        yield sandbox


@pytest.fixture
async def adapter(start: StartAdapter, crm: Sandbox) -> Adapter:
    """An adapter over Perx that records and does not deliver receipts until it is told to."""
    return await start(**over_perx(crm))


@pytest.fixture
def receipts(tmp_path: Path, database: str, crm: Sandbox) -> Command:
    """Runs ``koshelek-adapter receipts`` as a person does, beside the running adapter."""
    section = CRM.format(
        url=crm.base_url,
        id=perx.CLIENT_ID,
        secret=perx.CLIENT_SECRET,
        programme=perx.LOYALTY_PROGRAM_ID,
        reward=perx.COFFEE,
    )
    (tmp_path / "koshelek-adapter.toml").write_text(
        f'[database]\nurl = "{database}"\n[coupons]\nreceipt_occasion = "visit"\n[crm]{section}',
        encoding="utf-8",
    )

    async def command(*words: str, given: str = "") -> Ended:
        env = {"LOGNAME": "olga"}
        return await asyncio.to_thread(run, "receipts", *words, cwd=tmp_path, env=env, given=given)

    return command


def credits(crm: Sandbox) -> int:
    return len(crm.ledger().select("points_credited"))


async def state_of(adapter: Adapter, operation: Operation) -> str:
    return str(await adapter.sql("SELECT state FROM koshelek.operations WHERE id = $1", operation.id))


async def test_what_is_found_is_settled_and_gives_its_coupons(
    adapter: Adapter, crm: Sandbox, receipts: Command
) -> None:
    there, missing = await held(adapter, times=1), await held(adapter, times=0)
    asked = await receipts("recheck", "--all-held")
    assert asked.status == 0, asked
    assert f"operation {there.id}: found in the CRM; it is done now" in asked.out
    assert f"operation {missing.id}: not found, but this CRM has not proved" in asked.out
    assert (await state_of(adapter, there), await state_of(adapter, missing)) == ("done", "held")
    assert credits(crm) == 1
    given = "SELECT count(*) FROM koshelek.operations WHERE kind = 'coupons' AND identity = $1"
    assert await adapter.sql(given, f"receipt:{there.id}") == 1


async def test_requeue_asks_first_and_does_not_send_what_is_there(
    adapter: Adapter, crm: Sandbox, receipts: Command
) -> None:
    operations = [await held(adapter, times=1) for _ in range(3)]
    done = await receipts("requeue", "--all-held", "--note", "the CRM is back")
    assert (done.status, done.out) == (0, "3 were in the CRM and are done now\n0 will be sent again\n")
    await adapter.service.start_delivery()
    await asyncio.sleep(1)
    assert credits(crm) == 3
    assert [await state_of(adapter, one) for one in operations] == ["done"] * 3


async def test_what_is_not_found_is_sent_again_only_where_that_proves_something(
    adapter: Adapter, crm: Sandbox, receipts: Command
) -> None:
    operation = await held(adapter, times=0)
    refused = await receipts("requeue", str(operation.id), "--note", "why not")
    assert refused.status == 1
    assert "has not proved that it finds our writes" in refused.err
    assert "--without-asking" in refused.err
    await adapter.service.visibility.found(OperationKind.RECEIPT, 0.0)
    assert (await receipts("requeue", str(operation.id), "--note", "proved now")).status == 0
    assert await state_of(adapter, operation) == "unknown"
    await adapter.service.start_delivery()

    async def done() -> bool:
        return await state_of(adapter, operation) == "done"

    await until(done)
    assert credits(crm) == 1


async def test_blindly_it_is_sent_on_an_explicit_word(
    adapter: Adapter, crm: Sandbox, receipts: Command
) -> None:
    operation = await held(adapter, times=0)
    words = ("requeue", str(operation.id), "--without-asking", "--note", "looked there myself")
    assert (await receipts(*words, given="n\n")).status == 1
    assert (await receipts(*words, "--yes")).status == 0
    assert await state_of(adapter, operation) == "recorded"


async def test_what_the_crm_has_twice_waits_in_a_state_of_its_own(
    adapter: Adapter, crm: Sandbox, receipts: Command
) -> None:
    operation = await held(adapter, times=2)
    asked = await receipts("recheck", str(operation.id))
    assert "MORE THAN ONCE" in asked.out
    (shown,) = json.loads((await receipts("held", "--json")).out)
    assert shown["state"] == "doubled"
    entries = shown["crm_reference"].split(", ")
    assert len(set(entries)) == 2
    metrics = (await adapter.service.metrics.exposition()).decode()
    assert 'koshelek_operations{kind="receipt",state="doubled"} 1.0' in metrics
    refused = await receipts("requeue", str(operation.id), "--note", "no")
    assert "is doubled, only a held one can be sent again" in refused.err
    words = ("settle", str(operation.id), "--as", "credited", "--note", "one taken back")
    assert (await receipts(*words)).status == 0
    assert await state_of(adapter, operation) == "done"


async def test_a_crm_that_gives_no_answer_leaves_everything_as_it_is(
    adapter: Adapter, crm: Sandbox, receipts: Command
) -> None:
    operation = await held(adapter, times=0)
    crm.fault("error_before", "*", times=50, seconds=0, status=503)
    asked = await receipts("recheck", str(operation.id))
    assert asked.status == 1
    assert "the CRM gave no answer" in asked.out
    assert await state_of(adapter, operation) == "held"


async def test_a_wrong_decision_is_corrected_and_both_are_kept(adapter: Adapter, receipts: Command) -> None:
    operation = await held(adapter, times=1)
    number = str(operation.id)
    assert (await receipts("settle", number, "--as", "refused", "--note", "forged")).status == 0
    other_way = ("settle", number, "--as", "credited", "--note", "it is there after all")
    told = await receipts(*other_way, "--by", "ivan")
    assert (told.status, "--correct changes what a person decided" in told.err) == (1, True)
    assert (await receipts(*other_way, "--by", "ivan", "--correct")).status == 0
    assert (await receipts(*other_way, "--by", "ivan", "--correct", "--points", "60")).status == 0
    history = json.loads((await receipts("show", number, "--json")).out)["history"]
    decided = [(event["by"], event["from"], event["to"]) for event in history if event["by"]]
    assert decided == [
        ("olga", "held", "refused"),
        ("ivan", "refused", "done"),
        ("ivan", "done", "done"),
    ]
    assert await adapter.sql("SELECT points FROM koshelek.operations WHERE id = $1", operation.id) == 60


async def test_what_the_crm_itself_ended_is_nobodys_to_correct(adapter: Adapter, receipts: Command) -> None:
    card = await adapter.issue(phone=new_phone())
    assert (await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": card})).status == 200
    newest = await adapter.sql("SELECT max(id) FROM koshelek.operations WHERE kind = 'receipt'")

    async def done() -> bool:
        return bool(await adapter.sql("SELECT state = 'done' FROM koshelek.operations WHERE id = $1", newest))

    await until(done)
    told = await receipts("settle", str(newest), "--as", "refused", "--note", "no", "--correct")
    assert (told.status, "was ended by the CRM's own answer" in told.err) == (1, True)
    told = await receipts("settle", str(newest), "--as", "refused", "--note", "no")
    assert (told.status, "was ended by the CRM's own answer" in told.err) == (1, True)
    assert "--correct" not in told.err
    asked = await receipts("recheck", str(newest))
    assert (asked.status, "only held ones are asked about" in asked.out) == (1, True)
    assert (await receipts("requeue", "999999", "--note", "try")).out == ""


async def test_control_characters_do_not_reach_the_terminal(adapter: Adapter, receipts: Command) -> None:
    operation = await held(adapter, times=0)
    nasty = "\x1b[31mred\x9b\u202e\u200b"
    await adapter.sql("UPDATE koshelek.operations SET crm_reference = $2 WHERE id = $1", operation.id, nasty)
    for words in (("show", str(operation.id)), ("show", str(operation.id), "--json"), ("held", "--json")):
        out = (await receipts(*words)).out
        assert all(char.isprintable() or char == "\n" for char in out), words
        assert "\\u001b[31mred" in out
    shown = json.loads((await receipts("show", str(operation.id), "--json")).out)
    assert shown["crm_reference"] == nasty


async def test_the_proof_is_shown_and_forgotten(adapter: Adapter, receipts: Command) -> None:
    assert "receipt: not proved, found 0 times" in (await receipts("proof")).out
    await adapter.service.visibility.found(OperationKind.RECEIPT, 1.25)
    out = (await receipts("proof")).out
    assert re.search(r"receipt: proved since 20\S+ \S+, found 1 times, at worst after 1.25 s", out), out
    await adapter.service.visibility.not_found(OperationKind.RECEIPT)
    refuted = (await adapter.service.visibility.known())[OperationKind.RECEIPT].changed_at
    await adapter.service.visibility.found(OperationKind.RECEIPT, 0.0)
    (shown,) = [
        one for one in json.loads((await receipts("proof", "--json")).out) if one["kind"] == "receipt"
    ]
    assert (shown["proof"], shown["worst_seconds"]) == ("refuted", 1.25)
    assert refuted is not None
    assert abs(datetime.fromisoformat(shown["since"]) - refuted) < timedelta(seconds=1)
    metrics = (await adapter.service.metrics.exposition()).decode()
    assert 'koshelek_crm_visibility{kind="receipt",state="refuted"} 1.0' in metrics
    assert 'koshelek_crm_visibility_seconds{kind="receipt"} 1.25' in metrics
    assert "has to be proved anew" in (await receipts("proof", "--forget", "receipt")).out
    assert "receipt: not proved" in (await receipts("proof")).out
