"""Packages of npm for tests against programs of others, installed once into a cache of the user's.

The cache is outside of the project; each content of a ``package.json`` has a folder of its own. It may not
know which programs there are.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_INSTALL = (
    "npm", "install", "--no-package-lock", "--ignore-scripts", "--omit=optional", "--omit=dev",
    "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1", "--fetch-timeout=30000",
)  # fmt: skip


class Missing(Exception):
    """The program is not to be had here; the text says why."""


@functools.cache
def modules(package: Path, seconds: float, *options: str) -> Path:
    """The folder ``node_modules`` with what this ``package.json`` names.

    Args:
        package: the file.
        seconds: how long the installation may take.
        options: further ones of ``npm install``.

    Raises:
        Missing: Node or npm is not there, or the packages cannot be installed.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed")
    name, content = package.parent.name, package.read_bytes()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "koshelek-adapter-tests" / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open(folder.with_suffix(".lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several processes run tests
            if not folder.exists():
                _install(content, folder, seconds, options)
    except OSError as error:
        raise Missing(f"its packages cannot be kept ({error.strerror})") from None
    return folder / "node_modules"


def _install(content: bytes, folder: Path, seconds: float, options: tuple[str, ...]) -> None:
    """Install beside ``folder``, then give it its name: what was broken off is not taken for whole."""
    fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        (fresh / "package.json").write_bytes(content)
        subprocess.run((*_INSTALL, *options), cwd=fresh, check=True, capture_output=True, timeout=seconds)
        fresh.rename(folder)
    except subprocess.SubprocessError as error:
        raise Missing(f"npm cannot install its packages ({type(error).__name__})") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
