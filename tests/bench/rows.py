"""The rows of the table, one function each: set two things up, check that they answer the same, measure.

To add a row, write a function of a ``Bench`` that returns a ``Measured`` and enter it in ``ROWS``. A row
may not know how its figures are printed.
"""

from __future__ import annotations

import functools
import http.client
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import asyncpg

from adapter.process.signals import run as run_on_uvloop
from tests.bench.load import AUTHORIZATION, Kind, Load, put_load
from tests.bench.measured import Figure, Measured, Series, side_by_side
from tests.bench.stage import PEOPLE, CannotMeasure, Running, Stage, card_number, phone, say

_FIVE_MILLION = 5_000_000
_LISTED = 1_000_000
_CRM_PAUSE, _CRM_CALLERS = 0.05, 200
_AT_ONCE = 25
"""Calls at once to one CRM, by default."""
_KNOWN_ACCOUNTS = "UPDATE koshelek.cards SET points_reference = 9000000000 + users_reference::bigint"
_RECORD_ONLY = ("--receipts-wait", "0")
_RECORDED = "SELECT count(*) FROM koshelek.operations"


@dataclass(frozen=True, slots=True)
class Bench:
    """The stage, and how long to measure."""

    stage: Stage
    seconds: float
    rounds: int

    @property
    def warm_up(self) -> float:
        return max(1.0, min(3.0, self.seconds / 2))

    def compare(
        self,
        ours: tuple[str, Running],
        theirs: tuple[str, Running],
        kind: Kind,
        *,
        connections: int = 32,
        before: Callable[[], None] = lambda: None,
    ) -> Series:
        """Let two services take turns under so many connections."""
        sides = {name: _under(service, kind, connections=connections) for name, service in (ours, theirs)}
        return side_by_side(
            sides, rounds=self.rounds, seconds=self.seconds, warm_up=self.warm_up, before=before
        )


def _under(
    service: Running, kind: Kind, *, people: int = PEOPLE, connections: int = 32
) -> Callable[[float], Load]:
    def put(seconds: float) -> Load:
        before = service.cpu()
        load = put_load(service.port, kind, people=people, seconds=seconds, connections=connections)
        return replace(load, cpu=service.cpu() - before)

    return put


# --- answers are right before they are fast ------------------------------------------------------------


def _check_finding(*services: Running, people: int = PEOPLE) -> None:
    """Every service finds the first, a middle and the last person's card. Raises ``CannotMeasure``."""
    for person in (1, people // 2, people):
        number = card_number(person)
        barcode = {"barcodeNumber": number, "barcodeType": "CODE_128"}
        right = {"card": {"cardNumber": number, "cardState": "active", "barcode": barcode}}
        for service in services:
            _expect(service, service.ask("GET", f"/v1/card?msisdn={phone(person)}"), right)


def _check_receipt(*services: Running) -> None:
    """Every service accepts a receipt in the same words. Raises ``CannotMeasure``."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M")
    text = f"t={moment}&s=100.00&fn=9999078900004792&i=1&fp=1&n=1"
    right = {"status": "accepted", "description": "Запрос принят, результат будет позже"}
    for service in services:
        body = {"cardNumber": card_number(1), "qrCode": text}
        _expect(service, service.ask("POST", "/v1/promo/qrCode", body), right)


def _expect(service: Running, answer: tuple[int, object], right: object) -> None:
    if answer != (200, right):
        raise CannotMeasure(f"{service.name} answers {answer}, expected {(200, right)}")


# --- rows 1, 2, 5, 6: find a card ----------------------------------------------------------------------


def find_against_handwritten(bench: Bench) -> Measured:
    database = bench.stage.filled(PEOPLE)
    with bench.stage.service("adapter", database) as ours:
        with bench.stage.service("handwritten", database) as theirs:
            _check_finding(ours, theirs)
            series = bench.compare(("adapter", ours), ("handwritten", theirs), "find")
        with bench.stage.service("handwritten", database, "--no-reset") as lean:
            _check_finding(ours, lean)
            without = bench.compare(("adapter", ours), ("without reset", lean), "find")
    figure = without.throughput(0.80)
    return Measured(
        "GET /v1/card from PostgreSQL, 32 connections",
        "aiohttp + asyncpg by hand, one join, no features",
        [series.throughput(0.80)],
        notes=[
            series.costs(),
            f"for information: {figure.value:.2f} x ({figure.ours} to {figure.theirs}) of the same program "
            "with asyncpg's reset of returned connections (a round trip) switched off, as the adapter has it",
        ],
        problems=series.problems() + without.problems(),
    )


def find_against_fastapi(bench: Bench) -> Measured:
    database = bench.stage.filled(PEOPLE)
    with (
        bench.stage.service("adapter", database) as ours,
        bench.stage.service("with_fastapi", database) as theirs,
    ):
        _check_finding(ours, theirs)
        series = bench.compare(("adapter", ours), ("FastAPI", theirs), "find")
    return Measured(
        "GET /v1/card from PostgreSQL, 32 connections",
        "FastAPI + asyncpg, Basic, response model, one join",
        [series.throughput(2.0)],
        notes=[series.costs()],
        problems=series.problems(),
    )


def authentication(bench: Bench) -> Measured:
    database = bench.stage.filled(PEOPLE)
    with (
        bench.stage.service("adapter", database, "--auth", "argon2") as ours,
        bench.stage.service("adapter", database, "--auth", "none") as theirs,
    ):
        _check_finding(ours, theirs)
        series = bench.compare(("argon2", ours), ("no authentication", theirs), "find")
    return Measured(
        "Basic authentication, password hashed with argon2",
        "the adapter without authentication",
        [series.throughput(0.95)],
        notes=[series.costs()],
        problems=series.problems(),
    )


def find_among_five_million(bench: Bench) -> Measured:
    few, many = bench.stage.filled(PEOPLE), bench.stage.filled(_FIVE_MILLION)
    for database in (few, many):  # what was just loaded is in memory; make sure the indexes are, too
        bench.stage.execute(
            database,
            "SET enable_seqscan = off",
            "SELECT count(phone) FROM crm.customers WHERE phone > ''",
            "SELECT count(users_reference) FROM koshelek.cards WHERE users_reference > ''",
        )
    with (
        bench.stage.service("adapter", many) as ours,
        bench.stage.service("adapter", few) as theirs,
    ):
        _check_finding(ours, people=_FIVE_MILLION)
        _check_finding(theirs)
        series = side_by_side(
            {
                "5,000,000": _under(ours, "find", people=_FIVE_MILLION, connections=1),
                "10,000": _under(theirs, "find", connections=1),
            },
            rounds=bench.rounds,
            seconds=bench.seconds,
            warm_up=bench.warm_up,
        )
    return Measured(
        "find among 5,000,000 cards, 1 connection",
        "among 10,000, same server",
        [series.p50(1.2)],
        problems=series.problems(),
    )


# --- row 3: card info through a CRM --------------------------------------------------------------------


def info_through_crm(bench: Bench) -> Measured:
    """With as many calls at once as the adapter makes by default, and with no bound on either side."""
    bounded, free = _through_crm(bench, _AT_ONCE), _through_crm(bench, 0)
    unbounded = replace(free.throughput(0.85), what="throughput, calls not bounded")
    unbounded_p99 = replace(free.p99(1.5), what="p99, calls not bounded")
    return Measured(
        f"GET /v1/card/{{n}} through a CRM that takes {1000 * _CRM_PAUSE:.0f} ms, {_CRM_CALLERS} "
        f"connections, {_AT_ONCE} calls to the CRM at once",
        "the card by asyncpg, the same two calls by a bare aiohttp client, as many connections",
        [bounded.throughput(0.85), bounded.p99(1.5), unbounded, unbounded_p99],
        notes=[
            free.costs(),
            _through_httpx(bench),
            "each card info makes two calls, one after the other; the CRM's own process, PostgreSQL and wrk "
            "share the cores with what is measured; not bounded, the processor alone holds both sides up",
        ],
        problems=bounded.problems() + free.problems(),
    )


def _through_crm(bench: Bench, at_once: int) -> Series:
    database = bench.stage.copy(PEOPLE)
    bench.stage.execute(database, _KNOWN_ACCOUNTS, "VACUUM (ANALYZE) koshelek.cards")
    say(f"  {at_once or 'all'} calls at once")
    with ExitStack() as stack:
        start = functools.partial(_started, stack, bench.stage)
        crm = start("slow_crm", None, "--pause", str(_CRM_PAUSE))
        options = ("--crm-url", f"http://127.0.0.1:{crm.port}/apiv1", "--at-once", str(at_once))
        ours, theirs = start("adapter", database, *options), start("through_aiohttp", database, *options)
        _check_info(crm, ours, theirs)
        return bench.compare(("adapter", ours), ("aiohttp", theirs), "info", connections=_CRM_CALLERS)


def _through_httpx(bench: Bench) -> str:
    """For information. At the end and alone: its calls outlast its turn and would slow the other side's."""
    with ExitStack() as stack:
        start = functools.partial(_started, stack, bench.stage)
        crm = start("slow_crm", None, "--pause", str(_CRM_PAUSE))
        url = f"http://127.0.0.1:{crm.port}/apiv1"
        stock = start("through_httpx", None, "--crm-url", url, "--at-once", str(_AT_ONCE))
        _check_info(crm, stock)
        alone = _under(stock, "info", connections=_CRM_CALLERS)(bench.seconds)
    return (
        f"for information, the same two calls by stock httpx, {_AT_ONCE} connections, one turn: "
        f"{alone.rate:,.0f}/s, p50 {alone.p50:.0f} ms, p99 {alone.p99:.0f} ms, {alone.cost:.3f} ms of "
        f"processor each{f'; {alone.problem}' if alone.problem else ''}"
    )


def _started(stack: ExitStack, stage: Stage, name: str, database: str | None, *arguments: str) -> Running:
    return stack.enter_context(stage.service(name, database, *arguments))


def _check_info(crm: Running, *services: Running) -> None:
    """Every service asks the CRM the same and answers the same. Raises ``CannotMeasure``."""
    crm.ask("GET", "/asked")
    for person in (1, PEOPLE // 2, PEOPLE):
        number = card_number(person)
        entries = (("Spent", "-50"), ("Earned", "300"), ("Welcome", "1000"))
        bonuses = [{"description": text, "amount": amount} for text, amount in entries]
        right = {
            "card": {
                "cardNumber": number,
                "cardState": "active",
                "barcode": {"barcodeNumber": number, "barcodeType": "CODE_128"},
                "bonus": {"total": "1250", "available": "1250", "bonuses": bonuses},
            }
        }
        for service in services:
            _expect(service, service.ask("GET", f"/v1/card/{number}"), right)
            asked = crm.ask("GET", "/asked")
            if asked != (200, ["GET check_points", "POST check_history"]):
                raise CannotMeasure(f"{service.name} asks the CRM {asked}")


# --- row 4: receipts -----------------------------------------------------------------------------------


def receipts(bench: Bench) -> Measured:
    stage = bench.stage
    database = stage.copy(PEOPLE)
    problems = []
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        if stage.value(database, f"SHOW {setting}") != "on":
            problems.append(f"{setting} is off, nothing here is durable")
    with (
        stage.service("adapter", database, *_RECORD_ONLY) as ours,
        stage.service("bare_insert", database) as theirs,
    ):
        _check_receipt(ours, theirs)
        checkpoint = functools.partial(stage.execute, database, "CHECKPOINT")
        series = bench.compare(("adapter", ours), ("INSERT", theirs), "receipt", before=checkpoint)
    for name, loads, statement in (
        ("adapter", series.ours, _RECORDED),
        ("INSERT", series.theirs, "SELECT count(*) FROM bare.receipts"),
    ):
        answered, kept = sum(load.answers - load.bad for load in loads), stage.value(database, statement)
        if kept < answered:
            problems.append(f"{name} answered {answered} receipts and kept {kept}")
    note = (
        "delivery is another process's work here: in_process is off and receipts.wait is 0; a receipt is "
        "in the ledger and its job in the queue, committed with fsync, before the answer"
    )
    return Measured(
        "receipt accepted durably, 32 connections",
        "aiohttp + asyncpg, one INSERT … ON CONFLICT DO NOTHING",
        [series.throughput(0.60)],
        notes=[note, series.costs(), _with_its_duties(bench)],
        problems=problems + series.problems(),
    )


def _with_its_duties(bench: Bench) -> str:
    """For information: what the INSERT makes with the duties of a receipt, and the card looked up."""
    database = bench.stage.copy(PEOPLE)
    with (
        bench.stage.service("bare_checked", database, "--card") as checked,
        bench.stage.service("bare_insert", database) as bare,
    ):
        _check_receipt(checked, bare)
        checkpoint = functools.partial(bench.stage.execute, database, "CHECKPOINT")
        series = bench.compare(
            ("INSERT with duties", checked), ("INSERT", bare), "receipt", before=checkpoint
        )
    figure = series.throughput(0.0)
    return (
        "for information: the INSERT with authentication, a look at the card, checks, log line and metrics "
        f"makes {figure.value:.2f} x ({figure.ours} to {figure.theirs}); {series.costs()}"
    )


# --- row 7: all users ----------------------------------------------------------------------------------


def all_users(bench: Bench) -> Measured:
    database = bench.stage.filled(_LISTED, cards=False)
    target = bench.stage.folder / "phones.copy"
    ours: list[float] = []
    theirs: list[float] = []
    growth: list[float] = []
    with bench.stage.service("adapter", database) as service:
        service.ask("GET", f"/v1/card?msisdn={phone(1)}")
        for number in range(bench.rounds + 1):  # the first warms up; its memory counts
            before = service.memory()
            service.reset_peak()
            seconds = _read_all_users(service)
            growth.append(service.memory("VmHWM") - before)
            copying = _copy_phones(database, target)
            say(
                f"  {f'round {number}' if number else 'warm-up'}: getAllUsers {seconds:.2f} s, "
                f"memory + {growth[-1]:.1f} MiB, COPY {copying:.2f} s"
            )
            if number:
                ours.append(seconds)
                theirs.append(copying)
    single = [a / b for a, b in zip(ours, theirs, strict=True)]
    a, b = median(ours), median(theirs)
    spread = (min(single), max(single))
    return Measured(
        "getAllUsers of 1,000,000 phones",
        "the same statement by COPY to a file",
        [
            Figure("time", f"{a:.2f} s", f"{b:.2f} s", median(single), "<=", 3.0, spread=spread),
            Figure("peak memory growth", f"{max(growth):.1f} MiB", "", max(growth), "<=", 32.0, "MiB"),
        ],
        notes=["memory: the greatest peak of resident memory over what it was before the request"],
    )


def _read_all_users(service: Running) -> float:
    """Seconds to receive the whole list. Raises ``CannotMeasure`` when it is not whole."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
    try:
        started = time.perf_counter()
        connection.request("GET", "/v1/card/getAllUsers", headers={"Authorization": AUTHORIZATION})
        response = connection.getresponse()
        phones = 1
        first, last = b"", b""
        while part := response.read(262_144):
            phones += part.count(b",")
            first, last = first or part[:1], part[-1:]
        seconds = time.perf_counter() - started
    finally:
        connection.close()
    if (response.status, phones, first, last) != (200, _LISTED, b"[", b"]"):
        raise CannotMeasure(f"getAllUsers answers {response.status} with {phones:,} phones")
    return seconds


def _copy_phones(database: str, target: Path) -> float:
    """Seconds to COPY the phones to a file."""
    seconds = 0.0

    async def copy() -> None:
        nonlocal seconds
        connection = await asyncpg.connect(database)
        try:
            started = time.perf_counter()
            # A function as the sink: asyncpg sends every part for a file through a thread.
            with target.open("wb") as file:
                write = file.write

                async def keep(part: bytes) -> None:
                    write(part)

                await connection.copy_from_query(
                    "SELECT phone FROM crm.customers WHERE phone IS NOT NULL ORDER BY id", output=keep
                )
            seconds = time.perf_counter() - started
        finally:
            await connection.close()

    run_on_uvloop(copy)
    if target.read_bytes().count(b"\n") != _LISTED:
        raise CannotMeasure("COPY did not give every phone")
    return seconds


# --- row 8: memory -------------------------------------------------------------------------------------


def memory(bench: Bench) -> Measured:
    database = bench.stage.copy(PEOPLE)
    problems = []
    with ExitStack() as stack:
        service = stack.enter_context(bench.stage.service("adapter", database, "--delivery"))
        _check_finding(service)
        at_first = service.memory()
        kinds: tuple[Kind, Kind] = ("find", "receipt")
        for kind in kinds:
            load = put_load(service.port, kind, people=PEOPLE, seconds=bench.seconds * bench.rounds)
            say(f"  after {load.answers:,} requests ({kind}): {service.memory():.1f} MiB")
            if load.problem:
                problems.append(f"{kind}: {load.problem}")
        resident, peak = service.memory(), service.memory("VmHWM")
    return Measured(
        "memory of one worker after the loads of rows 1 and 4",
        "",
        [Figure("resident", f"{resident:.1f} MiB", "", resident, "<=", 110.0, "MiB")],
        notes=[
            f"{at_first:.1f} MiB after the start, {peak:.1f} MiB at its peak; delivery in the same process"
        ],
        problems=problems,
    )


# --- rows 9 and 10: the queue ----------------------------------------------------------------------------

_DELIVERED = 6_000
_CALLS_PER_RECEIPT = 2
"""The CRM is asked whether it has the receipt already, and then told of it (delivery.ask_before_sending)."""
_WAITING = 1_000_000
_RATE = """
    SELECT (count(*) - 1) / extract(epoch FROM max(finished_at) - min(finished_at))
      FROM koshelek.operations WHERE state = 'done'
"""


def delivery(bench: Bench) -> Measured:
    """Receipts that wait are carried to a CRM as fast as it may be asked."""
    most = _AT_ONCE / (_CALLS_PER_RECEIPT * _CRM_PAUSE)
    rates: list[float] = []
    problems: list[str] = []
    cost = 0.0
    with bench.stage.service("slow_crm", None, "--pause", str(_CRM_PAUSE)) as crm:
        for number in range(1, bench.rounds + 1):
            database = bench.stage.copy(PEOPLE)
            bench.stage.execute(database, _KNOWN_ACCOUNTS)
            bench.stage.receipts_waiting(database, _DELIVERED)
            options = ("--delivery", "--crm", "perx", "--crm-url", f"http://127.0.0.1:{crm.port}")
            with bench.stage.service("adapter", database, *options) as service:
                patience = time.monotonic() + 20 * _DELIVERED / most
                while (left := bench.stage.value(database, _RECORDED + " WHERE state <> 'done'")) > 0:
                    if time.monotonic() > patience:
                        problems.append(f"{left} receipts were not delivered in time")
                        break
                    time.sleep(0.5)
                cost = 1000 * service.cpu() / _DELIVERED
            rates.append(float(bench.stage.value(database, _RATE)))
            say(f"  round {number}: {rates[-1]:,.0f}/s credited, {cost:.3f} ms of processor each")
    single = [rate / most for rate in rates]
    spread = (min(single), max(single))
    figure = Figure(
        "credits", f"{median(rates):,.0f}/s", f"{most:,.0f}/s", median(single), ">=", 0.85, spread=spread
    )
    return Measured(
        f"{_DELIVERED:,} waiting receipts to a CRM that takes {1000 * _CRM_PAUSE:.0f} ms, one process",
        f"{_AT_ONCE} calls at once, one after the other without a pause",
        [figure],
        notes=[
            f"each receipt makes {_CALLS_PER_RECEIPT} calls, one after the other: the CRM is asked whether "
            "it has it already, and then told (a third, for the customer's token, is answered at once); one "
            "in a hundred is looked for once more afterwards",
            f"{cost:.3f} ms of the process's own processor time for each, its start included",
        ],
        problems=problems,
    )


def receipts_behind_a_long_queue(bench: Bench) -> Measured:
    """Accepting while a million receipts wait for a CRM that is away."""
    empty, long = bench.stage.copy(PEOPLE), bench.stage.copy(PEOPLE)
    say(f"  a queue of {_WAITING:,} receipts")
    bench.stage.receipts_waiting(long, _WAITING)
    with (
        bench.stage.service("adapter", long, *_RECORD_ONLY) as ours,
        bench.stage.service("adapter", empty, *_RECORD_ONLY) as theirs,
    ):
        _check_receipt(ours, theirs)
        checkpoint = functools.partial(bench.stage.execute, empty, "CHECKPOINT")
        sides = (f"{_WAITING:,} waiting", ours), ("none waiting", theirs)
        series = bench.compare(*sides, "receipt", before=checkpoint)
    return Measured(
        f"receipt accepted durably while {_WAITING:,} wait, 32 connections",
        "the adapter with an empty queue",
        [series.throughput(0.80)],
        notes=[series.costs()],
        problems=series.problems(),
    )


def receipts_credited(bench: Bench) -> Measured:
    """What one process manages that accepts receipts and credits their points too."""
    stage = bench.stage
    alone, both = stage.copy(PEOPLE), stage.copy(PEOPLE)
    done = "SELECT count(*) FROM koshelek.operations WHERE state = 'done'"
    with (
        stage.service("adapter", both, "--delivery") as ours,
        stage.service("adapter", alone, *_RECORD_ONLY) as theirs,
    ):

        def credit(seconds: float) -> Load:
            before, started, cpu = stage.value(both, done), time.monotonic(), ours.cpu_with(stage)
            load = put_load(ours.port, "receipt", people=PEOPLE, seconds=seconds)
            cpu, took = ours.cpu_with(stage) - cpu, time.monotonic() - started
            credited = stage.value(both, done) - before
            return replace(load, answers=credited + load.bad, seconds=took, cpu=cpu)

        def accept(seconds: float) -> Load:
            cpu, started = theirs.cpu_with(stage), time.monotonic()
            load = put_load(theirs.port, "receipt", people=PEOPLE, seconds=seconds)
            return replace(load, seconds=time.monotonic() - started, cpu=theirs.cpu_with(stage) - cpu)

        series = side_by_side(
            {"accepted and credited": credit, "accepted": accept},
            rounds=bench.rounds,
            seconds=bench.seconds,
            warm_up=bench.warm_up,
            before=functools.partial(stage.execute, both, "CHECKPOINT"),
        )
        left = stage.value(both, _RECORDED + " WHERE state <> 'done'")
    return Measured(
        "receipts accepted and credited in one process, 32 connections",
        "the same adapter accepting only",
        [series.throughput(0.40), series.cost(2.5)],
        notes=[
            "the points are in the adapter's own database, so that the CRM's work counts, too",
            "processor time is that of the service and of PostgreSQL",
            f"{left} receipts were under way at the end",
        ],
        problems=series.problems(),
    )


Row = Callable[[Bench], Measured]
ROWS: Mapping[int, Row] = {
    1: find_against_handwritten,
    2: find_against_fastapi,
    3: info_through_crm,
    4: receipts,
    5: authentication,
    6: find_among_five_million,
    7: all_users,
    8: memory,
    9: delivery,
    10: receipts_behind_a_long_queue,
    11: receipts_credited,
}
"""By their number in the design."""
ON_REQUEST = frozenset({6})
"""Rows that take long, measured only when asked for."""
