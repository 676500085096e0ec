"""Somebody else's driver sees our types: without ``py.typed`` a type checker takes them all for ``Any``."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

DRIVER = """
from crm_backends.model import Balance
from crm_backends.ports import Deadline, Points, Written
from crm_backends.registry import BackendSpec

def send(points: Points, deadline: Deadline) -> None:
    points.credit("account", 62, idempotency_key="KEY", deadline=deadline)

def name_of(spec: BackendSpec) -> int:
    return spec.name

reveal_type(Written.done().outcome)
"""


@pytest.mark.parametrize("package", ["adapter", "crm_backends", "contracts"])
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert files(package).joinpath("py.typed").is_file()


@pytest.mark.programs
def test_a_drivers_mistakes_are_found_by_its_type_checker(tmp_path: Path) -> None:
    """As an installed package: from a folder that is not ours. The driver of the guide has none."""
    (tmp_path / "driver.py").write_text(DRIVER, encoding="utf-8")
    guide = files("crm_backends").joinpath("ADDING_A_DRIVER.md").read_text(encoding="utf-8")
    (tmp_path / "shown.py").write_text(
        re.findall(r"```python\n(.*?)```", guide, re.DOTALL)[0], encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--follow-imports=silent", "driver.py", "shown.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert 'Argument 2 to "credit" of "Points" has incompatible type "int"; expected "Credit"' in done.stdout
    assert 'Incompatible return value type (got "str", expected "int")' in done.stdout
    assert '.Outcome"' in done.stdout
    assert "shown.py" not in done.stdout, "the driver of the guide is without mistakes"
