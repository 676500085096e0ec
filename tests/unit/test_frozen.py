"""Dataclasses that mypy holds frozen behave as frozen dataclasses, but for the freezing."""

from __future__ import annotations

import dataclasses
from dataclasses import field

import pytest

from crm_backends.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Ours:
    name: str
    count: int = 1
    aside: int = field(default=0, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Pythons:
    name: str
    count: int = 1
    aside: int = field(default=0, compare=False)


def test_they_are_equal_and_hash_as_pythons_frozen_ones() -> None:
    assert Ours("a") == Ours("a", aside=5)
    assert Ours("a") != Ours("b")
    assert hash(Ours("a", 2, 3)) == hash(Pythons("a", 2, 3))
    assert repr(Ours("a")).replace("Ours", "Pythons") == repr(Pythons("a"))
    assert dataclasses.replace(Ours("a"), count=7) == Ours("a", 7)
    assert not hasattr(Ours("a"), "__dict__")


def test_what_is_not_meant_to_be_frozen_is_refused() -> None:
    with pytest.raises(TypeError):
        dataclass(frozen=False)
