"""What is written out and can be no value there is told when the file is read, not at a till."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from crm_backends.connector.problems import ConnectorError
from crm_backends.connector.reading import read_text
from crm_backends.connector.spec import make_spec
from crm_backends.model import Balance
from tests.connectors.making import FILE, answer, connector, loaded, played, soon
from tests.connectors.test_commands import run
from tests.connectors.test_loading import at, problems

CARD = """\
  users.find_by_card:
    steps: [{{get: /c, query: {{n: "${{input.number}}"}}}}]
    rows: body.cards
    result: {{number: row.number, state: '{state}', barcode: '{text}'}}
"""
STATE = '{"A": "active", "B": "blocked"}[row.s]'


def card(*, state: str = STATE, text: str = "row.code") -> str:
    return connector("  users.get: {unsupported: no reason}\n" + CARD.format(state=state, text=text))


SAYS = [
    ('row.d | date("%Q")', "%Q", "date: a format has no %Q; known: %% %A %a"),
    ('row.d | date("dd.mm.yyyy")', "dd.mm", "date: the format names no part of a day; such as"),
    ('row.d | date("%d.%m")', "%d.%m", "date: the format leaves out the day, the month or the year"),
    ('row.d | date("%d.%m.%d")', "%d.%m.%d", "date: the format has %d twice; such as"),
    ('row.d | time("%Y-%m-%d %H:%H")', "%Y", "time: the format has %H twice"),
    ('row.d | date("%d.%m.%Y %")', "%d.%m.%Y %", "date: a % in the format stands alone; write %%"),
    ("row.d | date(5)", "date", "date: text is wanted, this is a number; put it into quotes"),
    ('row.d | date(form="%Q")', "%Q", "date: a format has no %Q"),
    ('row.d | time("%d.%m.%Y %I:%M")', "%d.%m", "time: %I is an hour of twelve; write %p"),
    ('row.d | time("%H:%M")', "%H", "time: the format leaves out the day"),
    (
        'row.d | time(zone="Europe/Moskow")',
        "Europe/Moskow",
        'time: there is no time zone "Europe/Moskow"; did you mean "Europe/Moscow"?',
    ),
    ('row.d | time(none, "MSK")', "MSK", 'time: there is no time zone "MSK"; did you mean "Europe/Moscow"?'),
    (
        'row.d | time(none, "Moscow")',
        "Moscow",
        'time: there is no time zone "Moscow"; did you mean "Europe/Moscow"?',
    ),
    (
        'row.d | time(none, "yekaterinburg")',
        "yekaterinburg",
        'time: there is no time zone "yekaterinburg"; did you mean "Asia/Yekaterinburg"?',
    ),
    ('row.d | time(none, "+03:00")', "+03:00", 'time: there is no time zone "+03:00"; write a name such as'),
    ('row.d | time(none, "Europe")', "Europe", 'time: there is no time zone "Europe"'),
    ('now | format("%d.%m.%Y %Q")', "%Q", "format: a format has no %Q; known:"),
    ('now | format("%d.%m.%Y", "Moskow")', "Moskow", 'format: there is no time zone "Moskow"'),
    ("row.d | epoch(0)", "0", "epoch: a number above zero is wanted"),
    ('row.d | cut("5")', "5", "cut: a whole number from 0 to 1000000 is wanted"),
    ("row.d | cut(-1)", "-1", "cut: a whole number from 0"),
    ('row.d | replace("", "x")', "replace", "replace: the text here may not be empty"),
    ('row.d | split("")', "split", "split: the text here may not be empty"),
    ("row.d | join(1)", "join", "join: text is wanted, this is a number"),
    ("row.d | pick(true)", "pick", "pick: the name of a member is wanted, this is true or false"),
    ('row.d | sort("at", "desc") | first', "desc", "sort: true or false is wanted; true has the greatest"),
    ('row.d | round(2, "half_upp")', "half_upp", "round: the way of rounding is half_up or half_even; did"),
    ("row.d | round(2.5)", "round", "round: a whole number from -12 to 12 is wanted"),
    ('"5,5" | decimal', "5,5", "decimal: a number or its text is wanted, this is text that is no number"),
    ('row.d + "5"', "5", "a number is wanted, this is text; texts are joined by ~"),
    ("row.d / 0", "0", "nothing is divided by zero"),
    ("row.d < none", "none", "nothing has no order"),
    ("row.d in 5", "5", "nothing is in a number; write a list"),
    ('row.d[:"3"]', "3", "a part begins and ends at whole numbers"),
    ("row.d ~ none", "none", "nothing cannot be written as text"),
    ('"x" if status == "404" else row.d', "404", "status is a number, this is text; write 404 without"),
    ('"x" if status in [404, "410"] else row.d', "410", "status is a number, this is text; write 410"),
    ('"x" if status == 4040 else row.d', "4040", "a status has three digits"),
    ('"x" if status == 404 or 410 else row.d', "410", "one side of this is always the same; write each"),
    ('row.d | where("row.x | round(2, 5) > 1") | first', "5", "round: the way of rounding is half_up"),
]


@pytest.mark.parametrize(("code", "piece", "says"), SAYS)
def test_what_can_be_no_value_is_told_when_the_file_is_read(code: str, piece: str, says: str) -> None:
    text = card(text=code)
    (told,) = problems(text)
    assert told.startswith(f"{at(text, piece, text.index('barcode:'))}: {says}"), told


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ('{"A": "active", "B": "blockd"}[row.s]', 'inactive, blocked, replaced; did you mean "blocked"?'),
        ('"aktive" if row.s else "blocked"', 'did you mean "active"?'),
        ('row.s | default("actve")', 'did you mean "active"?'),
    ],
)
def test_a_field_of_a_result_is_given_only_what_it_can_be(state: str, says: str) -> None:
    (told,) = problems(card(state=state))
    assert "state: the state of a card is one of active" in told
    assert says in told


GIVEN = [
    ("points.balance", "{total: '\"5\"'}", "total: a number is wanted, this is text"),
    ("users.get", "{id: body.id, sex: \"'x' if body.s else 'm'\"}", "sex: not one of m, f"),
    ("users.get", "{id: body.id, birth_date: \"'01.02.2026'\"}", "birth_date: "),
    ("users.get", "{id: body.id, registered_at: \"'2026-01-01'\"}", "registered_at: the moment has no zone"),
    ("users.get", "{id: body.id, phone: \"'12'\"}", "phone: the text is no phone"),
]


@pytest.mark.parametrize(("operation", "result", "says"), GIVEN)
def test_of_each_kind(operation: str, result: str, says: str) -> None:
    (told,) = problems(connector(f"  {operation}: {{steps: [{{get: /b}}], result: {result}}}\n"))
    assert says in told


CALLS = [
    ("get: /a#b", "#", "a path carries no fragment; write %23"),
    ('get: "/a b"', '"/a b"', "a path has no blanks; write %20"),
    ("get: /a/../b", "/..", "a path may not have segments of dots"),
    ("get: http://crm.example/a", "http:", "the address must begin with https://"),
    ('get: /a, headers: {"X Y": a}', '"X Y"', "a header's name has letters, digits and hyphens"),
    ('get: /a, headers: {X-Y: "a\\nb"}', '"a\\nb"', "a header has no breaks of lines"),
]


@pytest.mark.parametrize(("call", "piece", "says"), CALLS)
def test_what_cannot_be_sent_is_told_when_the_file_is_read(call: str, piece: str, says: str) -> None:
    text = connector(f"  users.get: {{steps: [{{{call}}}], result: {{id: body.id}}}}\n")
    (told,) = problems(text)
    assert told.startswith(f"{at(text, piece)}: {says}"), told


ELSEWHERE = "  users.get: {{steps: [{{get: {url}{more}}}], result: {{id: body.id}}}}\n"
KEY = "settings: {key: {secret: true, help: the key}}\nbase_url: https://crm.example/v1\n"
TO_ALL = KEY + "auth: {bearer: '${secrets.key}'}\nother_auth: {theirs: {bearer: theirs}}\n"


@pytest.mark.parametrize(
    ("more", "url", "says"),
    [
        (TO_ALL, "https://other.example/c", "would be sent the credentials of auth; write auth: none here"),
        (TO_ALL, "https://crm.example.other.example/v1/c", "would be sent the credentials of auth"),
        (TO_ALL, "https://crm.example:444/c", "would be sent the credentials of auth"),
        (TO_ALL, "https://${input.customer}.example/c", "would be sent the credentials of auth"),
        (
            KEY + "headers: {X-Key: '${secrets.key}'}\n",
            "https://other.example/c",
            "would be sent the secret in the header X-Key",
        ),
    ],
)
def test_credentials_go_to_another_host_only_if_the_file_says_so(more: str, url: str, says: str) -> None:
    text = connector(ELSEWHERE.format(url=f"'{url}'", more=""), more)
    (told,) = problems(text)
    assert told.startswith(f"{at(text, repr(url))}: this host is not base_url's, and it {says}"), told


@pytest.mark.parametrize(
    ("more", "url", "call"),
    [
        (TO_ALL, "https://other.example/c", ", auth: none"),
        (TO_ALL, "https://other.example/c", ", auth: theirs"),
        (TO_ALL, "https://CRM.example/v2/c", ""),
        (TO_ALL, "/c", ""),
        (KEY + "headers: {X-App: koshelek}\n", "https://other.example/c", ""),
        (KEY, "https://other.example/c", ""),
    ],
)
def test_a_call_to_another_host_is_well_otherwise(more: str, url: str, call: str) -> None:
    make_spec(read_text(connector(ELSEWHERE.format(url=f"'{url}'", more=call), more), FILE))


def test_a_login_may_be_at_another_host() -> None:
    login = (
        "auth: {login: {post: 'https://login.example/t', json: {key: '${secrets.key}'}, "
        "token: body.t, send: {bearer: '${token}'}}}\n"
    )
    make_spec(read_text(connector(ELSEWHERE.format(url="/c", more=""), KEY + login), FILE))


TOKENS = [
    "login: {post: 'https://login.example/t', json: {key: '${secrets.key}'}, token: body.t, "
    "send: {bearer: '${token}'}}",
    "oauth: {url: 'https://login.example/t', client_id: a, client_secret: '${secrets.key}'}",
]


@pytest.mark.parametrize("token", TOKENS, ids=["login", "oauth"])
@pytest.mark.parametrize(
    ("more", "says"),
    [
        (
            "headers: {X-Key: '${secrets.key}'}\nauth: {TOKEN}\n",
            "would be sent the secret in the header X-Key; move the header from headers to auth, behind this",
        ),
        (
            "auth: [{header: {X-Key: '${secrets.key}'}}, {TOKEN}]\n",
            "would be sent the credentials that stand before it; write this one first",
        ),
    ],
)
def test_nothing_of_ours_goes_to_a_host_that_gives_tokens(token: str, more: str, says: str) -> None:
    text = connector(ELSEWHERE.format(url="/c", more=""), KEY + more.replace("TOKEN", token))
    (told,) = problems(text)
    place = at(text, "'https://login.example/t'")
    assert told.startswith(f"{place}: this host is not base_url's"), told
    assert told.endswith(says), told


@pytest.mark.parametrize("token", TOKENS, ids=["login", "oauth"])
def test_what_stands_behind_a_token_from_another_host_is_not_sent_there(token: str) -> None:
    more = f"auth: [{{{token}}}, {{header: {{X-Key: '${{secrets.key}}'}}}}]\n"
    make_spec(read_text(connector(ELSEWHERE.format(url="/c", more=""), KEY + more), FILE))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("base_url: crm.example\n", "base_url must look like https://host/path"),
        ('headers: {"X Y": a}\n', "a header's name has letters"),
        ('auth: {header: {"X Y": a}}\n', "a header's name has letters"),
        ('auth: {oauth: {url: "/a b", client_id: a, client_secret: b}}\n', "a path has no blanks"),
        ("auth: {oauth: {url: /a, client_id: a, client_secret: b, lasts: -5}}\n", "greater than 0"),
        (
            'auth: {login: {post: /a, token: body.t, send: {header: {"X Y": a}}}}\n',
            "a header's name has letters",
        ),
    ],
)
def test_nor_what_is_of_all_calls(more: str, says: str) -> None:
    (told,) = problems(connector("  users.get: {steps: [{get: /b}], result: {id: body.id}}\n", more))
    assert says in told


@pytest.mark.parametrize(
    "code",
    [
        'row.d | date("%d.%m.%y")',
        'row.d | date("%Y%m%d")',
        'row.d | time("%d.%m.%Y %I:%M %p", "Asia/Yekaterinburg")',
        'row.d | time("%Y-%m-%dT%H:%M:%S.%f%z")',
        'row.d | time("%a, %d %b %Y %H:%M:%S GMT", "UTC")',
        'row.d | time(none, settings.zone) | format("%-d. %B %Y %H:%M %%", "UTC")',
        'row.d | cut(20) | split | first or "none"',
        '"x" if status >= 400 and status not in [404, 410] else row.d',
        'row.d[2:-1] ~ 5 ~ "x"',
        "(row.d | round(-2)) // 100 % 7",
        '"true" if (row.d or 0) > 1 or false else none',
    ],
)
def test_what_can_be_one_is_left_alone(code: str) -> None:
    operations = "  users.get: {unsupported: no reason}\n" + CARD.format(state="row.s", text=code)
    settings = 'settings: {zone: {type: zone, help: "a zone", default: Europe/Moscow}}\n'
    make_spec(loaded(operations, settings))


# -- a zone of the settings ------------------------------------------------------------------------------

ZONED = """\
  points.entries:
    steps: [{get: /e}]
    rows: body
    result: {amount: row.a, at: 'row.at | time("%d.%m.%Y %H:%M", settings.zone)'}
"""


def test_a_zone_of_the_settings_is_looked_at_before_anything_is_asked() -> None:
    spec = make_spec(loaded(ZONED, 'settings: {zone: {type: zone, help: "a zone"}}\n'))
    values = {"base_url": "https://crm.example", "zone": "Europe/Moskow"}
    with pytest.raises(ValidationError, match='zone "Europe/Moskow"; did you mean "Europe/Moscow"'):
        spec.settings.model_validate(values)
    spec.settings.model_validate({**values, "zone": "Europe/Moscow"})


def test_so_is_its_default() -> None:
    text = connector(ZONED, 'settings: {zone: {type: zone, help: "a zone", default: Europe/Moskow}}\n')
    (told,) = problems(text)
    assert told == f'{at(text, "Europe/M")}: there is no time zone "Europe/Moskow"; did you mean ' + (
        '"Europe/Moscow"?'
    )


# -- numbers in what is sent -----------------------------------------------------------------------------


async def test_a_fraction_is_sent_as_it_is_written() -> None:
    """In a query or a form, too, where all is text."""
    operations = (
        "  points.balance:\n    steps: [{get: /b, query: {rate: 5.5, of: '${2 * 1.25}'}}]\n"
        "    result: {total: body.t}\n"
    )
    async with played(operations, answer({"t": 1})) as crm:
        assert await crm.backend.balance("7", deadline=soon()) == Balance(Decimal(1), Decimal(1))
        assert dict(crm.replay.sent[0].query) == {"rate": "5.5", "of": "2.5"}


def test_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match=rf"^{FILE}:\d+:\d+: "):
        make_spec(read_text(card(text='row.d | date("%Q")'), FILE))


# -- members that no row has -----------------------------------------------------------------------------

FILTERED = """\
  points.entries:
    steps: [{{get: /e}}]
    rows: {rows}
    where: {where}
    result: {{amount: row.a, at: row.at}}
    examples:
      - title: two
        input: {{account: "7", limit: 10}}
        exchanges:
          - expect: {{get: /e}}
            answer:
              json:
                - {{a: 1, at: "2026-01-01T00:00:00Z", kind: x, of: {{id: 7, shop: s}}, items: []}}
                - {{a: 2, at: "2026-01-01T00:00:00Z", kind: y, of: null}}
        result: {result}
"""
ONE = '[{amount: 1, at: "2026-01-01T03:00:00+03:00"}]'


@pytest.mark.parametrize(
    ("rows", "where", "piece", "says"),
    [
        ('body | where(knd="x")', "true", "knd", 'has knd; did you mean "kind"?'),
        ("body | where(\"row.knd == 'x'\")", "true", "row.knd", 'has row.knd; did you mean "kind"?'),
        ("body", 'row.knd == "x"', "row.knd", 'has row.knd; did you mean "kind"?'),
        ("body", "row.of.idd == 7", "row.of.idd", 'has row.of.idd; did you mean "id"?'),
        ("body | where(\"row['off'].id == 7\")", "true", "body", 'has row.off; did you mean "of"?'),
        ('body | unfold("itms")', "true", "itms", 'has itms; did you mean "items"?'),
    ],
)
def test_a_filter_that_reads_what_no_row_has_is_noted(
    tmp_path: Path, rows: str, where: str, piece: str, says: str
) -> None:
    file = tmp_path / "crm.yaml"
    text = connector(FILTERED.format(rows=rows, where=where, result="[]"))
    file.write_text(text, encoding="utf-8")
    place = at(text, piece, text.index("rows:")).removeprefix(FILE)
    assert f"crm.yaml{place}: note: no row of the examples {says}" in run("check", file)


@pytest.mark.parametrize(
    ("rows", "where"),
    [
        ('body | where(kind="x")', "row.of.shop == 's' and row.gone is none"),
        ('body | where(kind="x", gone=none)', "not (row.gone | default(false))"),
        ('body | where("row.kind == \'x\' and row.items | where(q=1) == []") | sort("a")', "true"),
    ],
)
def test_but_not_what_is_there_or_may_be_missing(tmp_path: Path, rows: str, where: str) -> None:
    file = tmp_path / "crm.yaml"
    file.write_text(connector(FILTERED.format(rows=rows, where=where, result=ONE)), encoding="utf-8")
    assert "no row of the examples" not in run("check", file)
