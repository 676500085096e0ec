"""The one list of error codes: whole, in both languages, and never quoting a value."""

from __future__ import annotations

import re

import pytest

from adapter.errors import TEXTS, Code, Language, Refused

_CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)


def test_codes_are_unique_strings_of_three_digits() -> None:
    assert len({code.value for code in Code}) == len(Code.__members__)
    assert all(re.fullmatch("[1-9][0-9]{2}", code.value) for code in Code)


def test_every_code_is_in_the_catalogue_and_nothing_else_is() -> None:
    assert set(TEXTS) == set(Code)


@pytest.mark.parametrize("code", Code)
def test_every_code_has_texts_for_both_sides(code: Code) -> None:
    entry = TEXTS[code]
    assert _CYRILLIC.search(entry.text("ru"))
    assert entry.text("en")
    assert not _CYRILLIC.search(entry.text("en"))
    assert entry.cause.strip().endswith(".")
    assert entry.remedy.strip().endswith(".")


@pytest.mark.parametrize("language", ["ru", "en"])
def test_two_codes_never_read_the_same(language: Language) -> None:
    texts = [entry.text(language) for entry in TEXTS.values()]
    assert len(set(texts)) == len(texts)


def test_the_description_names_the_field() -> None:
    assert Refused(Code.FIELD_MISSING, "phone").description("en") == "A required field is missing: phone"
    assert Refused(Code.FIELD_MISSING, "phone").description("ru").endswith(": phone")
    assert Refused(Code.CARD_UNKNOWN).description("en") == "Card not found"


def test_an_operator_reads_the_name_of_the_code_in_a_trace() -> None:
    assert str(Refused(Code.CARD_UNKNOWN)) == "CARD_UNKNOWN"
