"""How the path of a file that could not be used is told. It may not know what the file is for."""

from __future__ import annotations

import ssl
from pathlib import Path


def in_full(path: str | Path) -> str:
    """The absolute path that was tried, and for a relative one where it counts from."""
    where = Path(path)
    note = "" if where.is_absolute() else " (relative paths count from the working directory)"
    return f"{where.absolute()}{note}"


def cannot_read(path: Path) -> str | None:
    """Why a file cannot be read, and what to do; nothing where it can."""
    try:
        with path.open("rb"):
            return None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return f"cannot read {in_full(path)}: {reason}; correct the path, or let this user read it"


def no_certificates(path: Path) -> str | None:
    """Why a file of certificate authorities is none, and what to do; nothing where it is one."""
    try:
        ssl.create_default_context(cafile=path)
    except OSError:  # ssl.SSLError is one
        remedy = "name a file that has some (-----BEGIN CERTIFICATE-----)"
        return f"{in_full(path)} holds no certificates in PEM form; {remedy}"
    return None
