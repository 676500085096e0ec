"""What the terminal, the report and the pages say, in the reader's language: see ``contracts.kit.language``.

Translations are in ``russian.yaml``; what a clause says is in ``clauses.csv``. It may not know who says what.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from contracts.kit import language as kit
from contracts.kit.language import LANGUAGES, by_browser, by_locale
from contracts.suite.results import Clause

__all__ = ["ENGLISH", "LANGUAGES", "Language", "by_browser", "by_locale", "language", "translations"]

FILE = Path(__file__).with_name("russian.yaml")


class Language(kit.Language):
    """One language of the suite."""

    def clause(self, clause: Clause) -> str:
        """What a clause says."""
        return clause.text_ru or clause.text if self.code == "ru" else clause.text


ENGLISH = Language("en", {}, {})


@cache
def language(code: str) -> Language:
    """``en`` or ``ru``."""
    if code == "en":
        return ENGLISH
    content = translations()
    return Language(code, content["sentences"], content["counted"])


def translations() -> dict[str, Any]:
    """The translations as they are kept: ``sentences`` and ``counted``."""
    return kit.translations(FILE)
