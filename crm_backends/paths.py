"""How the path of a file that could not be used is told. It may not know what is in the file."""

from __future__ import annotations

from pathlib import Path


def in_full(path: str | Path) -> str:
    """The absolute path that was tried, and for a relative one where it counts from."""
    where = Path(path)
    note = "" if where.is_absolute() else " (relative paths count from the working directory)"
    return f"{where.absolute()}{note}"
