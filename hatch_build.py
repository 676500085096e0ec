"""Writes the commit into what is built, so that ``koshelek-adapter version`` can tell it.

Git is asked where it is at hand; else the repository's files are read; a build without either has no commit.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface):
    """Adds ``adapter/commit.txt``, unless it is there: a wheel is made from a source package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        if version == "editable" or (root / "adapter" / "commit.txt").exists():
            return
        commit = _described(root) or _read(root)
        if commit:
            file = Path(tempfile.mkdtemp()) / "commit.txt"
            file.write_text(commit, encoding="utf-8")
            build_data["force_include"][str(file)] = "adapter/commit.txt"


def _described(root: Path) -> str | None:
    """As git tells it, with the last tag and whether something is not committed."""
    if not (root / ".git").exists():  # a repository further up would be another's
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _read(root: Path) -> str | None:
    sys.path.insert(0, str(root))
    try:
        from adapter.version import commit_of
    finally:
        sys.path.remove(str(root))
    return commit_of(root)
