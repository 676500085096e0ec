"""The Pegke stand-in: both dialects over the same customers, the life of a token, and what it writes down."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from contracts.sandbox import pegke
from contracts.sandbox.people import ANNA

from .test_sandbox_caller import Caller, calling

CLIENT = {
    "grant_type": "client_credentials",
    "client_id": pegke.CLIENT_ID,
    "client_secret": pegke.CLIENT_SECRET,
}
MERCHANT = {"Authorization": f"Bearer {pegke.CONSUMER_CODE}.{pegke.CONSUMER_SECRET}"}
PHONE = ANNA.local_phone
FORMAT = {"_format": "json"}


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with calling("pegke") as caller:
        yield caller


async def token(call: Caller) -> str:
    return str((await call("siteToken", json=CLIENT)).body["access_token"])


async def site(call: Caller) -> dict[str, str]:
    return {"Authorization": f"Bearer {await token(call)}"}


async def give(call: Caller, headers: dict[str, str], **body: Any) -> Any:
    return await call("siteGivePoints", query=FORMAT, json=body, headers=headers)


async def merchant_points(call: Caller) -> Any:
    answer = await call("merchantCheckPoints", query={"phone": PHONE}, headers=MERCHANT)
    return answer.body["data"]["points"]


async def test_there_is_one_token_until_it_is_invalidated(call: Caller) -> None:
    first = await token(call)
    assert await token(call) == first
    gone = await call("siteInvalidateToken", json={**CLIENT, "access_token": first})
    assert gone.body == {"access_token": first}
    again = await give(call, {"Authorization": f"Bearer {first}"}, idType="mob", mob=int(PHONE), points=1)
    assert again.status == 401
    assert await token(call) != first
    assert call.ledger.tokens_issued == {"application": 2}


async def test_asking_for_tokens_too_often_is_refused_with_code_99() -> None:
    async with calling("pegke", token_requests=2) as call:
        await token(call)
        await token(call)
        answer = await call("siteToken", json=CLIENT)
        assert answer.status == 403
        assert answer.body["errors"][0]["code"] == 99
        assert not call.ledger.invalid_calls


async def test_the_client_may_name_itself_by_basic_and_by_form(call: Caller) -> None:
    pair = f"{pegke.CLIENT_ID}:{pegke.CLIENT_SECRET}".encode()
    basic = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
    url = "/v1/oauth2/token"
    form = {"grant_type": "client_credentials"}
    assert (await call.raw("POST", url, data=form, headers=basic)).status == 200
    assert (await call.raw("POST", url, data=CLIENT)).status == 200
    assert (await call("siteToken", json={**CLIENT, "client_secret": "wrong"})).status == 401
    assert not call.ledger.invalid_calls
    assert (await call.raw("POST", url, data=form)).status == 401
    broken = {"Authorization": "Basic ???"}
    assert (await call.raw("POST", url, data=form, headers=broken)).status == 401
    assert len(call.ledger.invalid_calls) == 2


async def test_points_are_given_by_mobile_number_id_and_email(call: Caller) -> None:
    headers = await site(call)
    assert (await give(call, headers, idType="mob", mob=int(PHONE), points=10)).status == 200
    assert (await give(call, headers, idType="mob", mob=PHONE, points=10)).status == 200
    assert (await give(call, headers, idType="cid", cid="C00001", points=2.5)).status == 200
    assert (await give(call, headers, idType="email", email=ANNA.email, points=4)).status == 200
    assert await merchant_points(call) == float(ANNA.points) + 26.5
    assert call.ledger.count("points_credited", customer=PHONE) == 4
    assert (await give(call, headers, idType="mob", mob=1234567890, points=10)).status == 404
    assert not call.ledger.invalid_calls


@pytest.mark.parametrize(
    "body",
    [
        {"idType": "mob", "cid": "C00001", "points": 10},
        {"idType": "mob", "mob": 79990000001, "points": 10},
        {"idType": "mob", "mob": 9990000001},
        {"idType": "phone", "phone": 9990000001, "points": 10},
        {"idType": "mob", "mob": 9990000001, "points": -5},
    ],
)
async def test_what_the_draft_does_not_allow_is_refused_and_recorded(call: Caller, body: Any) -> None:
    answer = await give(call, await site(call), **body)
    assert answer.status == 400
    assert [each.operation for each in call.ledger.invalid_calls] == ["siteGivePoints"]
    assert call.ledger.effects == []


async def test_giving_answers_what_the_draft_prints_or_the_balance() -> None:
    body = {"idType": "mob", "mob": int(PHONE), "points": 10}
    async with calling("pegke") as call:
        assert "access_token" in (await give(call, await site(call), **body)).body
    async with calling("pegke", site_replies="plain") as call:
        assert (await give(call, await site(call), **body)).body["points"] == ANNA.points + 10


async def test_inferred_look_ups_can_be_absent(call: Caller) -> None:
    who = {**FORMAT, "idType": "mob", "mob": PHONE}
    found = await call("siteFindUser", query=who, headers=await site(call))
    assert found.body["points"] == ANNA.points
    rows = await call("siteUserHistory", query=who, headers=await site(call))
    assert [row["points"] for row in rows.body["history"]] == [ANNA.points]
    unnamed = await call("siteFindUser", query={**FORMAT, "idType": "cid"}, headers=await site(call))
    assert unnamed.status == 400
    assert "cid is missing" in call.ledger.invalid_calls[0].reason
    async with calling("pegke", site_lookup=False) as without:
        headers = await site(without)
        assert (await without("siteFindUser", query=who, headers=headers)).status == 404
        assert (await without("siteUserHistory", query=who, headers=headers)).status == 404


async def test_merchant_dialect_gives_and_shows_points(call: Caller) -> None:
    form = {"phone": PHONE, "points": "15"}
    answer = await call("merchantGivePoints", form=form, headers=MERCHANT)
    assert answer.body["data"] == {"phone": PHONE, "given": 15, "points": int(ANNA.points) + 15}
    assert await merchant_points(call) == ANNA.points + 15
    history = await call("merchantCheckHistory", form={"phone": PHONE, "page": "1"}, headers=MERCHANT)
    assert [row["points"] for row in history.body["data"]["history"]] == [15, ANNA.points]
    offers = await call("merchantMyOffers", headers=MERCHANT)
    assert len(offers.body["data"]["offers"]) == 3
    assert call.ledger.total("points_credited", customer=PHONE) == 15
    assert not call.ledger.invalid_calls


async def test_given_twice_is_given_twice(call: Caller) -> None:
    for _ in range(2):
        await call("merchantGivePoints", form={"phone": PHONE, "points": "5"}, headers=MERCHANT)
    assert call.ledger.count("points_credited", customer=PHONE) == 2
    assert await merchant_points(call) == ANNA.points + 10


@pytest.mark.parametrize("status", [200, 404])
async def test_merchant_dialect_gives_nothing_to_strangers(status: int) -> None:
    async with calling("pegke", absent_status=status) as call:
        form = {"phone": "1234567890", "points": "5"}
        answer = await call("merchantGivePoints", form=form, headers=MERCHANT, checked=False)
        assert (answer.status, answer.body["status"]) == (status, "error")
        assert call.ledger.effects == []


async def test_merchant_dialect_wants_its_key_and_a_multipart_form(call: Caller) -> None:
    wrong = {"Authorization": "Bearer CODE.SECRET"}
    assert (await call("merchantMyOffers", headers=wrong)).status == 401
    assert not call.ledger.invalid_calls
    assert (await call("merchantMyOffers")).status == 401
    url = "/apiv1/?q=give_points"
    sent = await call.raw("POST", url, json={"phone": PHONE, "points": 5}, headers=MERCHANT)
    assert sent.status == 400
    assert (await call.raw("POST", "/apiv1/?q=take_points", headers=MERCHANT)).status == 404
    assert (await call.raw("GET", url, headers=MERCHANT)).status == 404
    assert [each.operation for each in call.ledger.invalid_calls] == [
        "merchantMyOffers",
        "merchantGivePoints",
        None,
        None,
    ]


async def test_history_comes_in_pages(call: Caller) -> None:
    call.sandbox.add_customer(phone="9991112233", name="Many", points=1)
    for _ in range(pegke.PAGE_SIZE):
        await call("merchantGivePoints", form={"phone": "9991112233", "points": "1"}, headers=MERCHANT)
    page = await call("merchantCheckHistory", form={"phone": "9991112233", "page": "2"}, headers=MERCHANT)
    assert (page.body["data"]["pages"], len(page.body["data"]["history"])) == (2, 1)
    with pytest.raises(ValueError, match="taken"):
        call.sandbox.add_customer(phone="9991112233")


async def test_the_balance_is_behind() -> None:
    async with calling("pegke", balance_seconds=0.3) as call:
        before = await merchant_points(call)
        await call("merchantGivePoints", form={"phone": PHONE, "points": "5"}, headers=MERCHANT)
        assert call.ledger.total("points_credited") == 5
        assert await merchant_points(call) == before
        await asyncio.sleep(0.35)
        assert await merchant_points(call) == before + 5
