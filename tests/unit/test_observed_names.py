"""Names of what callers send are kept; what could be a value of a person's is masked."""

from __future__ import annotations

import pytest

from adapter.api.observed_names import MASK, names_of, safe


@pytest.mark.parametrize("name", ["receiptQr", "x_field", "card-number", "_id"])
def test_a_name_as_programs_write_it_is_kept(name: str) -> None:
    assert safe(name) == name


@pytest.mark.parametrize(
    "name",
    ["Плантагена", "Иванов", "79160000001", "card79160000001", "anna@example.com", "two words", "", "a" * 41],
)
def test_what_could_be_somebodys_is_masked(name: str) -> None:
    assert safe(name) == MASK


def test_the_keys_of_a_map_are_masked_within_too() -> None:
    told = list(names_of({"people": {"Анна": {"phone": "79160000001"}}, "items": [{"sum": 1}]}))
    assert told == [f"people.{MASK}.phone", "items[].sum"]
