"""Russian beside English, in the reader's language: the sentences of a program, and their translations.

English is the source. Translations are a YAML file of sentences with slots: ``{what} is answered 200``. A
sentence that was put together elsewhere is matched against these, its slots are looked up by themselves. What
is not there stays English. It may not know who says what.
"""

from __future__ import annotations

import locale
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from contracts.kit import yaml_files

LANGUAGES = {"en": "English", "ru": "Русский"}
_SLOT = re.compile(r"\{(\w+)\}")
_DEEPEST = 4
"""Sentences within sentences that are looked into."""


class Language:
    """One language, and the translations that lead to it from English."""

    def __init__(self, code: str, sentences: Mapping[str, str], counted: Mapping[str, list[str]]) -> None:
        """``counted``: for an English plural with ``{number}`` the forms for one, a few and many."""
        self.code = code
        self._sentences = sentences
        self._counted = counted
        self._forms = sorted(
            ((_pattern(english), other) for english, other in sentences.items() if _SLOT.search(english)),
            key=lambda form: -len(form[0].pattern),
        )
        self._known: dict[str, str] = {}

    def __call__(self, english: str, **slots: object) -> str:
        """A sentence of the program's own, its slots filled in."""
        said = self._sentences.get(english, english)
        return said.format(**slots) if slots else said

    def sentence(self, text: str) -> str:
        """A sentence that was put together elsewhere; as it is where no translation fits."""
        if not self._sentences:
            return text
        if text not in self._known:
            self._known[text] = self._translated(text, _DEEPEST)
        return self._known[text]

    def count(self, number: int, one: str, many: str) -> str:
        """A number with what is counted: ``count(2, "{number} check", "{number} checks")``."""
        if many in self._counted:
            return self._counted[many][_slavic(number)].format(number=number)
        return (one if number == 1 else many).format(number=number)

    def _translated(self, text: str, deepest: int) -> str:
        if text in self._sentences:
            return self._sentences[text]
        if not deepest or len(text) > 700:
            return text
        for pattern, other in self._forms:
            if (found := pattern.fullmatch(text)) is not None:
                slots = {
                    name: self._translated(part, deepest - 1) for name, part in found.groupdict().items()
                }
                return _SLOT.sub(lambda slot, slots=slots: slots[slot[1]], other)  # type: ignore[misc]
        return text


def _pattern(english: str) -> re.Pattern[str]:
    parts = _SLOT.split(english)
    return re.compile(
        "".join(f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts)),
        re.DOTALL,
    )


def _slavic(number: int) -> int:
    """Which form goes with a number: 1 проверка, 2 проверки, 5 проверок."""
    if number % 10 == 1 and number % 100 != 11:
        return 0
    return 1 if number % 10 in (2, 3, 4) and number % 100 not in (12, 13, 14) else 2


@cache
def translations(file: Path) -> dict[str, Any]:
    """A file of translations as it is: ``sentences`` and ``counted``."""
    return yaml_files.read(file)


def by_locale() -> str:
    """The language of whoever sits there: Russian where the surroundings say so."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if said := os.environ.get(name):
            return "ru" if said.lower().startswith("ru") else "en"
    return "ru" if (locale.getlocale()[0] or "").lower().startswith("ru") else "en"


def by_browser(accepted: str) -> str | None:
    """The first of our languages in an ``Accept-Language`` header, as browsers order it."""
    for one in accepted.split(","):
        code = one.partition(";")[0].strip().lower()[:2]
        if code in LANGUAGES:
            return code
    return None
