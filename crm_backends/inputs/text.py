"""Text as it was meant: without characters that nobody sees, and what stands for "nothing"."""

from __future__ import annotations

import re
import unicodedata

_IGNORABLE = (
    # Default_Ignorable_Code_Point of Unicode: joiners, marks of direction, fillers, variation selectors.
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    # The rest of the category Cf: signs before numbers, annotations.
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
)
_UNSEEN = re.compile(f"[{_IGNORABLE}]")
_BLANKS = re.compile(r"[\s\u2800\x00-\x1f\x7f-\x9f]+")

LEFT_OUT = frozenset(
    {
        "", "-", "--", "—", "–", "?", ".", "n", "na", "n/a", "#n/a", "nan", "nil", "none", "null", "(null)",
        "undefined", "u", "unknown", "unspecified", "not specified", "not known", "not set", "not given",
        "empty", "нет", "нет данных", "н/д", "не указан", "не указана", "не указано", "не задан", "не задана",
        "не задано", "не определен", "не определён", "не определено", "неизвестен", "неизвестна",
        "неизвестно", "не известен", "не известно", "не выбран", "не выбрана", "не выбрано", "пусто",
    }
)  # fmt: skip
"""What programs and people write into a field they have nothing for; in lower case."""


def visible(text: str) -> str:
    """``text`` without the characters that nobody sees (marks of direction, zero-width blanks, BOM)."""
    return text if text.isascii() else _UNSEEN.sub("", text)


def one_line(text: str) -> str:
    """A name, a place or another short text: what is seen of it, composed (NFC), single blanks between."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", visible(text))
    if text.isprintable() and "  " not in text and "\u2800" not in text:  # as nearly every text is
        return text.strip()
    return _BLANKS.sub(" ", text).strip()


def compatible(text: str) -> str:
    """What identifies somebody, in the plainest form of its characters (NFKC), outer blanks taken off."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", visible(text))
    return text.strip()


def is_left_out(text: str) -> bool:
    """Whether a value says that there is none: ``null``, ``unknown``, ``NOT_SPECIFIED``, ``не указан``."""
    return len(text) <= _MOST_WORDS and one_line(text.replace("_", " ")).lower() in LEFT_OUT


_MOST_WORDS = 40  # characters; more than any of them, blanks and invisible ones included
_MOST_SHOWN = 40


def shape(value: object) -> str:
    """What a value looks like, for an error or a log, and nothing of what it says.

    Digits are shown as 9, letters as x, ASCII punctuation as it is, everything else as ``?``.
    """
    if not isinstance(value, str):
        return type(value).__name__
    shown = "".join(_shown(character) for character in value[:_MOST_SHOWN])
    return f'"{shown}"' if len(value) <= _MOST_SHOWN else f'"{shown}" and {len(value) - _MOST_SHOWN} more'


def _shown(character: str) -> str:
    if character.isdigit():
        return "9"
    if character.isalpha():
        return "x"
    return character if character.isascii() and character.isprintable() else "?"
