"""Damaged connectors: whatever is in a file, it is a driver or a list of problems with places; nothing else.

A hundred by default; ``pytest -m long`` for 20,000.
"""

from __future__ import annotations

import random
import time
from importlib.resources import files
from pathlib import Path

import pytest

from crm_backends.connector import shipped
from crm_backends.connector.problems import ConnectorError, FilePlace, Problem
from crm_backends.connector.reading import read_text
from crm_backends.connector.spec import make_spec

SEEDS = [
    files("crm_backends.connector").joinpath("beginning.yaml").read_text(encoding="utf-8"),
    (Path(__file__).parent / "pegke_merchant.yaml").read_text(encoding="utf-8"),
    *(file.read_text(encoding="utf-8") for file in shipped().values()),
]
PIECES = [
    *("${", "}", "${}", "${ }", "{", "[", "]", ":", "- ", "\n", "\t", '"', "'", "|", ">", "&a", "*a", "!!x"),
    *("#", "\x00", "%", "@", "`", "null", "true", "1e999999", "-", "~", "((((", "))))", " | ", "is none"),
    *("is not", "not ", "in ", "input.", "steps.", "body[", "\ufeff", "\u2028", "é", "𝕏", "{% if %}"),
    *("{{ x }}", "{# #}", "**", "//", "range(9)", "where(", "for", "lambda", "__class__", "9" * 400),
    *("- " * 60, "[" * 60, "(" * 300, "a." * 300, ".5", "0x", "...", "---"),
]
_PATIENCE = 3.0  # seconds of the processor for one file


def damaged(chance: random.Random) -> str:
    text = chance.choice(SEEDS)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(text) + 1)
        to = min(len(text), at + chance.choice((0, 1, 1, 2, 5, 20, 200)))
        match chance.randrange(5):
            case 0:
                text = text[:at] + text[to:]
            case 1:
                text = text[:at] + chance.choice(PIECES) + text[at:]
            case 2:
                text = text[:at] + chance.choice(PIECES) + text[to:]
            case 3:
                other = chance.randrange(len(text) + 1)
                text = text[:at] + text[other : other + 60] + text[at:]
            case _:
                text = text[:at] + "".join(chance.sample(text[at:to], to - at)) + text[to:]
    return text


def look_at(seed: int) -> bool:
    """Whether the damaged file is a driver all the same."""
    text = damaged(random.Random(seed))
    began = time.process_time()
    problems = []
    try:
        make_spec(read_text(text, "crm.yaml"))
    except ConnectorError as error:
        problems = error.problems or [Problem(FilePlace("", 0, 0), "")]
    took = time.process_time() - began
    assert took < _PATIENCE, f"seed {seed} took {took:.1f} s"
    for problem in problems:
        assert problem.cause
        assert 1 <= problem.place.line <= text.count("\n") + 2
    return not problems


def test_a_damaged_file_is_told_and_nothing_breaks() -> None:
    ends = [look_at(seed) for seed in range(100)]
    assert True in ends
    assert False in ends


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_twenty_thousand_damaged_files_are_told_and_nothing_breaks() -> None:
    for seed in range(100, 20_100):
        look_at(seed)
