"""An update from the last release and the way back, as deploy/OPERATIONS.md tells them, under load.

Both programs are whole ones: the older one is taken out of the history of this repository. The owner's role
makes the tables, the service's role serves. Receipts and new cards keep coming, the line to the CRM is bad,
and processes are replaced one after another. The judge asks the CRM's own ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest

from adapter.process.embedded import EmbeddedServer
from adapter.store.migrate import latest_version
from tests.conftest import create_database, drop_database
from tests.faults import crms
from tests.faults.crms import Rating
from tests.faults.proxy import Fault
from tests.faults.stage import ROOT, Nursery, Process, Stage, set_up, until
from tests.integration.processes import LOGIN, PASSWORD, basic, environment, free_ports

pytestmark = pytest.mark.timeout(600)

RELEASE = "0.1.0"
OWNER, SERVICE = "upgrade_owner", "upgrade_service"
ILLS: tuple[Fault, ...] = ("latency", "cut_after", "reset_before")


def git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def commit_of_release() -> str | None:
    """The release's tag, else the commit that dated it in the changelog; ``None``: neither is here."""
    if not (ROOT / ".git").exists() or git("rev-parse", "--is-shallow-repository") != "false":
        return None
    if tagged := git("rev-parse", "--verify", "--quiet", f"v{RELEASE}^{{commit}}"):
        return tagged
    dated = git("log", "--reverse", "--format=%H", f"-S## [{RELEASE}] - ", "--", "CHANGELOG.md")
    return dated.splitlines()[0] if dated else None


@dataclass
class Program:
    """One version of the adapter, as files that are run."""

    name: str
    tree: Path
    started: list[Process] = field(default_factory=list)
    _watches: list[asyncio.Task[None]] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        return environment({"PYTHONPATH": str(self.tree), "PYTHONUNBUFFERED": "1"})

    async def run(self, stage: Stage, *arguments: str) -> str:
        """A command to its end; returns what it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "adapter", *arguments, "--config", str(stage.over_line)),
            cwd=stage.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = (await asyncio.wait_for(process.communicate(), 120))[0].decode()
        assert process.returncode == 0, said
        return said

    async def start(self, stage: Stage, what: str) -> Process:
        """``serve`` or ``worker``, ready when this returns."""
        port = free_ports(1)[0] if what == "serve" else 0
        out = stage.folder / f"{self.name}-{len(self.started)}-{what}.out"
        with out.open("wb") as file:
            running = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "adapter", what, "--config", str(stage.over_line)),
                *(("--port", str(port)) if port else ()),
                cwd=stage.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        process = Process(running.pid, out, port)
        self.started.append(process)

        async def wait() -> None:
            process.status = await running.wait()

        self._watches.append(asyncio.create_task(wait()))
        word = '"ready"' if port else '"delivering"'
        await until(lambda: not process.alive or word in process.text(), f"{self.name} {what} is up")
        assert process.alive, process.text()[-2000:]
        (stage.adapters if port else stage.workers).append(process)
        return process


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Program:
    commit = commit_of_release()
    if commit is None:
        pytest.skip(f"the history with version {RELEASE} is not here (a package, or a shallow clone)")
    folder = tmp_path_factory.mktemp("release")
    with (folder / "tree.tar").open("wb") as file:
        subprocess.run(
            ["git", "-C", str(ROOT), "archive", commit, "adapter", "crm_backends", "contracts"],
            stdout=file,
            check=True,
        )
    with tarfile.open(folder / "tree.tar") as packed:
        packed.extractall(folder / "tree", filter="data")
    return Program("release", folder / "tree")


@asynccontextmanager
async def shop(
    rating: Rating, release: Program, nursery: Nursery, folder: Path, server: EmbeddedServer
) -> AsyncIterator[Stage]:
    """A stage on tables of the release, made by an owner; the service's role may read and write alone."""
    url, crm_url = [await create_database(server, "template0") for _ in range(2)]
    own = await asyncpg.connect(url)
    name = urlsplit(url).path.removeprefix("/")
    await own.execute(
        f"CREATE ROLE {OWNER} LOGIN; CREATE ROLE {SERVICE} LOGIN; GRANT CREATE ON DATABASE {name} TO {OWNER}"
    )
    (folder / "owner-url").write_text(url.replace("://postgres:", f"://{OWNER}:"), encoding="utf-8")

    async def tables(_url: str) -> None:
        settings = folder / "first.toml"
        settings.write_text(f'[database]\nurl = "{service}"\n', encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "adapter", "database", "prepare", "--config", str(settings)),
            *("--owner-url-file", str(folder / "owner-url"), "--grant"),
            cwd=folder,  # a folder with the program in it would come first
            env=release.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = (await process.communicate())[0].decode()
        assert process.returncode == 0, said
        version = re.search(r"schema koshelek: version (\d+)", said)
        assert version is not None, said
        assert int(version[1]) < latest_version(), "the release would be no older one"

    service = url.replace("://postgres:", f"://{SERVICE}:")
    try:
        crm = crms.make(rating, 60, crm_url)
        # A connection for each call: one that is kept may be closed by a stop just when it is used again.
        async with (
            set_up(nursery, folder, url, crm, reached_by=service, tables=tables) as stage,
            aiohttp.ClientSession(
                headers={"Authorization": basic(LOGIN, PASSWORD)},
                connector=aiohttp.TCPConnector(force_close=True),
            ) as stage.session,
        ):
            yield stage
    finally:
        await own.execute(f"DROP OWNED BY {OWNER}, {SERVICE} CASCADE; DROP ROLE {OWNER}, {SERVICE}")
        await own.close()
        for made in (url, crm_url):
            await drop_database(server, made)


class Traffic:
    """Callers that go on until they are stopped: receipts, and new people who are issued cards."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._phones = itertools.count(79_161_000_000)
        self._stopped = False
        self.cards: dict[str, str] = {}

    async def _receipts(self) -> None:
        while not self._stopped:
            await self._stage.load(20, callers=8)
            await asyncio.sleep(0.3)  # leaves the machine some time to start the others

    async def _people(self) -> None:
        while not self._stopped:
            phone = str(next(self._phones))
            self.cards[phone] = await self.card_of(phone)
            await asyncio.sleep(0.1)

    async def card_of(self, phone: str) -> str:
        """Have a card issued, as Koshelek repeats a call that was not answered."""
        while True:
            port = self._stage.chance.choice([one.port for one in self._stage.adapters if one.alive])
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with self._stage.session.post(
                    f"http://127.0.0.1:{port}/v1/card/anonymous", json={"phone": phone}
                ) as response:
                    said = await response.json()
                    assert response.status == 200, (response.status, said)
                    return str(said["card"]["cardNumber"])
            await asyncio.sleep(0.05)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        flowing = [asyncio.create_task(one) for one in (self._receipts(), self._people())]
        try:
            yield
        finally:
            self._stopped = True
            await asyncio.gather(*flowing)


async def replaced(stage: Stage, older: Process, program: Program) -> None:
    """A restart of one machine's service: ended as systemd does it, then the other version in its place."""
    older.send(signal.SIGTERM)
    await until(lambda: not older.alive, "it has ended")
    assert older.status == 0, older.text()[-2000:]
    await program.start(stage, "serve" if older.port else "worker")


async def all_replaced(stage: Stage, program: Program) -> None:
    """One machine after the other, workers and adapters in turn."""
    running = [one for one in (*stage.workers, *stage.adapters) if one.alive]
    for process in sorted(running, key=lambda one: one.pid % 2):
        before = len(stage.receipts)
        await replaced(stage, process, program)
        await until(lambda: len(stage.receipts) > before + 20, "both versions had something to do")  # noqa: B023


@pytest.mark.parametrize(
    "rating",
    ["probe", pytest.param("key", marks=pytest.mark.long)],
)
async def test_an_update_and_the_way_back_under_load(
    rating: Rating, release: Program, nursery: Nursery, tmp_path: Path, postgresql: EmbeddedServer
) -> None:
    current = Program("current", ROOT)
    async with shop(rating, release, nursery, tmp_path, postgresql) as stage:
        prepare = ("database", "prepare", "--owner-url-file", str(tmp_path / "owner-url"), "--grant")
        await asyncio.gather(*(release.start(stage, what) for what in ("serve", "serve", "worker", "worker")))
        stage.crm.line.draw = lambda _: stage.chance.choice(ILLS) if stage.chance.random() < 0.05 else None
        traffic = Traffic(stage)
        async with traffic.flowing():
            await until(lambda: len(stage.receipts) > 40, "the release is at work")
            said = await current.run(stage, *prepare)
            assert f"version {latest_version()}" in said
            await until(lambda: len(stage.receipts) > 80, "the release works with the new tables")
            await all_replaced(stage, current)
            assert not any(one.alive for one in release.started)
            await all_replaced(stage, release)  # the way back: the older version is started, nothing else
            assert not any(one.alive for one in current.started)
            await current.run(stage, *prepare)  # and forward again, some day
            await all_replaced(stage, current)
        verdict = await stage.settled()
        assert verdict.well, verdict
        assert verdict.accepted == verdict.sent == verdict.credited + verdict.held
        assert verdict.held == 0, verdict
        assert set(stage.answers) <= {"credited", "accepted", "away", "broken"}, stage.answers
        # The release cuts off calls that wait for it while it stops, before it takes them up. This version
        # takes them up, all but one that comes in the very moment in which it closes the port.
        assert {what for _, what in stage.breaks} <= {"ServerDisconnectedError", "ClientOSError"}
        ports = {process.port for process in current.started if process.port}
        cut = Counter(port for port, _ in stage.breaks if port in ports)
        assert max(cut.values(), default=0) <= 1, cut
        assert len(set(traffic.cards.values())) == len(traffic.cards) > 20
        for phone, card in list(traffic.cards.items())[:: max(1, len(traffic.cards) // 20)]:
            assert await traffic.card_of(phone) == card
        twice = "SELECT count(phone) - count(DISTINCT phone) FROM crm.customers"
        assert await stage.sql(twice) == 0
        for process in (*release.started, *current.started):
            text = process.text()
            assert "Traceback" not in text, text
            assert '"defect"' not in text, text
