"""Behind a real pgbouncer in transaction mode: what works, and what is said where a setting does not fit.

``tests/faults/test_two_of_each.py`` has the same under load, with kills; here the CRM is behind it, too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from crm_backends.pooler import loses_statements
from tests.faults.servers import Server, own_server, pgbouncer, pgbouncer_program
from tests.integration.processes import PASSWORD, Ended, Running, call, free_ports, run

pytestmark = [
    pytest.mark.programs,
    pytest.mark.skipif(
        pgbouncer_program() is None,
        reason="there is no pgbouncer here (Debian, Ubuntu: apt-get install pgbouncer)",
    ),
]


@dataclass(frozen=True)
class Pooled:
    """A server with the databases ``adapter`` and ``crm``, and a pgbouncer before it."""

    server: Server
    port: int

    def url(self, name: str, user: str = "postgres", more: str = "") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{name}?sslmode=disable{more}"


@pytest.fixture(scope="module")
async def pooled() -> AsyncIterator[Pooled]:
    with own_server() as server:
        for name in ("adapter", "crm"):
            await server.execute(f"CREATE DATABASE {name}")
        async with pgbouncer(server, size=4) as port:
            yield Pooled(server, port)


def settings(folder: Path, database: str, crm: str = "", port: int = 8080) -> None:
    """``database`` and ``crm``: lines of their sections."""
    (folder / "koshelek-adapter.toml").write_text(
        f'[koshelek]\npassword = "{PASSWORD}"\n[server]\nport = {port}\n[management]\nenabled = false\n'
        '[delivery]\nin_process = false\n[receipts]\nwait = 10\n[[cards.ranges]]\nprefix = "2900"\n'
        f"[database]\n{database}\n" + (f'[crm]\ndriver = "postgres"\n{crm}\n' if crm else ""),
        encoding="utf-8",
    )


async def looked_at(folder: Path) -> dict[str, dict[str, str]]:
    done = await asyncio.to_thread(run, "check", "--json", cwd=folder, timeout=60)
    return {line["subject"]: line for line in map(json.loads, done.out.splitlines())}


async def started(folder: Path) -> Ended:
    """``serve``, where it ends by itself."""
    return await asyncio.to_thread(run, "serve", cwd=folder, timeout=60)


@pytest.mark.parametrize("own", [True, False], ids=["a database of the CRM's own", "the adapter's"])
async def test_serve_and_worker_work_and_check_is_content(pooled: Pooled, tmp_path: Path, own: bool) -> None:
    port = free_ports(1)[0]
    crm = f'url = "{pooled.url("crm")}"\npooler = true\nmanage_schema = true' if own else ""
    settings(tmp_path, f'url = "{pooled.url("adapter")}"\npooler = true', crm, port)

    def shop() -> None:
        with ExitStack() as stack:
            for what, word in (("serve", '"ready"'), ("worker", '"delivering"'), ("worker", '"delivering"')):
                stack.enter_context(Running(what, cwd=tmp_path, name=what)).wait_for(word)
            for number in range(10):
                phone = f"791612{int(own)}{number:04}"
                card = call(port, "POST", "/v1/card/anonymous", {"phone": phone}).json["card"]["cardNumber"]
                moment = datetime.now(ZoneInfo("Europe/Moscow")) - timedelta(hours=1)
                qr = f"t={moment:%Y%m%dT%H%M}&s=100.00&fn=8710000101125654&i={number + 1}&fp={int(own)}1&n=1"
                credited = call(port, "POST", "/v1/promo/qrCode", {"qrCode": qr, "cardNumber": card})
                assert (credited.status, credited.json["status"]) == (200, "credited")

    await asyncio.to_thread(shop)
    found = await looked_at(tmp_path)
    assert [line for line in found.values() if line["state"] == "fail"] == []


async def test_the_setting_that_lacks_is_named(pooled: Pooled, tmp_path: Path) -> None:
    settings(tmp_path, f'url = "{pooled.url("adapter")}"')
    line = (await looked_at(tmp_path))["database"]
    assert (line["state"], line["remedy"]) == ("fail", "set database.pooler = true")
    assert "a pooler in transaction mode stands before the database adapter on 127.0.0.1" in line["detail"]
    done = await started(tmp_path)
    assert (done.status, "set database.pooler = true" in done.err) == (1, True)


async def test_the_setting_of_the_crm_that_lacks_is_named(pooled: Pooled, tmp_path: Path) -> None:
    crm = f'url = "{pooled.url("crm")}"\nmanage_schema = true'
    settings(tmp_path, f'url = "{pooled.url("adapter")}"\npooler = true', crm)
    line = (await looked_at(tmp_path))["crm postgres"]
    assert (line["state"], line["remedy"]) == ("fail", "set pooler = true")
    done = await started(tmp_path)
    assert (done.status, "set pooler = true" in done.err) == (1, True)


async def test_a_server_without_a_pooler_is_taken_for_none(pooled: Pooled) -> None:
    assert await loses_statements(pooled.url("adapter"))
    assert not await loses_statements(pooled.server.url("adapter"))


@pytest.mark.parametrize(
    ("name", "user", "more", "told", "remedy"),
    [
        (
            "adapter",
            "postgres",
            "&search_path=public",
            "the option search_path of",
            "ignore_startup_parameters",
        ),
        ("adapter", "postgres", "&options=-cjit%3Doff", "the option options of", "ignore_startup_parameters"),
        ("absent", "postgres", "", "knows no database absent", "[databases]"),
        ("adapter", "nobody", "", "refuses the user or the password", "auth_file"),
    ],
)
async def test_what_pgbouncer_turns_down_is_told(
    pooled: Pooled, tmp_path: Path, name: str, user: str, more: str, told: str, remedy: str
) -> None:
    settings(tmp_path, f'url = "{pooled.url(name, user, more)}"\npooler = true')
    line = (await looked_at(tmp_path))["database"]
    assert line["state"] == "fail"
    assert told in line["detail"]
    assert remedy in line["remedy"]
