"""The limit of open files is raised, and one that is too low is told."""

from __future__ import annotations

import subprocess
import sys

_LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (128, {hard}))
from adapter.process.file_limit import raise_file_limit
print(raise_file_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def _limited_to(hard: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED.format(hard=hard)], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_soft_limit_becomes_the_hard_one() -> None:
    assert _limited_to(9000).splitlines() == ["9000 9000"]


def test_a_limit_that_a_flood_can_use_up_is_told_with_what_to_do() -> None:
    told, limits = _limited_to(512).splitlines()
    assert limits == "512 512"
    assert "few_files" in told
    assert "LimitNOFILE=" in told
