"""What each call to Xerts looks like on the wire: the real client before a server that records it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from crm_backends.ports import (
    Outcome,
    Reconciliation,
    Support,
    Written,
)
from crm_backends.registry import BackendContext
from crm_backends.xerts import XertsBackend
from crm_backends.xerts.management import (
    Campaign,
    Declined,
    Management,
    NewMember,
    NewOffer,
    NewVendor,
)
from crm_backends.xerts.management_replies import CouponReport, ReportRow
from crm_backends.xerts.replies import GeoPoint
from tests.support.recording import Recorded, Recorder, Route, Told, recording
from tests.support.xerts import (
    CODE,
    COUPON,
    DEVICE,
    ERROR,
    HEAD,
    KEY,
    LIST,
    LOGIN,
    OTHER,
    REDEEMED,
    SITE,
    SITE_S,
    ZONE,
    settings,
    soon,
)

Build = Callable[..., XertsBackend]
Manage = Callable[..., Management]


@pytest.fixture
async def wire() -> AsyncIterator[Recorder]:
    async with recording() as crm:
        yield crm


@pytest.fixture
async def build(wire: Recorder) -> AsyncIterator[Build]:
    built: list[XertsBackend] = []

    def building(**changes: Any) -> XertsBackend:
        context = BackendContext(database_url="", database_pool=None, timezone=ZONE, region="RU")
        built.append(XertsBackend(settings(base_url=wire.url, **changes), context))
        return built[-1]

    yield building
    for backend in built:
        await backend.close()


async def opened(backend: XertsBackend) -> XertsBackend:
    await backend.open()
    return backend


def sent(route: Route) -> Recorded:
    """The one request of a route, which carries the key."""
    request = route.only
    assert request.headers["API-Key"] == KEY
    return request


def body_of(route: Route) -> Any:
    return sent(route).json


async def issue(backend: XertsBackend, occasion: str = "visit") -> Written:
    return await backend.issue(DEVICE, occasion, idempotency_key="r", deadline=soon())


async def redeem(backend: XertsBackend, code: str = CODE) -> Written:
    return await backend.redeem(DEVICE, code, idempotency_key="r", deadline=soon())


@pytest.fixture
async def login(wire: Recorder) -> Route:
    return wire.post("/api/members/login").respond(json=LOGIN)


@pytest.fixture
def manage(wire: Recorder, login: Route) -> Manage:
    def managing(**changes: Any) -> Management:
        values = {"email": "me@example.org", "password": SecretStr("secret"), **changes}
        return Management(settings(base_url=wire.url, **values), ZONE)

    return managing


ROWS = (
    ReportRow("58c4-a", "O'connel Street Bakery", 1, 15, 2),
    ReportRow("68c5-b", 'Main "North"', 1, 10, 5),
)
REPORT = CouponReport(issued=30, redeemed=10, rows=ROWS, first="28-07-2016", last="14-08-2016")
PLAIN_ROWS = [
    {"id": r.reference, "label": r.label, "activeOffers": 1, "couponsIssued": i, "couponsRedeemed": d}
    for r, i, d in zip(ROWS, (15, "10"), (2, 5), strict=True)
]
AS_PRINTED = r"""{
    "totalCouponsIssued": 30,
    "totalCouponsRedeemed": 10,
    "sites": [
        "58c4-a" : {
      "id": "58c4-a",
            "label": "O\\'connel Street Bakery",
            "activeOffers": 1, "couponsIssued": 15, "couponsRedeemed": 2
        },
        "68c5-b" : {
      "id": "68c5-b",
            "label": "Main \"North\"",
            "activeOffers": 1, "couponsIssued": 10, "couponsRedeemed": 5,
    },
    ],
    "from": "28-07-2016",
    "to": "14-08-2016"
}"""


@pytest.mark.parametrize(
    ("spelling", "path"),
    [
        ("sites", f"/api/coupons/sites/all/devices/{DEVICE}"),
        ("site", f"/api/coupons/site/all/device/{DEVICE}"),
        ("site_devices", f"/api/coupons/site/all/devices/{DEVICE}"),
    ],
)
async def test_coupons_are_listed_with_the_key_alone(
    wire: Recorder, build: Build, spelling: str, path: str
) -> None:
    route = wire.get(path).respond(json={"results": [REDEEMED]})
    backend = await opened(build(coupon_paths=spelling))
    (coupon,) = await backend.coupons(DEVICE, deadline=soon())
    request = sent(route)
    assert request.content == b""
    assert "Authorization" not in request.headers
    assert coupon.reference == COUPON["id"]
    assert coupon.device == DEVICE
    assert coupon.redeemed_at == datetime(2016, 8, 2, 4, 28, 8, tzinfo=ZONE)
    assert coupon.expires_at is not None
    assert coupon.expires_at.tzinfo is ZONE
    assert coupon.site is not None
    assert coupon.site.gps == GeoPoint(Decimal("-35.4664"), Decimal("102.2364"))


async def test_an_occasion_issues_the_offers_of_its_site(wire: Recorder, build: Build) -> None:
    at_other = wire.post(f"/api/siteOffers/{OTHER}/device/{DEVICE}").respond(
        json={"results": [COUPON, {**COUPON, "id": 20}]}
    )
    at_default = wire.post(f"/api/siteOffers/{SITE}/device/{DEVICE}").respond(json={"results": []})
    backend = await opened(build(occasions={"visit": OTHER}))
    assert await issue(backend) == Written.done(f"{COUPON['id']},20")
    assert sent(at_other).content == b""
    assert await issue(backend, "receipt") == Written.done()
    sent(at_default)


@pytest.mark.parametrize(
    ("paths", "way", "method", "one", "many"),
    [
        ("devices", "find", "GET", f"/api/devices/{DEVICE}/exists", "/api/devices"),
        ("devices", "exists", "GET", f"/api/devices/{DEVICE}/exists", "/api/devices"),
        ("devices", "POST", "POST", f"/api/devices/{DEVICE}", "/api/devices"),
        ("device", "GET", "GET", f"/api/device/{DEVICE}", "/api/device/"),
    ],
)
async def test_a_new_device_is_created_once(
    wire: Recorder, build: Build, paths: str, way: str, method: str, one: str, many: str
) -> None:
    known = wire.request(method, one).respond(json={"exists": False})
    created = wire.post(many).respond(json={"id": DEVICE})
    issued = wire.post(f"/api/siteOffers/{SITE}/device/{DEVICE}").respond(json={"results": [COUPON]})
    backend = await opened(
        build(create_devices="ahead", device_paths=paths, device_check=way, device_model="M")
    )
    for _ in range(2):
        assert (await issue(backend)).outcome is Outcome.DONE
    assert issued.call_count == 2
    assert sent(known).content == b""
    assert body_of(created) == {"id": DEVICE, "deviceModel": "M", "deviceOs": "wallet"}


async def test_a_code_is_redeemed_where_its_coupon_says(wire: Recorder, build: Build) -> None:
    listed = wire.get(LIST).respond(json={"results": [COUPON]})
    used = wire.put(f"/api/coupons/sites/{OTHER}/devices/{DEVICE}/redeem/{CODE}").respond(
        json={"results": REDEEMED}
    )
    written = await redeem(await opened(build()), " y2bma ")
    assert written == Written.done(str(COUPON["id"]), message="Pie of the day")
    assert sent(used).content == b""
    sent(listed)


async def test_a_code_is_redeemed_at_the_default_site(wire: Recorder, build: Build) -> None:
    used = wire.put(f"/api/coupons/sites/{SITE}/devices/{DEVICE}/redeem/{CODE}").respond(json=REDEEMED)
    assert (await redeem(await opened(build(redeem_site="default")))).outcome is Outcome.DONE
    sent(used)
    assert len(wire.requests) == 1


async def test_a_code_is_activated(wire: Recorder, build: Build) -> None:
    used = wire.put(f"/api/coupons/sites/{SITE}/activate/{CODE}").respond(json={"results": COUPON})
    backend = await opened(build(promo="activate", redeem_site="default"))
    assert (await redeem(backend)).outcome is Outcome.DONE
    sent(used)
    assert backend.reconciliation is Reconciliation.MANUAL
    assert backend.capabilities["coupons.redeem"].support is Support.PARTIAL
    assert (
        await backend.reconcile_redeem(
            DEVICE, CODE, idempotency_key="r", since=datetime.now(UTC), deadline=soon()
        )
        == Written.unknown()
    )


@pytest.mark.parametrize("header", ["Authorization", "Authentication"])
async def test_the_token_of_a_login_goes_raw_into_its_header(
    wire: Recorder, login: Route, manage: Manage, header: str
) -> None:
    route = wire.post("/api/members/member-1/vendors").respond(json={"id": "vendor-1", "ownerId": "member-1"})
    vendor = NewVendor("Bakery", "1 Flour St", "101000", "Moscow", "Russia", "Bread", phone="1-653")
    async with manage(token_header=header, member="member-1") as xerts:
        assert await xerts.create_vendor(vendor, await xerts.member()) == "vendor-1"
    assert body_of(login) == {"email": "me@example.org", "password": "secret"}
    assert sent(route).headers[header] == "token-1"
    assert body_of(route) == {
        "vendorName": "Bakery",
        "headOfficeAddress1": "1 Flour St",
        "headOfficeZipcode": "101000",
        "headOfficeCity": "Moscow",
        "headOfficeCountry": "Russia",
        "headOfficePhone": "1-653",
        "description": "Bread",
    }


async def test_the_login_tells_whose_it_is(login: Route, manage: Manage) -> None:
    async with manage() as xerts:
        assert await xerts.member() == "member-1"
    sent(login)


async def test_a_member_is_created(wire: Recorder, login: Route, manage: Manage) -> None:
    route = wire.post("/api/members").respond(json={"id": "member-2", "email": "a@b.cd"})
    async with manage() as xerts:
        assert await xerts.create_member(NewMember("a@b.cd", "pw", site_owner=True)) == "member-2"
    assert body_of(route) == {
        "email": "a@b.cd",
        "password": "pw",
        "vendorOwner": False,
        "siteOwner": True,
        "appProvider": False,
    }
    assert login.requests == []


@pytest.mark.parametrize(
    ("changes", "gps"),
    [
        ({}, {"lat": 55.7766, "lng": 37.65}),
        ({"gps": "string", "gps_longitude": "long"}, {"lat": "55.7766", "long": "37.65"}),
    ],
)
async def test_a_site_is_created(
    wire: Recorder, login: Route, manage: Manage, changes: dict[str, Any], gps: object
) -> None:
    route = wire.post("/api/vendors/vendor-1/sites").respond(json={"id": "site-9", "title": "Shop"})
    async with manage(**changes) as xerts:
        place = GeoPoint(Decimal("55.7766"), Decimal("37.65"))
        assert await xerts.create_site("vendor-1", "Shop", "3 Square", place) == "site-9"
    assert body_of(route) == {"title": "Shop", "address": "3 Square", "gps": gps}
    assert login.requests == []  # the reference shows this call without a login


async def test_a_call_goes_with_a_login_where_the_settings_say(
    wire: Recorder, login: Route, manage: Manage
) -> None:
    route = wire.post("/api/vendors/v/sites").respond(json={"id": "s"})
    async with manage(login_for={"sites"}) as xerts:
        await xerts.create_site("v", "Shop")
    assert sent(route).headers["Authorization"] == "token-1"
    assert body_of(route) == {"title": "Shop"}


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_site_gets_its_administrator(wire: Recorder, manage: Manage, method: str) -> None:
    route = wire.request(method, "/api/sites/s/admin").respond(json={"results": {"id": "s"}})
    async with manage(site_admin_method=method) as xerts:
        assert await xerts.set_site_admin("s", "m") == "s"
    assert body_of(route) == {"adminId": "m"}


@pytest.mark.parametrize("word", ["vendors", "vendor"])
async def test_an_offer_is_created(wire: Recorder, manage: Manage, word: str) -> None:
    route = wire.post(f"/api/{word}/v/offers").respond(json={"id": "o"})
    async with manage(vendor_offers_path=word) as xerts:
        offer = NewOffer("Bun", "Second free", "green", "white", "https://i.test/1.png", "https://o.test/")
        assert await xerts.create_offer("v", offer) == "o"
    assert body_of(route) == {
        "title": "Bun",
        "description": "Second free",
        "styleBorderColor": "green",
        "styleBackgroundColor": "white",
        "featureImage": "https://i.test/1.png",
        "url": "https://o.test/",
        "vendorId": "v",
    }


@pytest.mark.parametrize("name", ["triggerLocationRadius", "triggerRadius"])
async def test_an_offer_is_attached(wire: Recorder, manage: Manage, name: str) -> None:
    wire.get(SITE_S).respond(json={"exists": True})
    route = wire.put("/api/offers/o/sites/rel/s").respond(json={"id": "so"})
    place = {"lat": 37, "lng": 20}
    campaign = Campaign(
        cost=Decimal("0.12"),
        limit=1000,
        first_day=date(2017, 5, 1),
        last_day=date(2017, 5, 26),
        coupon_days=7,
        triggers=[{"id": "1", "triggerLocation": place, "triggerRadius": 30}],
    )
    async with manage(trigger_radius=name) as xerts:
        assert await xerts.attach_offer("o", "s", campaign) == "so"
    assert body_of(route) == {
        "instanceCost": 0.12,
        "instanceLimit": 1000,
        "instanceIssues": 0,
        "totalCost": 120.0,
        "instanceStartIssueOn": "2017-04-30T21:00:00.000Z",  # both days are whole ones in Moscow
        "instanceExpiresOn": "2017-05-26T20:59:59.999Z",
        "couponExpiresAfterDays": 7,
        "triggers": [{"id": "1", "triggerLocation": place, name: 30}],
    }


async def test_an_offer_is_not_attached_to_a_site_that_there_is_none_of(
    wire: Recorder, login: Route, manage: Manage
) -> None:
    refused = wire.get(SITE_S).respond_in_turn(Told.of(401, json=ERROR), Told.of(json={"exists": False}))
    wire.get("/api/sites/s").respond(401, json=ERROR)
    async with manage() as xerts:
        with pytest.raises(Declined, match="no such site"):
            await xerts.attach_offer("o", "s", Campaign(cost=Decimal(1), limit=1))
    assert refused.last.headers["Authorization"] == "token-1"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_coupons_of_a_site(wire: Recorder, manage: Manage, method: str) -> None:
    route = wire.request(method, "/api/sites/s/coupons").respond(json={"results": [COUPON]})
    async with manage(site_coupons_method=method) as xerts:
        (coupon,) = await xerts.site_coupons("s")
    assert coupon.code == CODE
    sent(route)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({**HEAD, "sites": PLAIN_ROWS}),
        json.dumps({**HEAD, "sites": {row["id"]: row for row in PLAIN_ROWS}}),
        AS_PRINTED,
        AS_PRINTED.replace(r"O\\'", r"O\'"),
    ],
)
async def test_a_report_is_read_in_any_form(wire: Recorder, manage: Manage, body: str) -> None:
    route = wire.get("/api/reporting/vendors/v").respond(text=body)
    async with manage() as xerts:
        report = await xerts.vendor_report("v", date(2016, 7, 28), date(2016, 8, 14))
    assert report == REPORT
    request = sent(route)
    assert request.target.partition("?")[2] == "from=28-07-2016&to=14-08-2016"
    assert request.headers["Authorization"] == "token-1"


async def test_a_report_up_to_now(wire: Recorder, manage: Manage) -> None:
    route = wire.get("/api/reporting/sites/s").respond(json={**HEAD, "vendors": []})
    async with manage() as xerts:
        assert (await xerts.site_report("s", date(2016, 7, 28))).rows == ()
    assert sent(route).target.partition("?")[2] == "from=28-07-2016"
