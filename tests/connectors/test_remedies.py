"""What is said of mistakes that newcomers make: the cause, and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from adapter.settings.problems import explain
from crm_backends.connector import shipped
from crm_backends.connector.reading import read_text
from crm_backends.connector.spec import settings_model
from tests.connectors.making import answer, connector, played
from tests.connectors.test_commands import BASE, run

BALANCE = "  points.balance: {steps: [{get: /b, query: {n: '${input.account}'}}], result: {total: body.t}}\n"
LOGIN = """\
auth:
  login: {post: /login, token: body.token, send: {bearer: "${token}"}}
"""
SECRET = "settings: {key: {secret: true, help: a key}}\n"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("body.t}", "body.t = 0}", "a single = does not compare; write =="),
        ("body.t}", "body.t && 1}", "expressions have no && and no ||; write `and`, `or`"),
        ("body.t}", '"body.t || 1"}', "expressions have no && and no ||; write `and`, `or`"),
        ("${input.account}", "${input.account", "${ is not closed; write } after the expression"),
        ("body.t}", '"text(body.t"}', "a bracket or a quote is not closed"),
        ("input.account", "settings.key", "there is no settings.key; write secrets.key"),
        ('title: "A CRM of the tests"', "title: in: kopecks", "put texts with [ ] { } , : or # into quotes"),
        ("body.t}", "'body.t | cut(1, 2)'}", "it is cut(value, length)"),
        (
            "connector: 1",
            "connector: 2",
            "this adapter reads version 1 of the language; write connector: 1",
        ),
        ("name: crm", "name: Crm", "a name has small letters, digits and _, and begins with a letter"),
        ("{get: /b", "{POST: /b", 'there is no "POST" here; did you mean "post"?'),
        ("{get: /b", "{g\u0435t: /b", 'write "get" in Latin letters, \u0435 is a Cyrillic one'),
        ("{get: /b", "{\u200bget: /b", "there is a sign in it that cannot be seen (U+200B)"),
        ("{get: /b", "{takes_text: yes, get: /b", "true or false is wanted, without quotes"),
        ("{get: /b", "{pages: {by: page, rows: b, size: 'x'}, get: /b", "a number is wanted, without quotes"),
        ("result: {total: body.t}", "result: {balance: body.t}", 'did you mean "total"?'),
        ("input.account", "input.konto", "known here: account"),
        ("body.t}", "null}", "an expression is wanted here"),
        ("body.t}", "body.t == null}", 'there is no "null" here; write none'),
        ("body.t}", "'concat([body.a, body.b])'}", "concat is given a single list; leave out the brackets"),
        (
            "body.t}",
            "'headers[\"X-Total\"]'}",
            'headers go by names in small letters; write headers["x-total"]',
        ),
        ('"not in this test"', "true", "a reason is wanted here"),
        ("name: crm", "name: postgres", 'there is a driver "postgres" already; give the connector a name'),
        ("{steps: [{get: /b", "{steps: [{get: /b, save: x", "a mapping is wanted; write name: value"),
        ("{total: body.t}}", "{total: body.t}, examples: }", "a list is wanted"),
        ('coupons: {unsupported: "no coupons here"}', "coupons.account: {result: {id: input.customer}}",
         'for the whole port coupons: {unsupported: "why"}'),
    ],
)  # fmt: skip
def test_a_mistake_has_a_remedy(tmp_path: Path, old: str, new: str, says: str) -> None:
    file = tmp_path / "crm.yaml"
    text = connector(BALANCE, SECRET)
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    output = run("check", file, status=1)
    assert says in output
    assert "print statement" not in output


def test_a_forgotten_dollar_and_a_setting_that_nothing_uses_are_noted(tmp_path: Path) -> None:
    file = tmp_path / "crm.yaml"
    file.write_text(connector(BALANCE.replace("'${in", "'{in"), SECRET), encoding="utf-8")
    output = run("check", file)
    assert "crm.yaml:9:50: note: {input.account} is sent as it is written; write ${input.account}" in output
    assert "note: nothing uses secrets.key" in output
    file.write_text(
        connector(BALANCE.replace("${in", "$(in").replace("}'}}", ")'}}"), SECRET), encoding="utf-8"
    )
    assert "note: $(input.account) is sent as it is written; write ${input.account}" in run("check", file)
    used = "auth: {header: {X: '${secrets.key}'}}\n"
    file.write_text(connector(BALANCE, SECRET + used), encoding="utf-8")
    assert "is sent as it is written" not in run("check", file)
    assert "nothing uses" not in run("check", file)


WHOSE = """\
  points.balance:
    steps: [{{get: '/b/${{input.account}}'{has}}}]
    result: {{total: body.of.total}}
    examples:
      - title: some
        input: {{account: "14"}}
        exchanges:
          - {{expect: {{get: /b/14}}, answer: {{json: {{of: {{client: {client}, total: 5}}}}}}}}
        result: {{total: 5, available: 5}}
"""


@pytest.mark.parametrize(
    ("has", "client", "noted"),
    [
        ("", "14", True),
        ("", "'14'", True),
        (", has: body.of.client", "14", True),
        (", has: text(body.of.client) == input.account", "14", False),
        (", outcomes: [{when: text(body.of.client) != input.account, is: try_later}]", "14", False),
        ("", "none", False),
    ],
)
def test_a_balance_that_is_not_looked_at_for_whose_it_is_is_noted(
    tmp_path: Path, has: str, client: str, noted: bool
) -> None:
    file = tmp_path / "crm.yaml"
    file.write_text(connector(WHOSE.format(has=has, client=client)), encoding="utf-8")
    note = (
        "crm.yaml:8:3: note: points.balance: body.of.client tells whose balance it is, "
        "and nothing compares it; write has: text(body.of.client) == input.account at the call"
    )
    assert (note in run("check", file)) is noted


@pytest.mark.parametrize("name", shipped())
def test_shipped_connectors_have_no_notes(name: str) -> None:
    assert "note: " not in run("check", name)


@pytest.mark.parametrize(
    ("operation", "sends", "says"),
    [
        (
            "users.register",
            "seconds(input.birth_date)",
            "users.register cannot be asked of somebody of whom all is known: crm: FILE:10:45: "
            "a moment is wanted, this is a day; where it may be missing, write `… if input.x else none`",
        ),
        (
            "users.register",
            "seconds(time(text(input.birth_date))) * 1000",
            "only the phone is known: crm: FILE:10:45: a number is wanted, this is nothing",
        ),
        ("users.find", 'input.email ~ ""', "users.find cannot be asked by the phone alone: crm: FILE:"),
        ("points.credit", "input.account ~ input.receipt.sign", "points.credit cannot be asked: crm: FILE:"),
        ("users.register", "seconds(time(text(input.birth_date))) if input.birth_date else none", ""),
        ("users.find", "[input.phone, input.email] | join", ""),
    ],
)
def test_what_cannot_be_sent_of_everyday_inputs_is_noted(
    tmp_path: Path, operation: str, sends: str, says: str
) -> None:
    file = tmp_path / "crm.yaml"
    commits = "" if operation == "users.find" else "commits: true, "
    text = f"""\
  {operation}:
    steps:
      - {{{commits}post: /c, json: {{x: '${{{sends}}}'}}}}
    {"rows: body.rows" if not commits else "at_once: []"}
    result: {{id: {"body.id" if commits else "row.id"}}}
"""
    file.write_text(connector(text, doubts="manual"), encoding="utf-8")
    output = run("check", file)
    assert ("cannot be asked" in output) == bool(says)
    assert says.replace("FILE", str(file)) in output


def test_a_mapping_within_an_expression_has_no_dollar_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "crm.yaml"
    mapping = connector(BALANCE.replace("'${input.account}'", "'${ {input.account: 1} | json }'"))
    file.write_text(mapping, encoding="utf-8")
    assert "is sent as it is written" not in run("check", file)


def test_a_name_that_is_nearly_right_is_named(tmp_path: Path) -> None:
    file = tmp_path / "crm"
    file.write_text(connector(BALANCE), encoding="utf-8")
    assert "the name of a connector's file ends in .yaml" in run("check", file, status=1)
    named = tmp_path / "crm.yaml"
    named.write_text(connector(BALANCE), encoding="utf-8")
    assert 'did you mean "points.balance"' in run("try", named, "points.balanc", *BASE, status=1)
    secret = connector(BALANCE, SECRET)
    named.write_text(secret, encoding="utf-8")
    given = ("--set", "kye_file=x", *BASE)
    assert 'there is no setting "kye_file"; did you mean "key_file"?' in run(
        "try", named, "points.balance", "--input", "account=1", *given, status=1
    )


def test_what_the_settings_file_lacks_is_told_with_what_to_write() -> None:
    model = settings_model(
        read_text(connector(BALANCE, SECRET.replace("{key", "{shop: {help: a shop}, key")), "crm.yaml").model
    )
    with pytest.raises(ValidationError) as raised:
        model.model_validate({"base_url": "https://x.example", "shop": 42})
    assert sorted(explain(raised.value, model, "crm")) == [
        "crm.key: it is needed and not set; write key, or key_file with the path of a file that holds it",
        'crm.shop: text is wanted; put it into quotes: shop = "…"',
    ]


@pytest.mark.parametrize("status", [500, 502, 503, 429])
@pytest.mark.parametrize("auth", ["", LOGIN])
async def test_an_outage_is_no_matter_of_credentials(status: int, auth: str) -> None:
    async with played(BALANCE, answer({}, status), more=auth) as crm:
        (finding,) = await crm.backend.check()
        assert (finding.subject, finding.ok) == ("connection", False)
        assert "credentials" not in finding.detail + finding.remedy


@pytest.mark.parametrize("auth", ["", LOGIN])
async def test_refused_credentials_are(auth: str) -> None:
    async with played(BALANCE, answer({}, 401), more=auth) as crm:
        (finding,) = await crm.backend.check()
        assert (finding.subject, finding.ok) == ("check", False)
        assert "correct the credentials" in finding.remedy
