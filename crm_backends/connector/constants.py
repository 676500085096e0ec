"""What is written out in an expression and can be no value there: told when the file is read.

An argument of a function, an operand, a field of a result. Without this it would be told at the first row of
the first answer, to somebody at a till. It may not know how an expression runs, nor any CRM.
"""

from __future__ import annotations

import difflib
import inspect
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from jinja2 import nodes

from crm_backends.connector.functions import Function
from crm_backends.connector.problems import nearest
from crm_backends.connector.scope import FAILS, Wrong
from crm_backends.connector.values import Unfit, kind, text_of
from crm_backends.http.settings import checked_url

NOT_WRITTEN = object()
"""Stands for the value of a node that is not written out."""
Check = Callable[[Any], None]
"""Raises ``Wrong``."""


def written(node: nodes.Node | None) -> Any:
    """The value that is written out, or ``NOT_WRITTEN``."""
    match node:
        case nodes.Const():
            return Decimal(repr(node.value)) if isinstance(node.value, float) else node.value
        case nodes.Neg():
            value = written(node.node)
            return -value if isinstance(value, int | Decimal) else NOT_WRITTEN
        case nodes.List() | nodes.Tuple():
            items = [written(item) for item in node.items]
            return NOT_WRITTEN if any(item is NOT_WRITTEN for item in items) else items
        case _:
            return NOT_WRITTEN


def given(node: nodes.Node) -> Iterator[Any]:
    """Values written out that an expression may give as they are."""
    match node:
        case nodes.CondExpr():
            yield from given(node.expr1)
            if node.expr2 is not None:
                yield from given(node.expr2)
        case nodes.And() | nodes.Or():
            yield from given(node.left)
            yield from given(node.right)
        case nodes.Filter(name="default") if node.node is not None and len(node.args) == 1:
            yield from given(node.node)
            yield from given(node.args[0])
        case nodes.Getitem() if isinstance(node.node, nodes.Dict):
            for pair in node.node.items:
                yield from given(pair.value)
        case _:
            value = written(node)
            if value is not NOT_WRITTEN:
                yield value


# -- arguments -----------------------------------------------------------------------------------------


def look_at_arguments(
    name: str,
    function: Function,
    arguments: Sequence[nodes.Node],
    named: Mapping[str, nodes.Node],
) -> None:
    """Raises ``Wrong`` where an argument that is written out can be none of this function."""
    if name == "concat" and len(arguments) == 1 and isinstance(arguments[0], nodes.List):
        raise Wrong("concat is given a single list", "leave out the brackets: concat(a, b)", name)
    bound = inspect.signature(function).bind(*arguments, **named)
    for parameter, node in bound.arguments.items():
        check = _ARGUMENTS.get((name, parameter))
        for one in node if isinstance(node, tuple) else (node,):
            value = written(one)
            if check is None or value is NOT_WRITTEN:
                continue
            try:
                check(value)
            except Wrong as wrong:
                raise Wrong(f"{name}: {wrong.cause}", wrong.remedy, wrong.fragment or name) from None
    values = [written(one) for one in arguments]
    by_name = {key: written(one) for key, one in named.items()}
    if not values or any(value is NOT_WRITTEN for value in (*values, *by_name.values())):
        return
    try:
        function(*values, **by_name)
    except FAILS as error:
        cause = str(error) if isinstance(error, Unfit) else "the values do not fit together"
        raise Wrong(f"{name}: {cause}", "", _shown(values[0]) or name) from None


def _text(value: Any) -> None:
    if not isinstance(value, str):
        raise Wrong(f"text is wanted, this is {kind(value)}", "put it into quotes")


def _some_text(value: Any) -> None:
    _text(value)
    if not value:
        raise Wrong("the text here may not be empty")


def _whole(least: int, most: int) -> Check:
    def check(value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Wrong(f"a whole number from {least} to {most} is wanted", "", _shown(value))

    return check


def _above_zero(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value <= 0:
        raise Wrong("a number above zero is wanted", "", _shown(value))


def _member(value: Any) -> None:
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise Wrong(f"the name of a member is wanted, this is {kind(value)}", 'write it as text: "id"')


def _true_or_false(value: Any) -> None:
    if not isinstance(value, bool):
        raise Wrong("true or false is wanted", 'true has the greatest first: sort("at", true)', _shown(value))


def _rounding(value: Any) -> None:
    if value not in ("half_up", "half_even"):
        remedy = nearest(str(value), ("half_up", "half_even"))
        raise Wrong("the way of rounding is half_up or half_even", remedy, _shown(value))


def _zone(value: Any) -> None:
    _text(value)
    look_at_zone(value)


def look_at_zone(name: str) -> None:
    """Raises ``Wrong`` where there is no such time zone."""
    try:
        zoneinfo.ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        remedy = "write a name such as Europe/Moscow"
        if near := _zone_meant(name):
            remedy = f'did you mean "{near}"?'
        raise Wrong(f'there is no time zone "{name}"', remedy, name) from None


def _zone_meant(name: str) -> str:
    """The zone that a wrong name most likely means: a city alone, the letters of Moscow time."""
    known = sorted(zoneinfo.available_timezones())
    wanted = {"msk": "europe/moscow"}.get(name.lower(), name.lower())
    for zone in known:
        if wanted in (zone.lower(), zone.lower().rpartition("/")[2]):
            return zone
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), "")


_SAMPLE = datetime(2026, 11, 25, 20, 25, 38, 123456, UTC)
_SIGN = re.compile(r"%[-_0^#]?[EO]?(.?)", re.DOTALL)
_READ = frozenset("aAbBcdfGHIjmMpSuUVwWxXyYzZ%")
"""What may follow % where text is read (the table of Python's ``datetime``)."""
_WRITTEN = _READ | frozenset("CDeFghklnPrRsTt")
"""What may besides where text is written, in the C library."""
_SUCH_AS = 'such as "%d.%m.%Y" or "%Y-%m-%d %H:%M:%S"'


def _day_read(value: Any) -> None:
    """By writing a day with the format and reading it again: what is lost is not in the format."""
    _some_text(value)
    _names_a_part(value)
    try:
        read = datetime.strptime(_SAMPLE.strftime(value), value)  # noqa: DTZ007 - its day is looked at
    except (ValueError, re.error):  # the latter where a sign is there twice
        _signs_known(value, _READ)
        _signs_once(value)
        raise Wrong("nothing can be read by this format", _SUCH_AS, value) from None
    if read.date() != _SAMPLE.date():
        raise Wrong("the format leaves out the day, the month or the year", _SUCH_AS, value)


def _moment_read(value: Any) -> None:
    _day_read(value)
    read = datetime.strptime(_SAMPLE.strftime(value), value)  # noqa: DTZ007 - its hour is looked at
    if read.hour not in (0, _SAMPLE.hour):
        raise Wrong("%I is an hour of twelve", "write %p for AM or PM besides, or %H", value)


def _form_written(value: Any) -> None:
    _some_text(value)
    _names_a_part(value)
    _signs_known(value, _WRITTEN)


def _names_a_part(form: str) -> None:
    if "%" not in form:
        raise Wrong("the format names no part of a day", _SUCH_AS, form)


def _signs_known(form: str, known: frozenset[str]) -> None:
    for match in _SIGN.finditer(form):
        if not match[1]:
            raise Wrong("a % in the format stands alone", "write %% for the sign itself", form)
        if match[1] not in known:
            letters = " ".join(f"%{letter}" for letter in sorted(known, key=lambda one: (one.lower(), one)))
            raise Wrong(f"a format has no {match[0]}", f"known: {letters}", match[0])


def _signs_once(form: str) -> None:
    signs = [match[0] for match in _SIGN.finditer(form) if match[0] != "%%"]
    if twice := next((sign for sign in signs if signs.count(sign) > 1), ""):
        raise Wrong(f"the format has {twice} twice", _SUCH_AS, form)


def _may_be_left_out(check: Check) -> Check:
    def looked(value: Any) -> None:
        if value is not None:
            check(value)

    return looked


_ARGUMENTS: Mapping[tuple[str, str], Check] = {
    ("cut", "length"): _whole(0, 1_000_000),
    ("replace", "old"): _some_text,
    ("replace", "new"): _text,
    ("split", "separator"): _some_text,
    ("join", "separator"): _text,
    ("starts_with", "piece"): _some_text,
    ("pick", "name"): _member,
    ("sort", "by"): _member,
    ("sort", "reverse"): _true_or_false,
    ("unfold", "name"): _member,
    ("unique", "by"): _may_be_left_out(_member),
    ("without", "names"): _member,
    ("round", "places"): _whole(-12, 12),
    ("round", "way"): _rounding,
    ("hmac", "key"): _some_text,
    ("date", "form"): _may_be_left_out(_day_read),
    ("time", "form"): _may_be_left_out(_moment_read),
    ("time", "zone"): _may_be_left_out(_zone),
    ("epoch", "parts"): _above_zero,
    ("format", "form"): _form_written,
    ("format", "zone"): _may_be_left_out(_zone),
}
"""By function and parameter: what an argument has to be that is written out."""


# -- calls ---------------------------------------------------------------------------------------------

_DOTS = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?=/|$)", re.IGNORECASE)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110, 5.1 and 5.6.2)."""


def look_at_path(path: str) -> None:
    """Raises ``Wrong`` where nothing can be sent to a path; what is to be filled in is ``x`` here."""
    if "?" in path:
        raise Wrong("a path carries no query", "write it under query:", "?")
    if "#" in path:
        raise Wrong("a path carries no fragment", "write %23 for the sign itself", "#")
    if any(sign.isspace() or not sign.isprintable() for sign in path):
        raise Wrong("a path has no blanks", "write %20 for one")
    if dots := _DOTS.search(path):
        raise Wrong("a path may not have segments of dots", "", dots[0])
    if "://" in path[:8]:
        try:
            checked_url(path)
        except ValueError as error:
            raise Wrong(f"the address {error}") from None


def look_at_header(name: str, value: str) -> None:
    """Raises ``Wrong`` where there can be no header of this name, or with this value."""
    if not _HEADER.fullmatch(name):
        raise Wrong("a header's name has letters, digits and hyphens", "", name)
    if "${" not in value and not value.isprintable():
        raise Wrong("a header has no breaks of lines and no other signs that cannot be seen")


# -- operands ------------------------------------------------------------------------------------------


def look_at_number(node: nodes.Node, *, divides: bool = False) -> None:
    """Raises ``Wrong`` where a number of a computation is written out and is none."""
    value = written(node)
    if value is NOT_WRITTEN:
        return
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        remedy = "texts are joined by ~" if isinstance(value, str) else ""
        raise Wrong(f"a number is wanted, this is {kind(value)}", remedy, _shown(value))
    if divides and value == 0:
        raise Wrong("nothing is divided by zero", "", _shown(value))


def look_at_end(node: nodes.Node) -> None:
    """Raises ``Wrong`` where an end of a part is written out and no whole number."""
    value = written(node)
    if value is not NOT_WRITTEN and (isinstance(value, bool) or not isinstance(value, int)):
        raise Wrong("a part begins and ends at whole numbers", "text[:10]", _shown(value))


def look_at_piece(node: nodes.Node) -> None:
    """Raises ``Wrong`` where what is joined as text is written out and cannot be written as text."""
    value = written(node)
    if value is NOT_WRITTEN:
        return
    try:
        text_of(value)
    except Unfit as error:
        raise Wrong(str(error), "", _shown(value)) from None


def look_at_comparison(left: nodes.Node, operand: nodes.Operand) -> None:
    """Raises ``Wrong`` where two values are compared of which one is written out and cannot be."""
    values = [written(left), written(operand.expr)]
    if operand.op in ("lt", "lteq", "gt", "gteq"):
        for value in values:
            if value is None or isinstance(value, bool | list):
                raise Wrong(f"{kind(value)} has no order", "", _shown(value))
    if operand.op in ("in", "notin"):
        value = values[1]
        if value is not NOT_WRITTEN and not isinstance(value, str | list):
            raise Wrong(f"nothing is in {kind(value)}", "write a list: in [404, 410]", _shown(value))
    if isinstance(left, nodes.Name) and left.name == "status":
        several = values[1] if isinstance(values[1], list) else [values[1]]
        for value in several:
            if value is not NOT_WRITTEN:
                _can_be_a_status(value, exactly=operand.op in ("eq", "ne", "in", "notin"))


def _can_be_a_status(value: Any, *, exactly: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        remedy = f"write {value} without quotes" if isinstance(value, str) and value.isdecimal() else ""
        raise Wrong(f"status is a number, this is {kind(value)}", remedy, _shown(value))
    if exactly and not 100 <= value <= 599:
        raise Wrong("a status has three digits, from 100 to 599", "", _shown(value))


def look_at_joined(left: nodes.Node, right: nodes.Node) -> None:
    """Raises ``Wrong`` for ``status == 404 or 410``: what stands beside a comparison is always true."""
    for one, other in ((left, right), (right, left)):
        value = written(other)
        compares = isinstance(one, nodes.Compare | nodes.Test | nodes.Not)
        if compares and value is not NOT_WRITTEN and not isinstance(value, bool) and value is not None:
            remedy = "write each comparison out, or x in [a, b]"
            raise Wrong("one side of this is always the same", remedy, _shown(value))


def _shown(value: Any) -> str:
    """How a value is written, to point at it; empty where that may differ."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else ""
