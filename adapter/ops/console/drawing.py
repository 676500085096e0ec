"""Turns a page's name and values into HTML in the reader's language. It may not know what the values mean."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from adapter.ops.console import masking
from contracts.kit.language import Language, translations
from contracts.kit.pages import base_style

FOLDER = Path(__file__).parent
RUSSIAN = FOLDER / "russian.yaml"
_ENGLISH = re.compile(r"(?<![-\w])[a-z]{2,} [a-z]{2,} [a-z]{2,}")
"""Three words in a row; no command, no statement."""


@cache
def language(code: str) -> Language:
    """``en`` or ``ru``."""
    if code == "en":
        return Language("en", {}, {})
    content = translations(RUSSIAN)
    return Language(code, content["sentences"], content["counted"])


def draw(page: str, say: Language, zone: ZoneInfo, /, **values: Any) -> str:
    """The page of this name."""
    return _environment(say, zone).get_template(f"{page}.html.j2").render(**values)


@lru_cache
def _environment(say: Language, zone: ZoneInfo) -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(t=say, s=say.sentence, w=_words(say))
    made.tests.update(english=_stays_english(say))
    made.filters.update(
        last=masking.last, moment=_moments(zone), clock=_clock(zone), age=_ages(say), points=_points, ms=_ms
    )
    made.filters.update(grouped=lambda number: f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"))
    return made


def _stays_english(say: Language) -> Callable[[str], bool]:
    def english(text: str) -> bool:
        """Whether a text that somebody else has put together is English to a reader of another language."""
        return say.code != "en" and _ENGLISH.search(say.sentence(text)) is not None

    return english


def _words(say: Language) -> Callable[[object], str]:
    def word(name: object) -> str:
        """A name of ours, such as ``promo_code``, as a word."""
        text = str(name)
        said = say(text)
        return said if said != text else text.replace("_", " ")

    return word


def _moments(zone: ZoneInfo) -> Callable[[datetime | None], str]:
    def moment(at: datetime | None) -> str:
        if at is None:
            return "—"
        shown = at.astimezone(zone)
        text = f"{shown:%Y-%m-%d} {shown:%H:%M:%S}"
        return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), text)

    return moment


def _clock(zone: ZoneInfo) -> Callable[[datetime], str]:
    def clock(at: datetime) -> str:
        """The time of day, for where the day is clear."""
        return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), f"{at.astimezone(zone):%H:%M}")

    return clock


def _ages(say: Language) -> Callable[[datetime], str]:
    def age(since: datetime) -> str:
        """Time that has passed, in its two largest units."""
        minutes = max(0, int((datetime.now(UTC) - since).total_seconds() // 60))
        hours, days = minutes // 60, minutes // 1440
        if days:
            return say("{days} d {hours} h", days=days, hours=hours % 24)
        if hours:
            return say("{hours} h {minutes} min", hours=hours, minutes=minutes % 60)
        return say("{minutes} min", minutes=minutes)

    return age


def _points(value: Decimal | None) -> str:
    """Points without trailing zeros."""
    return "—" if value is None else f"{value.normalize():f}"


def _ms(seconds: float | None) -> str:
    return "—" if seconds is None else f"{seconds * 1000:.0f}"


@cache
def style() -> str:
    """The style sheet of all pages."""
    return f"{base_style()}\n{(FOLDER / 'static' / 'console.css').read_text(encoding='utf-8')}"
