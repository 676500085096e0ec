"""The PostgreSQL that comes as a wheel: one server per data folder, ours alone while we run.

For the demo, the tests and small installations. It may not know what is kept in the database.

Only the programs of the wheel are used. Its own way to start them, as root, opens every folder above the
data to everybody and listens where everybody may connect. Here the socket lies in the data folder, which
nobody but the server's user may enter; there is no TCP; and the kernel tells the server who is calling
("peer"). No folder but our own is ever given other rights.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, quote, urlsplit

from adapter.process.postgresql_programs import EmbeddedError, Programs, installed_for

_LOCK = "adapter.lock"
_ADDRESS = "database-url"
_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET = 107  # bytes the path of a socket may have (sun_path of Linux, without its end)
_START = 120.0  # seconds until the server is ready; after a crash it reads its log first
_STOP = 60.0
_CONFIGURATION = """
# Written by koshelek-adapter.
max_connections = 300
shared_buffers = '128MB'
# The server's own log must not quote rows: they are personal data.
log_error_verbosity = terse
log_min_error_statement = panic
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
"""
_ACCESS = """# Written by koshelek-adapter at every start: the users of pg_ident.conf, by the socket.
local all,replication all peer map=koshelek
"""


@dataclass(slots=True)
class EmbeddedServer:
    """A running server. ``stop`` ends it."""

    url: str
    programs: Programs
    data: Path
    """PostgreSQL's own folder."""
    _process: subprocess.Popen[bytes]
    _lock: IO[str]
    _address: Path

    def stop(self) -> None:
        _forget(self._address)
        for number, patience in ((signal.SIGINT, _STOP), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                break
        self._lock.close()


def running(data_dir: Path) -> str | None:
    """URL of the server that another process of ours runs in this folder, if one does."""
    data_dir = data_dir.expanduser().resolve()
    try:
        with (data_dir / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        try:
            return (data_dir / _ADDRESS).read_text(encoding="utf-8")
        except OSError:
            return None
    except OSError:
        return None


def is_there(data_dir: Path) -> bool:
    """Whether this is the folder of a server of ours."""
    return (data_dir.expanduser() / _LOCK).is_file()


def start(data_dir: Path) -> EmbeddedServer:
    """Start the server of this folder, which is created when it is not there.

    Raises:
        EmbeddedError: the wheel is not installed, or the folder is in use, not writable or not usable.
    """
    data_dir = data_dir.expanduser().resolve()
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (data_dir / _LOCK).open("w")
    except OSError as error:
        raise EmbeddedError(
            f"cannot write to the data folder {data_dir}: {error.strerror}; choose another (--data-dir)"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise EmbeddedError(
            f"the data folder {data_dir} is in use by another koshelek-adapter; "
            "stop that one or choose another folder (--data-dir)"
        ) from None
    try:
        return _start(data_dir, lock)
    except BaseException as error:
        lock.close()
        if not isinstance(error, (OSError, subprocess.SubprocessError)):
            raise
        reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        raise EmbeddedError(
            f"the embedded PostgreSQL did not start in {data_dir}: {reason}; "
            "choose another folder (--data-dir), or set database.url to a server of your own"
        ) from None


def _start(data_dir: Path, lock: IO[str]) -> EmbeddedServer:
    data, address = data_dir / "postgresql", data_dir / _ADDRESS
    programs = installed_for(data)
    _forget(address)
    if not (data / "PG_VERSION").exists():
        _initialise(programs, data)
    data.chmod(0o700)
    sockets = _sockets(data)
    address.write_text(_url(sockets), encoding="utf-8")
    _end_one_left_behind(sockets, data)
    _configure(programs, data)
    with _log(programs, data) as log:
        process = programs.start(
            "postgres",
            *("-D", programs.data_option(data), "-h", "", "-p", "5432", "-k", "."),
            *("-c", "unix_socket_permissions=0700"),
            cwd=data,
            stdout=log,
            start_new_session=True,  # Ctrl-C is for us; we end the server then
        )
    server = EmbeddedServer(_url(sockets), programs, data, process, lock, address)
    try:
        _until_ready(process, data)
    except BaseException:
        server.stop()
        raise
    return server


def _url(sockets: Path) -> str:
    # The port is named: else a PGPORT of the environment would be used.
    return f"postgresql://postgres:@/postgres?host={quote(str(sockets))}&port=5432"


# -- the data folder ----------------------------------------------------------------------------------------


def _initialise(programs: Programs, data: Path) -> None:
    """Make a new database beside its folder and move it there: a half-made one is never taken for whole."""
    fresh = data.with_name(f"{data.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if programs.user is not None:
        shutil.chown(fresh, programs.user)
    try:
        programs.run(
            "initdb",
            *("--auth=peer", "--encoding=utf8", "-U", "postgres", "-D", programs.data_option(fresh)),
            cwd=fresh,
            timeout=_START,
        )
        fresh.rename(data)
    except subprocess.CalledProcessError as error:
        lines = error.output.decode(errors="replace").strip().splitlines()
        shutil.rmtree(fresh, ignore_errors=True)
        raise EmbeddedError(
            f"no PostgreSQL database can be made in {data.parent}: "
            f"{lines[-1] if lines else 'it says nothing'}; "
            "choose another folder (--data-dir), or set database.url to a server of your own"
        ) from None


def _configure(programs: Programs, data: Path) -> None:
    configuration = data / "postgresql.conf"
    text = configuration.read_text(encoding="utf-8")
    if _CONFIGURATION not in text:
        configuration.write_text(text + _CONFIGURATION, encoding="utf-8")
    ours = pwd.getpwuid(os.geteuid()).pw_name
    callers = dict.fromkeys(("root", ours, programs.user or ours))
    map_lines = "".join(f'koshelek "{caller}" all\n' for caller in callers)
    for name, content in (("pg_hba.conf", _ACCESS), ("pg_ident.conf", map_lines)):
        (data / name).write_text(content, encoding="utf-8")


@contextlib.contextmanager
def _log(programs: Programs, data: Path) -> Iterator[IO[bytes]]:
    path = data / "log"
    with path.open("ab") as log:
        path.chmod(0o600)
        if programs.user is not None:
            shutil.chown(path, programs.user)  # a backup reads every file as the server's user
        yield log


def _sockets(data: Path) -> Path:
    """Where callers find the socket: the data folder, or a short link to it where its path is too long.

    A comma would part two hosts in a URL.
    """
    if "," not in str(data) and len(os.fsencode(data / _SOCKET)) <= _LONGEST_SOCKET:
        return data
    places = [Path(place) for place in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()) if place]
    for place in (*places, Path("/tmp")):  # noqa: S108 - the folder made there is ours alone
        usual = place / "koshelek-12345678" / "data" / _SOCKET
        if "," in str(place) or len(os.fsencode(usual)) > _LONGEST_SOCKET:
            continue
        with contextlib.suppress(OSError):
            link = Path(tempfile.mkdtemp(prefix="koshelek-", dir=place)) / "data"
            link.symlink_to(data)
            return link
    raise EmbeddedError(f"the path {data} is too long for a socket; choose a shorter folder (--data-dir)")


def _forget(address: Path) -> None:
    """Remove the address of a server that is gone or going, and the short link to its folder, if any."""
    with contextlib.suppress(OSError, KeyError):
        (host,) = parse_qs(urlsplit(address.read_text(encoding="utf-8")).query)["host"]
        link = Path(host)
        if link.is_symlink() and link.parent.name.startswith("koshelek-"):
            link.unlink()
            link.parent.rmdir()
    address.unlink(missing_ok=True)


def _end_one_left_behind(sockets: Path, data: Path) -> None:
    """Stop a server that a process of ours left behind when it was killed; the lock says nobody needs it."""
    try:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(sockets / _SOCKET))  # else the number in the file may be another process's
        pid = int((data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return
    for number, patience in ((signal.SIGINT, _STOP), (signal.SIGQUIT, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if not (data / "postmaster.pid").exists():
                return
            time.sleep(0.02)


def _until_ready(process: subprocess.Popen[bytes], data: Path) -> None:
    until = time.monotonic() + _START
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError, IndexError):
            lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            if lines[0] == str(process.pid) and lines[-1].strip() == "ready":
                return
        time.sleep(0.01)
    raise EmbeddedError(
        f"the embedded PostgreSQL did not start in {data}; {data / 'log'} says why; "
        "choose another folder (--data-dir), or set database.url to a server of your own"
    )
