"""How the path of a file that could not be used is told. It may not know what is in the file."""

from __future__ import annotations

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
