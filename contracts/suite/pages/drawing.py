"""Turns a page's name and values into HTML. It may not know what the values mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contracts.suite.language import Language
from contracts.suite.report.findings import OUTCOMES, finding, label, official, unjudged_subjects
from contracts.suite.report.page import FOLDER as REPORT
from contracts.suite.report.page import environment

TEMPLATES = Path(__file__).with_name("templates")


def draw(name: str, language: Language, **values: Any) -> str:
    """The page ``name``."""
    found = environment(language, TEMPLATES, REPORT)
    found.globals.update(
        label=label, finding=finding, official=official, unjudged=unjudged_subjects, outcomes=OUTCOMES
    )
    return found.get_template(f"{name}.html.j2").render(**values)
