"""Scorecards: what each driver is held to, and what it answers.

The rules are in ``rules.toml``, the answers in the ``scorecard.toml`` of each driver's folder. This module
may not know any driver.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "scorecard.toml"
_RULES = Path(__file__).with_name("rules.toml")


@dataclass(frozen=True, slots=True)
class Rule:
    text: str
    file: str | None = None
    """A file of the project that has to be there, ``{driver}`` being the driver's name."""


def rules() -> dict[str, Rule]:
    """All rules, by name."""
    with _RULES.open("rb") as stream:
        return {name: Rule(**fields) for name, fields in tomllib.load(stream).items()}


def read(folder: Path) -> Mapping[str, Any]:
    """What a driver answers; an empty mapping where its folder has no scorecard."""
    path = folder / FILE
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def problems(driver: str, answers: Mapping[str, Any], project: Path, verified_by: str) -> list[str]:
    """What is wrong with a scorecard, one sentence each.

    Args:
        driver: its name.
        answers: its scorecard.
        project: the root below which the rules' files are looked for.
        verified_by: what the driver's description says.
    """
    known = rules()
    found = [f"{name}: there is no such rule" for name in answers if name not in known]
    for name, rule in known.items():
        answer = answers.get(name)
        file = rule.file.format(driver=driver) if rule.file else None
        if answer is None:
            found.append(f"{name}: no answer")
        elif answer != "done" and not _exempt(answer):
            found.append(f'{name}: the answer is neither "done" nor {{ exempt = "a reason" }}')
        elif answer == "done" and file and not (project / file).is_file():
            found.append(f"{name}: there is no {file}")
    if (answers.get("real_server") == "done") != (verified_by == "real server"):
        found.append(f'real_server: the driver says verified_by = "{verified_by}"')
    return found


def _exempt(answer: object) -> bool:
    return (
        isinstance(answer, Mapping)
        and set(answer) == {"exempt"}
        and isinstance(answer["exempt"], str)
        and bool(answer["exempt"].strip())
    )
