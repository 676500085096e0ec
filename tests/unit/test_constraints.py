"""``deploy/constraints.txt``: exact versions of all that is declared, from nowhere in particular."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests import constraints
from tests.markdown import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = [
    wanted
    for texts in (PROJECT["dependencies"], *(EXTRAS[name] for name in ("suite", "embedded", "bench", "test")))
    for text in texts
    if (wanted := Requirement(text)).name != PROJECT["name"]
]


def test_every_line_is_one_exact_version_and_names_no_place() -> None:
    lines = constraints.FILE.read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert [line for line in pinned if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9A-Za-z.+]*", line)] == []
    names = [line.partition("==")[0] for line in pinned]
    assert names == sorted(set(names))


@pytest.mark.parametrize("wanted", DECLARED, ids=lambda wanted: wanted.name)
def test_what_is_declared_is_there_in_a_version_within_its_bounds(wanted: Requirement) -> None:
    pinned = constraints.written().get(constraints.normal(wanted.name))
    assert pinned is not None, "run: python -m tests.constraints"
    assert wanted.specifier.contains(pinned)


def test_the_image_is_built_with_them() -> None:
    text = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
    assert re.search(r"pip install [^\n]*(-c|--constraint) deploy/constraints\.txt", text)
    assert "!deploy/constraints.txt" in (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
