"""The generated parts of the documentation are what the code says now, and the README stays a front door."""

from __future__ import annotations

import re

from tests.markdown import ROOT, documents
from tests.readme import PARTS, parts_in, stale

README = ROOT / "README.md"


def test_the_generated_parts_are_fresh() -> None:
    assert [str(path.relative_to(ROOT)) for path in stale()] == [], "run: python -m tests.readme"


def test_every_generated_part_stands_in_one_document() -> None:
    found = [name for path in documents() for name in parts_in(path.read_text(encoding="utf-8"))]
    here = {f"settings-of-{folder.parent.name}" for folder in ROOT.glob("crm_backends/*/settings.py")}
    elsewhere = {name for name in PARTS if name.startswith("settings-of-")} - here
    assert sorted(set(found) - elsewhere) == sorted(set(PARTS) - elsewhere)
    assert len(found) == len(set(found))


def test_the_readme_can_be_read_in_ten_minutes() -> None:
    assert README.stat().st_size < 16_000, "move what is said beside what it describes, and link it"


def test_the_readme_has_the_two_commands() -> None:
    commands = re.findall(r"^python3 -m venv .*$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert [command.rsplit(" ", 1)[1] for command in commands if "&&" in command][:2] == ["demo", "pytest"]
