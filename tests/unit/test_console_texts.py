"""The console says everything in both languages, with the same slots."""

from __future__ import annotations

import re

import pytest

from adapter.errors import TEXTS
from adapter.loyalty.model import CardState, OperationKind, OperationState
from adapter.loyalty.ports import Proof
from adapter.loyalty.review import AuditAction
from adapter.ops.console import drawing, held, pages
from contracts.kit.language import catalogue

_SAID = re.compile(r"""\b(?:t|say)\(\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")""")
_SLOT = re.compile(r"\{(\w+)\}")
SENTENCES: dict[str, str] = catalogue(drawing.RUSSIAN)["sentences"]


def said() -> set[str]:
    """Every sentence that templates and modules say."""
    files = [*drawing.FOLDER.glob("templates/*.j2"), *drawing.FOLDER.glob("*.py")]
    found = {one or other for file in files for one, other in _SAID.findall(file.read_text(encoding="utf-8"))}
    return found | set(held.SENTENCES.values()) | {name for _, name in pages.NAVIGATION}


def test_every_sentence_is_there_in_russian() -> None:
    assert len(said()) > 120
    assert said() - set(SENTENCES) == set()


def test_no_sentence_is_there_for_nothing_to_fill_in() -> None:
    for english, russian in SENTENCES.items():
        assert set(_SLOT.findall(english)) == set(_SLOT.findall(russian)), english


@pytest.mark.parametrize("names", [CardState, OperationKind, OperationState, Proof, AuditAction])
def test_every_word_of_the_ledger_is_there_in_russian(names: type) -> None:
    assert {str(name) for name in names} - set(SENTENCES) == set()  # type: ignore[attr-defined]


def test_causes_and_remedies_of_all_codes_are_there_in_russian() -> None:
    told = {text for entry in TEXTS.values() for text in (entry.cause, entry.remedy)}
    assert told - set(SENTENCES) == set()
