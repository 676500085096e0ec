"""Files that hold secrets: whether others may read them, and which file a remedy is about.

It may not know what the secrets are, and reads none.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from crm_backends.ports import Finding

_SETTING = re.compile(r"\b(?:[a-z_]+\.)*url\b")


def open_to_others(files: Mapping[str, Path]) -> Iterator[Finding]:
    """A line for the secrets of this user that other users of the machine may read.

    What somebody else has put there (an orchestrator, as it does with its own rights) is not ours to judge.
    """
    found = []
    for key, path in files.items():
        try:
            status = path.stat()
        except OSError:
            continue
        if status.st_uid == os.getuid() and status.st_mode & (stat.S_IRGRP | stat.S_IROTH) and _reached(path):
            found.append(f"{key}_file ({path})")
    if found:
        yield Finding(
            "secrets",
            True,
            f"others on this machine may read {', '.join(found)}",
            "chmod 0400, or 0600, and the folder 0700",
            warning=True,
        )


def _reached(path: Path) -> bool:
    """Whether others may pass every folder on the way."""
    return all(one.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH) for one in path.absolute().parents)


def naming_its_file(finding: Finding, files: Mapping[str, Path]) -> Finding:
    """The finding; where its remedy is to correct a URL that stands in a file, with that file's path."""

    def with_file(match: re.Match[str]) -> str:
        key = match[0]
        if key == "url" and finding.subject.startswith("crm "):
            places = sorted({path for name, path in files.items() if re.fullmatch(r"crm(\.\w+)?\.url", name)})
        else:
            places = [files[key]] if key in files else []
        return f"{key} (in {', '.join(map(str, places))})" if places else key

    if finding.ok and not finding.warning:
        return finding
    return replace(finding, remedy=_SETTING.sub(with_file, finding.remedy))
