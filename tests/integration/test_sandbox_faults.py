"""Each fault does what it says, the ledger tells what happened, and the control endpoints answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, get_args

import aiohttp
import pytest

from contracts.sandbox import pegke, running, xerts
from contracts.sandbox.faults import MEANING, FaultKind
from contracts.sandbox.people import ANNA

from .test_sandbox_caller import Answer, Caller, calling

GIVE = "merchantGivePoints"
FORM = {"phone": ANNA.local_phone, "points": "5"}
BEARER = {"Authorization": f"Bearer {pegke.CONSUMER_CODE}.{pegke.CONSUMER_SECRET}"}


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with calling("pegke") as caller:
        caller.headers = dict(BEARER)
        yield caller


async def give(call: Caller) -> Answer:
    return await call(GIVE, form=FORM, checked=False)


def given(call: Caller) -> int:
    return int(call.ledger.count("points_credited"))


@pytest.mark.parametrize(("fault", "done"), [("hang_up_before", 0), ("hang_up_after", 1)])
async def test_hang_up(call: Caller, fault: FaultKind, done: int) -> None:
    call.sandbox.fault(fault, GIVE)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await give(call)
    assert given(call) == done
    assert call.ledger.calls[GIVE] == 1
    assert call.ledger.answers[GIVE] == {"hang up": 1}
    assert call.ledger.faults == {fault: 1}
    assert (await give(call)).status == 200


@pytest.mark.parametrize(("fault", "done"), [("error_before", 0), ("error_after", 1)])
async def test_error(call: Caller, fault: FaultKind, done: int) -> None:
    call.sandbox.fault(fault, GIVE, status=503)
    answer = await give(call)
    assert (answer.status, answer.body["status"]) == (503, "error")
    assert given(call) == done


async def test_garbage_comes_after_the_work(call: Caller) -> None:
    call.sandbox.fault("garbage", GIVE)
    answer = await give(call)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert isinstance(answer.body, str)
    assert given(call) == 1


@pytest.mark.parametrize(("seconds", "header"), [(0, None), (7, "7")])
async def test_too_many(call: Caller, seconds: float, header: str | None) -> None:
    call.sandbox.fault("too_many", GIVE, seconds=seconds)
    answer = await give(call)
    assert (answer.status, answer.headers.get("Retry-After")) == (429, header)
    assert given(call) == 0


async def test_slow_does_the_work_late_although_the_caller_has_gone(call: Caller) -> None:
    call.sandbox.fault("slow", GIVE, seconds=0.4)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await give(call)
    assert (await give(call)).status == 200
    assert given(call) == 1
    await asyncio.sleep(0.5)
    assert given(call) == 2


async def test_frozen_it_answers_nobody_and_then_does_all_that_came(call: Caller) -> None:
    call.sandbox.fault("freeze", GIVE, seconds=0.4)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await give(call)
    waiting = asyncio.create_task(give(call))
    await asyncio.sleep(0.1)
    assert given(call) == 0
    assert (await waiting).status == 200
    assert given(call) == 2


async def test_late_does_the_work_at_once(call: Caller) -> None:
    call.sandbox.fault("late", GIVE, seconds=0.5)
    slow = asyncio.create_task(give(call))
    await asyncio.sleep(0.15)
    assert given(call) == 1
    assert not slow.done()
    assert (await slow).status == 200
    assert given(call) == 1


async def test_expired_token_is_forgotten_and_a_new_one_works(call: Caller) -> None:
    client = {
        "grant_type": "client_credentials",
        "client_id": pegke.CLIENT_ID,
        "client_secret": pegke.CLIENT_SECRET,
    }
    body = {"idType": "mob", "mob": int(ANNA.local_phone), "points": 5}

    async def site_give(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return (await call("siteGivePoints", query={"_format": "json"}, json=body, headers=headers)).status

    first = (await call("siteToken", json=client)).body["access_token"]
    call.sandbox.fault("expire_token")
    assert (await call("siteToken", json=client)).body["access_token"] == first
    assert await site_give(first) == 401
    assert await site_give(first) == 401
    second = (await call("siteToken", json=client)).body["access_token"]
    assert second != first
    assert await site_give(second) == 200
    assert given(call) == 1
    assert not call.ledger.invalid_calls


async def test_faults_wait_in_line_and_end(call: Caller) -> None:
    call.sandbox.fault("error_before", GIVE, times=2, status=502)
    call.sandbox.fault("error_before", "*", status=504)
    statuses = [(await give(call)).status for _ in range(4)]
    assert statuses == [502, 502, 504, 200]
    assert (await call("merchantMyOffers")).status == 200


async def test_a_fault_of_one_operation_leaves_the_others_alone(call: Caller) -> None:
    call.sandbox.fault("error_before", GIVE, times=None)
    assert (await call("merchantMyOffers")).status == 200
    assert [(await give(call)).status for _ in range(3)] == [500, 500, 500]
    call.sandbox.clear_faults()
    assert (await give(call)).status == 200


async def test_errors_keep_the_shape_of_the_crm() -> None:
    async with calling("xerts") as call:
        call.sandbox.fault("error_before")
        answer = await call("serverStatus", headers={"API-Key": xerts.API_KEY})
        assert (answer.status, answer.body["error"]["status"]) == (500, 500)
        call.sandbox.fault("expire_token")
        answer = await call("serverStatus", headers={"API-Key": xerts.API_KEY})
        assert answer.status == 401


async def test_control_endpoints(call: Caller) -> None:
    wanted = {"operation": GIVE, "fault": "late", "seconds": 0.01, "times": 2}
    added = await call.raw("POST", "/_sandbox/faults", json=wanted)
    assert added.body == {"faults": [{**wanted, "status": 500}]}
    await give(call)
    left = await call.raw("GET", "/_sandbox/faults")
    assert left.body["faults"][0]["times"] == 1
    assert (await call.raw("DELETE", "/_sandbox/faults")).body == {"faults": []}
    new = await call.raw("POST", "/_sandbox/customers", json={"phone": "9995556677", "points": 3})
    assert (new.status, new.body["points"]) == (201, 3)
    ledger = (await call.raw("GET", "/_sandbox/ledger")).body
    assert ledger["totals"] == {"points_credited": {"count": 1, "amount": 5}}
    assert ledger["effects"][0]["customer"] == ANNA.local_phone
    assert (ledger["calls"], ledger["answers"]) == ({GIVE: 1}, {GIVE: {"200": 1}})
    assert (ledger["faults"], ledger["invalid_calls"], ledger["references"]) == ({"late": 1}, [], {})
    assert (await call.raw("POST", "/_sandbox/reset")).body == {"reset": True}
    assert (await call.raw("GET", "/_sandbox/ledger")).body["effects"] == []
    points = await call("merchantCheckPoints", query={"phone": ANNA.local_phone})
    assert points.body["data"]["points"] == ANNA.points


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("faults", {"fault": "late"}, "late needs seconds"),
        ("faults", {"fault": "fire"}, "fault: Input should be"),
        ("faults", {"fault": "garbage", "operation": "takePoints"}, "no operation takePoints; there are: "),
        ("faults", ["garbage"], "body is not a JSON object"),
        ("faults", None, "fault: Field required"),
        ("customers", {"phone": "+79991112233"}, "phone: String should match"),
        ("customers", {"phone": ANNA.local_phone}, "phone: 9990000001 is taken"),
    ],
)
async def test_control_endpoints_say_what_is_wrong(call: Caller, path: str, body: Any, reason: str) -> None:
    answer = await call.raw("POST", f"/_sandbox/{path}", json=body)
    assert answer.status == 400
    assert reason in answer.body["error"]
    assert not call.ledger.invalid_calls


async def test_other_control_paths_are_no_calls_of_the_crm(call: Caller) -> None:
    assert (await call.raw("GET", "/_sandbox/money")).status == 404
    assert (await call.raw("POST", "/_sandbox/faults", data="{")).status == 400
    assert not call.ledger.invalid_calls


async def test_reset_ends_tokens_and_faults() -> None:
    async with calling("xerts") as call:
        key = {"API-Key": xerts.API_KEY}
        login = {"email": xerts.EMAIL, "password": xerts.PASSWORD}
        token = (await call("login", json=login, headers=key)).body["id"]
        call.sandbox.fault("error_before", times=None)
        call.sandbox.reset()
        headers = {**key, "Authorization": token}
        report = await call("reportVendor", id=xerts.VENDOR_ID, query={"from": "01-01-2020"}, headers=headers)
        assert report.status == 401


async def test_two_servers_share_nothing() -> None:
    async with running("pegke") as first, running("pegke") as second:
        assert first.base_url != second.base_url
        first.fault("error_before")
        async with aiohttp.ClientSession(headers=BEARER) as session:
            for sandbox, status in ((second, 200), (first, 500)):
                async with session.get(f"{sandbox.base_url}/apiv1/?q=my_offers") as response:
                    assert response.status == status


def test_each_fault_is_explained() -> None:
    assert set(MEANING) == set(get_args(FaultKind))
