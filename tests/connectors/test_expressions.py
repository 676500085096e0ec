"""Expressions: what they give, what they refuse when they are read, and what they never do."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from crm_backends.connector.expressions import read_expression, read_pieces
from crm_backends.connector.moments import ProgrammeDefaults, functions_of
from crm_backends.connector.scope import CannotTell, Expression, Scope, Wrong

MOSCOW = ProgrammeDefaults(ZoneInfo("Europe/Moscow"), "RU")
SCOPE = Scope(
    {
        "input": {"phone": None, "points": None, "receipt": {"document": None}},
        "settings": {"wallet": None},
        "steps": {"find": {"id": None}},
        "body": None,
        "status": None,
        "headers": None,
    },
    functions_of(MOSCOW),
    {"secrets": "a secret goes into what is sent"},
)
CONTEXT: dict[str, Any] = {
    "input": {"phone": "+79161234567", "points": Decimal("12.50"), "receipt": None},
    "settings": {"wallet": "w2"},
    "steps": {"find": {"id": "c1"}},
    "status": 200,
    "headers": {"set-cookie": "PLAY2AUTH_SESS_ID=abc; Path=/"},
    "body": {
        "ok": True,
        "no": False,
        "empty": "",
        "name": "Иванов Иван",
        "customers": [
            {"id": "c0", "phone": "+7916123456"},
            {"id": "c1", "phone": "+79161234567", "partner": [7, "Anna"]},
        ],
        "wallets": [
            {"id": "w1", "balance": Decimal("5.25")},
            {"id": "w2", "balance": Decimal("100.10")},
        ],
        "orders": [{"n": 1, "items": [{"sku": "a"}, {"sku": "b"}]}, {"n": 2, "items": [{"sku": "c"}]}],
        "date": "17.05.1990",
        "time": "2026-11-26 10:30:00",
        "when": "2026-11-26T10:30:00+03:00",
        "kopecks": 12345,
        "keys": "a key",
        "message": "Customer NOT found",
    },
}


def read(text: str) -> Expression:
    return read_expression(text, SCOPE, "crm.yaml:1:1")


def value(text: str) -> Any:
    return read(text).value(CONTEXT)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # rows by an input, by a setting, by a condition
        ("(body.customers | where(phone=input.phone) | first).id", "c1"),
        ("(body.wallets | where(id=settings.wallet) | first).balance", Decimal("100.10")),
        ('body.wallets | where("row.balance > 50 and row.id == settings.wallet") | length', 1),
        ("body.customers | where(phone='nobody') | first", None),
        ("body.nothing | where(id=1)", []),
        # decimals stay decimals
        ("body.wallets | pick('balance') | sum", Decimal("105.35")),
        ("body.wallets | pick('balance') | max", Decimal("100.10")),
        ("(body.wallets | sort('balance', reverse=true) | first).id", "w2"),
        ("(-body.wallets[0].balance) | abs", Decimal("5.25")),
        ("-body.kopecks", -12345),
        ("-body.kopecks if body.ok else 1", -12345),
        ("'12.50' | decimal", Decimal("12.50")),
        ("0.1 + 0.2", Decimal("0.3")),
        ("input.points * 2", Decimal("25.00")),
        ("10 / 4", Decimal("2.5")),
        ("7 // 2", 3),
        ("7 % 4", 3),
        ("body.kopecks | roubles", Decimal("123.45")),
        ("'123.45' | kopecks", 12345),
        ("2.5 | round", Decimal(3)),
        ("2.5 | round(0, 'half_even')", Decimal(2)),
        ("text((0.1 + 0.2 - 0.30000000000005) | round(2))", "0"),
        ("body.kopecks > -9223372036854775808 and body.kopecks != -1e300", True),
        ("'12' | int", 12),
        # conditions
        ("status >= 200 and status < 300", True),
        ("status == 404 or body.ok is true", True),
        ("status in [404, 410]", False),
        ("body.message | lower == 'customer not found'", True),
        ("'not found' in (body.message | lower)", True),
        ("'not found' in body.nothing", False),
        ("body.no is empty", True),
        ("body.ok == 1", False),
        ("'1' == 1", False),
        ("body.nothing is none", True),
        ("body.ok is defined", True),
        ("not body.no", True),
        # nothing is nothing all the way down
        ("body.nothing.deeper[0].still", None),
        ("input.receipt.document", None),
        ("body.customers[7].id", None),
        ("body.customers[-1].id", "c1"),
        ("body.nothing | default('x')", "x"),
        ("body.empty | filled", None),
        ("body.no | filled", None),
        # a member called like a method is a member
        ("body.keys", "a key"),
        ("body.items", None),
        # texts, phones, pairs, joined names
        ("input.phone | digits", "79161234567"),
        ("input.phone | national", "9161234567"),
        ("'8 (916) 123-45-67' | e164", "+79161234567"),
        ("9161234567 | e164", "+79161234567"),
        ("'nobody' | e164", None),
        ("body.customers[1].partner[1]", "Anna"),
        ("body.name | split | last", "Иван"),
        ("[body.name, none, ''] | join", "Иванов Иван"),
        ("input.phone[1:] ~ '!'", "79161234567!"),
        ("'x' if body.no else 'y'", "y"),
        ("{'male': 'm', 'female': 'f'}['male']", "m"),
        ("body.orders | unfold('items') | pick('sku')", ["a", "b", "c"]),
        ("(body.orders | unfold('items') | last).outer.n", 2),
        ("concat(body.nothing, body.wallets) | length", 2),
        ("merge({'a': 1, 'b': 2}, {'b': 3, 'c': none})", {"a": 1, "b": 3, "c": None}),
        ("{'a': 1, 'b': 2, 'c': 3} | without('a', 'c', 'd')", {"b": 2}),
        ("body.nothing | without('a')", None),
        ("headers['set-cookie'] | split('=') | first", "PLAY2AUTH_SESS_ID"),
        ("'KEY' | uuid5 == ('KEY' | uuid5)", True),
        ("'abcdef' | cut(3)", "abc"),
        ("{'a': input.points} | json", '{"a":12.5}'),
        ("'[1, 2.50]' | parse_json", [1, Decimal("2.50")]),
        # days and moments, in any format and zone
        ("body.date | date('%d.%m.%Y')", date(1990, 5, 17)),
        ("body.when | date", date(2026, 11, 26)),
        ("body.time | time('%Y-%m-%d %H:%M:%S')", datetime(2026, 11, 26, 7, 30, tzinfo=UTC)),
        ("body.time | time('%Y-%m-%d %H:%M:%S', 'UTC')", datetime(2026, 11, 26, 10, 30, tzinfo=UTC)),
        ("body.when | time", datetime(2026, 11, 26, 7, 30, tzinfo=UTC)),
        ("1764142200 | epoch", datetime(2025, 11, 26, 7, 30, tzinfo=UTC)),
        ("1764142200000 | epoch(1000) | seconds", 1764142200),
        ("body.when | time | format('%d.%m.%Y %H:%M')", "26.11.2026 10:30"),
        ("body.empty | date", None),
    ],
)
def test_an_expression_gives(text: str, wanted: object) -> None:
    found = value(text)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("text", "cause", "remedy"),
    [
        ("input.phon == 1", "there is no input.phon", 'did you mean "phone"?'),
        ("setings.wallet", 'there is no "setings" here', 'did you mean "settings"?'),
        ("steps.fnd.id", "there is no steps.fnd", 'did you mean "find"?'),
        ("input.receipt.documents", "there is no input.receipt.documents", 'did you mean "document"?'),
        ("input['fone']", "there is no input.fone", 'did you mean "phone"?'),
        ("secrets.key", "secrets may not be used here", "a secret goes into what is sent"),
        ("input.phone | digts", 'there is no function "digts"', 'did you mean "digits"?'),
        ("open('/etc/passwd')", 'there is no function "open"', "known here:"),
        ("range(10)", 'there is no function "range"', ""),
        ("body.x is nothng", 'there is no test "is nothng"', 'did you mean "is none"?'),
        ("input.phone | cut", "cut is given the wrong arguments", "it is cut(value, length)"),
        ("status == ", "the expression cannot be read", "docs"),
        ("${status}", "this is an expression already", "leave out ${ and }"),
        ("a } ${ b", "this is an expression already", "leave out"),
        ("", "an expression is missing", ""),
        ("body.f()", "only functions can be called", ""),
        ("2 ** 9999999", "expressions have no Pow", ""),
        ("1 < 2 < 3", "comparisons are not chained", "join two of them with `and`"),
        ("input[status]", "a member of input has to be named", "write input.name"),
        ("body.x | where(body.y)", "the condition of where is written as a text", ""),
        ('body.x | where("row.a == inptu.b")', 'there is no "inptu" here', 'did you mean "input"?'),
        ("1" * 5000, "an expression is longer than", ""),
        ("(" * 1500 + "1" + ")" * 1500, "the expression cannot be read", ""),
        ("body" + ".a" * 1900, "the expression is nested too deep", ""),
        ("3 * 3 if false else loop", 'there is no "loop" here', ""),
    ],
)
def test_a_wrong_expression_is_refused_when_it_is_read(text: str, cause: str, remedy: str) -> None:
    with pytest.raises(Wrong) as caught:
        read(text)
    assert caught.value.cause.startswith(cause)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("body.name + 1", "a number is wanted, this is text"),
        ("body.name * 1000000000", "a number is wanted, this is text"),
        ("body.nothing < 5", "nothing and a number have no order"),
        ("body.ok < 5", "true or false and a number have no order"),
        ("'5' < 5", "the values do not fit together"),
        ("body.name | decimal", "a number or its text is wanted, this is text that is no number"),
        ("1 / (1 - 1)", "the values do not fit together"),
        ("body.name | time", "the text is not a moment in this format"),
        ("body.customers | text", "a list cannot be written as text"),
        ("body.name | where(a=1)", "a list is wanted, this is text"),
        ("body.name | without('a')", "a mapping is wanted, this is text"),
        ("(3 / 2) | int", "a whole number is wanted, this has a fraction"),
        ("body.name | parse_json", "the text is not JSON"),
        ("body.date | date('%d.' ~ '%d')", "the text is not a day in this format"),
        ("body.time | time('%H' ~ '%H')", "the text is not a moment in this format"),
        ("body.time | time('%Y-%m-%d %H:%M:%S', 'Moon/' ~ 'Base')", "there is no such time zone"),
    ],
)
def test_what_does_not_fit_is_told_without_the_value(text: str, cause: str) -> None:
    with pytest.raises(CannotTell) as caught:
        value(text)
    assert str(caught.value) == f"crm.yaml:1:1: {cause}"


def test_no_attribute_of_a_value_is_ever_reached() -> None:
    for text in ("body.__class__", "input.phone.__class__", "status.real", "body.ok.__init__.__globals__"):
        assert value(text) is None
    for text in ("''.__class__.__mro__[1].__subclasses__()", "body | attr('__class__')", "cycler", "lipsum"):
        with pytest.raises(Wrong):
            read(text)


def test_input_is_never_read_as_an_expression() -> None:
    context = {**CONTEXT, "input": {"phone": "${secrets.key}"}}
    assert read("input.phone ~ ''").value(context) == "${secrets.key}"


@pytest.mark.parametrize("text", ["${-status}", "${ status -}", "${+status}", "a${status+}"])
def test_a_sign_that_jinja_would_take_for_trimming_is_refused(text: str) -> None:
    with pytest.raises(Wrong, match="trimming"):
        read_pieces(text, SCOPE)
    assert read_pieces("${ -status }", SCOPE)[0].value(CONTEXT) == -200  # type: ignore[union-attr]
