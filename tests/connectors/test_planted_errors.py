"""What no CRM documents in a 200 is never taken for "nobody" or "nothing": planted at each call of examples.

Nobody known would be registered anew, a doubt settled as "not there" would be sent again, and a balance that
is not told would be shown as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapter.commands.app import app
from crm_backends.connector import running, shipped
from crm_backends.connector.backend import ConnectorBackend
from crm_backends.connector.examples import play
from crm_backends.connector.language import Answered
from crm_backends.connector.plans import Sending
from crm_backends.connector.planting import PLANTED, PLANTED_404, run_planted
from crm_backends.connector.problems import Problem
from crm_backends.connector.reading import Loaded, load
from crm_backends.connector.sending import details_of
from crm_backends.connector.spec import make_spec
from crm_backends.ports import BackendMisconfigured, BackendUnavailable
from tests.connectors.making import connector, loaded

ODOO = {"code": 200, "message": "Odoo Server Error", "data": {"name": "builtins.ValueError", "message": "x"}}
# How each CRM tells an error, here inside a 200.
ERRORS: dict[str, list[Any]] = {
    "iiko": [{"correlationId": "c", "errorDescription": "x", "error": None}],
    "loya": [{"code": 500, "message": "x"}, {"code": 0}],
    "medusa": [{"type": "unknown_error", "message": "x", "code": "x"}],
    "moysklad": [{"errors": [{"error": "x", "code": 1999}]}],
    "square": [{"errors": [{"category": "API_ERROR", "code": "INTERNAL_SERVER_ERROR"}]}],
    "talonone": [{"message": "x", "StatusCode": 500}],
    "uds": [{"errorCode": "internalError", "message": "x"}],
    "voucherify": [{"code": 500, "key": "internal_error", "message": "x"}],
    "mindbox": [{"status": "InternalServerError", "errorMessage": "x"}, {"status": "ProtocolError"}],
    "odoo": [{"jsonrpc": "2.0", "id": 1, "error": ODOO}],
    "odoo19": [ODOO],
    "premiumbonus": [{"success": False, "error_description": "x"}, {"success": False}],
    "retailcrm": [{"success": False, "errorMsg": "x"}],
}


TOLD: list[dict[str, Any]] = [{"text": "<html>x</html>"}, {"text": ""}, {"json": {}}]
OF_ANYBODY = [Answered(status=status, **told) for status in (400, 409, 422) for told in TOLD]
"""What a proxy answers, or a server that has not understood the call."""


async def found(read: Loaded, planted: Sequence[Answered] = (*PLANTED, *PLANTED_404)) -> list[Problem]:
    return await run_planted(read, make_spec(read), planted)


@pytest.mark.parametrize("name", shipped())
async def test_what_means_nothing_is_read_as_nothing_else(name: str) -> None:
    errors = [Answered(json=error) for error in ERRORS.get(name, [])]
    problems = await found(load(shipped()[name]), [*PLANTED, *PLANTED_404, *OF_ANYBODY, *errors])
    assert not problems, "\n".join(map(str, problems))


async def test_every_call_of_a_shipped_connector_is_made_by_an_example(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that something is planted at each of them."""
    made: set[int] = set()

    def heard(sending: Sending, *more: Any) -> Any:
        made.add(id(sending))
        return details_of(sending, *more)

    monkeypatch.setattr(running, "details_of", heard)
    left_out = []
    for name, file in shipped().items():
        read = load(file)
        spec = make_spec(read)
        made.clear()
        for operation, described in read.model.operations.items():
            for example in described.examples:
                await play(read, spec, operation, example)
        assert isinstance(spec.build, type)
        assert issubclass(spec.build, ConnectorBackend)
        (program,) = spec.build.programs.values()
        for plan in program.plans.values():
            steps = [*plan.steps, *(plan.reconciling.steps if plan.reconciling else ())]
            left_out += [f"{name} {plan.name} {step.name}" for step in steps if id(step.sending) not in made]
    assert not left_out


# Each is a trap that a connector may still set for itself, and what is said of it.
OWN = {
    "a condition of its own says nobody": (
        """\
  users.find:
    steps: [{name: told, get: /g, save: {rows: "[body] if body.id is defined else []"}}]
    rows: steps.told.rows
    result: {id: row.id}
""",
        "users.find: {} or [] in a 200 of GET /g is read as an answer",
    ),
    "zero is what is not told": (
        """\
  points.balance:
    steps: [{get: /g}]
    result: {total: body.points | default(0)}
""",
        "points.balance: {} or [] in a 200 of GET /g is read as an answer",
    ),
    "nothing is read of the answer": (
        "  points.credit:\n    steps: [{commits: true, post: /g}]\n",
        "points.credit: {} or [] in a 200 of POST /g ends the write as done",
    ),
}
EXAMPLES = {
    "users.find": '{title: one, input: {phone: "+79161234567"}, result: [{customer_id: "7"}], exchanges: [',
    "points.balance": '{title: one, input: {account: "7"}, result: {total: 1, available: 1}, exchanges: [',
    "points.credit": '{title: one, input: {account: "7", points: 1}, result: {points: 1}, exchanges: [',
}


def with_example(operations: str) -> str:
    name = operations.split(":")[0].strip()
    method = "post" if "post:" in operations else "get"
    exchange = f"{{expect: {{{method}: /g}}, answer: {{json: {{id: 7, points: 1}}}}}}"
    return f"{operations}    examples:\n      - {EXAMPLES[name]}{exchange}]}}\n"


@pytest.mark.parametrize("trap", OWN)
def test_what_a_connector_takes_for_an_answer_is_told_by_check(trap: str, tmp_path: Path) -> None:
    operations, says = OWN[trap]
    file = tmp_path / "own.yaml"
    file.write_text(connector(with_example(operations)), encoding="utf-8")
    told = CliRunner().invoke(app, ["connector", "check", str(file)])
    assert told.exit_code == 1
    assert says in told.output
    assert "say by has what a good answer has" in told.output


NOBODY = """\
  users.get:
    steps: [{get: /g, outcomes: [{when: WHEN, is: nothing}]}]
    result: {id: body.id}
    examples:
      - title: nobody
        input: {customer: "7"}
        exchanges: [{expect: {get: /g}, answer: ANSWER}]
"""


@pytest.mark.parametrize(
    ("when", "answer", "read_as_nobody"),
    [
        ("status == 404", "{status: 404, json: {code: none}}", "no body or {} or "),
        ("status == 404", '{status: 404, text: ""}', "{} or "),
        ("status == 404 and body is none", '{status: 404, text: ""}', ""),
        ('status == 404 and body.code == "none"', "{status: 404, json: {code: none}}", ""),
    ],
)
async def test_a_404_of_anybody_is_not_read_as_nobody(when: str, answer: str, read_as_nobody: str) -> None:
    """A page of a proxy never is; what the CRM documents in an example may be."""
    problems = await found(loaded(NOBODY.replace("WHEN", f"'{when}'").replace("ANSWER", answer)))
    told = [problem.cause for problem in problems]
    if not read_as_nobody:
        assert told == []
        return
    (cause,) = told
    assert cause.startswith(f"users.get: {read_as_nobody}")
    assert "HTML" not in cause
    assert cause.endswith("in a 404 of GET /g is read as an answer")
    assert "ask for what the CRM itself says" in problems[0].remedy


async def test_a_login_in_text_takes_no_page_for_a_refusal() -> None:
    read = load(shipped()["loya"])
    spec = make_spec(read)
    example = read.model.operations["users.find"].examples[0]
    for planted in (*PLANTED, *PLANTED_404):
        if planted.text == '"error"':  # any other words of its own are Loya's refusal
            continue
        login = example.exchanges[0].model_copy(update={"answer": planted})
        changed = example.model_copy(update={"exchanges": [login, *example.exchanges[1:]]})
        result = (await play(read, spec, "users.find", changed)).result
        assert isinstance(result, BackendUnavailable | BackendMisconfigured), (planted, result)


@pytest.mark.parametrize("trap", OWN)
async def test_has_is_the_remedy(trap: str) -> None:
    operations, _ = OWN[trap]
    operations = operations.replace("get: /g", "get: /g, has: body.id").replace(
        "post: /g", "post: /g, has: body.id"
    )
    assert not await found(loaded(with_example(operations)))
