"""The sex and the dates of a person, however a form or a program writes them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from crm_backends.inputs.text import is_left_out, one_line, visible
from crm_backends.model import Sex

_SEX: dict[str, Sex] = {
    "m": "m", "male": "m", "man": "m", "м": "m", "муж": "m", "муж.": "m", "мужской": "m", "мужчина": "m",
    "f": "f", "female": "f", "woman": "f", "ж": "f", "жен": "f", "жен.": "f", "женский": "f", "женщина": "f",
}  # fmt: skip
_NO_SEX = frozenset({"0", "9", "o", "other", "diverse", "d", "другой", "другое", "иное", "не важно"})
"""Not known and not applicable by ISO 5218, and what is neither: there is no field for it."""
_YYYY_MM_DD = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EARLIEST_BIRTH = 1880


def sex_of(text: str) -> Sex | None:
    """``None`` where the text says that it is not known. Raises ``ValueError`` for what is no sex."""
    word = one_line(text).lower()
    sex = _SEX.get(word)
    if sex is None and word not in _NO_SEX and not is_left_out(word):
        raise ValueError("not one of m, f, м, ж, male, female")
    return sex


def day_of(text: str) -> date:
    """A day written YYYY-MM-DD. Raises ``ValueError``."""
    text = visible(text)
    if _YYYY_MM_DD.fullmatch(text):
        day = date.fromisoformat(text)
        if 1800 <= day.year <= 2999:  # beyond, no time zone and no database agrees with another
            return day
    raise ValueError("not YYYY-MM-DD")


def birth_date_of(text: str) -> date | None:
    """``None`` where the text says that there is none. Raises ``ValueError`` for what is no birth date."""
    text = visible(text).strip()
    if not text[:1].isdigit() and is_left_out(text):
        return None
    born = day_of(text)
    # A day more or less does not matter here.
    if not _EARLIEST_BIRTH <= born.year <= datetime.now(UTC).year:
        raise ValueError("not a birth date")
    return born
