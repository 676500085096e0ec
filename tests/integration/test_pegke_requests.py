"""What each call to Pegke looks like on the wire: the real client before a server that records it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from crm_backends.model import Credit, PointsEntry
from crm_backends.pegke import PegkeBackend, PegkeSettings
from crm_backends.ports import (
    Written,
)
from tests.support.pegke import (
    LOOK_UPS,
    MERCHANT,
    PHONE,
    SITE,
    TOKEN,
    context,
    give,
    points,
    settings,
    soon,
)
from tests.support.recording import Recorded, Recorder, Route, Told, recording


def at(crm: Recorder, *parts: Mapping[str, Any], **more: Any) -> PegkeSettings:
    """Settings that lead to the recorder."""
    base = "/v1" if parts[0] is SITE else "/apiv1"
    return settings(*parts, base_url=f"{crm.url}{base}", **more)


@asynccontextmanager
async def opened(crm: Recorder, *parts: Mapping[str, Any], **more: Any) -> AsyncIterator[PegkeBackend]:
    backend = PegkeBackend(at(crm, *parts, **more), context())
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


@pytest.fixture
async def crm() -> AsyncIterator[Recorder]:
    """Pegke, with a token endpoint."""
    async with recording() as recorder:
        recorder.post("/v1/oauth2/token").respond(json=TOKEN)
        yield recorder


def gives(crm: Recorder, **response: Any) -> Route:
    return crm.post("/v1/entity/user").respond(**response)


async def test_points_are_given_as_the_draft_prints_it(crm: Recorder) -> None:
    route = gives(crm, json=TOKEN)
    async with opened(crm, SITE) as backend:
        assert await give(backend) == Written.done(points=Decimal(10))
    call = route.only
    assert call.target == "/v1/entity/user?_format=json"
    assert call.headers["authorization"] == f"Bearer {TOKEN['access_token']}"
    assert call.headers["content-type"] == "application/json"
    assert call.json == {"idType": "mob", "mob": 9826471001, "points": 10}


@pytest.mark.parametrize(
    ("changed", "account", "named"),
    [
        ({"mob_as": "text"}, PHONE, {"idType": "mob", "mob": "9826471001"}),
        ({}, "0826471001", {"idType": "mob", "mob": "0826471001"}),
        ({"id_type": "cid"}, "00042", {"idType": "cid", "cid": "00042"}),
        ({"id_type": "email"}, "a@example.org", {"idType": "email", "email": "a@example.org"}),
    ],
)
async def test_the_key_named_by_id_type_carries_the_customer(
    crm: Recorder, changed: Mapping[str, Any], account: str, named: Mapping[str, Any]
) -> None:
    route = gives(crm, json={})
    async with opened(crm, SITE, changed) as backend:
        await give(backend, account=account)
    assert route.requests[0].json == {**named, "points": 10}


@pytest.mark.parametrize(
    ("changed", "authorization", "body", "kind"),
    [
        ({}, "Basic aWQ6czNjcmV0", "grant_type=client_credentials", "application/x-www-form-urlencoded"),
        (
            {"token_credentials": "body", "token_body": "json"},
            None,
            '{"grant_type":"client_credentials","client_id":"id","client_secret":"s3cret"}',
            "application/json",
        ),
    ],
)
async def test_a_token_is_asked_for_with_client_credentials(
    crm: Recorder, changed: Mapping[str, Any], authorization: str | None, body: str, kind: str
) -> None:
    gives(crm, json={})
    async with opened(crm, SITE, changed) as backend:
        await give(backend)
        await give(backend)
    call = crm.post("/v1/oauth2/token").only
    assert call.target == "/v1/oauth2/token"
    assert call.headers.get("authorization") == authorization
    assert call.headers["content-type"] == kind
    assert call.content.decode() == body


@pytest.mark.parametrize(
    ("changed", "authorization", "body"),
    [
        (
            {},
            "Basic aWQ6czNjcmV0",
            f"access_token={TOKEN['access_token']}",
        ),
        (
            {"token_credentials": "body", "token_body": "json"},
            None,
            f'{{"client_id":"id","client_secret":"s3cret","access_token":"{TOKEN["access_token"]}"}}',
        ),
    ],
)
async def test_a_token_is_given_up_on_request(
    crm: Recorder, changed: Mapping[str, Any], authorization: str | None, body: str
) -> None:
    route = crm.post("/v1/oauth2/invalidate_token").respond(json={})
    async with opened(crm, SITE, changed) as backend:
        assert await backend.invalidate_token(deadline=soon()) == Written.done()
    call = route.only
    assert call.headers.get("authorization") == authorization
    assert call.content.decode() == body


async def test_look_ups_name_the_customer_in_the_query(crm: Recorder) -> None:
    balance = crm.get("/v1/entity/user/balance").respond(json={"points": 7})
    history = crm.get("/v1/entity/user/history").respond(json={"history": []})
    async with opened(crm, SITE, LOOK_UPS) as backend:
        assert await backend.balance(PHONE, deadline=soon()) == points(7)
        assert await backend.entries(PHONE, limit=5, deadline=soon()) == []
    query = f"_format=json&idType=mob&mob={PHONE}"
    assert balance.only.target.partition("?")[2] == query
    assert history.only.target.partition("?")[2] == f"{query}&page=1"


async def test_the_merchant_dialect_has_a_fixed_key_and_multipart_forms(crm: Recorder) -> None:
    route = crm.post("/apiv1/").respond(json={"status": "success"})
    async with opened(crm, MERCHANT) as backend:
        assert await give(backend) == Written.done(points=Decimal(10))
        assert await give(backend, Credit(Decimal("1E+2"), "")) == Written.done(points=Decimal(100))
    first, second = route.requests
    assert first.target == "/apiv1/?q=give_points"
    assert first.headers["authorization"] == "Bearer CODE.SECRET"
    assert first.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert first.form == {"phone": PHONE, "points": "10"}
    assert second.form["points"] == "100"


async def test_the_merchant_dialect_reads_balance_and_history(crm: Recorder) -> None:
    balance = crm.get("/apiv1/").respond(json={"status": "success", "data": {"points": "1250.5"}})
    history = crm.post("/apiv1/").respond(
        json={
            "status": "success",
            "data": {
                "history": [{"date": "2026-05-01 10:00:00", "points": -4, "note": "dessert"}],
                "pages": 1,
            },
        }
    )
    async with opened(crm, MERCHANT) as backend:
        told = await backend.balance(PHONE, deadline=soon())
        entries = await backend.entries(PHONE, limit=5, deadline=soon())
    assert told.total == Decimal("1250.5")
    assert entries == [PointsEntry(Decimal(-4), "dessert", datetime(2026, 5, 1, 4, 30, tzinfo=UTC))]
    assert balance.only.target == f"/apiv1/?q=check_points&phone={PHONE}"
    call = history.only
    assert call.target == "/apiv1/?q=check_history"
    assert call.form == {"phone": PHONE, "page": "1"}


async def test_check_proves_the_key_with_the_catalogue(crm: Recorder) -> None:
    route = crm.get("/apiv1/").respond(json={"status": "success"})
    backend = PegkeBackend(at(crm, MERCHANT), context())
    (finding,) = await backend.check()
    assert finding.ok
    assert [call.target for call in route.requests] == ["/apiv1/?q=my_offers"]


@pytest.mark.parametrize(
    ("credit", "whole", "sent", "written"),
    [
        (Credit(None, ""), True, None, Written.refused()),
        (Credit(Decimal("2.5"), ""), True, None, Written.refused()),
        (Credit(Decimal(-1), ""), True, None, Written.refused()),
        (Credit(Decimal("0.00"), ""), True, None, Written.done(points=Decimal(0))),
        (Credit(Decimal("2.00"), ""), True, "2", Written.done(points=Decimal(2))),
        (Credit(Decimal("2.50"), ""), False, "2.5", Written.done(points=Decimal("2.5"))),
    ],
)
async def test_what_amounts_are_sent(
    crm: Recorder, credit: Credit, whole: bool, sent: str | None, written: Written
) -> None:
    route = gives(crm, json={})
    async with opened(crm, SITE, whole_points=whole) as backend:
        assert await give(backend, credit) == written
    bodies = [call.content.decode() for call in route.requests]
    assert [body.rpartition('"points":')[2] for body in bodies] == ([f"{sent}}}"] if sent else [])


async def test_pages_are_read_until_there_is_enough(crm: Recorder) -> None:
    def answer(request: Recorded) -> Told:
        page = int(request.form["page"])
        rows = [{"date": 1777629600 - 10 * page - n, "points": 10 * page + n} for n in range(2)]
        return Told.of(json={"data": {"history": rows if page < 4 else []}})

    route = crm.post("/apiv1/").answered_by(answer)
    async with opened(crm, MERCHANT) as backend:
        few = await backend.entries(PHONE, limit=3, deadline=soon())
        assert [entry.amount for entry in few] == [10, 11, 20]
        assert route.call_count == 2
        everything = await backend.entries(PHONE, limit=50, deadline=soon())
        assert [entry.amount for entry in everything] == [10, 11, 20, 21, 30, 31]
        assert route.call_count == 2 + 4
    async with opened(crm, MERCHANT, history_pages=1) as backend:
        assert len(await backend.entries(PHONE, limit=50, deadline=soon())) == 2
