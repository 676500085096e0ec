"""What is wrong with a connector is told when it is read: file, line, column, cause and the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_backends import registry
from crm_backends.connector.problems import ConnectorError
from crm_backends.connector.reading import load, read_text
from crm_backends.connector.spec import make_spec
from crm_backends.ports import Reconciliation, Support
from tests.connectors.making import FILE, connector

GET = "  users.get:\n    steps: [{get: /customers}]\n    result: {id: body.id}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConnectorError) as caught:
        make_spec(read_text(text, FILE))
    return [str(problem) for problem in caught.value.problems]


def changed(old: str, new: str, operations: str = GET, more: str = "") -> str:
    text = connector(operations, more)
    assert old in text
    return text.replace(old, new, 1)


def at(text: str, piece: str, after: int = 0) -> str:
    """Where a piece of text is, the first from character ``after`` on."""
    before = text[: text.index(piece, after)]
    return f"{FILE}:{before.count(chr(10)) + 1}:{len(before) - (before.rfind(chr(10)) + 1) + 1}"


MISTAKES = [
    ("title:", "titel:", "titel", 'there is no "titel" here; did you mean "title"?'),
    ("doubts: manual", "doubts: hope", "hope", "one of 'key', 'probe', 'compare' or 'manual' is wanted"),
    ("name: crm", "name: 12", "12", "text is wanted; put it into quotes"),
    (
        "name: crm",
        "name: My-Crm",
        "My-Crm",
        "a name has small letters, digits and _, and begins with a letter",
    ),
    (
        "users.get:",
        "users.gett:",
        "users.gett",
        'there is no operation "users.gett"; did you mean "users.get"?',
    ),
    ("get: /customers", "gte: /customers", "gte", 'there is no "gte" here; did you mean "get"?'),
    (
        "result: {id: body.id}",
        "result: {idd: body.id}",
        "idd",
        '"idd" is not among what this gives; did you mean "id"?',
    ),
    ("body.id", "boddy.id", "boddy", 'there is no "boddy" here; did you mean "body"?'),
    ("body.id", "body.id | digts", "digts", 'there is no function "digts"; did you mean "digits"?'),
    ("body.id", "secrets.x", "secrets", "secrets may not be used here; a secret goes into what is sent"),
    ("body.id", "row.id", "row", "row may not be used here; it is there where rows are looked at"),
    (
        "/customers",
        '"/customers/${input.custmer}"',
        "input.custmer",
        'there is no input.custmer; did you mean "customer"?',
    ),
    (
        "/customers",
        '"/customers/${body.id}"',
        "body",
        "body may not be used here; there is no answer yet",
    ),
    ("/customers", '"/customers?a=1"', "?", "a path carries no query; write it under query:"),
    ("/customers", '"/customers/${input.customer"', "${input", "${ is not closed"),
    ("get: /customers", "get: /a, post: /b", "{get: /a", "a call has one of get, post, put, patch, delete"),
    ("get: /customers", "get: /a, json: {}, form: {}", "{get: /a", "a call has one of json, form, multipart"),
    (
        "get: /customers",
        "get: /a, commits: true",
        "{get: /a",
        "this operation reads: its steps neither commit nor prepare",
    ),
    ("get: /customers", "get: /a, use: x", "x}", 'there is no request "x"; there are none here'),
    ("get: /customers", "get: /a, auth: admin", "admin", 'there is no auth "admin"; there are none here'),
    (
        "get: /customers",
        "get: /a, save: {x: body.x}",
        "{x: body.x}",
        "what is saved needs the step's name; write name:",
    ),
    (
        "get: /customers",
        "get: /a, pages: {by: page, rows: body}",
        "{by: page",
        "nothing says which page is wanted; write name: …, or send ${page}",
    ),
    (
        "get: /customers",
        'get: /a, outcomes: [{when: "status == 404", is: refused}]',
        "refused",
        '"refused" is not for this operation',
    ),
    (
        "get: /customers",
        'get: /a, outcomes: [{when: "status == 404", is: nothin}]',
        "nothin}",
        'an answer cannot be "nothin"; did you mean "nothing"?',
    ),
    ("steps: [{get: /customers}]", "steps: []", "users.get", "this operation has no steps"),
    (
        "    result: {id: body.id}\n",
        "    unsupported: why not\n",
        "users.get",
        "an operation that cannot be done has no steps",
    ),
    ("    result: {id: body.id}\n", "", "steps:", 'users.get has to give "id"'),
    ("check:\n", "check: 5\nx:\n", "5", "a mapping is wanted"),
]


@pytest.mark.parametrize(("old", "new", "piece", "says"), MISTAKES)
def test_a_mistake_is_told_with_its_place(old: str, new: str, piece: str, says: str) -> None:
    text = changed(old, new)
    near = max(0, connector(GET).index(old) - 60) if piece != "steps:" else text.index("users.get")
    wanted = f"{at(text, piece, near)}: {says}"
    found = problems(text)
    assert any(one.startswith(wanted) for one in found), (wanted, found)


def test_the_place_is_exact() -> None:
    text = changed("body.id", "body.id if input.custmer else 1")
    (one,) = problems(text)
    assert one == f'{at(text, "input.custmer")}: there is no input.custmer; did you mean "customer"?'


def test_several_mistakes_are_told_at_once() -> None:
    text = changed("{id: body.id}", "{id: bdy.id, phone: body.phone | dgits, e_mail: 1}")
    found = problems(text)
    assert len(found) == 3
    assert found == sorted(found)


def test_an_operation_nothing_is_said_of_is_an_error() -> None:
    text = connector(GET).replace('  users.update: {unsupported: "not in this test"}\n', "")
    (one,) = problems(text)
    assert 'nothing is said of "users.update"' in one


def test_a_wrong_step_in_a_union_tells_the_chosen_branch_alone() -> None:
    text = changed("check:\n", "auth: {baisc: {login: a, password: b}}\ncheck:\n")
    found = problems(text)
    assert f'{at(text, "baisc")}: there is no "baisc" here; did you mean "basic"?' in found
    assert all("none, basic, bearer" in one or "baisc" in one for one in found)


def test_a_probe_needs_a_way_to_look() -> None:
    credit = "  points.credit:\n    steps: [{commits: true, post: /c}]\n"
    (one,) = problems(connector(credit, doubts="probe"))
    assert "doubts: probe needs a way to find out what became of this write; write reconcile:" in one


def test_a_write_without_a_commit_is_an_error() -> None:
    (one,) = problems(connector("  points.credit:\n    steps: [{post: /c}]\n"))
    assert "no step commits; write commits: true" in one


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ('{help: "x y z", default: 5}', "the default is not of type text"),
        ('{help: "x y z", secret: true, default: "a"}', "a secret has no default"),
        ('{help: "x y z", choices: [a, b], default: c}', "the default is not among the choices"),
        ('{default: "a"}', '"help" is missing'),
    ],
)
def test_settings_are_looked_at(setting: str, says: str) -> None:
    (one,) = problems(connector(GET, f"settings:\n  thing: {setting}\n"))
    assert says in one


def test_a_setting_may_not_be_one_of_every_crm() -> None:
    (one,) = problems(connector(GET, 'settings:\n  read_timeout: {help: "x y z", default: "a"}\n'))
    assert 'every CRM behind HTTP has a setting "read_timeout" already' in one


def test_capabilities_are_what_the_file_says() -> None:
    operations = GET + '  users.find: {not_written: "nobody asked"}\n'
    operations += (
        '  users.register:\n    partial: "of phones"\n    steps: [{commits: true, post: /c}]\n'
        "    result: {id: body.id}\n"
    )
    spec = make_spec(read_text(connector(operations), FILE))
    told = {name: (one.support, one.note) for name, one in spec.capabilities.items()}
    assert told["users.get"] == (Support.FULL, "")
    assert told["users.find"] == (Support.NOT_IMPLEMENTED, "nobody asked")
    assert told["users.register"] == (Support.PARTIAL, "of phones")
    assert told["users.update"] == (Support.IMPOSSIBLE, "not in this test")
    assert told["points.credit"] == (Support.IMPOSSIBLE, "no points here")
    assert told["users.set_card"] == (Support.NOT_IMPLEMENTED, "the connector does not describe it")
    assert spec.ports == {"users"}
    assert spec.reconciliation is Reconciliation.MANUAL


def test_one_extends_another_and_changes_some_of_it(tmp_path: Path) -> None:
    base = connector(GET, 'settings:\n  site: {help: "the site", default: "one"}\n')
    (tmp_path / "base.yaml").write_text(base, encoding="utf-8")
    own = tmp_path / "own.yaml"
    own.write_text(
        "extends: base.yaml\nname: own\n"
        'settings:\n  site: {default: "two"}\n'
        'operations:\n  users.get: {steps: [{get: "/people/${input.customer}"}]}\n'
        '  users.find: {unsupported: "not here"}\n',
        encoding="utf-8",
    )
    spec = registry.load(str(own))
    assert (spec.name, spec.summary) == ("own", "A CRM of the tests")
    assert spec.settings.model_fields["site"].default == "two"
    assert spec.capabilities["users.get"].support is Support.FULL
    assert spec.capabilities["users.find"].note == "not here"


def test_a_mistake_in_what_is_extended_is_told_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(connector(GET), encoding="utf-8")
    own = tmp_path / "own.yaml"
    own.write_text("extends: base.yaml\noperations:\n  users.get: {result: {id: bdy.id}}\n", encoding="utf-8")
    with pytest.raises(ConnectorError) as caught:
        make_spec(load(own))
    assert str(caught.value) == f'{own}:3:28: there is no "bdy" here; did you mean "body"?'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("extends: nobody\n", 'there is no connector "nobody"'),
        ("extends: gone.yaml\n", "gone.yaml cannot be read"),
        ("extends: own.yaml\n", "connectors extend each other in a circle"),
    ],
)
def test_what_cannot_be_extended(tmp_path: Path, text: str, says: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(ConnectorError) as caught:
        load(own)
    assert f"{own}:1:10: {says}" in str(caught.value)


def test_the_registry_tells_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    file = tmp_path / "crm.yaml"
    file.write_text(changed("body.id", "bdy.id"), encoding="utf-8")
    with pytest.raises(registry.DriverNotUsable, match=r"crm\.yaml:\d+:\d+: there is no \"bdy\" here"):
        registry.load(str(file))
    with pytest.raises(registry.DriverNotUsable, match="cannot read"):
        registry.load(str(tmp_path / "gone.yaml"))
