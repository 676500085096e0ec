"""What an answer does not have is an error where it is read, unless the file says that it may be missing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from crm_backends.connector.recorded import answer_of
from crm_backends.http.wire import Answer
from crm_backends.model import Balance, Credit, Holder, Profile
from crm_backends.ports import (
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Outcome,
    Refusal,
    Written,
)
from tests.connectors.making import answer, played, soon

PHONE = "+79161234567"
ONE = Credit(points=Decimal(1), description="Purchase", receipt=None)


def text(told: str) -> Answer:
    return answer_of(200, None, told, {})


async def find(operations: str, *answers: Answer, **more: Any) -> list[str]:
    async with played(operations, *answers, **more) as crm:
        found = await crm.backend.find(phone=PHONE, email=None, birth_date=None, deadline=soon())
        return [one.customer_id for one in found]


async def give(steps: str, *answers: Answer) -> Written:
    async with played(f"  points.credit:\n    steps:\n{steps}", *answers) as crm:
        written: Written = await crm.backend.credit("7", ONE, idempotency_key="KEY", deadline=soon())
        return written


def rows(code: str, more: str = "") -> str:
    return f"  users.find:\n    steps: [{{get: /f{more}}}]\n    rows: {code}\n    result: {{id: row.id}}\n"


# -- reads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["body.rows", "body.rows | where(a=1)", "body.found.rows", "content"])
@pytest.mark.parametrize(
    "told", [answer({}), answer([]), text("null"), text(""), text('"error"'), answer({"rosw": []})]
)
async def test_rows_that_are_not_there_are_no_empty_list(code: str, told: Answer) -> None:
    more = "content: body.rows\n" if code == "content" else ""
    with pytest.raises(BackendUnavailable, match="the answer"):
        await find(rows(f'"{code}"'), told, more=more)


@pytest.mark.parametrize("value", [[], None])
async def test_an_empty_list_shows_that_there_is_nobody_and_so_does_null(value: object) -> None:
    assert await find(rows("body.rows"), answer({"rows": value})) == []
    assert await find(rows('"body.rows | where(a=1)"'), answer({"rows": value})) == []


async def test_the_file_may_say_that_rows_may_be_missing() -> None:
    assert await find(rows('"body.rows | default([])"'), answer({})) == []
    assert await find(rows("body.rows", ", outcomes: [{when: 'body == {}', is: nothing}]"), answer({})) == []


async def test_fields_of_a_result_may_be_missing_but_not_those_that_are_needed() -> None:
    assert await find(rows("body.rows"), answer({"rows": [{"id": 7}]})) == ["7"]
    with pytest.raises(BackendUnavailable, match=r"crm\.yaml:\d+:\d+: the answer lacks row\.id"):
        await find(rows("body.rows"), answer({"rows": [{}]}))


async def test_an_account_is_nobody_s_only_where_the_answer_says_so() -> None:
    operations = "  points.account:\n    steps: [{get: /a}]\n    result: {id: body.person.account}\n"
    holder = Holder("", "7", Profile(phone=PHONE))
    for told, found in (({"person": {"account": 9}}, "9"), ({"person": {"account": None}}, None)):
        async with played(operations, answer(told)) as crm:
            assert await crm.backend.points_account(holder, deadline=soon()) == found
    answers: list[dict[str, Any]] = [{"person": {}}, {}, {"error": "x"}]
    for lacking in answers:
        async with played(operations, answer(lacking)) as crm:
            with pytest.raises(BackendUnavailable):
                await crm.backend.points_account(holder, deadline=soon())


async def test_reckoning_with_what_is_missing_is_no_zero() -> None:
    operations = (
        "  points.balance:\n    steps: [{get: /b}]\n"
        "    result: {total: body.all - body.held, available: body.all}\n"
    )
    async with played(operations, answer({"all": 5, "held": 2})) as crm:
        assert await crm.backend.balance("7", deadline=soon()) == Balance(Decimal(3), Decimal(5))
    async with played(operations, answer({"all": 5})) as crm:
        with pytest.raises(BackendUnavailable, match=r"the answer lacks body\.all - body\.held"):
            await crm.backend.balance("7", deadline=soon())


async def test_one_mapping_given_as_rows_is_left_out_only_by_what_it_says() -> None:
    operations = rows("body", ", has: body.id").replace("result:", 'where: row.shop == "s"\n    result:')
    assert await find(operations, answer({"id": 7, "shop": "s"})) == ["7"]
    assert await find(operations, answer({"id": 7, "shop": "t"})) == []
    with pytest.raises(BackendUnavailable):
        await find(operations, answer({"id": 7}))


# -- outcomes ------------------------------------------------------------------------------------------


async def test_nobody_has_to_be_shown_by_something_in_the_answer() -> None:
    said = ", outcomes: [{when: body.guest is none, is: nothing}]"
    assert await find(rows("body.guest", said), answer({"guest": None})) == []
    for lacking in (answer({}), answer([]), text("null"), answer({"error": "x"})):
        with pytest.raises(BackendUnavailable, match=r"the answer lacks body\.guest is none"):
            await find(rows("body.guest", said), lacking)


PAGE_404 = answer_of(404, None, "<html>Not Found</html>", {})


async def test_a_page_says_nothing_whatever_its_status() -> None:
    """It is a proxy's: a CRM of JSON has not been asked at all, or is not asked here."""
    nobody = ", outcomes: [{when: status == 404, is: nothing}]"
    assert await find(rows("body.rows", nobody), answer(None, 404)) == []
    with pytest.raises(BackendUnavailable, match=r"the answer is not JSON \(status 404\)"):
        await find(rows("body.rows", nobody), PAGE_404)
    well = ", outcomes: [{when: status == 404, is: ok}]"
    with pytest.raises(BackendUnavailable):
        await find(rows('"body.rows | default([])"', well), PAGE_404)
    with pytest.raises(BackendUnavailable):
        await find(rows('"body.rows | default([])"', ", ok: status == 404"), PAGE_404)
    assert await find(rows("body.rows", f"{nobody}, takes_text: true"), PAGE_404) == []
    refused = "outcomes: [{when: status == 404, is: no_such_customer}]"
    steps = f"      - {{commits: true, post: /p, {refused}}}\n"
    assert (await give(steps, answer({}, 404))).refusal is Refusal.NO_SUCH_CUSTOMER
    assert (await give(steps, PAGE_404)).outcome is Outcome.UNKNOWN


async def test_what_a_condition_reads_has_to_be_there_at_any_status() -> None:
    said = ', outcomes: [{when: status == 404 and body.kind != "route", is: nothing}]'
    assert await find(rows("body.rows", said), answer({"kind": "customer"}, 404)) == []
    for lacking in (answer({}, 404), answer({"message": "no Route"}, 404), answer(None, 404)):
        with pytest.raises(BackendUnavailable, match="the answer lacks"):
            await find(rows("body.rows", said), lacking)


async def test_no_body_at_all_may_be_said_to_mean_nobody() -> None:
    said = ", outcomes: [{when: body is none, is: nothing}]"
    assert await find(rows("body.guest", said), text("")) == []


async def test_a_refusal_rests_on_what_is_there() -> None:
    steps = """\
      - {get: /g, outcomes: [{when: body.owner != input.account, is: conflict}]}
      - {commits: true, post: /p, has: body.id}
"""
    assert (await give(steps, answer({"owner": "8"}))).refusal is Refusal.CONFLICT
    for lacking in ({}, {"error": "x"}):
        assert (await give(steps, answer(lacking))).outcome is Outcome.NOT_SENT
    assert (await give(steps, answer({"owner": "7"}), answer({"id": 1}))).outcome is Outcome.DONE


# -- what is saved -------------------------------------------------------------------------------------


async def test_what_is_saved_has_to_be_there() -> None:
    steps = """\
      - {name: known, get: /g, save: {id: body.id}, outcomes: [{when: status == 404, is: ok}]}
      - {commits: true, post: /p, when: steps.known.id is none, has: body.id}
"""
    assert (await give(steps, answer({}))).outcome is Outcome.NOT_SENT
    for nobody in (answer({"id": None}), answer({}, 404)):
        assert (await give(steps, nobody, answer({"id": 1}))).outcome is Outcome.DONE
    may_be_missing = steps.replace("body.id}, out", "body.id | default(none)}, out")
    assert (await give(may_be_missing, answer({}), answer({"id": 1}))).outcome is Outcome.DONE


# -- what a good answer has ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told", [text("null"), text(""), text('"error"'), answer({"error": "x"}), answer({"errors": ["x"]})]
)
async def test_a_write_whose_answer_nothing_reads_is_in_doubt_where_that_is_odd(told: Answer) -> None:
    assert (await give("      - {commits: true, post: /p}\n", told)).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("step", "told", "ends"),
    [
        ("has: body.id", answer({"id": 0}), Outcome.DONE),
        ("has: body.rows", answer({"rows": []}), Outcome.DONE),
        ("has: [body.id, body.kind]", answer({"id": 1}), Outcome.UNKNOWN),
        ("has: body is true", text("true"), Outcome.DONE),
        ("has: body is true", text("false"), Outcome.UNKNOWN),
        ("has: status == 200", text(""), Outcome.DONE),
        ("has: status == 200", answer({"error": "x"}), Outcome.UNKNOWN),
        ("ok: status == 200", answer({"error": "x"}), Outcome.DONE),
        ("has: body.id", answer({"id": 1}, 500), Outcome.UNKNOWN),
        ("takes_text: true", text("given"), Outcome.DONE),
    ],
)
async def test_has_says_what_a_good_answer_has(step: str, told: Answer, ends: Outcome) -> None:
    assert (await give(f"      - {{commits: true, post: /p, {step}}}\n", told)).outcome is ends


async def test_no_content_is_a_good_answer() -> None:
    assert (await give("      - {commits: true, post: /p}\n", answer(None, 204))).outcome is Outcome.DONE


async def test_a_request_says_it_for_all_its_steps_and_a_step_may_say_it_otherwise() -> None:
    more = "requests:\n  person: {get: /f, has: body.rows}\n"
    operations = rows('"body.rows | default([])"').replace("get: /f", "use: person")
    with pytest.raises(BackendUnavailable, match=r"crm\.yaml:8:26: the answer lacks body\.rows"):
        await find(operations, answer({}), more=more)
    own = operations.replace("use: person", "use: person, has: body is mapping")
    assert await find(own, answer({}), more=more) == []


async def test_a_result_of_a_write_that_is_not_there_leaves_it_in_doubt() -> None:
    operations = "      - {commits: true, post: /p}\n    result: {points: body.given}\n"
    assert (await give(operations, answer({"given": 1}))).points == 1
    assert (await give(operations, answer({"given": None}))).outcome is Outcome.DONE
    assert (await give(operations, answer({"id": 1}))).outcome is Outcome.UNKNOWN


async def test_doing_the_rest_of_a_doubt_is_not_undone_by_what_fails() -> None:
    operations = """\
  points.credit:
    steps:
      - {name: made, commits: true, post: /p, save: {id: body.id}}
      - {name: confirmed, commits: true, post: "/p/${steps.made.id | default(idempotency_key)}"}
    reconcile:
      steps: [{get: /p}]
      go_on: [{when: body.state == "draft", at: confirmed}]
      rows: body.done
      result: {points: row.points}
"""
    for rest, ends in ((answer({}), Outcome.DONE), (answer({}, 429), Outcome.UNKNOWN)):
        async with played(operations, answer({"state": "draft"}), rest, doubts="probe") as crm:
            written = await crm.backend.reconcile_credit(
                "7", ONE, idempotency_key="KEY", since=None, before=None, deadline=soon()
            )
            assert written.outcome is ends


@pytest.mark.parametrize("told", [{"op": None}, {"op": ""}, {"op": 0}, {"op": "0"}])
async def test_a_write_whose_answer_tells_no_id_of_what_it_made_is_in_doubt(told: dict[str, Any]) -> None:
    """A CRM that says it went well, and has made nothing, names nothing."""
    steps = "      - {commits: true, post: /p}\n    result: {id: body.op}\n"
    assert (await give(steps, answer({"op": 9}))).outcome is Outcome.DONE
    assert (await give(steps, answer(told))).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("said", "ends"), [("no_such_customer", Outcome.UNKNOWN), ("nothing", Outcome.NOT_SENT)]
)
async def test_that_the_customer_is_not_known_does_not_show_that_nothing_was_credited(
    said: str, ends: Outcome
) -> None:
    """Somebody who was just written to; a CRM that says so in passing would be sent it twice."""
    operations = f"""\
  points.credit:
    steps: [{{commits: true, post: /p}}]
    reconcile:
      steps: [{{get: /p, outcomes: [{{when: body.err == 4, is: {said}}}]}}]
      rows: body.moves
      result: {{points: row.points}}
"""
    async with played(operations, answer({"err": 4}), doubts="probe") as crm:
        written = await crm.backend.reconcile_credit(
            "7", ONE, idempotency_key="KEY", since=None, before=None, deadline=soon()
        )
        assert written.outcome is ends


@pytest.mark.parametrize(
    ("rows", "entries"),
    [
        ([{"id": 1, "n": 1}, {"id": 1, "n": 1}], ()),
        ([{"id": 1, "n": 1}, {"id": 2, "n": 1}], ("1", "2")),
        ([{"id": 1, "n": 1, "at": 1}, {"id": 1, "n": 1, "at": 2}], ("1", "1")),
        ([{"n": 1}, {"n": 1}], ("an entry without a name",) * 2),
        ([{"id": "K-KEY", "n": 1}, {"id": "K-KEY", "n": 1}], ("K-KEY",) * 2),
    ],
)
async def test_an_entry_that_is_shown_twice_was_not_done_twice(
    rows: list[dict[str, Any]], entries: tuple[str, ...]
) -> None:
    """Between two pages of a list, a new row moves the last one of the first page to the second."""
    operations = """\
  points.credit:
    steps: [{commits: true, post: /p}]
    reconcile:
      steps: [{get: /p}]
      rows: body.rows
      result: {id: row.id, points: row.n}
"""
    async with played(operations, answer({"rows": rows}), doubts="probe") as crm:
        written = await crm.backend.reconcile_credit(
            "7", ONE, idempotency_key="KEY", since=None, before=None, deadline=soon()
        )
        assert (written.outcome, written.entries) == (Outcome.DONE, entries)


NIL = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("zero", [0, "0", "000", NIL, NIL.replace("-", "")])
async def test_zero_is_no_id_of_anybody(zero: int | str) -> None:
    """CRMs write zero where there is none; two people with it would be taken for each other."""
    with pytest.raises(BackendError, match="id: there is nothing in the answer"):
        await find(rows("body.rows"), answer({"rows": [{"id": zero}]}))
    assert await find(rows("body.rows"), answer({"rows": [{"id": "10"}, {"id": "0a-0"}]})) == ["10", "0a-0"]

    register = "  users.register:\n    steps: [{commits: true, post: /p}]\n    result: {id: body.id}\n"
    async with played(register, answer({"id": zero})) as crm:
        written = await crm.backend.register(Profile(phone=PHONE), idempotency_key="KEY", deadline=soon())
        assert written.outcome is Outcome.UNKNOWN

    account = "  points.account:\n    steps: [{get: /a}]\n    result: {id: body.id}\n"
    async with played(account, answer({"id": zero})) as crm:
        holder = Holder("", "7", Profile(phone=PHONE))
        assert await crm.backend.points_account(holder, deadline=soon()) is None

    card = """\
  users.find_by_card:
    steps: [{get: /c}]
    result: {number: body.number, customer: body.owner}
"""
    async with played(card, answer({"number": "29", "owner": zero})) as crm:
        found = await crm.backend.find_by_card("29", deadline=soon())
        assert found.customer is None


async def test_a_customer_asked_for_by_id_is_that_one_or_an_error() -> None:
    """What a proxy has kept of another question is another's phone, and leads to another's points."""
    operations = "  users.get:\n    steps: [{get: /c}]\n    result: {id: body.id, phone: body.phone}\n"
    async with played(operations, answer({"id": 7, "phone": PHONE})) as crm:
        assert (await crm.backend.get("7", deadline=soon())).profile.phone == PHONE
    async with played(operations, answer({"id": 8, "phone": PHONE})) as crm:
        with pytest.raises(BackendMisconfigured, match="the answer is about another customer"):
            await crm.backend.get("7", deadline=soon())
    joined = operations.replace("body.id", "input.customer")
    async with played(joined, answer({"id": 8, "phone": PHONE})) as crm:
        assert (await crm.backend.get("7", deadline=soon())).customer_id == "7"
