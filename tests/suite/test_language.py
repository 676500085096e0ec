"""Russian beside English: nothing that a reader meets is left out of the translations, and its slots fit."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import contracts.suite
from contracts.cli import app
from contracts.loyalty_online import clauses
from contracts.suite.config import Options
from contracts.suite.judging import everything
from contracts.suite.language import ENGLISH, by_browser, by_locale, language, translations
from contracts.suite.pages import forms, phone
from contracts.suite.report import page
from contracts.suite.report.findings import METHODS, OUTCOMES, Label, verdict
from contracts.suite.results import Evidence, State
from tests.suite.implementations.clean import LOGIN, PASSWORD, Clean, serving
from tests.suite.test_reports import BREACH, BROKEN, WARNING, result, run, target

FOLDER = Path(contracts.suite.__file__).parent
RUSSIAN = language("ru")
CYRILLIC = re.compile("[А-яЁё]")
SLOT = re.compile(r"\{(\w+)\}")
SAID_BY = {
    "that": (1, 2), "breach": (0, 1), "Breach": (0, 1), "ok": (1,), "refused": (1,), "shows_nobody": (1,),
    "need": (1,), "Skip": (0,), "wrong": (1,), "stop": (0,), "CannotRun": (0,), "Note": (0,),
}  # fmt: skip
"""Calls whose arguments at these places are sentences for a reader."""
SAME_IN_BOTH = {
    "0", "422", "[]", "null", "HTTPS", '{"card": {…}}', '{"card": {"cardNumber": "…", …}}',
    "WWW-Authenticate: Basic …", "WWW-Authenticate: «1»", "cardNumber", "msisdn",
    "not a phone",
}  # fmt: skip
IN_ONE_PIECE = {
    ", and a little later by ": "it grows by 50, and a little later by 50",
    "`existing` in the configuration: its «1» «3»: it is wrong«5».":
        "`existing` in the configuration: its phone leads to no card: it is wrong.",
    "«0» refused: set `receipt` to one that is accepted of the holder.":
        "made-up receipts are refused: set `receipt` to one that is accepted of the holder.",
}  # fmt: skip
"""Sentences that the catalogue has whole, as their pieces do not fit together in Russian; with an example."""


def texts_of(node: ast.expr) -> Iterator[str]:
    """What an expression can say, each slot filled with a word of its own."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr():
            parts = (
                str(part.value) if isinstance(part, ast.Constant) else f"«{number}»"
                for number, part in enumerate(node.values)
            )
            yield "".join(parts)
        case ast.IfExp():
            yield from texts_of(node.body)
            yield from texts_of(node.orelse)


def calls() -> Iterator[tuple[str, ast.Call]]:
    for file in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def sentences() -> set[str]:
    """What checks and the engine say, as it is written in the source."""
    return {
        text
        for name, call in calls()
        for place in SAID_BY.get(name, ())
        if place < len(call.args)
        for text in texts_of(call.args[place])
        if re.search("[a-z]{2}", re.sub("«.»", "", text))
    }


def pieces() -> set[str]:
    """Other English in the checks, which sentences are put together from; no docstring, no comment."""
    said: set[str] = set()
    for file in (FOLDER / "checks").glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        left_out = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        left_out |= {
            id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
        }
        for node in ast.walk(tree):
            if isinstance(node, (ast.Constant, ast.JoinedStr)) and id(node) not in left_out:
                said |= {text for text in texts_of(node) if re.search("[a-z]{2} .*[a-z]{2}", text)}
    return {
        text for text in said if not re.match(r"Basic |Bearer |Digest |[$;'\"]|GET |OPTIONS |POST ", text)
    }


def of_the_program() -> set[str]:
    """What ``say``, ``t`` and labels of forms have, in modules and templates."""
    said = {
        str(call.args[0].value)
        for name, call in calls()
        if name in ("say", "_say") and call.args and isinstance(call.args[0], ast.Constant)
    }
    for template in FOLDER.rglob("*.j2"):
        text = template.read_text(encoding="utf-8")
        said |= {one[1] or one[2] for one in re.finditer(r"\bt\((?:'([^']+)'|\"([^\"]+)\")", text)}
    for group in forms.GROUPS:
        said |= {
            group.title,
            group.text,
            *(one for field in group.fields for one in (field.label, field.hint)),
        }
        for field in group.fields:
            said |= {
                choice for choice in (field.choices if field.kind == "choice" else ()) if choice.islower()
            }
    for screen in phone.SCREENS:
        said.add(screen.title)
        for action in screen.actions:
            said |= {action.button, action.hint, *(entry.label for entry in action.fields)}
    return {*said, *METHODS.values(), *OUTCOMES.values(), *Label, *Evidence} - {""}


def test_every_clause_is_there_in_both_languages() -> None:
    assert [one.id for one in clauses().values() if not CYRILLIC.search(one.text_ru)] == []
    one = clauses()["KLO-1-05"]
    assert (ENGLISH.clause(one), RUSSIAN.clause(one)) == (one.text, one.text_ru)


def test_every_check_has_a_russian_title() -> None:
    assert [one.title for one in everything() if not CYRILLIC.search(RUSSIAN.sentence(one.title))] == []


def test_every_sentence_of_a_check_is_known() -> None:
    said = sentences()
    assert len(said) > 250
    said = {IN_ONE_PIECE.get(text, text) for text in said}
    assert {text for text in said if RUSSIAN.sentence(text) == text} - SAME_IN_BOTH == set()


def test_every_piece_of_a_sentence_is_known() -> None:
    assert len(pieces()) > 300
    unknown = {text for text in pieces() if RUSSIAN.sentence(IN_ONE_PIECE.get(text, text)) == text}
    assert unknown - SAME_IN_BOTH == set()


def test_everything_that_the_program_says_is_known() -> None:
    said = of_the_program()
    assert len(said) > 180
    known = {*translations()["sentences"], *translations()["counted"]}
    assert {
        text for text in said if text not in known and re.search("[a-z]{2}", text)
    } - SAME_IN_BOTH == set()


def test_slots_are_the_same_in_both_languages() -> None:
    for english, russian in translations()["sentences"].items():
        assert set(SLOT.findall(russian)) <= set(SLOT.findall(english)), english
        assert len(set(SLOT.findall(english))) == len(SLOT.findall(english)), english
    for english, forms_ in translations()["counted"].items():
        assert len(forms_) == 3
        assert all(SLOT.findall(form) == SLOT.findall(english) for form in forms_)


@pytest.mark.parametrize(
    ("english", "russian"),
    [
        ("a profile in Cyrillic letters is answered 200", "профиль кириллицей: ответ 200"),
        (
            "5 <a> (this comes from nginx, not from the service behind)",
            "5 <a> (это от nginx, а не от самого сервиса)",
        ),
        ("stopped early: it was stopped on the page", "остановлено раньше: остановлено на странице"),
        ("nothing like this", "nothing like this"),
    ],
)
def test_a_sentence_is_put_together_from_what_is_known(english: str, russian: str) -> None:
    assert RUSSIAN.sentence(english) == russian
    assert ENGLISH.sentence(english) == english


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "не прошла 1 проверка"),
        (3, "не прошли 3 проверки"),
        (12, "не прошло 12 проверок"),
        (21, "не прошла 21 проверка"),
    ],
)
def test_numbers_have_the_form_that_russian_wants(number: int, said: str) -> None:
    assert RUSSIAN.count(number, "{number} check failed", "{number} checks failed") == said


def test_the_verdict_and_the_report_speak_russian() -> None:
    found = run(target(result(), BREACH, BROKEN, WARNING))
    assert verdict(found.targets[0], RUSSIAN) == (
        "Договор нарушается: не прошла 1 проверка, не удалось сделать 1 проверку"
    )
    text = page.render(found, RUSSIAN)
    assert '<html lang="ru">' in text
    assert "Ожидалось" in text
    assert "строка JSON" in text


def test_a_hostile_sentence_does_not_hold_the_report_up() -> None:
    hostile = "a request with " * 2_000
    assert RUSSIAN.sentence(hostile) == hostile


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"LANG": "ru_RU.UTF-8"}, "ru"),
        ({"LANG": "ru_RU.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "de_DE"}, "en"),
    ],
)
def test_the_locale_decides(variables: dict[str, str], code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert by_locale() == code


@pytest.mark.parametrize(
    ("header", "code"),
    [("ru-RU,ru;q=0.9,en;q=0.8", "ru"), ("de,en-US;q=0.7,ru;q=0.3", "en"), ("de", None), ("", None)],
)
def test_the_browser_decides(header: str, code: str | None) -> None:
    assert by_browser(header) == code


async def test_the_terminal_speaks_russian_when_told_to(tmp_path: Path) -> None:
    async with serving(Clean()) as url:
        command = ["run", url, "--language", "ru", "--only", "KLO-1", "--report-dir", str(tmp_path)]
        environment = {"KLO_LOGIN": LOGIN, "KLO_PASSWORD": PASSWORD}
        done = await asyncio.to_thread(CliRunner().invoke, app, command, env=environment)
    assert done.exit_code == 0, done.output
    assert "Договор соблюдается" in done.output
    assert "1. Поиск карты" in done.output
    assert "Отчёты: " in done.output
    assert '<html lang="ru">' in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '"verdict": "Keeps the contract' in (tmp_path / "results.json").read_text(encoding="utf-8")


def test_what_is_typed_into_the_form_is_explained_in_russian() -> None:
    for name in forms.FIELDS:
        key = name.partition(".")[0]
        assert CYRILLIC.search(RUSSIAN(str(Options.model_fields[key].description))) or key == "password"


def test_states_have_a_word() -> None:
    assert {RUSSIAN(state) for state in State} == {"верно", "нарушение", "пропуск", "выключено", "ошибка"}
