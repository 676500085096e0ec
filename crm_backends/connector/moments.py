"""The functions that need the programme's zone or country: days, moments, phones; and all together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from crm_backends.connector.functions import PLAIN, Function, filled
from crm_backends.connector.values import Unfit, is_no_day, kind, number, text_of
from crm_backends.connector.values import text_only as _text
from crm_backends.inputs import read_phone


@dataclass(frozen=True, slots=True)
class ProgrammeDefaults:
    """What the programme decides and a CRM does not: the zone of its days, the country of bare phones."""

    zone: ZoneInfo
    region: str
    """ISO 3166."""


def functions_of(programme: ProgrammeDefaults) -> dict[str, Function]:
    """All functions, those that need the programme's zone or country included."""

    def e164(value: object) -> str | None:
        """A phone, however it is written, as E.164; nothing where it is no phone."""
        return None if value is None else read_phone(text_of(value), programme.region)

    def date_(value: object, form: object = None) -> date | None:
        """A day of its text: ISO 8601, or by a format such as ``%d.%m.%Y``; of a moment, its day in the
        programme's zone."""
        value = filled(value)
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.astimezone(programme.zone).date()
        if isinstance(value, date):
            return value
        try:
            written = _text(value)
            if is_no_day(written):
                return None
            if form is None:
                return date.fromisoformat(written[:10])
            return _by_format(written, _text(form)).date()
        except (ValueError, re.error):  # the latter of a format with a sign twice
            raise Unfit("the text is not a day in this format") from None

    def time_(value: object, form: object = None, zone: object = None) -> datetime | None:
        """A moment of its text: ISO 8601 or by a format. Without a zone in it: ``zone``, the programme's."""
        value = filled(value)
        if value is None:
            return None
        try:
            written = _text(value)
            moment = datetime.fromisoformat(written) if form is None else _by_format(written, _text(form))
            moment = moment if moment.tzinfo else moment.replace(tzinfo=_zone(zone, programme.zone))
            return moment.astimezone(UTC)
        except (ValueError, OverflowError, OSError, re.error):
            raise Unfit("the text is not a moment in this format") from None

    def epoch(value: object, parts: object = 1) -> datetime | None:
        """A moment of the seconds since 1970; ``parts`` 1000 where they are milliseconds."""
        if value is None:
            return None
        try:
            return datetime.fromtimestamp(float(Decimal(number(value)) / number(parts)), UTC)
        except (ValueError, OverflowError, OSError, ArithmeticError):
            raise Unfit("this is no moment") from None

    def seconds(value: object) -> int | None:
        """Whole seconds since 1970 of a moment."""
        return None if value is None else int(_moment(value).timestamp())

    def format_(value: object, form: object, zone: object = None) -> str | None:
        """A day or a moment written by a format (strftime); a moment in ``zone``, else the programme's."""
        if value is None:
            return None
        if isinstance(value, date) and not isinstance(value, datetime):
            return value.strftime(_text(form))
        return _moment(value).astimezone(_zone(zone, programme.zone)).strftime(_text(form))

    return {
        **PLAIN,
        "e164": e164,
        "date": date_,
        "time": time_,
        "epoch": epoch,
        "seconds": seconds,
        "format": format_,
    }


_NAMES = {"%Y": "year", "%m": "month", "%d": "day", "%H": "hour", "%M": "minute", "%S": "second"}
"""Signs of a format in the order in which ``datetime`` takes what they stand for."""
_DIGITS = {sign: f"(?P<{name}>[0-9]{{{4 if sign == '%Y' else 2}}})" for sign, name in _NAMES.items()}


def _by_format(written: str, form: str) -> datetime:
    """What ``strptime`` reads, in a third of its time where the text is written out in full digits.

    Raises:
        ValueError, re.error: as ``strptime``.
    """
    pattern, parts = _digits_of(form)
    digits = pattern.fullmatch(written) if pattern is not None else None
    if digits is not None:
        try:
            return datetime(*map(int, digits.group(*parts)))  # type: ignore[arg-type]  # noqa: DTZ001
        except ValueError:
            pass  # no such day: strptime says so
    return datetime.strptime(written, form)  # noqa: DTZ007 - the zone follows, a day has none


@lru_cache(256)
def _digits_of(form: str) -> tuple[re.Pattern[str] | None, Sequence[str]]:
    """What a text by this format looks like with all its digits, nothing for other formats; and its parts."""
    pieces = re.split("(%.?)", form, flags=re.DOTALL)
    signs = pieces[1::2]
    parts = [sign for sign in _DIGITS if sign in signs]
    whole = len(signs) == len(parts) >= 3 and parts == list(_DIGITS)[: len(parts)]
    if not whole:
        return None, ()
    pattern = re.compile("".join(_DIGITS.get(piece) or re.escape(piece) for piece in pieces))
    return pattern, [_NAMES[sign] for sign in parts]


def _moment(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise Unfit(f"a moment is wanted, this is {kind(value)}")
    return value


def _zone(wanted: object, otherwise: ZoneInfo) -> ZoneInfo:
    if wanted is None:
        return otherwise
    try:
        return ZoneInfo(_text(wanted))
    except (LookupError, ValueError, OSError):
        raise Unfit("there is no such time zone") from None
