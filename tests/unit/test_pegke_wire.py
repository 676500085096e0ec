"""How each answer of Pegke is read; what leaves the client is in ``test_pegke_requests``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest
import respx
from pydantic import ValidationError

from crm_backends.model import Balance, Holder, PointsEntry
from crm_backends.pegke import BACKEND, PegkeBackend, PegkeSettings
from crm_backends.ports import (
    AccountUnknown,
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    HolderUnnamed,
    NotSupported,
    Outcome,
    Reconciliation,
    Refusal,
    Support,
    Written,
)
from tests.support.pegke import (
    LOOK_UPS,
    MERCHANT,
    MERCHANT_BASE,
    PHONE,
    SITE,
    SITE_BASE,
    TOKEN,
    context,
    give,
    holder,
    points,
    settings,
    settle,
    soon,
)


@asynccontextmanager
async def opened(*parts: Mapping[str, Any], **more: Any) -> AsyncIterator[PegkeBackend]:
    backend = PegkeBackend(settings(*parts, **more), context())
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


@pytest.fixture
def wire() -> Any:
    with respx.mock(using="httpx", assert_all_called=False) as router:
        yield router


@pytest.fixture
def site(wire: Any) -> Any:
    """The wire, with a token endpoint."""
    wire.post(f"{SITE_BASE}/oauth2/token", name="token").respond(json=TOKEN)
    return wire


def gives(site: Any, **response: Any) -> Any:
    return site.post(f"{SITE_BASE}/entity/user").respond(**response)


# -- site_v1_1: what is sent ---------------------------------------------------------------------------


# -- merchant_v1: what is sent -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balance", "ok"),
    [
        ({"json": {"data": {"points": 1}}}, True),
        ({"json": {"data": {"balance": 1}}}, False),
        ({"json": {"message": "Customer does not exist"}, "status_code": 404}, False),
    ],
)
async def test_check_reads_the_balance_of_a_known_customer(
    wire: Any, balance: Mapping[str, Any], ok: bool
) -> None:
    wire.get(MERCHANT_BASE, params={"q": "my_offers"}).respond(json={"status": "success"})
    wire.get(MERCHANT_BASE, params={"q": "check_points", "phone": PHONE}).respond(**balance)
    findings = await PegkeBackend(settings(MERCHANT, check_account=PHONE), context()).check()
    assert [finding.ok for finding in findings] == [True, ok]
    assert ok or findings[1].remedy
    assert PHONE not in str(findings)


async def test_check_of_the_site_asks_for_one_token(site: Any) -> None:
    route = site.get(f"{SITE_BASE}/entity/user/balance").respond(json={"points": 7})
    (finding,) = await PegkeBackend(settings(SITE), context()).check()
    assert finding.ok
    findings = await PegkeBackend(settings(SITE, LOOK_UPS, check_account=PHONE), context()).check()
    assert [(finding.subject, finding.ok) for finding in findings] == [
        ("credentials", True),
        ("balance", True),
    ]
    assert (site["token"].call_count, route.call_count) == (2, 1)


@pytest.mark.parametrize(
    "response",
    [
        {"status_code": 404, "json": {}},
        {"json": {"status": "error", "message": "?"}},
        {"status_code": 403, "json": {}},
        {"status_code": 401, "json": {}},
        {"text": "<html>"},
    ],
)
async def test_check_tells_what_is_wrong_with_the_merchant_dialect(
    wire: Any, response: Mapping[str, Any]
) -> None:
    wire.get(MERCHANT_BASE).respond(**response)
    (finding,) = await PegkeBackend(settings(MERCHANT), context()).check()
    assert not finding.ok
    assert finding.remedy


# -- how answers to a credit are read ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "written"),
    [
        ({"json": TOKEN}, Written.done(points=Decimal(10))),
        ({"json": {"points": 17}}, Written.done(points=Decimal(10))),
        ({"json": {"errors": [{"code": 1}]}}, Written.unknown()),
        ({"json": {"error": "oops"}}, Written.unknown()),
        ({"json": {"status": "error", "message": "oops"}}, Written.unknown()),
        ({"json": {"success": False}}, Written.unknown()),
        ({"json": {"status": "queued"}}, Written.done(points=Decimal(10))),
        ({"text": "<html>fine</html>"}, Written.unknown()),
        ({"status_code": 204}, Written.unknown()),
        ({"status_code": 500, "json": {}}, Written.unknown()),
        ({"status_code": 408, "json": {}}, Written.unknown()),
        ({"status_code": 302}, Written.unknown()),
        ({"status_code": 429, "json": {}}, Written.not_sent()),
        ({"status_code": 401, "json": TOKEN}, Written.not_sent()),
        ({"status_code": 403, "json": {"code": 99}}, Written.not_sent()),
        ({"status_code": 403, "json": {}}, Written.not_sent()),
        ({"status_code": 400, "json": {"errors": [{"code": 2}]}}, Written.refused()),
        ({"status_code": 404, "json": {}}, Written.refused(Refusal.NO_SUCH_CUSTOMER)),
        ({"status_code": 404, "text": "nginx"}, Written.unknown()),
        (
            {"status_code": 422, "json": {"errors": [{"message": "No such user"}]}},
            Written.refused(Refusal.NO_SUCH_CUSTOMER),
        ),
    ],
)
async def test_what_an_answer_of_the_site_means(
    site: Any, response: Mapping[str, Any], written: Written
) -> None:
    gives(site, **response)
    async with opened(SITE) as backend:
        assert await give(backend) == written


@pytest.mark.parametrize(
    ("body", "written"),
    [
        ({"status": "success"}, Written.done(points=Decimal(10))),
        ({"status": True}, Written.done(points=Decimal(10))),
        ({"status": "OK"}, Written.done(points=Decimal(10))),
        ({"status": "error", "message": "Customer does not exist"}, "absent"),
        ({"status": "error", "message": "Limit"}, Written.refused()),
        ({"status": False}, Written.refused()),
        ({"status": "queued"}, Written.unknown()),
        ({}, Written.unknown()),
        ([], Written.unknown()),
        (None, Written.unknown()),
    ],
)
async def test_what_an_answer_with_200_of_the_merchant_dialect_means(
    wire: Any, body: object, written: Written | str
) -> None:
    wire.post(MERCHANT_BASE).respond(text=json.dumps(body))
    async with opened(MERCHANT) as backend:
        expected = Written.refused(Refusal.NO_SUCH_CUSTOMER) if written == "absent" else written
        assert await give(backend) == expected


# -- how answers to reads are read ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "error"),
    [
        ({"text": "<html>"}, BackendUnavailable),
        ({"status_code": 204}, BackendUnavailable),
        ({"status_code": 400, "text": "<html>"}, BackendUnavailable),
        ({"status_code": 500, "json": {}}, BackendUnavailable),
        ({"status_code": 403, "json": {"errors": [{"code": 99}]}}, BackendUnavailable),
        ({"status_code": 403, "json": {}}, BackendCredentials),
        ({"status_code": 401, "json": {}}, BackendCredentials),
        ({"status_code": 400, "json": {}}, BackendMisconfigured),
        ({"json": {"status": "error"}}, BackendMisconfigured),
        ({"json": {"data": {"points": None}}}, BackendMisconfigured),
        ({"json": {"data": {"points": True}}}, BackendMisconfigured),
        ({"json": {"data": {"points": "NaN"}}}, BackendMisconfigured),
        ({"json": {"data": {"points": "many"}}}, BackendMisconfigured),
        ({"json": {"data": []}}, BackendMisconfigured),
        ({"json": 5}, BackendMisconfigured),
    ],
)
async def test_a_balance_that_cannot_be_read(
    wire: Any, response: Mapping[str, Any], error: type[BackendError]
) -> None:
    wire.get(MERCHANT_BASE).respond(**response)
    async with opened(MERCHANT) as backend:
        with pytest.raises(error):
            await backend.balance(PHONE, deadline=soon())


@pytest.mark.parametrize(
    ("status", "body"), [(404, {}), (200, {"status": "error", "message": "Phone not registered"})]
)
async def test_a_customer_pegke_does_not_know_has_nothing_and_no_account(
    wire: Any, status: int, body: Mapping[str, Any]
) -> None:
    wire.get(MERCHANT_BASE).respond(status, json=body)
    wire.post(MERCHANT_BASE).respond(status, json=body)
    async with opened(MERCHANT) as backend:
        with pytest.raises(AccountUnknown) as unknown:
            await backend.balance(PHONE, deadline=soon())
        assert unknown.value.has_nothing, "Pegke is asked by the phone, and need not know everybody"
        assert await backend.entries(PHONE, limit=5, deadline=soon()) == []
        assert await backend.points_account(holder(), deadline=soon()) is None


async def test_a_debt_leaves_nothing_to_spend(wire: Any) -> None:
    wire.get(MERCHANT_BASE).respond(json={"data": {"points": -3}})
    async with opened(MERCHANT) as backend:
        assert await backend.balance(PHONE, deadline=soon()) == Balance(Decimal(-3), Decimal(0))


@pytest.mark.parametrize(
    ("changed", "row", "amount", "at"),
    [
        ({}, {"date": "2026-05-01T10:00:00Z", "points": "7"}, 7, datetime(2026, 5, 1, 10, tzinfo=UTC)),
        ({}, {"date": 1777629600, "points": 7}, 7, datetime(2026, 5, 1, 10, tzinfo=UTC)),
        (
            {"date_format": "%d/%m/%Y %H:%M", "history_timezone": "Europe/Moscow"},
            {"date": "01/05/2026 13:00", "points": 7},
            7,
            datetime(2026, 5, 1, 10, tzinfo=UTC),
        ),
        (
            {
                "entry_date_field": "when.at",
                "entry_points_field": "what.0",
                "entry_kind_field": "kind",
                "entry_spent_kinds": ["redeem"],
            },
            {"when": {"at": "2026-05-01T10:00:00Z"}, "what": [7], "kind": "redeem"},
            -7,
            datetime(2026, 5, 1, 10, tzinfo=UTC),
        ),
    ],
)
async def test_how_a_movement_is_read(
    wire: Any, changed: Mapping[str, Any], row: object, amount: int, at: datetime
) -> None:
    wire.post(MERCHANT_BASE).respond(json={"data": {"history": [row]}})
    async with opened(MERCHANT, changed) as backend:
        assert await backend.entries(PHONE, limit=9, deadline=soon()) == [
            PointsEntry(Decimal(amount), "", at)
        ]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"history": {"1": {}}},
        {"history": [5]},
        {"history": [{"points": 5}]},
        {"history": [{"points": 5, "date": "yesterday"}]},
        {"history": [{"points": 5, "date": 10**20}]},
        {"history": [{"points": 5, "date": "9999-12-31T23:59:59-14:00"}]},
        {"history": [{"points": "five", "date": "2026-05-01"}]},
    ],
)
async def test_movements_that_cannot_be_read(wire: Any, data: Mapping[str, Any]) -> None:
    wire.post(MERCHANT_BASE).respond(json={"data": data})
    async with opened(MERCHANT) as backend:
        with pytest.raises(BackendMisconfigured):
            await backend.entries(PHONE, limit=9, deadline=soon())


async def test_a_list_without_pages_is_not_read_twice_over(wire: Any) -> None:
    row = {"date": "2026-05-01", "points": 5}
    route = wire.post(MERCHANT_BASE).respond(json={"data": {"history": [row]}})
    async with opened(MERCHANT) as backend:
        assert len(await backend.entries(PHONE, limit=50, deadline=soon())) == 1
    assert route.call_count == 2


# -- accounts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "who", "account"),
    [
        ({}, holder(), PHONE),
        ({}, holder(phone="+79161112233"), None),
        ({"country_prefix": "+7"}, holder(phone="+79161112233"), "9161112233"),
        ({"country_prefix": "7"}, holder(phone="+79161112233"), "9161112233"),
        ({"country_prefix": ""}, holder(phone="+79161112233"), "79161112233"),
        ({"id_type": "cid"}, holder(), "C00042"),
        ({"id_type": "email"}, holder(), "a@example.org"),
    ],
)
async def test_an_account_is_what_id_type_says(
    changed: Mapping[str, Any], who: Holder, account: str | None
) -> None:
    backend = PegkeBackend(settings(SITE, changed), context())
    assert await backend.points_account(who, deadline=soon()) == account


@pytest.mark.parametrize(
    ("changed", "who"), [({}, holder(phone=None)), ({"id_type": "email"}, holder(email=None))]
)
async def test_a_holder_nobody_named_is_not_taken_for_one_pegke_does_not_know(
    changed: Mapping[str, Any], who: Holder
) -> None:
    backend = PegkeBackend(settings(SITE, changed), context())
    with pytest.raises(HolderUnnamed, match="the users CRM gave none"):
        await backend.points_account(who, deadline=soon())


# -- reconciling ---------------------------------------------------------------------------------------


def moved(*rows: tuple[str, int]) -> dict[str, Any]:
    return {"json": {"data": {"history": [{"date": f"{at}Z", "points": amount} for at, amount in rows]}}}


def twice(*seconds: str) -> Written:
    """Both movements are named, in the order of their times."""
    entries = tuple(f"10 at 2026-05-01T12:00:{second}+00:00" for second in seconds)
    return Written(Outcome.DONE, points=Decimal(10), entries=entries)


@pytest.mark.parametrize(
    ("before", "now", "rows", "written"),
    [
        (20, 30, None, Written.done(points=Decimal(10))),
        (20, 30, [("2026-05-01 12:00:00", 10)], Written.done(points=Decimal(10))),
        (20, 30, [("2026-05-01 11:59:59", 10)], Written.unknown()),
        (20, 30, [], Written.unknown()),
        (20, 30, [("2026-05-01 11:59:00", 10)], Written.unknown()),
        (20, 20, None, Written.not_sent()),
        (20, 20, [("2026-05-01 11:59:00", 10)], Written.not_sent()),
        (20, 20, [("2026-05-01 12:00:05", 10), ("2026-05-01 12:00:06", -10)], Written.unknown()),
        (20, 20, [("2026-05-01 11:59:55", 10), ("2026-05-01 12:00:06", -10)], Written.unknown()),
        (20, 27, None, Written.unknown()),
        (
            20,
            27,
            [("2026-05-01 12:00:05", -3), ("2026-05-01 12:00:00", 10)],
            Written.done(points=Decimal(10)),
        ),
        (
            20,
            30,
            [("2026-05-01 12:00:05", 10), ("2026-05-01 12:00:00", 10)],
            Written.done(points=Decimal(10)),
        ),
        (
            20,
            30,
            [("2026-05-01 12:00:00", 10), ("2026-05-01 12:00:00", 10)],
            Written.done(points=Decimal(10)),
        ),
        (20, 30, [("2026-05-01 12:00:06", 10), ("2026-05-01 12:00:05", 10)], Written.unknown()),
        (20, 37, [("2026-05-01 12:00:05", 10), ("2026-05-01 12:00:00", 10)], Written.unknown()),
        (20, 40, [("2026-05-01 12:00:05", 10), ("2026-05-01 12:00:00", 10)], twice("00", "05")),
        (20, 40, [("2026-05-01 12:00:05", 10), ("2026-05-01 12:00:05", 10)], twice("05", "05")),
        (20, 50, [("2026-05-01 12:00:05", 10), ("2026-05-01 12:00:00", 10)], Written.unknown()),
        (None, 40, [("2026-05-01 12:00:05", 10), ("2026-05-01 12:00:00", 10)], Written.unknown()),
        (
            20,
            30,
            [("2026-05-01 12:00:05", 10), ("2026-05-01 11:59:55", 10)],
            Written.done(points=Decimal(10)),
        ),
        (20, 27, [("2026-05-01 11:59:59", 10)], Written.unknown()),
        (20, 23, [("2026-05-01 12:00:05", 3)], Written.unknown()),
        (None, 20, None, Written.unknown()),
        (None, 20, [], Written.unknown()),
        (None, 30, [("2026-05-01 12:00:05", 10)], Written.unknown()),
        # An earlier credit in the second of sending, or by a clock ahead; then the till took 30.
        (50, 20, [("2026-05-01 12:00:05", -30), ("2026-05-01 12:00:00", 10)], Written.unknown()),
        (50, 20, [("2026-05-01 12:00:05", -30), ("2026-05-01 12:00:03", 10)], Written.unknown()),
    ],
)
async def test_what_balance_and_movements_say_of_a_doubtful_credit(
    wire: Any, before: int | None, now: int, rows: list[tuple[str, int]] | None, written: Written
) -> None:
    wire.get(MERCHANT_BASE).respond(json={"data": {"points": now}})
    wire.post(MERCHANT_BASE).respond(**moved(*(rows or [])))
    async with opened(MERCHANT, history=rows is not None) as backend:
        assert await settle(backend, None if before is None else points(before)) == written


async def test_what_cannot_be_read_is_not_settled(wire: Any) -> None:
    wire.get(MERCHANT_BASE).respond(json={"data": {"points": 20}})
    wire.post(MERCHANT_BASE).respond(status_code=500)
    async with opened(MERCHANT) as backend:
        with pytest.raises(BackendUnavailable):
            await settle(backend, points(20))
    async with opened(SITE) as documented:
        assert await settle(documented, points(20)) == Written.unknown()


# -- settings and declarations -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "client_id and client_secret"),
        ({"dialect": "site_v1_1", "client_id": "id", "client_secret": ""}, "client_id and client_secret"),
        ({"dialect": "merchant_v1", "consumer_code": "C"}, "consumer_code and consumer_secret"),
        ({**MERCHANT, "id_type": "email"}, 'id_type = "mob"'),
        ({**MERCHANT, "absent_pattern": "("}, "regular expression"),
        ({**MERCHANT, "history_timezone": "Mars/Olympus"}, "time zone"),
        ({**SITE, "token_path": "http://tokens.example.org/t"}, "https://"),
        ({**SITE, "base_url": "http://pegke.example.org"}, "https://"),
    ],
)
def test_settings_that_cannot_work_are_told(given: Mapping[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        PegkeSettings.model_validate(given)


@pytest.mark.parametrize(
    ("chosen", "reconciliation", "reads"),
    [
        (MERCHANT, Reconciliation.COMPARE, {"points.balance", "points.entries"}),
        ({**MERCHANT, "history": False}, Reconciliation.COMPARE, {"points.balance"}),
        (SITE, Reconciliation.MANUAL, set()),
        ({**SITE, **LOOK_UPS}, Reconciliation.COMPARE, {"points.balance", "points.entries"}),
    ],
)
async def test_what_is_declared_follows_the_settings(
    chosen: Mapping[str, Any], reconciliation: Reconciliation, reads: set[str]
) -> None:
    backend = PegkeBackend(settings(chosen), context())
    assert backend.reconciliation is reconciliation
    there = {name for name, it in backend.capabilities.items() if it.support is Support.PARTIAL}
    assert there == {"points.credit", *reads}
    assert set(backend.capabilities) == set(BACKEND.capabilities)
    for name, call in (("points.balance", backend.balance), ("points.entries", backend.entries)):
        if name not in reads:
            with pytest.raises(NotSupported):
                await cast(Any, call)(PHONE, deadline=soon(), **({"limit": 1} if "entries" in name else {}))


async def test_a_fixed_key_is_not_given_up() -> None:
    with pytest.raises(NotSupported):
        await PegkeBackend(settings(MERCHANT), context()).invalidate_token(deadline=soon())
