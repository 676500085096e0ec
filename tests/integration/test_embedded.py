"""The embedded server: whose folders it touches, who can reach it, and which paths it can live at.

Where the tests run as root, each is done as root and as an ordinary user; else as the user who runs them.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from adapter.process import embedded, postgresql_programs

pytestmark = pytest.mark.programs  # a server is made for nearly each

_ROOT = os.geteuid() == 0
STRANGER = "nobody"
"""A user of the machine who has nothing to do with us."""
ORDINARY = "games"
"""An ordinary user whom root lets run the adapter; Debian and its like have one of this name."""
PROJECT = Path(__file__).resolve().parents[2]


@cache
def _python_of(user: str | None) -> str | None:
    """A Python that this user may run our code with; ``None``: there is none."""
    if user is None:
        return sys.executable
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in filter(None, (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin"))):
        with suppress(KeyError, OSError, subprocess.SubprocessError):
            command = [python, "-c", "import adapter, asyncpg, typing_extensions"]
            subprocess.run(
                command, user=user, env=_environment(), check=True, cwd="/", stderr=subprocess.DEVNULL
            )
            return python
    return None


def _environment() -> dict[str, str]:
    """Ours, with all that this process imports, for another Python of the same version."""
    packages = [path for path in sys.path if "site-packages" in path]
    return {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"} | {
        "PYTHONPATH": os.pathsep.join([str(PROJECT), *packages]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _users() -> list[Any]:
    if not _ROOT:
        return [None]
    reason = f"the user {ORDINARY} may run no Python of this version here"
    ordinary = pytest.mark.skipif(_python_of(ORDINARY) is None, reason=reason)
    return [None, pytest.param(ORDINARY, marks=ordinary)]


@pytest.fixture(params=_users(), ids=lambda user: user or ("root" if _ROOT else "ourselves"))
def user(request: pytest.FixtureRequest) -> str | None:
    """Who starts the server; ``None``: whoever runs the tests."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def home(user: str | None) -> Iterator[Path]:
    """A folder of that user's that nobody else may enter."""
    folder = Path(tempfile.mkdtemp(prefix="koshelek-home-"))
    if user is not None:
        shutil.chown(folder, user)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


_PROGRAM = """
import asyncio, json, sys
from pathlib import Path
import asyncpg
from adapter.process import embedded

server = embedded.start(Path(sys.argv[1]))

async def ask():
    connection = await asyncpg.connect(server.url)
    names = ("listen_addresses", "port", "data_directory")
    values = {name: await connection.fetchval(f"SHOW {name}") for name in names}
    await connection.close()
    return values

try:
    told = asyncio.run(ask()) | {"url": server.url, "data": str(server.data)}
    print(json.dumps(told), flush=True)
    sys.stdin.read()
finally:
    server.stop()
"""


class Started:
    """The server, started by a process of the user's."""

    def __init__(self, folder: Path, user: str | None, **environment: str) -> None:
        self.process = subprocess.Popen(
            [_python_of(user) or "", "-c", _PROGRAM, str(folder)],
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env=_environment() | environment,
        )

    def __enter__(self) -> dict[str, str]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline() or b"{}")  # type: ignore[no-any-return]

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=60)


def rights(folder: Path) -> dict[Path, int]:
    """The rights of a folder and of all above it."""
    return {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.parents)}


def socket_of(url: str) -> Path:
    (host,) = parse_qs(urlsplit(url).query)["host"]
    return Path(host) / ".s.PGSQL.5432"


def refused_to(user: str, path: Path) -> bool:
    """Whether another user cannot connect to a socket; by the kernel's word, not by a database's."""
    program = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
    command = [_python_of(user) or "", "-c", program]
    done = subprocess.run(command, user=user, cwd="/", env=_environment(), stderr=subprocess.PIPE)
    return done.returncode != 0 and b"PermissionError" in done.stderr


def test_folders_above_keep_their_rights_and_nobody_else_gets_in(user: str | None, home: Path) -> None:
    """As root its starter once opened every folder up to the root, and the socket's folder to everybody."""
    folder = home / "private" / "data"
    before = rights(home)
    with Started(folder, user) as told:
        assert rights(home) == before
        assert told["listen_addresses"] == ""
        path = socket_of(told["url"])
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.resolve().parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        if _ROOT and _python_of(STRANGER):
            assert refused_to(STRANGER, path)
    assert rights(home) == before


@pytest.mark.skipif(not _ROOT, reason="only root can call as somebody else")
@pytest.mark.skipif(_python_of(STRANGER) is None, reason=f"the user {STRANGER} may run no Python here")
def test_a_stranger_who_reaches_the_socket_is_refused_by_the_server(user: str | None, home: Path) -> None:
    with Started(home / "data", user) as told:
        path = socket_of(told["url"])
        for each in (home, home / "data", path.parent, path):
            each.chmod(0o777)
        program = f"""
import asyncio, asyncpg
try:
    asyncio.run(asyncpg.connect({told["url"]!r}))
except asyncpg.InvalidAuthorizationSpecificationError:
    print("refused")
"""
        done = subprocess.run(
            [_python_of(STRANGER) or "", "-c", program],
            user=STRANGER,
            cwd="/",
            env=_environment(),
            capture_output=True,
            text=True,
        )
        assert done.stdout == "refused\n", done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "Мои данные",
        'it\'s, "so" $HOME %20 #?&=\\',
        f"{'long-' * 20}/{'longer-' * 20}",
        "ж" * 100,
    ],
    ids=["blank", "Cyrillic", "signs", "long", "long Cyrillic"],
)
@pytest.mark.programs
def test_a_data_folder_may_be_called_anything(name: str, user: str | None, home: Path) -> None:
    folder = home / name
    for _ in range(2):  # a new one, and one that exists
        with Started(folder, user) as told:
            assert Path(told["data"]) == folder / "postgresql"
            link = socket_of(told["url"])
            assert len(os.fsencode(link)) <= 107
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(link))
            private = link.parent.parent if link.parent.is_symlink() else None
            if private is not None:
                assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert private is None or not private.exists()


def test_what_the_environment_says_of_postgresql_does_not_move_it(user: str | None, home: Path) -> None:
    with Started(home / "data", user, PGPORT="6543", PGHOST="elsewhere", PGDATA="/elsewhere") as told:
        assert told["port"] == "5432"
        assert socket_of(told["url"]).exists()


def test_a_server_left_behind_by_a_kill_is_stopped_and_started_anew(user: str | None, home: Path) -> None:
    folder = home / ("long-" * 25)  # with a short link to it, which is left behind as well
    started = Started(folder, user)
    first = started.__enter__()
    left = socket_of(first["url"]).parent
    old = (folder / "postgresql" / "postmaster.pid").read_text(encoding="utf-8").split()[0]
    started.process.kill()
    started.__exit__()
    with Started(folder, user) as told:
        new = (folder / "postgresql" / "postmaster.pid").read_text(encoding="utf-8").split()[0]
        assert new != old
        assert socket_of(told["url"]).exists()
        assert not left.is_symlink()


def test_a_database_whose_making_was_interrupted_is_made_again(user: str | None, home: Path) -> None:
    (home / "data" / "postgresql.new").mkdir(parents=True)
    (home / "data" / "postgresql.new" / "PG_VERSION").write_text("18\n", encoding="utf-8")
    if user is not None:
        for each in (home / "data", home / "data" / "postgresql.new"):
            shutil.chown(each, user)
    with Started(home / "data", user) as told:
        assert told["listen_addresses"] == ""


@pytest.mark.skipif(not _ROOT, reason="only root runs the server as somebody else")
def test_root_needs_no_way_for_others_to_the_programs(
    home: Path, user: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a clone and its virtual environment in /root."""
    wheel = postgresql_programs.wheel_programs()[18].parents[1]
    shutil.copytree(wheel / "pginstall18", home / wheel.name / "pginstall18")
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), home / f"{wheel.name}.libs")
    copies = Path(tempfile.mkdtemp(prefix="koshelek-copies-"))
    copies.chmod(0o755)
    monkeypatch.setattr(postgresql_programs, "_COPIES", copies / "programs")
    monkeypatch.setattr(
        postgresql_programs, "wheel_programs", lambda: {18: home / wheel.name / "pginstall18" / "bin"}
    )
    try:
        before = rights(home)
        server = embedded.start(home / "data")
        server.stop()
        assert server.programs.folder.is_relative_to(copies)
        assert rights(home) == before
        for path in copies.rglob("*"):
            assert path.stat().st_uid == 0
            assert not path.stat().st_mode & 0o022
    finally:
        shutil.rmtree(copies)


def test_another_users_folder_is_refused_in_a_sentence(home: Path, user: str | None) -> None:
    (home / "data").mkdir()
    (home / "data" / "postgresql").write_text("", encoding="utf-8")
    with pytest.raises(postgresql_programs.EmbeddedError, match="choose another folder") as told:
        embedded.start(home / "data")
    assert "\n" not in str(told.value)


def test_the_wheel_keeps_its_programs_where_they_are_looked_for() -> None:
    versions = postgresql_programs.wheel_programs()
    assert 18 in versions
    for programs in versions.values():
        assert (programs / "postgres").is_file()
        assert (programs / "initdb").is_file()
