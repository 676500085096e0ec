"""The Xerts stand-in: coupons, devices, management, reports, the reference's contradictions, the ledger."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from contracts.sandbox import xerts
from contracts.sandbox.xerts import DEVICE_ID, OPEN_CODE, OTHER_SITE_ID, REDEEMED_CODE, SITE_ID, VENDOR_ID

from .test_sandbox_caller import Answer, Caller, calling

KEY = {"API-Key": xerts.API_KEY}
LOGIN = {"email": xerts.EMAIL, "password": xerts.PASSWORD}
VENDOR = {
    "vendorName": "Second",
    "headOfficeAddress1": "2 Second Street",
    "headOfficeZipcode": "2",
    "headOfficeCity": "Omsk",
    "headOfficeCountry": "Russia",
    "description": "Another",
}
OFFER = {
    "title": "Cake",
    "description": "A piece",
    "styleBorderColor": "red",
    "styleBackgroundColor": "white",
    "featureImage": "https://example.org/cake.png",
}
TERMS = {"instanceCost": 0.1, "instanceLimit": 1, "instanceIssues": 0, "totalCost": 0.1}
PERIOD = {"from": "01-01-2020"}


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with calling("xerts") as caller:
        caller.headers = dict(KEY)
        yield caller


async def session(call: Caller) -> dict[str, str]:
    """Header with a login token, as it is."""
    return {"Authorization": (await call("login", json=LOGIN, headers=KEY)).body["id"]}


async def coupons(call: Caller, device: str = DEVICE_ID, site: str = "all") -> list[Any]:
    answer = await call("listDeviceCoupons", siteId=site, deviceId=device, headers=KEY)
    return list(answer.body["results"])


async def redeem(call: Caller, code: str, device: str = DEVICE_ID) -> Answer:
    return await call("redeemCoupon", siteId=SITE_ID, deviceId=device, code=code)


async def test_server_says_since_when_it_is_up(call: Caller) -> None:
    assert (await call("serverStatus")).body["uptime"] >= 0


async def test_coupons_of_a_device(call: Caller) -> None:
    rows = {row["redeemCode"]: row for row in await coupons(call)}
    assert "redeemedOn" in rows[REDEEMED_CODE]
    assert "redeemedOn" not in rows[OPEN_CODE]
    assert await coupons(call, site=SITE_ID) == list(rows.values())
    assert await coupons(call, site=OTHER_SITE_ID) == []


async def test_a_site_issues_its_offers_and_creates_the_device(call: Caller) -> None:
    issued = await call("createCoupons", siteId=SITE_ID, deviceId="new-device")
    codes = [row["redeemCode"] for row in issued.body["results"]]
    assert len(codes) == 2
    assert [row["redeemCode"] for row in await coupons(call, "new-device")] == codes
    assert (await call("checkDevice", id="new-device")).body == {"exists": True}
    assert call.ledger.count("coupon_issued", customer="new-device") == 2
    assert call.ledger.count("device_created", customer="new-device") == 1
    await call("createCoupons", siteId=SITE_ID, deviceId="new-device")
    assert len(await coupons(call, "new-device")) == 4
    unknown = await call("createCoupons", siteId="nowhere", deviceId="new-device")
    assert unknown.body["error"]["status"] == 404
    assert await coupons(call, "new-device", site="nowhere") == []
    assert (await call("listSiteCoupons", id="nowhere")).body == {"results": []}
    assert (await call("checkSite", id="nowhere")).body == {"exists": False}
    assert (await call("checkSite", id=SITE_ID)).body == {"exists": True}


async def test_issuing_again_can_be_off() -> None:
    async with calling("xerts", issue_again=False) as call:
        for _ in range(2):
            await call("createCoupons", siteId=SITE_ID, deviceId="d", headers=KEY)
        assert call.ledger.count("coupon_issued", customer="d") == 2


async def test_coupon_is_redeemed_once(call: Caller) -> None:
    answer = await redeem(call, OPEN_CODE)
    assert answer.body["results"]["redeemedOn"]
    assert "offer" not in answer.body["results"]
    again = await redeem(call, OPEN_CODE)
    assert again.status == 404
    assert (await redeem(call, "ZZZZZ")).status == 404
    rows = {row["redeemCode"]: row for row in await coupons(call)}
    assert rows[OPEN_CODE]["redeemedOn"]
    assert call.ledger.count("coupon_redeemed", reference=OPEN_CODE) == 1


async def test_coupon_is_redeemed_by_its_device_at_its_site_only(call: Caller) -> None:
    assert (await redeem(call, OPEN_CODE, "another")).status == 404
    elsewhere = await call("redeemCoupon", siteId=OTHER_SITE_ID, deviceId=DEVICE_ID, code=OPEN_CODE)
    assert elsewhere.status == 404
    assert call.ledger.count("coupon_redeemed") == 0


async def test_activation_redeems_nothing(call: Caller) -> None:
    for _ in range(2):
        answer = await call("activateCoupon", siteId=SITE_ID, code=OPEN_CODE.lower())
        assert "redeemedOn" not in answer.body["results"]
    assert call.ledger.count("coupon_activated", reference=OPEN_CODE) == 1
    assert (await call("activateCoupon", siteId=SITE_ID, code=REDEEMED_CODE)).status == 404


async def test_triggers_and_expiry_ride_along(call: Caller) -> None:
    issued = await call("createCoupons", siteId=OTHER_SITE_ID, deviceId=DEVICE_ID)
    (row,) = issued.body["results"]
    assert row["expiresOn"] > row["createdOn"]
    assert row["triggers"][0]["triggerLocationRadius"] == 300
    assert row["triggers"][1]["timeAfterTrigger"] == 120


async def test_devices_are_created_once(call: Caller) -> None:
    device = {"id": "tablet", "deviceModel": "T1", "deviceOs": "Android 6"}
    assert (await call("checkDevice", id="tablet")).body == {"exists": False}
    assert (await call("createDevice", json=device)).body == device
    again = await call("createDevice", json=device)
    assert again.status == 500
    assert call.ledger.count("device_created", reference="tablet") == 1


@pytest.mark.parametrize("status", ["409", "422"])
async def test_a_taken_id_can_be_told_otherwise(status: str) -> None:
    async with calling("xerts", taken_id=status) as call:
        again = await call("createDevice", json={"id": DEVICE_ID}, headers=KEY)
        assert again.status == int(status)


async def test_a_programme_is_set_up_from_a_member_to_a_report(call: Caller) -> None:
    new = {"email": "new@example.org", "password": "p", "vendorOwner": True}
    member = (await call("createMember", json=new)).body["id"]
    assert (await call("createMember", json=new)).status == 422
    login = await call("login", json={"email": "New@example.org", "password": "p"})
    assert (login.body["userId"], login.body["ttl"]) == (member, 1_209_600)
    headers = {"Authorization": login.body["id"]}
    vendor = (await call("createVendor", id=member, json=VENDOR, headers=headers)).body["id"]
    gps = {"lat": 55.1, "long": "73.4"}
    site = (await call("createSite", id=vendor, json={"title": "Shop", "gps": gps})).body
    assert site["gps"] == {"lat": 55.1, "lng": 73.4}
    admin = await call("setSiteAdmin", id=site["id"], json={"adminId": member}, headers=headers)
    assert admin.body["results"]["adminId"] == member
    offer = (await call("createOffer", id=vendor, json=OFFER, headers=headers)).body["id"]
    terms = {**TERMS, "instanceExpiresOn": "2099-01-01", "triggers": [{"id": "t", "triggerAfterMinutes": 5}]}
    put = await call("assignOffer", id=offer, siteId=site["id"], json=terms, headers=headers)
    assert put.body["offerId"] == offer
    other = {**terms, "instanceLimit": 5}
    assert (
        await call("assignOffer", id=offer, siteId=site["id"], json=other, headers=headers)
    ).body == put.body
    nowhere = await call("assignOffer", id=offer, siteId="nowhere", json=terms, headers=headers)
    assert nowhere.body["siteId"] == "nowhere"
    issued = await call("createCoupons", siteId=site["id"], deviceId="d")
    (row,) = issued.body["results"]
    assert row["triggers"] == terms["triggers"]
    assert (await call("createCoupons", siteId=site["id"], deviceId="d")).body["results"] == []
    done = await call("redeemCoupon", siteId=site["id"], deviceId="d", code=row["redeemCode"])
    assert done.status == 200
    at_site = await call("listSiteCoupons", id=site["id"])
    assert [each["redeemCode"] for each in at_site.body["results"]] == [row["redeemCode"]]
    report = await call("reportVendor", id=vendor, query=PERIOD, headers=headers)
    assert report.body["sites"][site["id"]]["couponsRedeemed"] == 1
    report = await call("reportSite", id=site["id"], query=PERIOD, headers=headers)
    assert report.body["vendors"][vendor]["label"] == "Second"
    made = ["member", "vendor", "site", "offer"]
    assert [call.ledger.count(f"{what}_created") for what in made] == [1, 1, 1, 1]
    assert (call.ledger.count("offer_assigned"), call.ledger.count("site_admin_set")) == (2, 1)
    assert not call.ledger.invalid_calls


async def test_what_belongs_to_another_member_is_refused(call: Caller) -> None:
    await call("createMember", json={"email": "b@example.org", "password": "p"})
    login = await call("login", json={"email": "b@example.org", "password": "p"})
    headers = {"Authorization": login.body["id"]}
    assert (await call("createVendor", id=xerts.MEMBER_ID, json=VENDOR, headers=headers)).status == 401
    assert (await call("createOffer", id=VENDOR_ID, json=OFFER, headers=headers)).status == 401
    assert (await call("reportSite", id=SITE_ID, query=PERIOD, headers=headers)).status == 401
    assert (await call("login", json={"email": "b@example.org", "password": "q"})).status == 401


async def test_an_error_carries_a_stack(call: Caller) -> None:
    error = (await redeem(call, "ZZZZZ")).body["error"]
    assert error["statusCode"] == 404
    assert "/srv/xerts/" in error["stack"]


async def test_credentials_are_wanted_as_the_reference_has_them(call: Caller) -> None:
    call.headers = {}
    assert (await call("serverStatus", headers={"API-Key": "wrong"})).status == 401
    assert not call.ledger.invalid_calls
    assert (await call("serverStatus")).status == 401
    token = (await session(call))["Authorization"]
    for headers in ({}, {"Authorization": "unknown"}, {"Authorization": f"Bearer {token}"}):
        answer = await call("reportVendor", id=VENDOR_ID, query=PERIOD, headers={**KEY, **headers})
        assert answer.status == 401
    assert [each.reason for each in call.ledger.invalid_calls] == [
        "no API-Key header",
        "no Authorization header",
        "Authorization holds more than the token",
    ]


async def test_invalid_calls_are_answered_and_recorded(call: Caller) -> None:
    headers = await session(call)
    missing = await call("createDevice", json={"deviceModel": "T1"})
    assert (missing.status, missing.body["error"]["name"]) == (422, "ValidationError")
    assert (await call("reportVendor", id=VENDOR_ID, headers=headers)).status == 422
    iso = {"from": "2020-01-01"}
    assert (await call("reportVendor", id=VENDOR_ID, query=iso, headers=headers)).status == 422
    assert (await call("createDevice", json={"id": ""})).status == 422
    assert (await call.raw("GET", f"/api/coupons/site/all/device/{DEVICE_ID}", headers=KEY)).status == 404
    assert (await call.raw("POST", "/api/devices", data="{", headers=KEY)).status == 422
    assert [each.operation for each in call.ledger.invalid_calls] == [
        "createDevice",
        "reportVendor",
        "reportVendor",
        "createDevice",
        None,
        "createDevice",
    ]
    assert call.ledger.effects == []


@pytest.mark.parametrize(
    ("switch", "value", "method", "path"),
    [
        ("coupon_paths", "site", "GET", f"/api/coupons/site/all/device/{DEVICE_ID}"),
        ("coupon_paths", "site_devices", "GET", f"/api/coupons/site/{SITE_ID}/devices/{DEVICE_ID}"),
        ("device_paths", "device", "GET", f"/api/device/{DEVICE_ID}/exists"),
        ("device_check", "GET", "GET", f"/api/devices/{DEVICE_ID}"),
        ("device_check", "POST", "POST", f"/api/devices/{DEVICE_ID}"),
        ("site_coupons_method", "POST", "POST", f"/api/sites/{SITE_ID}/coupons"),
    ],
)
async def test_other_spellings_can_be_chosen(switch: str, value: str, method: str, path: str) -> None:
    async with calling("xerts", **{switch: value}) as call:
        assert (await call.raw(method, path, headers=KEY)).status == 200
    async with calling("xerts") as call:
        assert (await call.raw(method, path, headers=KEY)).status == 404


async def test_other_methods_of_management_can_be_chosen() -> None:
    async with calling("xerts", site_admin_method="POST", vendor_offers_path="vendor") as call:
        headers = {**KEY, **await session(call)}
        admin = {"adminId": xerts.MEMBER_ID}
        done = await call.raw("POST", f"/api/sites/{SITE_ID}/admin", json=admin, headers=headers)
        assert done.status == 200
        done = await call.raw("POST", f"/api/vendor/{VENDOR_ID}/offers", json=OFFER, headers=headers)
        assert done.status == 200


async def test_other_forms_of_answers_can_be_chosen() -> None:
    async with calling("xerts", coupon_ids="integer", gps="string", trigger_radius="triggerRadius") as call:
        call.headers = dict(KEY)
        row = (await coupons(call))[0]
        assert isinstance(row["id"], int)
        assert row["redemptionSite"]["gps"]["lat"] == "55.7766"
        issued = await call("createCoupons", siteId=OTHER_SITE_ID, deviceId=DEVICE_ID)
        assert "triggerRadius" in issued.body["results"][0]["triggers"][0]


async def test_token_header_can_be_the_other() -> None:
    async with calling("xerts", token_header="Authentication") as call:
        token = (await session(call))["Authorization"]
        for name, status in (("Authorization", 401), ("Authentication", 200)):
            headers = {**KEY, name: token}
            answer = await call("reportVendor", id=VENDOR_ID, query=PERIOD, headers=headers)
            assert answer.status == status


async def test_reports_come_in_three_forms() -> None:
    bodies = {}
    for form in ("map", "list", "seed"):
        async with calling("xerts", reports=form) as call:
            headers = {**KEY, **await session(call)}
            period = {"from": "01-01-2020", "to": "31-12-2099"}
            answer = await call(
                "reportVendor", id=VENDOR_ID, query=period, headers=headers, checked=form != "seed"
            )
            bodies[form] = answer.body
    assert list(bodies["map"]["sites"].values()) == bodies["list"]["sites"]
    assert bodies["map"]["totalCouponsIssued"] == 2
    assert isinstance(bodies["seed"], str)
    with pytest.raises(ValueError):
        json.loads(bodies["seed"])
    assert f'"{SITE_ID}" : {{' in bodies["seed"]


async def test_devices_can_be_added(call: Caller) -> None:
    call.sandbox.add_customer(id="added", coupons_at=[OTHER_SITE_ID])
    assert len(await coupons(call, "added")) == 1
    with pytest.raises(ValueError, match="no site"):
        call.sandbox.add_customer(id="other", coupons_at=["nowhere"])
