"""What the monitoring is told, read as Prometheus reads it, and the alert rules made of it."""

from __future__ import annotations

import http.client
import re
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from adapter.loyalty.model import OPEN, OperationState
from adapter.store.monitoring import _IN_ORDER, _WAITING
from crm_backends.ports import BackendUnavailable, Deadline
from tests.integration.processes import LOGIN, PASSWORD, basic, free_ports
from tests.integration.test_processes import ready_count, serve, settings_file, until

from .conftest import Adapter, StartAdapter, new_phone
from .test_review import PHONE, held_receipt, held_registration, send

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """Every sample by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


async def scrape(adapter: Adapter) -> tuple[str, Samples]:
    """``/metrics`` of the management port."""
    async with TestClient(TestServer(await adapter.service.management_application())) as client:
        response = await client.get("/metrics")
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        text = await response.text()
    return text, samples(text)


@pytest.fixture
async def adapter(start: StartAdapter) -> Adapter:
    return await start(receipts={"wait": 0}, delivery={"in_process": False})


async def test_what_waits_is_counted_by_kind_and_state(adapter: Adapter) -> None:
    _, before = await scrape(adapter)
    assert value(before, "koshelek_operations", kind="receipt", state="held") == 0
    assert value(before, "koshelek_oldest_waiting_seconds", kind="receipt") == 0
    waiting = [await send(adapter) for _ in range(3)]
    await held_receipt(adapter)
    registration = await held_registration(adapter)
    await adapter.sql(
        "UPDATE koshelek.operations SET recorded_at = now() - interval '20 minutes' WHERE id = ANY($1)",
        [waiting[0].id, registration],
    )
    begun = await adapter.service.operations.begin(waiting[2].id)
    assert begun is not None
    text, after = await scrape(adapter)
    counts = {
        (dict(labels)["kind"], dict(labels)["state"]): count
        for (name, labels), count in after.items()
        if name == "koshelek_operations" and count
    }
    assert counts == {
        ("receipt", "recorded"): 2,
        ("receipt", "sent"): 1,
        ("receipt", "held"): 1,
        ("registration", "held"): 1,
    }
    assert 1200 <= value(after, "koshelek_oldest_waiting_seconds", kind="receipt") < 1300
    assert value(after, "koshelek_oldest_waiting_seconds", kind="registration") == 0
    assert 1200 <= value(after, "koshelek_oldest_held_seconds", kind="registration") < 1300
    for private in (PHONE[1:], waiting[0].card, "1250448795"):
        assert private not in text
    await adapter.service.operations.end(begun, OperationState.DONE)
    assert value((await scrape(adapter))[1], "koshelek_operations", kind="receipt", state="sent") == 0


async def test_calls_are_counted_by_method_and_status(adapter: Adapter) -> None:
    phone = new_phone()
    await adapter.register(phone=f"+{phone}")
    for _ in range(3):
        await adapter.get("/v1/card", msisdn=phone)
    await adapter.get("/v1/card/1234567890123")
    await adapter.call("GET", "/v1/card", headers={"Authorization": "Basic eDp5"})
    _, found = await scrape(adapter)
    assert value(found, "koshelek_request_seconds_count", call="find_card", status="200") == 3
    assert value(found, "koshelek_request_seconds_count", call="find_card", status="401") == 1
    assert value(found, "koshelek_request_seconds_count", call="card_info", status="422") == 1
    assert value(found, "koshelek_refused_total", call="card_info", code="201") == 1
    assert value(found, "koshelek_request_seconds_bucket", call="find_card", status="200", le="+Inf") == 3


async def test_however_many_wait_they_are_counted_quickly(adapter: Adapter) -> None:
    await adapter.service.pool.execute(
        """
        INSERT INTO koshelek.operations (kind, identity, fingerprint, request, state)
        SELECT 'receipt', number::text, '', '{}', (ARRAY['recorded', 'unknown'])[1 + number % 2]
          FROM generate_series(1, 200000) AS number
        """,
        timeout=60,
    )
    started = time.perf_counter()
    _, found = await scrape(adapter)
    print(f"200,000 waiting: scraped in {(time.perf_counter() - started) * 1000:.0f} ms")
    assert value(found, "koshelek_operations", kind="receipt", state="recorded") == 10_000
    for _ in ("before the planner knows them", "after"):
        async with adapter.service.pool.acquire() as connection, connection.transaction():
            await connection.execute(_IN_ORDER)
            rows = await connection.fetch(f"EXPLAIN {_WAITING}", list(OPEN), 10_000)
        plan = "\n".join(row[0] for row in rows)
        assert "Index Scan using operations_open" in plan
        assert "Sort" not in plan
        await adapter.service.pool.execute("ANALYZE koshelek.operations", timeout=60)


async def test_without_a_database_nothing_is_claimed_about_what_waits(
    start: StartAdapter, database: str
) -> None:
    adapter = await start(delivery={"in_process": False})
    assert value((await scrape(adapter))[1], "koshelek_database_up") == 1
    await adapter.service.pool.execute("ALTER TABLE koshelek.operations RENAME TO elsewhere")
    _, found = await scrape(adapter)
    assert value(found, "koshelek_database_up") == 0
    assert not any(name == "koshelek_operations" for name, _ in found)


async def test_a_busy_database_is_not_taken_for_one_that_is_away(
    start: StartAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = await start(delivery={"in_process": False}, database={"pool_size": 2, "acquire_timeout": 0.05})
    monkeypatch.setattr("adapter.bootstrap._READY_PATIENCE", 0.05)
    async with adapter.service.pool.acquire(), adapter.service.pool.acquire():
        _, found = await scrape(adapter)
        assert await adapter.service.problem() is None
    assert value(found, "koshelek_database_up") == 1
    assert not any(name == "koshelek_operations" for name, _ in found)


async def test_a_crm_that_is_away_is_told_by_port(start: StartAdapter) -> None:
    (port,) = free_ports(1)  # nobody listens there
    adapter = await start(
        delivery={"in_process": False},
        crm={
            "users": {"driver": "postgres"},
            "points": {
                "driver": "pegke",
                "base_url": f"http://127.0.0.1:{port}",
                "client_id": "shop",
                "client_secret": "secret",
                "balance_path": "balance",
                "breaker_failures": 2,
                "attempts": 1,
            },
        },
    )
    _, before = await scrape(adapter)
    assert value(before, "koshelek_crm_away", port="points") == 0
    assert ("koshelek_crm_away", (("port", "users"),)) not in before  # our own database has no breaker
    points: Any = adapter.service.programme.points
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            await points.balance("1", deadline=Deadline.after(2))
    assert value((await scrape(adapter))[1], "koshelek_crm_away", port="points") == 1


def test_calls_of_all_workers_are_added_up(tmp_path: Path, database: str) -> None:
    settings_file(tmp_path, "")
    port, management = free_ports(2)
    with serve(tmp_path, database, port, management, "--workers", "2") as serving:
        until(lambda: ready_count(serving) == 2)
        with ExitStack() as callers:
            for _ in range(30):  # the kernel shares new connections out between the two
                caller = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                callers.callback(caller.close)
                caller.request("GET", "/v1/card", headers={"Authorization": basic(LOGIN, PASSWORD)})
                assert caller.getresponse().status == 200
        with urllib.request.urlopen(f"http://127.0.0.1:{management}/metrics", timeout=10) as answer:
            found = samples(answer.read().decode())
        assert value(found, "koshelek_request_seconds_count", call="find_card", status="200") == 30
        assert value(found, "koshelek_database_up") == 1
        serving.terminate()
        assert serving.ended().status == 0


async def test_every_alert_is_made_of_metrics_there_are_and_names_a_remedy(
    adapter: Adapter, project: Path
) -> None:
    await adapter.get("/v1/card/1234567890123")
    _, found = await scrape(adapter)
    # Told only of CRMs behind HTTP, and of those that are looked at to settle a doubt.
    there = {name for name, _ in found} | {"koshelek_crm_away", "koshelek_crm_visibility"}
    rules = yaml.safe_load((project / "deploy" / "alerts" / "rules.yaml").read_text(encoding="utf-8"))
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) > 0
    for rule in alerts:
        used = set(re.findall(r"\b(?:koshelek_\w+|up)\b", rule["expr"]))
        assert used
        assert used <= there | {"up"}, rule["alert"]  # Prometheus itself tells what is up
        assert "koshelek-adapter" in rule["annotations"]["remedy"]
