"""Which version this is, down to the commit, so that a report of a fault can name it.

Built packages carry the commit with them (``hatch_build.py`` writes it); a clone is asked, without git.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path

from adapter import __version__

BAKED = "commit.txt"
"""File in this package with the commit, in a built one."""
_HASH = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@cache
def text() -> str:
    """As in "1.4.0 (commit 0123456789ab)"; the version alone where nobody knows the commit."""
    found = commit()
    return f"{__version__} (commit {found})" if found else __version__


def commit() -> str | None:
    """The commit this was built from, or that is checked out; ``None``: nobody knows."""
    baked = files("adapter").joinpath(BAKED)
    if baked.is_file():
        return baked.read_text(encoding="utf-8").strip() or None
    return commit_of(Path(__file__).resolve().parent.parent)


def commit_of(folder: Path) -> str | None:
    """The commit that is checked out in a clone, or in a work tree of one; ``None``: it is no clone."""
    with suppress(OSError, ValueError):
        git = folder / ".git"
        if git.is_file():  # a work tree: the file says where its own part of the repository is
            git = (folder / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()).resolve()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        found = _of_branch(git, head.removeprefix("ref:").strip()) if head.startswith("ref:") else head
        if found is not None and _HASH.fullmatch(found):
            return found[:12]
    return None


def _of_branch(git: Path, name: str) -> str | None:
    """What a branch points to: a file of its own, else a line among the packed ones."""
    common = git / "commondir"
    places = [git, (git / common.read_text(encoding="utf-8").strip()).resolve()] if common.exists() else [git]
    for place in places:
        with suppress(OSError):
            return (place / name).read_text(encoding="utf-8").strip()
    for place in places:
        with suppress(OSError):
            for line in (place / "packed-refs").read_text(encoding="utf-8").splitlines():
                found, _, branch = line.partition(" ")
                if branch == name:
                    return found
    return None
