"""Every clause has a check or a reason why it has none, and every check has clauses that exist."""

from __future__ import annotations

from collections import Counter

from contracts.loyalty_online import clauses, untested
from contracts.suite.judging import everything

TESTED = {clause for item in everything() for clause in item.clauses}


def test_every_clause_is_tested_or_says_why_not() -> None:
    assert [clause for clause in clauses() if clause not in TESTED and clause not in untested()] == []


def test_no_tested_clause_says_that_it_cannot_be_tested() -> None:
    assert sorted(TESTED & untested().keys()) == []


def test_every_check_names_clauses_that_exist() -> None:
    assert sorted(TESTED - clauses().keys()) == []


def test_the_clauses_of_a_check_are_of_one_version() -> None:
    """Else a check would be asked of a version that does not know what it needs."""
    for item in everything():
        assert len({clauses()[clause].versions for clause in item.clauses}) == 1, item.name


def test_names_of_checks_are_unique_and_titles_are_sentences() -> None:
    counted = Counter(item.name for item in everything())
    assert [name for name, count in counted.items() if count > 1] == []
    for item in everything():
        assert item.title.isprintable(), item.name
        assert 5 <= len(item.title) <= 100, item.name
