"""The console says everything in both languages, with the same slots."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from adapter.errors import TEXTS
from adapter.loyalty.model import CardState, OperationKind, OperationState
from adapter.loyalty.ports import Proof
from adapter.loyalty.review import AuditAction
from adapter.loyalty.untold import UNTOLD
from adapter.ops.console import drawing, held, pages
from adapter.ops.console.sessions import Sessions
from contracts.kit.language import LANGUAGES, translations
from crm_backends.ports import Finding

_SAID = re.compile(r"""\b(?:t|say)\(\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")""")
_SLOT = re.compile(r"\{(\w+)\}")
ROOT = Path(__file__).resolve().parents[2]
CHECKED = (
    *sorted((ROOT / "adapter" / "checking").glob("*.py")),
    ROOT / "adapter" / "crms.py",
    ROOT / "adapter" / "ops" / "crm_watch.py",
    ROOT / "crm_backends" / "database.py",
    ROOT / "crm_backends" / "http" / "driver.py",
)
"""Where a check finds something by itself; what a CRM's own driver tells may stay English."""
SLOT = "7x"
NOT_BY_THE_SOURCE = {
    f"the users CRM knows {SLOT} of {SLOT} {SLOT} numbers as cards of its own": (
        "the users CRM knows 7 of the next 20 numbers as cards of its own"
    )
}
"""Where a slot is a word that decides, an example."""
SENTENCES: dict[str, str] = translations(drawing.RUSSIAN)["sentences"]


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


def test_causes_of_balances_that_were_not_told_are_there_in_russian() -> None:
    assert set(UNTOLD) - set(SENTENCES) == set()


def test_causes_and_remedies_of_all_codes_are_there_in_russian() -> None:
    told = {text for entry in TEXTS.values() for text in (entry.cause, entry.remedy)}
    assert told - set(SENTENCES) == set()


def texts(node: ast.expr) -> Iterator[str]:
    """What an expression may be as a text, as far as the source tells; slots are filled."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.FormattedValue(value=ast.IfExp() as value):
            yield from texts(value)
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*texts(body), *texts(orelse))
        case ast.JoinedStr(values=values):
            yield from map("".join, itertools.product(*(list(texts(part)) or [SLOT] for part in values)))
        case ast.BinOp(left=left, right=right):
            both = itertools.product(list(texts(left)) or [SLOT], list(texts(right)) or [SLOT])
            yield from map("".join, both)


def findings() -> set[str]:
    """Every sentence of what a check finds and what to do, but for commands."""
    told = set()
    for file in CHECKED:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Finding", "Cause"):
                given = (*node.args, *(keyword.value for keyword in node.keywords))
                told |= {text for one in given for text in texts(one)}
    words = {text for text in told if re.search("[a-z]{2}", text.replace(SLOT, ""))}
    return {text for text in words if not re.fullmatch(r"koshelek-adapter [\w -]+", text)}


def test_what_a_check_finds_by_itself_is_there_in_russian() -> None:
    russian, found = drawing.language("ru"), findings()
    assert len(found) > 80
    assert {text for text in found if russian.sentence(NOT_BY_THE_SOURCE.get(text, text)) == text} == set()


def test_what_a_crm_tells_in_english_is_marked_as_english() -> None:
    def page(detail: str, code: str) -> str:
        finding = Finding("crm perx", True, detail)
        return drawing.draw(
            "check",
            drawing.language(code),
            ZoneInfo("Europe/Moscow"),
            root="/console",
            session=Sessions(3600.0).new(),
            path="/console/check",
            navigation=(),
            languages=LANGUAGES,
            told=[],
            zone="Europe/Moscow",
            findings=[finding],
            settings=[],
        )

    foreign, ours = "account: the programme has no such wallet (points)", "reached"
    note = SENTENCES["English text here comes from a CRM or its driver, which have no other language."]
    assert note in page(foreign, "ru")
    assert "the programme has no such wallet (баллы)" in page(foreign, "ru")
    alone = "the programme has no such wallet"
    assert f'<span lang="en">{alone}</span>' in page(alone, "ru")
    assert note not in page(ours, "ru")
    assert 'lang="en">the' not in page(foreign, "en")
