"""All faults at random, under load, and then the account: ``python -m tests.faults.soak --receipts 100000``.

Two adapters and two workers on a PostgreSQL of their own deliver receipts to a CRM for each way to reconcile
a doubt, while processes are killed at random, stopped, frozen and given wrong clocks, the database is
restarted, its sessions ended and its clock moved by an hour, lines are cut, and the CRM fails before and
after the work, shows it late, stands still and then does what had queued up, and finishes what was cut off.
A caller repeats what failed, as Koshelek does, and notes every answer. Then the faults end, everything comes
to rest, and the CRM's ledger is held against the adapter's table and the caller's notes. Status 1: some were
lost or doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from tests.faults import crms
from tests.faults.crms import RATINGS, CompareCrm, ProbeCrm, Rating, SandboxCrm, draw_line_fault
from tests.faults.judge import Receipt, Verdict, still_open
from tests.faults.launch import Plan
from tests.faults.proxy import Fault, Proxy
from tests.faults.servers import Server, own_server
from tests.faults.stage import TAKE_OVER, Nursery, Process, Stage, set_up, until
from tests.integration.clocks import DATABASE_CLOCK, MOVE_DATABASE_CLOCK

CALLERS = 64
PEOPLE = 1500
UNDER_WAY = 1000
"""Receipts that may wait for their end before callers pause."""
_DEATHS = 12_000
"""A process dies at one of so many points it passes: some seconds of its work."""
_RECONCILE_AFTER = 2.0
_LATE = 1.1, 2.5
"""Seconds that a call takes which is cut off and finished all the same: less than 2 ``reconcile_after``."""
_BEHIND = 0.2, 0.6
"""Seconds by which history and balance are behind: at most three times the least, for the first that is
looked for may be the soonest."""
_REST, _TIMES_WORST = 30.0, 20.0
"""Seconds until everything is at rest, and how much longer for each second that the CRM was behind.

Without new credits a doubt is sent again when it has been missing for nine times as long, it is looked at
every three times, and of those on one account each waits for the one before. On a busy machine it is further
behind.
"""
AWAY = OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError
"""What asyncpg raises while the database is being restarted."""
_DATABASE_FAULTS: tuple[Fault, ...] = ("cut_before", "cut_after", "reset_before", "reset_after", "latency")


@dataclass
class Trouble:
    """Makes the faults, until told to stop, and keeps everything running that should run."""

    stage: Stage
    server: Server
    database_line: Proxy
    chance: random.Random
    happened: Counter[str] = field(default_factory=Counter)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _places: list[Process] = field(default_factory=list)
    _plans: int = 0

    async def run(self, pause: float) -> None:
        """A fault about every ``pause`` seconds, beside the deaths at random points."""
        watching = asyncio.gather(self._keep_alive(), self._keep_behind())
        kinds: Sequence[tuple[Callable[[], Awaitable[None]], int]] = (
            (self._kill, 3),
            (self._stop_one, 1),
            (self._freeze, 2),
            (self._jump, 2),
            (self._crm_fault, 10),
            (self._bad_line, 6),
            (self._crm_away, 2),
            (self._end_sessions, 3),
            (self._bad_database_line, 5),
            (self._restart_database, 1),
            (self._move_database_clock, 2),
            (self._crm_freezes, 2),
            (self._crm_finishes_late, 4),
        )
        acts, weights = zip(*kinds, strict=True)
        try:
            while not self._over.is_set():
                await self.chance.choices(acts, weights)[0]()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), pause * self.chance.uniform(0.2, 1.8))
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def stop(self) -> None:
        """No more faults; the processes are replaced by others without a plan."""
        self._over.set()

    async def calm(self) -> None:
        self.stage.crm.calm()
        self.database_line.calm()
        # Of credits sent by a clock that is off the movements do not tell, and no proof would ever come.
        await self.stage.sql(MOVE_DATABASE_CLOCK, 0.0)
        for process in self._places:
            process.send(signal.SIGKILL)
        await until(lambda: not any(process.alive for process in self._places), "all were killed")
        await asyncio.gather(self.stage.adapter(), self.stage.worker(), self.stage.worker())

    def _plan(self) -> Plan:
        self._plans += 1
        return Plan(
            at=("*",),
            rate=1 / _DEATHS,
            seed=self.chance.randrange(1 << 30),
            clock=self.chance.choice((-30.0, -2.0, 2.0, 30.0)),
            patience=TAKE_OVER,
        )

    async def start(self) -> None:
        """Two adapters and two workers; one of each reaches the database over the bad line."""
        stage, line = self.stage, self.stage.over_line
        self._places = list(
            await asyncio.gather(
                stage.adapter(self._plan()),
                stage.adapter(self._plan(), settings=line),
                stage.worker(self._plan()),
                stage.worker(self._plan(), settings=line),
            )
        )

    async def _keep_alive(self) -> None:
        """Start again what has died, as a supervisor does; adapters keep their port."""
        while True:
            await asyncio.sleep(0.1)
            for place, process in enumerate(self._places):
                if process.alive:
                    continue
                self.happened["death" if process.killed else "stop"] += 1
                settings = self.stage.over_line if place % 2 else None
                with contextlib.suppress(AssertionError):  # the database was away: the next round tries again
                    if place < 2:
                        started = self.stage.adapter(self._plan(), process.port, settings)
                    else:
                        started = self.stage.worker(self._plan(), settings)
                    self._places[place] = await started

    async def _kill(self) -> None:
        self.chance.choice(self._places).send(signal.SIGKILL)

    async def _stop_one(self) -> None:
        self.chance.choice(self._places).send(signal.SIGTERM)

    async def _freeze(self) -> None:
        self.happened["freeze"] += 1
        process = self.chance.choice(self._places)
        process.send(signal.SIGSTOP)
        await asyncio.sleep(self.chance.uniform(0.1, 1.0))
        process.send(signal.SIGCONT)

    async def _jump(self) -> None:
        self.happened["clock jump"] += 1
        self.chance.choice(self._places).send(signal.SIGUSR1)

    async def _crm_fault(self) -> None:
        for _ in range(self.chance.randint(1, 8)):
            if (fault := self.stage.crm.disturb(self.chance)) is not None:
                self.happened[f"CRM: {fault}"] += 1

    async def _bad_line(self) -> None:
        self.happened["bad line to the CRM"] += 1
        self.stage.crm.line.draw = draw_line_fault(self.chance, 0.2)
        await asyncio.sleep(self.chance.uniform(0.1, 0.6))
        self.stage.crm.line.calm()

    async def _crm_away(self) -> None:
        self.happened["CRM refuses connections"] += 1
        await self.stage.crm.line.down()
        await asyncio.sleep(self.chance.uniform(0.1, 0.8))
        await self.stage.crm.line.up()

    async def _end_sessions(self) -> None:
        self.happened["database sessions ended"] += 1
        with contextlib.suppress(*AWAY):
            await self.server.terminate()

    async def _bad_database_line(self) -> None:
        self.happened["bad line to the database"] += 1
        self.database_line.order(*self.chance.choices(_DATABASE_FAULTS, k=self.chance.randint(1, 10)))

    async def _move_database_clock(self) -> None:
        self.happened["database's clock moved"] += 1
        ahead = self.chance.choice((-3600.0, -60.0, 0.0, 60.0, 3600.0))
        with contextlib.suppress(*AWAY):
            await self.stage.sql(MOVE_DATABASE_CLOCK, ahead)

    async def _crm_freezes(self) -> None:
        if isinstance(self.stage.crm, SandboxCrm):
            self.happened["CRM stands still"] += 1
            self.stage.crm.sandbox.fault("freeze", seconds=self.chance.uniform(1.0, 4.0))

    async def _crm_finishes_late(self) -> None:
        crm = self.stage.crm
        if isinstance(crm, SandboxCrm):
            self.happened["CRM finishes late"] += 1
            times, seconds = self.chance.randint(1, 3), self.chance.uniform(*_LATE)
            crm.sandbox.fault("slow", crm.credit, times=times, seconds=seconds)

    async def _keep_behind(self) -> None:
        """Let what the CRM shows be behind what it has done, each time otherwise."""
        crm = self.stage.crm
        while isinstance(crm, ProbeCrm | CompareCrm):
            switch = "history_seconds" if isinstance(crm, ProbeCrm) else "balance_seconds"
            crm.switch(**{switch: self.chance.uniform(*_BEHIND)})
            await asyncio.sleep(0.1)

    async def _restart_database(self) -> None:
        how = self.chance.choice(("fast", "immediate"))
        self.happened[f"database restarted ({how})"] += 1
        await self.server.restart("fast" if how == "fast" else "immediate")


async def _call(stage: Stage, receipt: Receipt) -> None:
    """Deliver a receipt; some are sent by two at once, some again later."""
    if stage.chance.random() < 0.03:
        await asyncio.gather(stage.deliver(receipt, 120), stage.deliver(receipt, 120))
    else:
        await stage.deliver(receipt, 120)
    if stage.chance.random() < 0.03:
        await stage.send(stage.chance.choice(stage.receipts))


async def load(stage: Stage, receipts: int, until_: float, progress: Callable[[int], None]) -> None:
    """Send new receipts from many callers until there are enough or the time is over."""
    left = iter(range(receipts))
    done = 0
    room = asyncio.Event()
    room.set()

    async def caller() -> None:
        nonlocal done
        for _ in left:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(room.wait(), max(0.0, until_ - time.monotonic()))
            if time.monotonic() > until_:
                return
            await _call(stage, stage.receipt())
            done += 1
            progress(done)

    async def watch() -> None:
        """Callers wait while too many are under way, or the end would be a long time of rest."""
        while True:
            with contextlib.suppress(*AWAY):
                (room.clear if await still_open(stage.url) > UNDER_WAY else room.set)()
            await asyncio.sleep(0.5)

    async def call() -> None:
        await asyncio.gather(*[caller() for _ in range(CALLERS)])

    watching, calling = asyncio.create_task(watch()), asyncio.create_task(call())
    try:  # a watch that has ended lets nobody in any more
        await asyncio.wait([watching, calling], return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        await calling
    finally:
        calling.cancel()
        watching.cancel()
        await asyncio.gather(watching, calling, return_exceptions=True)


async def _worst(stage: Stage) -> float:
    """The longest it was seen to take the CRM to show a credit, in seconds; 0: it was not looked at."""
    return float(await stage.sql("SELECT max(worst_seconds) FROM koshelek.visibility") or 0.0)


@dataclass(frozen=True)
class Outcome:
    """The account of one rating."""

    rating: Rating
    verdict: Verdict
    seconds: float
    rest: float
    """Seconds from the last receipt until everything had ended."""
    happened: Counter[str]


async def soak_one(
    nursery: Nursery,
    folder: Path,
    rating: Rating,
    receipts: int,
    seconds: float,
    seed: int,
    say: Callable[[str], None],
    *,
    pause: float = 1.0,
    patience: float = 900.0,
) -> Outcome:
    """Soak one way of reconciling. At most ``seconds`` of load; then up to ``patience`` until all rests."""
    with own_server({"max_connections": "300", "log_min_messages": "panic"}) as server:
        for name in ("adapter", "crm"):
            await server.execute(f"CREATE DATABASE {name}")
        crm = crms.make(rating, PEOPLE, server.url("adapter" if rating == "own" else "crm"))
        async with AsyncExitStack() as stack:
            line = await stack.enter_async_context(Proxy(server.socket, delay=0.2).running())
            stage = await stack.enter_async_context(
                set_up(
                    nursery,
                    folder,
                    server.url("adapter"),
                    crm,
                    reached_by=f"postgresql://postgres@127.0.0.1:{line.port}/adapter?sslmode=disable",
                    beforehand=DATABASE_CLOCK,
                    # Adapters deliver at once by key alone.
                    delivery={"reconcile_after": _RECONCILE_AFTER, "in_process": rating in ("own", "key")},
                    seed_of_chance=seed,
                )
            )
            trouble = Trouble(stage, server, line, random.Random(seed))
            await trouble.start()
            began = shown = time.monotonic()

            def progress(done: int) -> None:
                nonlocal shown
                if time.monotonic() > shown + 10:
                    shown = time.monotonic()
                    faults = trouble.happened.total()
                    say(f"{rating}: {done} of {receipts} after {shown - began:.0f} s, {faults} faults")

            making = asyncio.create_task(trouble.run(pause))
            try:
                await load(stage, receipts, began + seconds, progress)
            finally:
                await trouble.stop()
                await making
            loaded = time.monotonic()
            await trouble.calm()
            await stage.settled(max(patience, _REST + _TIMES_WORST * await _worst(stage)))
            for receipt in stage.chance.sample(stage.receipts, min(200, len(stage.receipts))):
                await stage.send(receipt)
            verdict = await stage.settled(5)
            rest = time.monotonic() - loaded
            trouble.happened.update(f"line: {kind}" for kind in crm.line.happened.elements())
            say(f"{rating}: {verdict}; at rest after {rest:.0f} s; answers {dict(stage.answers)}")
            if worst := await _worst(stage):
                say(f"{rating}: the longest it took the CRM to show a credit: {worst:.1f} s")
            say(f"{rating}: faults {dict(trouble.happened.most_common())}")
            return Outcome(rating, verdict, loaded - began, rest, trouble.happened)


def table(outcomes: Sequence[Outcome], *, markdown: bool) -> str:
    """The account as a table, for people or for ``tests/faults/README.md``."""
    header = (
        "reconciled by",
        "accepted",
        "credited",
        "refused",
        "held",
        "duplicates",
        "lost",
        "faults",
        "seconds",
    )
    lines = [header] + [
        (
            one.rating,
            str(one.verdict.accepted),
            str(one.verdict.credited),
            str(one.verdict.refused),
            str(one.verdict.held),
            str(len(one.verdict.duplicated)),
            str(len(one.verdict.lost)),
            str(one.happened.total()),
            f"{one.seconds + one.rest:.0f}",
        )
        for one in outcomes
    ]
    if markdown:
        rows = ["| " + " | ".join(line) + " |" for line in lines]
        return "\n".join([rows[0], "|---" * len(header) + "|", *rows[1:]])
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


async def soak(options: argparse.Namespace, folder: Path) -> list[Outcome]:
    ratings: tuple[Rating, ...] = RATINGS if options.rating == "all" else (options.rating,)
    outcomes = []
    end = time.monotonic() + options.minutes * 60
    async with Nursery().running() as nursery:
        for number, rating in enumerate(ratings):
            left = len(ratings) - number
            place = folder / rating
            place.mkdir()
            share = (end - time.monotonic()) / left
            outcomes.append(
                await soak_one(
                    nursery,
                    place,
                    rating,
                    options.receipts // len(ratings),
                    max(5.0, share - 40),
                    options.seed,
                    lambda text: print(text, file=sys.stderr, flush=True),
                )
            )
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.soak", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--receipts", type=int, default=10_000, help="of all ratings together")
    parser.add_argument("--rating", choices=(*RATINGS, "all"), default="all")
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="printed; repeats the choice of faults"
    )
    parser.add_argument(
        "--minutes", type=float, default=25.0, help="time after which no more receipts are sent"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix="koshelek-soak-"))
    try:
        outcomes = asyncio.run(soak(options, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(outcomes, markdown=options.markdown))
    return 0 if all(outcome.verdict.well for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
