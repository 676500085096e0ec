"""The stage: a database with cards, a CRM, adapters and workers as processes, a caller that notes answers.

It may not know what goes wrong: plans come from the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import asyncpg

from adapter.store.migrate import migrate
from tests.faults.crms import Crm
from tests.faults.judge import Receipt, Verdict, judge, still_open
from tests.faults.launch import Plan
from tests.integration.processes import LOGIN, PASSWORD, basic, environment, free_ports
from tests.support import waiting

PATIENCE = 60.0
"""Seconds a condition may take on a machine that is busy with other things."""
DRIVE = "8710000101125654"
"""The fiscal drive of every receipt; document and sign tell them apart."""
ROOT = Path(__file__).resolve().parents[2]
_ZONE = ZoneInfo("Europe/Moscow")

_SETTINGS = """
[koshelek]
login = "{login}"
password = "{password}"
[server]
shutdown_timeout = {shutdown}
[management]
enabled = false
[database]
url = "{url}"
{database}
[receipts]
rate = 1
wait = 0.5
[delivery]
{delivery}
[log]
format = "json"
[[cards.ranges]]
prefix = "2900"
"""
DELIVERY: dict[str, object] = {
    "in_process": False,
    "call_timeout": 1.5,
    "reconcile_after": 1.5,
    "retry_first": 0.1,
    "retry_ceiling": 1.0,
    "retries_per_second": 200.0,
    "housekeeping": 2.0,
}
"""Of the section [delivery]: short, so that doubts are reconciled within seconds."""
_PATIENT = 20.0
"""Seconds for every call, where none may be given up."""
TAKE_OVER = 2.0
"""Seconds after which a dead worker's jobs are taken over; in the service it is longer."""


async def until(
    happened: Callable[[], bool | Awaitable[bool]], what: str | Callable[[], str], limit: float = PATIENCE
) -> None:
    """Wait for a condition; a failure says what did not happen."""
    await waiting.until(happened, what, limit)


@dataclass
class Process:
    """An adapter or a worker."""

    pid: int
    out: Path
    port: int
    status: int | None = None
    """Exit status once it has ended; negative: the signal that ended it."""

    @property
    def alive(self) -> bool:
        return self.status is None

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL

    def text(self) -> str:
        return self.out.read_text(encoding="utf-8", errors="replace") if self.out.exists() else ""

    def send(self, number: int) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    @property
    def frozen(self) -> bool:
        """Whether SIGSTOP has reached it."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        return False


class Nursery:
    """Forks adapters and workers from one process that has everything imported."""

    def __init__(self) -> None:
        self._processes: dict[int, Process] = {}
        self._early: dict[int, int] = {}
        """Exit statuses of processes that ended before their starter was told that they had begun."""
        self._orders: asyncio.Queue[int] = asyncio.Queue()
        self._turn = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, arguments: Sequence[str], plan: Plan, folder: Path, port: int = 0) -> Process:
        """Start a command; it is under way when this returns, not yet ready."""
        out = folder / f"{next(self._numbers)}-{arguments[0]}.out"
        order = {"arguments": list(arguments), "plan": plan.variable(), "out": str(out)}
        assert self._process is not None
        assert self._process.stdin is not None
        async with self._turn:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            await self._process.stdin.drain()
            pid = await asyncio.wait_for(self._orders.get(), PATIENCE)
        process = self._processes[pid] = Process(pid, out, port, self._early.pop(pid, None))
        return process

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "started" in said:
                self._orders.put_nowait(said["started"])
            elif "ended" in said:
                if said["ended"] in self._processes:
                    self._processes[said["ended"]].status = said["status"]
                else:
                    self._early[said["ended"]] = said["status"]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Nursery]:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.launch", "nursery"),
            cwd=ROOT,
            env=environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        reading = asyncio.create_task(self._read())
        try:
            yield self
        finally:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                await asyncio.wait_for(self._process.wait(), 20)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


@dataclass
class Stage:
    """Everything of one scene."""

    nursery: Nursery
    folder: Path
    url: str
    """The adapter's database, as the judge reaches it: never over a bad line."""
    crm: Crm
    session: aiohttp.ClientSession
    chance: random.Random
    settings: Path
    over_line: Path | None = None
    """Settings that reach the database over a bad line, where there is one."""
    receipts: list[Receipt] = field(default_factory=list)
    adapters: list[Process] = field(default_factory=list)
    workers: list[Process] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    breaks: list[tuple[int, str]] = field(default_factory=list)
    """Of the answers that were ``broken``: the adapter's port, and the name of the error."""
    _documents: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def adapter(
        self, plan: Plan | None = None, port: int | None = None, settings: Path | None = None
    ) -> Process:
        """Start an adapter and wait until it answers."""
        port = port or free_ports(1)[0]
        process = await self.nursery.start(
            ["serve", "--config", str(settings or self.settings), "--port", str(port)],
            plan or Plan(patience=TAKE_OVER),
            self.folder,
            port,
        )
        self.adapters.append(process)
        await self._ready(process, '"ready"')
        return process

    async def worker(self, plan: Plan | None = None, settings: Path | None = None) -> Process:
        """Start a worker and wait until it works."""
        process = await self.nursery.start(
            ["worker", "--config", str(settings or self.settings)],
            plan or Plan(patience=TAKE_OVER),
            self.folder,
        )
        self.workers.append(process)
        await self._ready(process, '"delivering"')
        return process

    async def _ready(self, process: Process, word: str) -> None:
        await until(
            lambda: not process.alive or word in process.text(), lambda: f"a start: {process.text()[-500:]}"
        )
        assert process.alive or process.killed, process.text()[-2000:]

    def receipt(self, person: int | None = None, roubles: int | None = None) -> Receipt:
        """A new receipt, noted but not sent: each of a person has another sum unless it is given."""
        document = next(self._documents)
        person = person or self.chance.randint(1, self.crm.people)
        receipt = Receipt(person, card_number(person), document, roubles or document)
        self.receipts.append(receipt)
        return receipt

    async def send(self, receipt: Receipt, port: int | None = None, timeout: float = 10) -> str:
        """Send it once; the answer is noted."""
        port = port or self.chance.choice([one.port for one in self.adapters if one.alive] or [1])
        settled = datetime.now(_ZONE) - timedelta(hours=1)
        values = f"s={receipt.roubles}.00&fn={DRIVE}&i={receipt.document}&fp=1&n=1"
        body = {"qrCode": f"t={settled:%Y%m%dT%H%M}&{values}", "cardNumber": receipt.card}
        try:
            async with self.session.post(
                f"http://127.0.0.1:{port}/v1/promo/qrCode",
                json=body,
                timeout=aiohttp.ClientTimeout(timeout),
            ) as response:
                said = await response.json()
                assert response.status in (200, 422), (response.status, said)
        except aiohttp.ClientConnectorError:
            answer = "away"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            answer = "broken"
            self.breaks.append((port, type(error).__name__))
        else:
            answer = said["code"] if response.status == 422 else said["status"]
            if answer == "credited":
                answer += f" {said['points']}"
        receipt.answers.append(answer)
        self.answers[answer.partition(" ")[0]] += 1
        return answer

    async def deliver(self, receipt: Receipt, limit: float = PATIENCE) -> None:
        """Send it until it is accepted, as Koshelek repeats a call that failed."""
        end = time.monotonic() + limit
        pause = 0.05
        while not (await self.send(receipt)).startswith(("credited", "accepted")):
            assert time.monotonic() < end, f"{receipt} was not accepted within {limit} s"
            await asyncio.sleep(pause * self.chance.uniform(0.5, 1))
            pause = min(pause * 2, 1.0)

    async def load(self, count: int, callers: int = 16) -> None:
        """Deliver so many new receipts, from so many callers at once."""
        left = iter(range(count))

        async def caller() -> None:
            for _ in left:
                await self.deliver(self.receipt())

        async with asyncio.TaskGroup() as group:
            for _ in range(min(callers, count)):
                group.create_task(caller())

    async def settled(self, limit: float = PATIENCE) -> Verdict:
        """Wait until nothing is under way any more, and judge. What never ends is lost, and judged so.

        ``limit``: seconds in which nothing more may have ended, on a machine that is busy.
        """
        least, end = len(self.receipts) + 1, 0.0
        while left := await still_open(self.url):
            if left < least:
                least, end = left, time.monotonic() + limit
            if time.monotonic() > end:
                break
            await asyncio.sleep(0.05)
        return await judge(self.url, self.crm, self.receipts, DRIVE)

    async def sql(self, statement: str, *arguments: Any) -> Any:
        """First value of a statement, straight from the database."""
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()


def card_number(person: int) -> str:
    return str(2_900_000_000_000 + person)


async def seed(url: str, crm: Crm, tables: Callable[[str], Awaitable[object]]) -> None:
    """Bring the database to the adapter's schema, with an active card for everybody."""
    await tables(url)
    connection = await asyncpg.connect(url)
    try:
        numbers = [card_number(person) for person in range(1, crm.people + 1)]
        await connection.execute(
            """
            INSERT INTO koshelek.cards
                (number, barcode_number, barcode_type, state, users_reference, points_reference, issued_at)
            SELECT number, number, 'CODE_128', 'active', person::text, account, now()
              FROM unnest($1::text[], $2::int[], $3::text[]) AS seeded (number, person, account)
            """,
            numbers,
            list(range(1, crm.people + 1)),
            [crm.account(person) for person in range(1, crm.people + 1)],
        )
    finally:
        await connection.close()


async def _execute(url: str, statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


def _toml(values: dict[str, object]) -> str:
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())


@asynccontextmanager
async def set_up(
    nursery: Nursery,
    folder: Path,
    url: str,
    crm: Crm,
    *,
    reached_by: str | None = None,
    database: dict[str, object] | None = None,
    delivery: dict[str, object] | None = None,
    beforehand: str = "",
    patient: bool = False,
    seed_of_chance: int = 1,
    tables: Callable[[str], Awaitable[object]] = migrate,
) -> AsyncIterator[Stage]:
    """A stage without a process yet; ``reached_by``: the database's URL over a bad line, if there is one.

    ``beforehand``: statements for the database while it is empty. ``tables``: makes the adapter's.
    ``patient``: no call is given up because the machine is busy with other tests.
    """
    if patient:
        crm.read_timeout = _PATIENT
        delivery = {"call_timeout": _PATIENT, **(delivery or {})}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(crm.running())
        if beforehand:
            await _execute(url, beforehand)
        await seed(url, crm, tables)
        settings, over_line = folder / "settings.toml", folder / "over-line.toml"
        for file, database_url in ((settings, url), (over_line, reached_by)):
            text = _SETTINGS.format(
                login=LOGIN,
                password=PASSWORD,
                url=database_url,
                shutdown=_PATIENT if patient else 3,
                database=_toml(database or {}),
                delivery=_toml(DELIVERY | (delivery or {})),
            )
            file.write_text(text + crm.toml(), encoding="utf-8")
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                headers={"Authorization": basic(LOGIN, PASSWORD)}, connector=aiohttp.TCPConnector(limit=200)
            )
        )
        stage = Stage(nursery, folder, url, crm, session, random.Random(seed_of_chance), settings)
        stage.over_line = over_line if reached_by else None
        try:
            yield stage
        finally:
            crm.calm()
            for process in (*stage.adapters, *stage.workers):
                process.send(signal.SIGKILL)
            with contextlib.suppress(AssertionError):
                await until(
                    lambda: not any(one.alive for one in (*stage.adapters, *stage.workers)), "all ended", 10
                )
