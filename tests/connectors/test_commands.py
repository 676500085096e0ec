"""``koshelek-adapter connector`` as somebody types it, and the running of examples."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapter.commands.connector import app
from contracts.sandbox import kolibri, moysklad, pegke, running
from contracts.sandbox.people import PEOPLE
from crm_backends.connector import shipped, trying
from crm_backends.connector.recorded import Replay
from crm_backends.http.wire import Answer
from crm_backends.inputs import wire_phone
from tests.connectors.making import answer as answered
from tests.connectors.making import connector

PEGKE = Path(__file__).parent / "pegke_merchant.yaml"


def run(*words: str | Path, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, result.output
    return result.output


def test_a_new_connector_is_well_from_the_beginning(tmp_path: Path) -> None:
    file = tmp_path / "our.yaml"
    assert "ends in .yaml" in run("new", file.with_suffix(".txt"), status=1)
    assert not file.with_suffix(".txt").exists()
    assert "ends in .yaml" in run("new", Path(), status=1)
    assert "is written" in run("new", file)
    assert "our_crm: well; 5 examples ran" in run("check", file)
    assert "is there already; nothing was changed" in run("new", file, status=1)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("row.birthday", "row.birthdy", 'example "a customer by phone" of users.find: the result is'),
        ("/balance}", "/balanse}", "the request is GET /customers/7/balance"),
        ('text: "${input.description}"', 'text: "x"', "the body is"),
        ("X-Api-Key: the-api_key", "X-Api-Key: other", 'the header X-Api-Key is "the-api_key"'),
        (
            '{phone: "79001234567"}',
            '{phone: "9001234567"}',
            'the query is {"phone": "79001234567"}, not {"phone": "9001234567"}',
        ),
        ("outcome: not_sent", "outcome: done", "it ends as not_sent"),
        ("status: 404, json", "status: 400, json", "it ends with BackendMisconfigured"),
        ("input: {phone:", "input: {fone:", 'users.find is not asked by "fone"'),
        (
            "- {expect: {get: /customers/8}",
            "- {expect: {get: /customers/9}",
            "the request is GET /customers/8",
        ),
    ],
)
def test_every_example_is_a_test(tmp_path: Path, old: str, new: str, says: str) -> None:
    file = tmp_path / "our.yaml"
    run("new", file)
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    output = run("check", file, status=1)
    assert says in output
    assert f"error: {file}:" in output
    assert "Traceback" not in output


def test_what_has_no_example_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "crm.yaml"
    file.write_text(
        connector("  users.get:\n    steps: [{get: /c}]\n    result: {id: body.id}\n"), encoding="utf-8"
    )
    assert "note: users.get has no example" in run("check", file)


def test_mistakes_are_told_and_named() -> None:
    assert 'there is no connector "nobody"' in run("check", "nobody", status=1)
    assert "cannot be read" in run("check", "gone.yaml", status=1)


def test_the_list_names_what_each_can_do() -> None:
    output = run("list")
    for name in shipped():
        assert f"{name}: " in output


def test_the_schema_is_one_and_the_docs_name_everything() -> None:
    schema = json.loads(run("schema"))
    assert {"connector", "operations", "doubts"} <= set(schema["properties"])
    docs = run("docs")
    for word in (
        "`points.credit`",
        "`where(list, name=value…)`",
        "`one_at_a_time`",
        "`key_taken`",
        "`is empty`",
        "`concat(value, …)`",
        '`split(value, separator=" ")`',
        "`unique(value, by=none)`",
        "`by`, needed, one of `page`, `offset`, `cursor`",
        "`conflict` | refused (a write): the phone or e-mail is another customer's",
    ):
        assert word in docs


async def test_try_shows_requests_and_answers_and_masks_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    async with running("pegke") as sandbox:
        words = [
            *("points.balance", "--input", "account=9990000001"),
            *("--set", f"base_url={sandbox.base_url}/apiv1"),
            *("--set", f"consumer_code={pegke.CONSUMER_CODE}"),
            *("--set", f"consumer_secret={pegke.CONSUMER_SECRET}"),
        ]
        output = await asyncio.to_thread(run, "try", PEGKE, *words)
        assert "> GET /?q=check_points&phone=9990000001" in output
        assert "< 200" in output
        assert '"total": 1250' in output
        assert pegke.CONSUMER_SECRET not in output
        assert "authorization: •••" in output

        given = [*words[3:], "--input", "account=9990000001", "--input", "points=5"]
        output = await asyncio.to_thread(run, "try", PEGKE, "points.credit", *given, "--dry-run")
        assert "(not sent: this is a dry run)" in output
        assert sandbox.ledger().count("points_credited") == 0
        output = await asyncio.to_thread(run, "try", PEGKE, "points.credit", *given)
        assert '"outcome": "done"' in output
        assert sandbox.ledger().count("points_credited") == 1


async def test_try_looks_for_what_became_of_a_write() -> None:
    async with running("moysklad") as sandbox:
        settings = {
            "base_url": f"{sandbox.base_url}/api/remap/1.2",
            "token": moysklad.TOKEN,
            "bonus_program": moysklad.PROGRAM,
        }
        given = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        phone = wire_phone(PEOPLE[0].phone)
        found = await asyncio.to_thread(run, "try", "moysklad", "users.find", "--phone", phone, *given)
        match = re.search(r'"customer_id": "([^"]+)"', found)
        assert match is not None, found
        given += ["--input", f"account={match[1]}", "--input", "points=5"]
        credit = ["try", "moysklad", "points.credit", *given, "--key"]
        assert '"outcome": "done"' in await asyncio.to_thread(run, *credit, "KEYTHATISTHERE0000000001")
        looked = await asyncio.to_thread(run, *credit, "KEYTHATISTHERE0000000001", "--reconcile")
        assert '"outcome": "done"' in looked
        assert "> POST" not in looked
        assert '"outcome": "not_sent"' in await asyncio.to_thread(
            run, *credit, "KEYTHATISNOTTHERE0000001", "--reconcile"
        )
        assert sandbox.ledger().count("points.credit") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["points.balance", "--reconcile"], "points.balance is never looked for; only users.register"),
        (["users.fnd"], 'there is no operation "users.fnd"'),
        (["points.balance", "--input", "fone=1"], 'points.balance is not asked by "fone", but by: account'),
        (["points.balance", "--input", "x"], "--input takes name=value"),
        (
            ["points.credit", "--input", "receipt.x=1"],
            'points.credit is not asked by "receipt.x", but by: acc',
        ),
        (
            ["points.credit", "--input", "points=1", "--input", "points.x=1"],
            "--input points is either a value or has members",
        ),
    ],
)
def test_a_try_that_cannot_be_is_told(words: list[str], says: str) -> None:
    settings = [
        "--set",
        "base_url=https://x.example",
        "--set",
        "consumer_code=a",
        "--set",
        "consumer_secret=b",
    ]
    assert says in run("try", PEGKE, *words, *settings, status=1)


def test_a_setting_that_is_missing_is_told() -> None:
    output = run("try", PEGKE, "points.balance", "--set", "base_url=https://x.example", status=1)
    assert "consumer_secret: field required; give it with --set" in output


async def test_a_token_is_not_shown_either() -> None:
    async with running("kolibri") as sandbox:
        settings = {"base_url": sandbox.base_url, "login": kolibri.LOGIN, "password": kolibri.PASSWORD}
        words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        file = PEGKE.with_name("kolibri.yaml")
        output = await asyncio.to_thread(run, "try", file, "users.find", "--phone", "89990000001", *words)
        sid = next(iter(sandbox.stand_in.tokens._tokens))
        assert '"sid": "•••"' in output
        assert sid not in output
        assert '    "customer_id": "101",' in output


BASE = ("--set", "base_url=https://x.example")
ASKED = """\
  users.find: {steps: [{get: /c}], rows: body, result: {id: row.id}}
  users.set_consents: {steps: [{post: /c, commits: true}]}
  points.entries: {steps: [{get: /c}], rows: body, result: {amount: row.a, at: row.at}}
  points.purchases: {steps: [{get: /c}], rows: body, result: {at: row.at, amount_kopecks: row.a}}
  points.balance: {steps: [{get: /c}], result: {total: body.t}}
  points.credit: {steps: [{post: /c, commits: true}]}
"""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["points.credit", "account=1", "points=1,5"], "input points: a number is wanted, such as 12.50"),
        (["points.credit", "account=1", "points=abc"], "input points: a number is wanted"),
        (["points.credit", "account=1", "points=nan"], "input points: a number is wanted"),
        (
            ["points.credit", "account=1", "points=5", "receipt.total_kopecks=1.5"],
            "input receipt.total_kopecks:",
        ),
        (
            ["points.credit", "account=1", "points=5", "receipt.issued_at=today"],
            "input receipt.issued_at: a mom",
        ),
        (["points.credit", "account=1", "points=5", "receipt=9"], "input receipt: it has members"),
        (["points.purchases", "account=1", "since=x", "until=2026-01-01"], "input since: a day is wanted"),
        (["points.entries", "account=1", "limit=many"], "input limit: a whole number is wanted"),
        (["points.credit", "points=5"], "points.credit needs the input account (its id); --input NAME=VALUE"),
        (["points.balance"], "points.balance needs the input account"),
        (["users.set_consents", "customer=1", "sms=yes"], "input sms: true or false is wanted"),
        (["users.find"], "users.find needs the input phone or email"),
    ],
)
def test_an_input_that_does_not_fit_is_named(tmp_path: Path, words: list[str], says: str) -> None:
    file = tmp_path / "crm.yaml"
    file.write_text(connector(ASKED), encoding="utf-8")
    operation, *inputs = words
    given = [word for one in inputs for word in ("--input", one)]
    output = run("try", file, operation, *given, *BASE, status=1)
    assert says in output
    assert "Traceback" not in output


@pytest.mark.parametrize("port", ["users", "points", "coupons"])
def test_what_the_crm_has_nothing_of_is_told_in_the_file_s_own_words(tmp_path: Path, port: str) -> None:
    file = tmp_path / "crm.yaml"
    other = {"users": "points.balance", "points": "users.get", "coupons": "users.get"}[port]
    file.write_text(connector(f'  {other}: {{not_written: "later"}}\n'), encoding="utf-8")
    word = {"users": "users.get", "points": "points.balance", "coupons": "coupons.offers"}[port]
    output = run("try", file, word, *BASE, status=1)
    assert f"{word} cannot be done here: no {'people' if port == 'users' else port} here" in output
    assert f"{other} cannot be done here: later" in run("try", file, other, *BASE, status=1)
    if port != "users":
        assert f"no {port} here" in run("try", file, f"{port}.account", *BASE, status=1)


SHORT = """\
  points.credit:
    steps: [{post: /c, commits: true, has: body.id, json: {doc: "${idempotency_key}"}}]
    examples:
      - title: a short key
        input: {account: "1", points: 5}
        exchanges:
          - expect: {post: /c, json: {doc: KEY00000000000000000}}
            answer: {json: {id: 1}}
"""


def test_a_key_is_as_short_as_serve_makes_it(tmp_path: Path) -> None:
    file = tmp_path / "crm.yaml"
    text = connector(SHORT, "key_length: 20\n")
    file.write_text(text, encoding="utf-8")
    assert "well; 1 examples ran" in run("check", file)
    given = ("points.credit", "--input", "account=1", "--input", "points=5", "--dry-run", *BASE)
    assert '"doc": "KOSHELEKTRYKEY000000"' in run("try", file, *given, status=0)
    output = run("try", file, *given, "--key", "A" * 21, status=1)
    assert "a key of this connector has at most 20 capital letters and digits" in output
    assert "at most 20 capital" in run("try", file, *given, "--key", "a1", status=1)
    file.write_text(text.replace("        input:", "        key: K-1\n        input:"), encoding="utf-8")
    assert f'{file}:13:14: example "a short key" of points.credit: a key of' in run("check", file, status=1)
    docs = run("docs")
    assert "capital letters and digits" in docs
    assert (
        "| `no_such_customer` | there is no such customer: a read gives nothing, a write is refused" in docs
    )
    assert "such as `key_length: 20` for a field of 20. The adapter makes keys as short" in docs


async def test_what_is_wrong_with_a_login_is_told_though_its_answer_is_masked(tmp_path: Path) -> None:
    """Refused, or good and read at the wrong place: the line of the connector tells which."""
    async with running("kolibri") as sandbox:
        words = ["--set", f"base_url={sandbox.base_url}", "--set", f"login={kolibri.LOGIN}", "--set"]
        text = PEGKE.with_name("kolibri.yaml").read_text(encoding="utf-8")
        file = tmp_path / "kolibri.yaml"
        file.write_text(text, encoding="utf-8")
        asked = ("users.find", "--phone", "89990000001", *words)
        output = await asyncio.to_thread(run, "try", file, *asked, "password=wrong-password", status=1)
        assert "gives no token: the login's ok does not hold" in output
        assert f"{file}:" in output
        assert "correct the secrets and the login in the settings" in output
        file.write_text(text.replace("token: body.sid", "token: body.side"), encoding="utf-8")
        output = await asyncio.to_thread(run, "try", file, *asked, f"password={kolibri.PASSWORD}", status=1)
        assert "the login's answer has no token here, this is nothing" in output


WRITES = """\
  points.credit:
    at_once: [{when: input.points == 3, is: refused}]
    steps:
      - commits: true
        post: /c
        json: {n: "${input.points}"}
        has: body.id
        outcomes: [{when: "status == 409", is: no_such_customer}]
"""
ENDS = [
    ("5", [answered({"id": 1})], 0, '"outcome": "done"'),
    ("5", [answered({}, 409)], 1, "the write was refused: exit status 1"),
    ("3", [], 1, "the write was refused: exit status 1"),
    ("5", [answered({})], 1, "nobody knows whether it was done: exit status 1"),
    ("5", [answered({}, 429)], 1, "nothing was done: exit status 1"),
]


@pytest.mark.parametrize(("points", "answers", "status", "says"), ENDS)
def test_a_try_of_a_write_that_was_not_done_is_told_and_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    points: str,
    answers: list[Answer],
    status: int,
    says: str,
) -> None:
    monkeypatch.setattr(trying, "Wire", lambda settings: Replay(answers))
    file = tmp_path / "crm.yaml"
    file.write_text(connector(WRITES), encoding="utf-8")
    given = ("points.credit", "--input", "account=1", "--input", f"points={points}", *BASE)
    output = run("try", file, *given, status=status)
    assert says in output
    assert ("because:" in output) == bool(status)
    dry = run("try", file, *given, "--dry-run", status=0 if points == "5" else 1)
    assert ("this is a dry run" in dry) == (points == "5")


def test_that_a_write_is_not_there_is_an_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    look = WRITES + "    reconcile: {steps: [{get: /c}], rows: body.rows, result: {points: row.n}}\n"
    file = tmp_path / "crm.yaml"
    file.write_text(connector(look, doubts="probe"), encoding="utf-8")
    given = ("points.credit", "--input", "account=1", "--input", "points=5", "--reconcile", *BASE)
    for rows, status, says in (
        ([], 0, '"outcome": "not_sent"'),
        ([{"n": 5}], 0, '"outcome": "done"'),
        ([{}], 1, "nobody knows whether it was done"),
        ([{"n": 6}], 1, "the write was refused"),
    ):
        replay = Replay([answered({"rows": rows})])
        monkeypatch.setattr(trying, "Wire", lambda settings, replay=replay: replay)
        assert says in run("try", file, *given, status=status)
    file.write_text(connector(WRITES, doubts="key"), encoding="utf-8")
    assert "what is in doubt is sent again; try it twice with the same --key" in run(
        "try", file, *given, status=1
    )
