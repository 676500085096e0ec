"""Every row of what the language has to be able to say: what is sent, and what becomes of the answers."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from crm_backends.http.messages import Fault, Reached
from crm_backends.http.wire import Answer
from crm_backends.model import Balance, ChannelConsents, Credit, FiscalReceipt, Holder, PointsEntry, Profile
from crm_backends.ports import (
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
    HolderUnnamed,
    NotSupported,
    Outcome,
    Refusal,
    Written,
)
from tests.connectors.making import answer, played, soon

PHONE = "+79161234567"
FIVE = Credit(Decimal(5), "Purchase")
SINCE = datetime(2026, 11, 26, tzinfo=UTC)


def find(rows: str, more: str = "") -> str:
    return (
        "  users.find:\n    steps: [{get: /c, query: {q: '${input.phone}'}}]\n"
        f"    rows: {rows}\n    result: {{id: row.id, phone: row.phone{more}}}\n"
    )


def credit(steps: str, more: str = "") -> str:
    return f"  points.credit:\n{more}    steps:\n{steps}"


async def give(backend: Any, points: object = 5) -> Written:
    put = Credit(None if points is None else Decimal(str(points)), "Purchase")
    written: Written = await backend.credit("c1", put, idempotency_key="KEY", deadline=soon())
    return written


# -- several steps -------------------------------------------------------------------------------------

MAKES_WHAT_IS_NOT_FOUND = credit("""\
      - name: find
        get: /accounts
        query: {customer: "${input.account}"}
        save: {id: "body.accounts[0].id"}
      - name: make
        when: steps.find.id is none
        prepares: true
        post: /accounts
        json: {customer: "${input.account}"}
        save: {id: body.account.id}
      - commits: true
        post: "/accounts/${steps.find.id or steps.make.id}/credit"
        json: {amount: "${input.points}", note: "${idempotency_key}"}
""")


async def test_a_step_makes_what_was_not_found() -> None:
    answers = [answer({"accounts": []}), answer({"account": {"id": "new"}}), answer({})]
    async with played(MAKES_WHAT_IS_NOT_FOUND, *answers) as crm:
        assert await give(crm.backend) == Written.done(points=Decimal(5))
        assert crm.sent == ["GET /accounts", "POST /accounts", "POST /accounts/new/credit"]
        assert json.loads(crm.replay.sent[2].body) == {"amount": 5, "note": "KEY"}


async def test_a_step_is_left_out_where_its_condition_does_not_hold() -> None:
    async with played(MAKES_WHAT_IS_NOT_FOUND, answer({"accounts": [{"id": "a1"}]}), answer({})) as crm:
        assert (await give(crm.backend)).outcome is Outcome.DONE
        assert crm.sent == ["GET /accounts", "POST /accounts/a1/credit"]


# -- rows ----------------------------------------------------------------------------------------------


async def test_rows_are_those_with_this_very_phone() -> None:
    rows = {"c": [{"id": 1, "phone": "79161234567"}, {"id": 2, "phone": "+79161234500"}]}
    async with played(find("body.c"), answer(rows)) as crm:
        (found,) = await crm.backend.find(phone=PHONE, email=None, birth_date=None, deadline=soon())
        assert (found.customer_id, found.profile.phone) == ("1", PHONE)


async def test_rows_are_chosen_by_a_setting() -> None:
    operations = (
        "  points.balance:\n    steps: [{get: /b}]\n"
        "    rows: body.wallets\n    where: row.id == settings.wallet\n    result: {total: row.balance}\n"
    )
    wallets = {"wallets": [{"id": "w1", "balance": 3}, {"id": "w2", "balance": 12.5}]}
    more = "settings: {wallet: {help: the wallet, default: w2}}\n"
    async with played(operations, answer(wallets), more=more) as crm:
        assert await crm.backend.balance("a", deadline=soon()) == Balance(Decimal("12.5"), Decimal("12.5"))


async def test_whom_the_crm_finds_besides_is_never_given() -> None:
    async with played(find("body"), answer([{"id": 1, "phone": "+79990000000"}, {"id": 2}])) as crm:
        found = await crm.backend.find(phone=PHONE, email=None, birth_date=None, deadline=soon())
        assert [one.customer_id for one in found] == ["2"]  # this one tells no phone


async def test_what_is_typed_into_a_phone_is_nobodys_phone() -> None:
    rows = [{"id": 1, "phone": "call after six, 916"}, {"id": 2, "phone": PHONE, "mail": "a@example.org"}]
    async with played(find("body", ", email: row.mail"), answer(rows)) as crm:
        found = await crm.backend.find(phone=PHONE, email=None, birth_date=None, deadline=soon())
        assert [one.customer_id for one in found] == ["2"]
    rows[0]["mail"] = "b@example.org"
    async with played(find("body", ", email: row.mail"), answer(rows)) as crm:
        asked = {"phone": "+79990000009", "email": "B@example.org"}
        found = await crm.backend.find(**asked, birth_date=None, deadline=soon())
        assert [(one.customer_id, one.profile.phone) for one in found] == [("1", None)]


# -- outcomes ------------------------------------------------------------------------------------------

IN_200 = """\
ok: body.success == true
outcomes:
  - {when: 'body.code == "AUTH" or "apiKey" in body.errorMsg', is: credentials}
  - {when: 'body.code == "BUSY" or status == 503', is: try_later}
"""
PLAIN = credit(
    "      - commits: true\n        post: /c\n",
    """\
    outcomes:
      - {when: status == 404, is: no_such_customer}
      - {when: 'body.code == "TAKEN"', is: key_taken}
      - {when: 'body.code == "NO"', is: refused}
      - {when: 'body.code == "WHO_KNOWS"', is: unknown}
""",
)


@pytest.mark.parametrize(
    ("status", "body", "ends"),
    [
        (200, {"success": True}, Written.done(points=Decimal(5))),
        (200, {"success": False, "code": "TAKEN"}, Written.refused(Refusal.KEY_TAKEN)),
        (200, {"success": True, "code": "NO"}, Written.refused(Refusal.OTHER)),
        (404, {}, Written.refused(Refusal.NO_SUCH_CUSTOMER)),
        (200, {"code": "WHO_KNOWS"}, Written.unknown()),
        (200, {"success": False}, Written.unknown()),
        (200, {}, Written.unknown()),
        (200, None, Written.unknown()),
        (400, {"error": "odd"}, Written.unknown()),
        (500, {"success": True}, Written.unknown()),
        (302, None, Written.unknown()),
        (200, {"code": "BUSY"}, Written.not_sent()),
        (503, {}, Written.not_sent()),
        (429, {}, Written.not_sent()),
    ],
)
async def test_the_first_outcome_that_holds_counts_and_doubt_is_the_rest(
    status: int, body: object, ends: Written
) -> None:
    async with played(PLAIN, answer(body, status), more=IN_200) as crm:
        written = await give(crm.backend)
        assert written == ends
        assert ends.outcome is Outcome.DONE or written.reason


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, {"code": "AUTH"}), (200, {"errorMsg": "Wrong apiKey value."}), (401, {}), (403, {})],
)
async def test_refused_credentials_are_told_wherever_they_are_told(status: int, body: object) -> None:
    async with played(PLAIN, answer(body, status), more=IN_200) as crm:
        with pytest.raises(BackendCredentials):
            await give(crm.backend)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, {"code": "AUTH"}, BackendCredentials),
        (503, {}, BackendUnavailable),
        (500, {}, BackendUnavailable),
        (400, {}, BackendMisconfigured),
        (200, {"success": False}, BackendMisconfigured),
        (200, {"success": True}, BackendUnavailable),
        (200, {"success": True, "total": "12"}, BackendMisconfigured),
        (302, None, BackendMisconfigured),
    ],
)
async def test_a_read_that_is_not_understood_is_an_error(status: int, body: object, error: type) -> None:
    operations = "  points.balance:\n    steps: [{get: /b}]\n    result: {total: body.total}\n"
    async with played(operations, answer(body, status), more=IN_200) as crm:
        with pytest.raises(error):
            await crm.backend.balance("a", deadline=soon())


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"code": "AUTH"}, r"or they lack a right \(its answer says so, by [\w.-]+:\d+:\d+\)$"),
        ({"success": False}, r"no outcome holds, nor ok at [\w.-]+:\d+:\d+ \(status 200\)$"),
    ],
)
async def test_what_an_answer_was_judged_by_is_told_with_its_place(body: object, told: str) -> None:
    operations = "  points.balance:\n    steps: [{get: /b}]\n    result: {total: body.total}\n"
    async with played(operations, answer(body), more=IN_200) as crm:
        with pytest.raises(BackendError, match=told):
            await crm.backend.balance("a", deadline=soon())


@pytest.mark.parametrize(
    ("points", "ends"),
    [
        (None, Written.refused()),
        ("0.5", Written.refused()),
        (0, Written.done(points=Decimal(0))),
        (-1, Written.refused()),
    ],
)
async def test_some_is_decided_without_asking(points: object, ends: Written) -> None:
    at_once = """\
    at_once:
      - {when: input.points is none, is: refused}
      - {when: input.points == 0, is: done}
      - {when: input.points != input.points | round, is: refused}
"""
    async with played(credit("      - commits: true\n        post: /c\n", at_once)) as crm:
        assert await give(crm.backend, points) == ends
        assert crm.sent == []


# -- how far a write got -------------------------------------------------------------------------------

GONE = Fault("no whole answer", "X", Reached.PERHAPS, away=True)
REFUSED = Fault("no connection", "X", Reached.NOTHING, away=True)
THREE = credit("""\
      - {name: look, get: /look, save: {id: body.id}}
      - {prepares: true, post: /prepare}
      - {commits: true, post: "/give/${steps.look.id}"}
      - {commits: true, post: /activate}
""")


@pytest.mark.parametrize(
    ("answers", "ends", "calls"),
    [
        ([GONE], Written.not_sent(), 1),
        ([answer({"id": 1}), GONE], Written.not_sent(), 2),
        ([answer({"id": 1}), answer({}), REFUSED], Written.not_sent(), 3),
        ([answer({"id": 1}), answer({}), GONE], Written.unknown(), 3),
        ([answer({"id": 1}), answer({}), answer({}, 500)], Written.unknown(), 3),
        ([answer({"id": 1}), answer({}), answer({}), REFUSED], Written.unknown(), 4),
        ([answer({"id": 1}), answer({}), answer({}), answer({}, 401)], Written.unknown(), 4),
        ([answer({"id": 1}), answer({}), answer({}), answer({})], Written.done(points=Decimal(5)), 4),
    ],
)
async def test_what_fails_before_the_commit_was_not_sent(
    answers: list[Any], ends: Written, calls: int
) -> None:
    async with played(THREE, *answers) as crm:
        assert await give(crm.backend) == ends
        assert len(crm.sent) == calls


async def test_a_path_without_its_part_is_not_sent() -> None:
    async with played(THREE, answer({"id": None}), answer({})) as crm:
        with pytest.raises(
            BackendMisconfigured, match=r"crm\.yaml:\d+:\d+: nothing cannot be written as text"
        ):
            await give(crm.backend)
        assert crm.sent == ["GET /look", "POST /prepare"]


async def test_an_answer_without_what_is_wanted_leaves_a_write_in_doubt() -> None:
    operations = "  users.register:\n    steps: [{commits: true, post: /c}]\n    result: {id: body.id}\n"
    for body, outcome in (({"id": 7}, Outcome.DONE), ({}, Outcome.UNKNOWN), ({"id": []}, Outcome.UNKNOWN)):
        async with played(operations, answer(body)) as crm:
            written = await crm.backend.register(Profile(), idempotency_key="K", deadline=soon())
            assert written.outcome is outcome


@pytest.mark.parametrize(
    ("takes", "said", "outcome"),
    [
        ("", "attached", Outcome.UNKNOWN),
        ("takes_text: true, ", "attached", Outcome.DONE),
        ("takes_text: true, ", "no room", Outcome.REFUSED),
        ("takes_text: true, ", "<html>", Outcome.UNKNOWN),
        ("use: give, ", "attached", Outcome.DONE),
    ],
)
async def test_an_answer_in_text_is_taken_where_the_connector_says_so(
    takes: str, said: str, outcome: Outcome
) -> None:
    call = "" if "use" in takes else "put: /c, "
    refused = "outcomes: [{when: body == 'no room', is: refused}]"
    steps = f"      - {{commits: true, {call}{takes}ok: body == 'attached', {refused}}}\n"
    requests = "requests: {give: {put: /c, takes_text: true}}\n"
    async with played(credit(steps), Answer(200, said.encode()), more=requests) as crm:
        assert (await give(crm.backend)).outcome is outcome


async def test_without_time_nothing_is_sent() -> None:
    async with played(THREE + find("body")) as crm:
        late = Deadline.after(0)
        assert await crm.backend.credit("c", FIVE, idempotency_key="K", deadline=late) == Written.not_sent()
        with pytest.raises(BackendUnavailable):
            await crm.backend.find(phone=PHONE, email=None, birth_date=None, deadline=late)
        assert crm.sent == []


# -- bodies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "kind", "body"),
    [
        ("json: {n: '${input.points}', t: 'p${input.points}', none: '${input.receipt}', null: null}",
         "application/json", '{"n":5,"t":"p5","null":null}'),
        ("json: {jsonrpc: '2.0', method: call, params: {args: [a, 7, ['${input.account}']]}}",
         "application/json", '{"jsonrpc":"2.0","method":"call","params":{"args":["a",7,["c1"]]}}'),
        ("form: {a: '${input.points}', b: x y}", "application/x-www-form-urlencoded", "a=5&b=x+y"),
        ("form: {loyalty: {json: {amount: '${input.points}'}}}",
         "application/x-www-form-urlencoded", "loyalty=%7B%22amount%22%3A5%7D"),
        ("form: {filter: {ids: [1, 2], by: {x: y}}}",
         "application/x-www-form-urlencoded",
         "filter%5Bids%5D%5B0%5D=1&filter%5Bids%5D%5B1%5D=2&filter%5Bby%5D%5Bx%5D=y"),
        ("headers: {X-A: '${input.account}'}", None, ""),
    ],
)  # fmt: skip
async def test_bodies_of_all_kinds(written: str, kind: str | None, body: str) -> None:
    step = f"      - commits: true\n        post: /c\n        {written}\n"
    async with played(credit(step), answer({})) as crm:
        assert (await give(crm.backend)).outcome is Outcome.DONE
        (sent,) = crm.replay.sent
        assert sent.headers.get("content-type") == kind
        assert sent.body.decode() == body


async def test_multipart_and_a_query_of_nested_names() -> None:
    step = (
        "      - {commits: true, post: /c, query: {filter: {phone: '${input.account}'}}, multipart: {a: b}}\n"
    )
    async with played(credit(step), answer({})) as crm:
        await give(crm.backend)
        (sent,) = crm.replay.sent
        assert sent.query == {"filter[phone]": "c1"}
        assert b'name="a"\r\n\r\nb\r\n' in sent.body


async def test_what_is_filled_into_a_path_is_quoted() -> None:
    operations = "  users.get:\n    steps: [{get: '/c/${input.customer}/x'}]\n    result: {id: body.id}\n"
    async with played(operations, answer({"id": "a/../b?c"})) as crm:
        await crm.backend.get("a/../b?c", deadline=soon())
        assert crm.sent == ["GET /c/a%2F..%2Fb%3Fc/x"]
    for wrong in ("..", ".", ""):
        async with played(operations) as crm:
            with pytest.raises(BackendMisconfigured):
                await crm.backend.get(wrong, deadline=soon())
            assert crm.sent == []


async def test_credentials_go_into_bodies_and_a_shared_request_is_written_once() -> None:
    more = """\
settings: {database: {help: its name}, api_key: {secret: true, help: the key}}
requests:
  execute:
    post: /jsonrpc
    json:
      method: call
      args: ["${settings.database}", "${secrets.api_key}", "${with.model}", "${with.args}"]
"""
    operations = (
        "  users.get:\n    steps: [{use: execute, with: {model: partner, args: ['${input.customer}']}}]\n"
        "    result: {id: body.result}\n"
    )
    settings = {"database": "shop", "api_key": "s3cret"}
    async with played(operations, answer({"result": 7}), more=more, **settings) as crm:
        assert (await crm.backend.get("7", deadline=soon())).customer_id == "7"
        (sent,) = crm.replay.sent
        assert json.loads(sent.body) == {"method": "call", "args": ["shop", "s3cret", "partner", ["7"]]}


CONTENT = """\
  users.find:
    steps:
      - {name: known, get: /known, query: {phone: "${input.phone}"}, save: {ids: content}}
      - {get: /people, query: {id: "${steps.known.ids[0]}"}}
    rows: content
    result: {id: row.id}
"""


@pytest.mark.parametrize(
    ("content", "answers"),
    [
        ("body.result", [{"result": [7]}, {"result": [{"id": 7}]}]),
        ("body", [[7], [{"id": 7}]]),
    ],
)
async def test_what_an_answer_carries_has_a_name(content: str, answers: list[object]) -> None:
    more = f"content: {content}\n"
    async with played(CONTENT, *(answer(one) for one in answers), more=more) as crm:
        found = await crm.backend.find(phone="+79161234567", email=None, birth_date=None, deadline=soon())
        assert [one.customer_id for one in found] == ["7"]
        assert [dict(sent.query) for sent in crm.replay.sent] == [{"phone": "+79161234567"}, {"id": "7"}]


async def test_pages_are_what_an_answer_carries() -> None:
    operations = """\
  users.list_phones:
    steps: [{get: /people, pages: {by: page, name: page, rows: content, last: (content | length) < 2}}]
    rows: content
    result: {phone: row.phone}
"""
    pages = [{"result": [{"phone": "+79161234567"}, {"phone": None}]}, {"result": [{"phone": "89161234568"}]}]
    async with played(operations, *(answer(one) for one in pages), more="content: body.result\n") as crm:
        listed = [phone async for batch in crm.backend.list_phones() for phone in batch]
        assert listed == ["+79161234567", "+79161234568"]


async def test_what_an_answer_carries_cannot_be_told_of_a_write() -> None:
    operations = credit("      - {commits: true, post: /c, ok: content.done}\n")
    async with played(operations, answer({"points": "many"}), more="content: body.points + 1\n") as crm:
        assert await give(crm.backend) == Written.unknown()


# -- reconciliation ------------------------------------------------------------------------------------

PROBED = """\
  points.credit:
    steps:
      - {name: order, prepares: true, post: /orders, json: {ref: "${idempotency_key}"}, save: {id: body.id}}
      - {name: confirm, commits: true, post: "/confirm/${steps.order.id}"}
    reconcile:
      steps:
        - {name: order, get: /orders, query: {ref: "${idempotency_key}"}, save: {id: "body.orders[0].id"}}
      go_on: [{when: 'body.orders[0].state == "draft"', at: confirm}]
      rows: body.orders
      where: row.ref == idempotency_key
      result: {id: row.id, points: row.points, account: row.customer}
"""


@pytest.mark.parametrize(
    ("orders", "ends", "calls"),
    [
        ([], Written.not_sent(), 1),
        ([{"ref": "OTHER", "id": 7, "points": 5}], Written.not_sent(), 1),
        ([{"ref": "KEY", "id": 7, "points": 5}], Written.done("7", Decimal(5)), 1),
        ([{"ref": "KEY", "id": 7, "points": 5, "customer": "c1"}], Written.done("7", Decimal(5)), 1),
        ([{"ref": "KEY", "id": 7, "points": 6}], Written.refused(Refusal.KEY_TAKEN), 1),
        ([{"ref": "KEY", "id": 7, "points": 5, "customer": "c2"}], Written.refused(Refusal.KEY_TAKEN), 1),
        ([{"ref": "KEY", "id": 7}], Written.unknown(), 1),
        (
            [{"ref": "KEY", "id": 7, "points": 5}, {"ref": "KEY", "id": 8, "points": 5}],
            Written(Outcome.DONE, "7", Decimal(5), entries=("7", "8")),
            1,
        ),
        ([{"ref": "KEY", "id": 9, "state": "draft"}], Written.done(points=Decimal(5)), 2),
    ],
)
async def test_a_doubt_is_settled_by_looking(orders: object, ends: Written, calls: int) -> None:
    async with played(PROBED, answer({"orders": orders}), answer({}), doubts="probe") as crm:
        written = await crm.backend.reconcile_credit(
            "c1", FIVE, idempotency_key="KEY", since=SINCE, before=None, deadline=soon()
        )
        assert written == ends
        assert crm.sent == ["GET /orders", "POST /confirm/9"][:calls]


async def test_a_look_may_say_that_it_cannot_tell() -> None:
    saved = 'save: {id: "body.orders[0].id"}'
    operations = PROBED.replace(saved, saved + ", outcomes: [{when: body.archived is true, is: unknown}]")
    assert "archived" in operations
    for archived, ends in ((True, Written.unknown()), (False, Written.not_sent())):
        body = {"orders": [], "archived": archived}
        async with played(operations, answer(body), doubts="probe") as crm:
            written = await crm.backend.reconcile_credit(
                "c1", FIVE, idempotency_key="KEY", since=SINCE, before=None, deadline=soon()
            )
            assert written == ends


@pytest.mark.parametrize(
    ("total", "ends"),
    [
        (125000, Written.done("7", Decimal(5))),
        (None, Written.done("7", Decimal(5))),
        (125001, Written.refused(Refusal.KEY_TAKEN)),
    ],
)
async def test_a_receipt_under_our_key_is_compared(total: int | None, ends: Written) -> None:
    operations = PROBED.replace("account: row.customer", "total_kopecks: row.total")
    order = {"ref": "KEY", "id": 7, "points": 5, "total": total}
    receipt = FiscalReceipt("8710000101125654", "1", "1", 125000, SINCE, 1)
    for points in (None, Decimal(5)):
        async with played(operations, answer({"orders": [order]}), doubts="probe") as crm:
            written = await crm.backend.reconcile_credit(
                "c1",
                Credit(points, "Purchase", receipt),
                idempotency_key="KEY",
                since=SINCE,
                before=None,
                deadline=soon(),
            )
            assert written == ends


async def test_our_key_goes_in_the_form_the_crm_wants() -> None:
    step = (
        "      - {commits: true, post: /c, json: {a: '${idempotency_key}', b: '${idempotency_key | uuid5}',"
        " c: '${idempotency_key | cut(2)}'}}\n"
    )
    async with played(credit(step), answer({}), more="key_length: 20\n") as crm:
        await give(crm.backend)
        body = json.loads(crm.replay.sent[0].body)
        assert (body["a"], body["c"], len(body["b"])) == ("KEY", "KE", 36)
        assert crm.backend.key_length == 20


async def test_a_write_that_repeats_harmlessly_says_so() -> None:
    operations = credit("      - {commits: true, post: /c}\n", "    repeats_harmlessly: true\n")
    async with played(operations) as crm:
        assert crm.backend.harmless_again == {"points.credit"}


async def test_calls_about_the_same_wait_for_each_other() -> None:
    operations = """\
  users.register:
    one_at_a_time: input.phone
    steps:
      - {name: find, get: /c, save: {id: body.id}}
      - {name: make, when: steps.find.id is none, commits: true, post: /c, save: {id: body.id}}
    result: {id: steps.find.id or steps.make.id}
"""
    answers = [answer({"id": None}), answer({"id": 1}), answer({"id": 1})]
    async with played(operations, *answers) as crm:
        person = Profile(phone=PHONE)
        ends = await asyncio.gather(
            *(crm.backend.register(person, idempotency_key=key, deadline=soon()) for key in "AB")
        )
        assert [one.crm_reference for one in ends] == ["1", "1"]
        assert crm.sent == ["GET /c", "POST /c", "GET /c"]


# -- pages ---------------------------------------------------------------------------------------------


def entries(pages: str) -> str:
    return (
        "  points.entries:\n    steps:\n      - name: all\n        get: /e\n"
        f"        pages: {pages}\n    rows: steps.all.rows\n"
        "    result: {amount: row.n, at: row.at | epoch}\n"
    )


def page(*numbers: int, **more: object) -> Answer:
    return answer({"rows": [{"n": n, "at": 1_700_000_000 + n} for n in numbers], **more})


@pytest.mark.parametrize(
    ("pages", "queries"),
    [
        ("{by: page, name: p, rows: body.rows}", [{"p": "1"}, {"p": "2"}, {"p": "3"}]),
        ("{by: page, name: p, first: 0, rows: body.rows}", [{"p": "0"}, {"p": "1"}, {"p": "2"}]),
        ("{by: offset, name: o, size: 2, rows: body.rows}", [{"o": "0"}, {"o": "2"}, {"o": "4"}]),
        ("{by: cursor, name: c, rows: body.rows, next: body.next}", [{}, {"c": "x"}]),
        ("{by: page, name: p, rows: body.rows, last: body.last}", [{"p": "1"}, {"p": "2"}]),
    ],
)
async def test_pages_of_all_kinds(pages: str, queries: list[dict[str, str]]) -> None:
    answers = [page(1, 2, next="x"), page(3, last=True), page()]
    async with played(entries(pages), *answers) as crm:
        found = await crm.backend.entries("a", limit=10, deadline=soon())
        assert [entry.amount for entry in found] == [3, 2, 1]
        assert [dict(one.query) for one in crm.replay.sent] == queries


async def test_which_page_is_wanted_may_stand_anywhere_in_a_call() -> None:
    more = """\
requests:
  call: {post: /rpc, json: {args: ["${with.search}"]}}
"""
    operations = """\
  users.list_phones:
    steps:
      - use: call
        with: {search: {limit: 2, offset: "${page}"}}
        pages: {by: offset, size: 2, rows: body, last: (body | length) < 2}
    rows: body
    result: {phone: row.phone}
"""
    rows = [[{"phone": "+79161234567"}, {"phone": "+79161234568"}], [{"phone": "+79161234569"}]]
    async with played(operations, *(answer(one) for one in rows), more=more) as crm:
        assert len([phone async for batch in crm.backend.list_phones() for phone in batch]) == 3
        bodies = [json.loads(sent.body) for sent in crm.replay.sent]
        assert bodies == [{"args": [{"limit": 2, "offset": 0}]}, {"args": [{"limit": 2, "offset": 2}]}]


async def test_no_page_is_asked_for_in_vain() -> None:
    pages = entries("{by: page, name: p, rows: body.rows, most: 2}")
    async with played(pages, page(1, 2), page(3, 4), page(5)) as crm:
        assert len(await crm.backend.entries("a", limit=2, deadline=soon())) == 2
        assert len(crm.sent) == 1
        assert len(await crm.backend.entries("a", limit=9, deadline=soon())) == 3


async def test_all_pages_are_asked_for_where_the_newest_may_be_last() -> None:
    pages = entries("{by: page, name: p, rows: body.rows, most: 3, all: true}")
    async with played(pages, page(1, 2), page(3, 4), page()) as crm:
        found = await crm.backend.entries("a", limit=2, deadline=soon())
        assert [entry.amount for entry in found] == [4, 3]
    async with played(pages, page(1), page(2), page(3), page(4)) as crm:
        with pytest.raises(BackendMisconfigured, match="more than 3 pages"):
            await crm.backend.entries("a", limit=2, deadline=soon())


async def test_a_crm_that_does_not_page_gives_each_row_once() -> None:
    pages = entries("{by: page, name: p, rows: body.rows}")
    async with played(pages, page(1, 2), page(1, 2), page(1, 2)) as crm:
        assert len(await crm.backend.entries("a", limit=9, deadline=soon())) == 2


async def test_the_same_cursor_twice_is_an_error() -> None:
    pages = entries("{by: cursor, name: c, rows: body.rows, next: body.next}")
    async with played(pages, page(1, next="x"), page(2, next="x"), page(3)) as crm:
        with pytest.raises(BackendMisconfigured, match="the same cursor came twice"):
            await crm.backend.entries("a", limit=9, deadline=soon())


LIST = """\
  users.list_phones:
    steps: [{get: /c, pages: {by: page, in: query, name: p, rows: body.rows, most: 3}}]
    rows: body
    result: {phone: row.phone, params: "{'level': row.level}"}
"""


async def test_all_phones_come_page_by_page_and_what_is_no_phone_is_left_out() -> None:
    first = {"rows": [{"phone": "89161234567", "level": "gold"}, {"phone": "not known"}, {}]}
    second = {"rows": [{"phone": 79161234568}]}
    async with played(LIST, answer(first), answer(second), answer({"rows": []})) as crm:
        batches = [batch async for batch in crm.backend.list_users()]
        assert [[(one.phone, dict(one.params)) for one in batch] for batch in batches] == [
            [("+79161234567", {"level": "gold"})],
            [("+79161234568", {})],
        ]


async def test_a_list_longer_than_its_limit_is_an_error() -> None:
    rows = [answer({"rows": [{"phone": f"7916123456{n}"}]}) for n in range(4)]
    async with played(LIST, *rows) as crm:
        with pytest.raises(BackendMisconfigured, match="more than 3 pages"):
            [batch async for batch in crm.backend.list_phones()]


# -- fields --------------------------------------------------------------------------------------------


async def test_a_customer_is_read_field_by_field() -> None:
    operations = """\
  users.get:
    steps: [{get: /c}]
    result:
      id: body.id
      phone: body.phone
      email: body.mail
      first_name: body.name | split | first
      surname: body.name | split | last
      patronymic: body.middle
      birth_date: body.born | date("%d.%m.%Y")
      sex: '{"male": "m", "female": "f"}[body.sex]'
      country_code: body.country[1]
      registered_at: body.since | time("%Y-%m-%d %H:%M:%S", "UTC")
"""
    body = {
        "id": 7,
        "phone": "8 916 123-45-67",
        "mail": "Anna@Example.COM",
        "name": "Anna Petrova",
        "middle": False,
        "born": "17.05.1990",
        "sex": "female",
        "country": [3, "RU"],
        "since": "2026-01-02 03:04:05",
    }
    async with played(operations, answer(body)) as crm:
        got = await crm.backend.get("7", deadline=soon())
    assert got.customer_id == "7"
    assert got.profile == Profile(
        phone=PHONE,
        email="anna@example.com",
        first_name="Anna",
        surname="Petrova",
        birth_date=date(1990, 5, 17),
        sex="f",
        country_code="RU",
    )
    assert got.registered_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"id": []}, "id: text is wanted, this is a list"),
        ({"id": None}, "id: there is nothing in the answer"),
        ({"id": 1, "phone": "12"}, "phone: the text is no phone"),
        ({"id": 1, "born": "1990-13-45"}, "birth_date: the value cannot be read"),
        ({"id": 1, "since": "2026-01-02T03:04:05"}, "registered_at: the moment has no zone"),
        ({"id": 1, "state": "lost"}, "card_state: the state of a card is one of"),
    ],
)
async def test_nothing_is_guessed_of_a_field(body: object, says: str) -> None:
    operations = (
        "  users.get:\n    steps: [{get: /c}]\n    result: {id: body.id, phone: body.phone,"
        " birth_date: body.born, registered_at: body.since, card_state: body.state}\n"
    )
    async with played(operations, answer(body)) as crm:
        with pytest.raises(BackendMisconfigured) as caught:
            await crm.backend.get("7", deadline=soon())
    assert says in str(caught.value)
    assert "12" not in str(caught.value).replace("crm.yaml:12", "")


@pytest.mark.parametrize(
    ("born", "read"),
    [
        ("0000-00-00", "body.born"),
        ("0000-00-00", "body.born | date"),
        ("0000-00-00 00:00:00", "body.born | date"),
        ("00.00.0000", 'body.born | date("%d.%m.%Y")'),
    ],
)
async def test_a_day_of_zeros_is_no_birth_date_and_hides_nobody(born: str, read: str) -> None:
    operations = (
        "  users.get:\n    steps: [{get: /c}]\n    result:"
        f" {{id: body.id, first_name: body.name, birth_date: '{read}'}}\n"
    )
    async with played(operations, answer({"id": 7, "name": "Anna", "born": born})) as crm:
        got = await crm.backend.get("7", deadline=soon())
    assert (got.customer_id, got.profile) == ("7", Profile(first_name="Anna"))


async def test_consents_are_true_false_or_nothing() -> None:
    operations = (
        "  users.set_consents:\n    steps: [{commits: true, put: /c, json: {sms: '${input.sms}',"
        " mail: '${input.email}', call: '${input.call}'}}]\n"
    )
    async with played(operations, answer({})) as crm:
        consents = ChannelConsents(allow=frozenset({"sms"}), deny=frozenset({"call"}))
        assert (await crm.backend.set_consents("7", consents, deadline=soon())).outcome is Outcome.DONE
        assert json.loads(crm.replay.sent[0].body) == {"sms": True, "call": False}


async def test_lines_of_purchases_are_unfolded_and_kept_to_their_days() -> None:
    operations = """\
  points.purchases:
    steps:
      - get: /o
        query: {from: "${input.from | format('%Y-%m-%dT%H:%M:%S', 'UTC')}", to: "${input.until}"}
    rows: body.orders | unfold("items")
    result:
      at: row.outer.at | time
      item: row.name
      amount_kopecks: row.price | kopecks
      quantity: row.q
"""
    orders = {"orders": [
        {"at": "2026-11-20T12:00:00+03:00",
         "items": [{"name": "tea", "price": 99.9, "q": 2}, {"name": "x", "price": 1}]},
        {"at": "2026-11-22T00:00:00+03:00", "items": [{"name": "late", "price": 1}]},
    ]}  # fmt: skip
    async with played(operations, answer(orders)) as crm:
        day = date(2026, 11, 20)
        lines = await crm.backend.purchases("a", since=day, until=date(2026, 11, 21), deadline=soon())
        assert [(line.item, line.amount_kopecks, line.quantity) for line in lines] == [
            ("tea", 9990, 2),
            ("x", 100, 1),
        ]
        assert crm.replay.sent[0].query == {"from": "2026-11-19T21:00:00", "to": "2026-11-21"}


async def test_an_account_that_is_derived_is_named_and_one_that_lacks_its_field_is_told() -> None:
    operations = (
        "  points.account: {result: {id: input.phone | national}}\n"
        "  points.balance:\n    steps: [{get: /b}]\n    result: {total: body.t}\n"
    )
    async with played(operations) as crm:
        holder = Holder("29", "c1", Profile(phone=PHONE))
        assert await crm.backend.points_account(holder, deadline=soon()) == "9161234567"
        assert crm.backend.account_name(holder) == "9161234567"
        with pytest.raises(HolderUnnamed):
            await crm.backend.points_account(Holder("29", "c1", Profile()), deadline=soon())


async def test_what_is_unsupported_says_why() -> None:
    async with played(find("body")) as crm:
        with pytest.raises(NotSupported, match=r"users\.get: not in this test"):
            await crm.backend.get("7", deadline=soon())
        with pytest.raises(NotSupported):
            crm.backend.list_phones()


async def test_movements_are_exact_and_newest_first() -> None:
    operations = (
        "  points.entries:\n    steps: [{get: /e}]\n    rows: body\n"
        "    result: {amount: row.n, at: row.at | epoch, description: row.text, valid_until: row.until}\n"
    )
    rows = [{"n": 0.1, "at": 1, "text": False}, {"n": -2, "at": 2, "text": "spent", "until": "2027-01-01"}]
    async with played(operations, answer(rows)) as crm:
        assert await crm.backend.entries("a", limit=5, deadline=soon()) == [
            PointsEntry(Decimal(-2), "spent", datetime.fromtimestamp(2, UTC), date(2027, 1, 1)),
            PointsEntry(Decimal("0.1"), "", datetime.fromtimestamp(1, UTC)),
        ]
