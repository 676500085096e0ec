"""Whether a place can be written to, known before the work whose result goes there. Nothing is left there."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile


def why_no_folder(path: Path) -> str | None:
    """Why nothing can be written into the folder ``path``, which need not be there yet; ``None``: it can."""
    try:
        there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        with TemporaryFile(dir=there):
            return None
    except OSError as error:
        return error.strerror


def why_no_file(path: Path) -> str | None:
    """Why no file can be written at ``path``; ``None``: it can."""
    try:
        if path.is_dir():
            return "Is a directory"
        if path.exists():
            return None if os.access(path, os.W_OK) else "Permission denied"
        with TemporaryFile(dir=path.parent):
            return None
    except OSError as error:
        return error.strerror
