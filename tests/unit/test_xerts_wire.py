"""How what Xerts answers is read; what leaves the client is in ``test_xerts_requests``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

import httpx
import pytest
import respx
from pydantic import SecretStr, ValidationError

from crm_backends.model import Holder, Offer, Profile
from crm_backends.ports import (
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Outcome,
    Refusal,
    RepeatsHarmlessly,
    Written,
)
from crm_backends.registry import BackendContext
from crm_backends.xerts import XertsBackend, management_replies
from crm_backends.xerts.management import (
    Campaign,
    Declined,
    InDoubt,
    Management,
    OtherTerms,
)
from crm_backends.xerts.replies import GeoPoint, Unreadable
from tests.support.xerts import (
    BASE,
    CODE,
    COUPON,
    DEVICE,
    ERROR,
    HEAD,
    KEY,
    LIST,
    LOGIN,
    OFFER,
    OTHER,
    REDEEMED,
    SITE,
    SITE_S,
    ZONE,
    Build,
    Manage,
    settings,
    soon,
)


@pytest.fixture
async def wire() -> AsyncIterator[respx.MockRouter]:
    """Nothing leaves this machine; a call that is not expected fails."""
    async with respx.mock(base_url=BASE, using="httpx", assert_all_called=False) as router:
        yield router


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    built: list[XertsBackend] = []

    def building(**changes: Any) -> XertsBackend:
        context = BackendContext(database_url="", database_pool=None, timezone=ZONE, region="RU")
        built.append(XertsBackend(settings(**changes), context))
        return built[-1]

    yield building
    for backend in built:
        await backend.close()


async def opened(backend: XertsBackend) -> XertsBackend:
    await backend.open()
    return backend


# -- coupons -------------------------------------------------------------------------------------------


async def test_triggers_are_passed_through(wire: respx.MockRouter, build: Build) -> None:
    corner = {"lat": -34.920983, "lng": 138.610821}
    triggers = [
        {"id": "1", "triggerLocation": {"lat": 37, "lng": 20}, "triggerRadius": 30},
        {"id": 2, "timeAfterTrigger": "120", "firesAfter": {"id": "1"}},
        {"id": "3", "triggerOn": "2016-05-30T03:14:18.000Z"},
        {"id": "4", "triggerLocationPoly": [corner, corner], "triggerLocationRadius": 7, "own": "field"},
        {"id": "5", "triggerAfterMinutes": 15},
    ]
    wire.get(f"/api/coupons/sites/all/devices/{DEVICE}").respond(
        json={"results": [{**COUPON, "triggers": triggers}]}
    )
    backend = await opened(build())
    (coupon,) = await backend.coupons(DEVICE, deadline=soon())
    place, chained, timed, area, delayed = coupon.triggers
    assert (place.location, place.radius) == (GeoPoint(Decimal(37), Decimal(20)), Decimal(30))
    assert (chained.reference, chained.minutes_after_trigger) == ("2", Decimal(120))
    assert chained.fires_after == {"id": "1"}
    assert timed.at == datetime(2016, 5, 30, 3, 14, 18, tzinfo=UTC)
    assert len(area.polygon) == 2
    assert (area.radius, area.raw["own"]) == (Decimal(7), "field")
    assert delayed.after_minutes == Decimal(15)
    (offer,) = await backend.offers(DEVICE, deadline=soon())
    assert offer.code == CODE  # it is not for the driver to say whether a trigger has fired


async def test_offers_are_the_coupons_that_can_be_used(wire: respx.MockRouter, build: Build) -> None:
    past = {**COUPON, "id": 7, "expiresOn": "2016-08-09T00:00:41.447Z"}
    bare = {"id": 19, "redeemCode": "B5Z7E", "deviceId": DEVICE, "siteOfferId": "x"}
    rich = {**COUPON, "offer": {**OFFER, "featureImage": "https://i.test/1.png", "url": "http://o.test/"}}
    wire.get(f"/api/coupons/sites/all/devices/{DEVICE}").respond(
        json={"results": [rich, {**REDEEMED, "id": 8}, past, bare]}
    )
    backend = await opened(build())
    assert await backend.offers(DEVICE, deadline=soon()) == [
        Offer(
            offer_id=str(COUPON["id"]),
            title="Pie of the day",
            description="While stocks last",
            code=CODE,
            valid_until=datetime(2099, 8, 9, 0, 0, 41, 447000, tzinfo=UTC),
            image_url="https://i.test/1.png",
            url="http://o.test/",
        ),
        Offer(offer_id="19", title="B5Z7E", code="B5Z7E"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"results": {}},
        {"results": [{"id": 1}]},
        {"results": [{**COUPON, "expiresOn": "soon"}]},
        {"results": [{**COUPON, "triggers": {"id": 1}}]},
        {"results": [{**COUPON, "triggers": [{"id": 1, "triggerLocation": {"lat": 1}}]}]},
        "text",
    ],
)
async def test_an_unreadable_list_is_an_error(wire: respx.MockRouter, build: Build, body: object) -> None:
    wire.get(f"/api/coupons/sites/all/devices/{DEVICE}").respond(json=body)
    with pytest.raises(BackendMisconfigured):
        await (await opened(build())).offers(DEVICE, deadline=soon())


async def test_404_to_a_list_is_an_error_unless_it_means_no_coupons(
    wire: respx.MockRouter, build: Build
) -> None:
    wire.get(f"/api/coupons/sites/all/devices/{DEVICE}").respond(404, json=ERROR)
    with pytest.raises(BackendMisconfigured) as caught:
        await (await opened(build())).offers(DEVICE, deadline=soon())
    assert "planted" not in str(caught.value)
    assert await (await opened(build(no_coupons="404"))).offers(DEVICE, deadline=soon()) == []


async def test_too_many_requests_without_retry_after(wire: respx.MockRouter, build: Build) -> None:
    wire.get(f"/api/coupons/sites/all/devices/{DEVICE}").respond(429, json=ERROR)
    with pytest.raises(BackendUnavailable):
        await (await opened(build())).offers(DEVICE, deadline=soon())


async def test_the_device_is_made_of_the_card_number(build: Build) -> None:
    namespace = UUID("12345678-1234-4234-8234-123456789abc")
    backend = build(device_namespace=namespace)
    holder = Holder(card_number="2900000000001", users_reference="1", profile=Profile())
    account = await backend.coupons_account(holder, deadline=soon())
    assert account == str(uuid5(namespace, "2900000000001"))
    assert account != build().device_of("2900000000001")


# -- issue ---------------------------------------------------------------------------------------------


async def issue(backend: XertsBackend, occasion: str = "visit") -> Written:
    return await backend.issue(DEVICE, occasion, idempotency_key="r", deadline=soon())


async def test_an_occasion_without_a_site_issues_nothing(wire: respx.MockRouter, build: Build) -> None:
    backend = await opened(build(occasions={"visit": OTHER}, any_occasion=False))
    assert await issue(backend, "receipt") == Written.refused()
    assert not wire.calls


NO_ROUTE = {
    "error": {
        "name": "Error",
        "status": 404,
        "message": f'Shared class "Device" has no method handling GET /{DEVICE}',
    }
}
NO_MODEL = {
    "error": {"status": 404, "code": "MODEL_NOT_FOUND", "message": f'Unknown "Device" id "{DEVICE}".'}
}


@pytest.mark.parametrize(
    ("exists", "got", "posted", "known"),
    [
        ({"exists": True}, None, None, True),
        (None, {"id": DEVICE, "deviceModel": "M"}, None, True),
        (None, NO_MODEL, None, False),
        (None, None, {"exists": True}, True),
        (None, {"id": "another"}, {"exists": False}, False),
    ],
)
async def test_the_call_that_tells_devices_is_found_once(
    wire: respx.MockRouter, build: Build, exists: Any, got: Any, posted: Any, known: bool
) -> None:
    def answered(body: Any) -> httpx.Response:
        return httpx.Response(404 if body in (None, NO_MODEL) else 200, json=body or NO_ROUTE)

    path = f"/api/devices/{DEVICE}"
    asked = [
        wire.get(f"{path}/exists").mock(return_value=answered(exists)),
        wire.get(path).mock(return_value=answered(got)),
        wire.post(path).mock(return_value=answered(posted)),
    ]
    created = wire.post("/api/devices").respond(json={"id": DEVICE})
    wire.post(url__startswith=f"{BASE}/api/siteOffers/").respond(json={"results": [COUPON]})
    backend = await opened(build(create_devices="ahead"))
    assert (await issue(backend)).outcome is Outcome.DONE
    assert created.called is not known
    before = [route.call_count for route in asked]
    again = wire.get(url__regex="/api/devices/D2").respond(json={"exists": True})
    if not got and not posted:
        await backend.issue("D2", "visit", idempotency_key="r", deadline=soon())
        assert again.call_count == 1
    assert [route.call_count for route in asked] == before


async def test_a_server_that_tells_no_devices_is_for_the_operator(
    wire: respx.MockRouter, build: Build
) -> None:
    wire.route(url__startswith=f"{BASE}/api/devices/").respond(404, json=NO_ROUTE)
    with pytest.raises(BackendMisconfigured, match="device_check") as caught:
        await issue(await opened(build(create_devices="ahead")))
    assert DEVICE not in str(caught.value)
    wire.route(url__startswith=f"{BASE}/api/devices/").respond(401, json=ERROR)
    assert await issue(await opened(build(create_devices="ahead"))) == Written.not_sent()


@pytest.mark.parametrize("status", [500, 409, 422])  # what a LoopBack says of an id that is taken
async def test_a_device_that_another_call_has_created_meanwhile_is_enough(
    wire: respx.MockRouter, build: Build, status: int
) -> None:
    known = wire.get(f"/api/devices/{DEVICE}/exists").mock(
        side_effect=[httpx.Response(200, json={"exists": exists}) for exists in (False, True)]
    )
    created = wire.post("/api/devices").respond(status, json=ERROR)
    wire.post(f"/api/siteOffers/{SITE}/device/{DEVICE}").respond(json={"results": [COUPON]})
    backend = await opened(build(create_devices="ahead", breaker_failures=1))
    assert (await issue(backend)).outcome is Outcome.DONE
    assert not backend.paused
    assert (known.call_count, created.call_count) == (2, 1)


@pytest.mark.parametrize(("status", "body"), [(404, NO_ROUTE), (409, ERROR), (422, ERROR)])
async def test_a_server_that_creates_no_devices_is_for_the_operator(
    wire: respx.MockRouter, build: Build, status: int, body: object
) -> None:
    wire.get(f"/api/devices/{DEVICE}/exists").respond(json={"exists": False})
    wire.post("/api/devices").respond(status, json=body)
    with pytest.raises(BackendMisconfigured, match="create") as caught:
        await issue(await opened(build(create_devices="ahead")))
    assert "planted" not in str(caught.value)


async def test_without_a_certain_device_no_issue_is_sent(wire: respx.MockRouter, build: Build) -> None:
    wire.get(f"/api/devices/{DEVICE}/exists").respond(json={"exists": False})
    failures = [httpx.Response(500), httpx.Response(429), httpx.Response(503)]
    wire.post("/api/devices").mock(side_effect=failures)
    backend = await opened(build(create_devices="ahead"))
    for _ in failures:
        assert await issue(backend) == Written.not_sent()


@pytest.mark.parametrize(
    ("response", "written"),
    [
        (httpx.Response(422, json=ERROR), Written.refused()),
        (httpx.Response(401, json=ERROR), Written.not_sent()),
        (httpx.Response(429, json=ERROR), Written.not_sent()),
        (httpx.Response(500, json=ERROR), Written.unknown()),
        (httpx.Response(200, text="<html>"), Written.unknown()),
        (httpx.Response(200, json={"ok": True}), Written.unknown()),
    ],
)
async def test_how_an_issue_ends(
    wire: respx.MockRouter, build: Build, response: httpx.Response, written: Written
) -> None:
    wire.post(f"/api/siteOffers/{SITE}/device/{DEVICE}").mock(return_value=response)
    assert await issue(await opened(build())) == written


async def test_a_site_that_issues_nothing_is_for_the_operator(wire: respx.MockRouter, build: Build) -> None:
    wire.post(f"/api/siteOffers/{SITE}/device/{DEVICE}").respond(404, json=ERROR)
    wire.post(f"/api/siteOffers/{OTHER}/device/{DEVICE}").respond(404, json=ERROR)
    backend = await opened(build(occasions={"visit": OTHER}))
    for occasion, setting in (("receipt", "site"), ("visit", "occasions.visit")):
        with pytest.raises(BackendMisconfigured, match=f"the site in {setting} is unknown") as caught:
            await issue(backend, occasion)
        assert "planted" not in str(caught.value)
        assert DEVICE not in str(caught.value)


LACKING = [
    httpx.Response(405, json=ERROR),
    httpx.Response(406, json=ERROR),
    httpx.Response(404, json=NO_ROUTE),
    httpx.Response(404, json={"error": {"message": f"There is no method to handle PUT /planted/{CODE}"}}),
    httpx.Response(404, json={"error": {"message": "Не найден метод для POST /planted"}}),
    httpx.Response(404, text="<html>planted</html>"),
    httpx.Response(404, json={"message": "planted: no Route matched with those values"}),
]
"""Answers that say that there is no such call."""


@pytest.mark.parametrize("response", LACKING)
async def test_a_call_that_there_is_none_of_is_for_the_operator(
    wire: respx.MockRouter, build: Build, response: httpx.Response
) -> None:
    wire.route().mock(return_value=response)
    backend = await opened(build(redeem_site="default", no_coupons="404"))
    for call in (issue(backend), redeem(backend), backend.coupons(DEVICE, deadline=soon())):
        with pytest.raises(BackendMisconfigured, match="has no call that") as caught:
            await call
        for private in ("planted", DEVICE, CODE):
            assert private not in str(caught.value)
    assert len(wire.calls) == 3


# -- codes ---------------------------------------------------------------------------------------------


async def redeem(backend: XertsBackend, code: str = CODE) -> Written:
    return await backend.redeem(DEVICE, code, idempotency_key="r", deadline=soon())


@pytest.mark.parametrize("code", ["NO-SUCH", "", "../..", "ABC/1", "\u0410BCDE"])
async def test_what_is_no_code_is_not_asked_for(wire: respx.MockRouter, build: Build, code: str) -> None:
    assert await redeem(await opened(build()), code) == Written.refused(Refusal.CODE_UNKNOWN)
    assert not wire.calls


@pytest.mark.parametrize(
    ("response", "written"),
    [
        (httpx.Response(410, json=ERROR), Written.refused(Refusal.CODE_EXPIRED)),
        (httpx.Response(422, json=ERROR), Written.refused()),
        (httpx.Response(418, json=ERROR), Written.refused()),
        (httpx.Response(401, json=ERROR), Written.not_sent()),
        (httpx.Response(403, json=ERROR), Written.not_sent()),
        (httpx.Response(503, json=ERROR), Written.unknown()),
        (httpx.Response(200, text=""), Written.unknown()),
        (httpx.Response(200, json={"results": COUPON}), Written.unknown()),  # no redeemedOn
        (httpx.Response(200, json={"results": {**REDEEMED, "redeemCode": "OTHER"}}), Written.unknown()),
    ],
)
async def test_how_a_redemption_ends(
    wire: respx.MockRouter, build: Build, response: httpx.Response, written: Written
) -> None:
    wire.put(f"/api/coupons/sites/{SITE}/devices/{DEVICE}/redeem/{CODE}").mock(return_value=response)
    assert await redeem(await opened(build(redeem_site="default"))) == written


@pytest.mark.parametrize(
    ("coupons", "written"),
    [
        ([REDEEMED], Written.refused(Refusal.CODE_USED)),
        ([{**COUPON, "expiresOn": "2016-08-09T00:00:41.447Z"}], Written.refused(Refusal.CODE_EXPIRED)),
        ([{**COUPON, "redeemCode": "OTHER"}], Written.refused(Refusal.CODE_UNKNOWN)),
        (None, Written.not_sent()),  # nothing was done, and why is asked again
    ],
)
async def test_the_list_tells_what_404_means(
    wire: respx.MockRouter, build: Build, coupons: object, written: Written
) -> None:
    wire.put(f"/api/coupons/sites/{SITE}/devices/{DEVICE}/redeem/{CODE}").respond(404, json=ERROR)
    wire.get(LIST).respond(500 if coupons is None else 200, json={"results": coupons})
    assert await redeem(await opened(build(redeem_site="default"))) == written


async def test_404_to_the_code_of_an_open_coupon_is_for_the_operator(
    wire: respx.MockRouter, build: Build
) -> None:
    wire.put(f"/api/coupons/sites/{SITE}/devices/{DEVICE}/redeem/{CODE}").respond(404, json=ERROR)
    wire.get(LIST).respond(json={"results": [COUPON]})
    with pytest.raises(BackendMisconfigured, match="redeem_site") as caught:
        await redeem(await opened(build(redeem_site="default")))
    for private in ("planted", DEVICE, CODE):
        assert private not in str(caught.value)


async def test_the_title_is_the_listed_one_where_the_reply_has_no_offer(
    wire: respx.MockRouter, build: Build
) -> None:
    wire.get(LIST).respond(json={"results": [COUPON]})
    bare = {name: value for name, value in REDEEMED.items() if name not in ("offer", "redemptionSite")}
    wire.put(f"/api/coupons/sites/{OTHER}/devices/{DEVICE}/redeem/{CODE}").respond(json={"results": bare})
    written = await redeem(await opened(build()))
    assert written == Written.done(str(COUPON["id"]), message="Pie of the day")


def test_a_redemption_may_be_repeated_and_an_activation_may_not(build: Build) -> None:
    assert isinstance(build(), RepeatsHarmlessly)
    assert build().harmless_again == {"coupons.redeem"}
    assert build(promo="activate").harmless_again == frozenset()


SINCE = datetime(2016, 8, 2, 1, 28, 10, tzinfo=UTC)  # two seconds after REDEEMED was


async def settle(backend: XertsBackend, since: datetime = SINCE) -> Written:
    return await backend.reconcile_redeem(DEVICE, CODE, idempotency_key="r", since=since, deadline=soon())


@pytest.mark.parametrize(
    ("coupons", "since", "outcome"),
    [
        ([REDEEMED], SINCE, Outcome.DONE),  # within the tolerance of five seconds
        ([REDEEMED], SINCE + timedelta(seconds=4), Outcome.UNKNOWN),  # or their clock is behind
        ([COUPON], SINCE, Outcome.NOT_SENT),
        ([COUPON, REDEEMED], SINCE + timedelta(seconds=4), Outcome.UNKNOWN),
        ([], SINCE, Outcome.UNKNOWN),
        ([COUPON, REDEEMED], SINCE, Outcome.DONE),
    ],
)
async def test_a_doubt_is_settled_by_redeemed_on(
    wire: respx.MockRouter, build: Build, coupons: object, since: datetime, outcome: Outcome
) -> None:
    wire.get(LIST).respond(json={"results": coupons})
    assert (await settle(await opened(build()), since)).outcome is outcome


async def test_a_use_that_was_carried_out_late_is_ours(wire: respx.MockRouter, build: Build) -> None:
    """Sent, in doubt, not redeemed when it was looked for, so sent again; meanwhile the first was done."""
    late = {**REDEEMED, "redeemedOn": datetime.now(UTC).isoformat()}
    listed = [[COUPON], [COUPON], [late], [late]]
    wire.get(LIST).mock(side_effect=[httpx.Response(200, json={"results": one}) for one in listed])
    used = wire.put(f"/api/coupons/sites/{OTHER}/devices/{DEVICE}/redeem/{CODE}").respond(503, json=ERROR)
    backend = await opened(build())
    since = datetime.now(UTC)
    assert (await redeem(backend)).outcome is Outcome.UNKNOWN
    assert (await settle(backend, since)).outcome is Outcome.NOT_SENT
    assert await redeem(backend) == Written.done(str(COUPON["id"]), message="Pie of the day")
    another = await backend.redeem(DEVICE, CODE, idempotency_key="other", deadline=soon())
    assert another == Written.refused(Refusal.CODE_USED)
    assert used.call_count == 1


async def test_every_end_but_done_says_why_without_names(wire: respx.MockRouter, build: Build) -> None:
    wire.get(LIST).respond(json={"results": [REDEEMED]})
    wire.put(url__startswith=f"{BASE}/api/coupons/").mock(
        side_effect=[httpx.Response(status, json=ERROR) for status in (503, 404, 422, 410, 401, 429, 200)]
    )
    wire.post(url__startswith=f"{BASE}/api/siteOffers/").mock(
        side_effect=[httpx.Response(status, json=ERROR) for status in (503, 422, 401, 200)]
    )
    backend = await opened(build(redeem_site="default"))
    ends = [await redeem(backend) for _ in range(7)] + [await redeem(backend, "?")]
    ends += [await issue(backend) for _ in range(4)]
    ends += [await issue(await opened(build(any_occasion=False)))]
    ends += [await settle(backend, datetime.now(UTC)), await settle(build(promo="activate"))]
    for end in ends:
        assert end.outcome is not Outcome.DONE
        assert end.reason is not None
        assert end.reason.startswith("xerts: ")
        for private in ("planted", DEVICE, CODE, KEY):
            assert private not in end.reason


# -- management ----------------------------------------------------------------------------------------


@pytest.fixture
async def login(wire: respx.MockRouter) -> respx.Route:
    return wire.post("/api/members/login").respond(json=LOGIN)


@pytest.fixture
def manage(login: respx.Route) -> Manage:
    def managing(**changes: Any) -> Management:
        values = {"email": "me@example.org", "password": SecretStr("secret"), **changes}
        return Management(settings(**values), ZONE)

    return managing


TERMS = {
    "instanceCost": 0.12,
    "instanceLimit": 1010,
    "instanceIssues": 1,
    "totalCost": 121.19999999999999,
    "instanceExpiresOn": "2017-05-26T20:59:59.000Z",
    "triggers": [{"id": "t", "timeAfterTrigger": "120", "of": "their own"}],
}


@pytest.mark.parametrize(
    ("there", "differing"),
    [
        (TERMS, ""),
        ({}, ""),
        ({**TERMS, "instanceExpiresOn": "2017-05-26"}, ""),
        ({**TERMS, "instanceExpiresOn": "2017-05-26T23:59:59.999+03:00", "couponExpiresAfterDays": 3}, ""),
        ({**TERMS, "instanceCost": 5, "totalCost": 15}, "instanceCost, totalCost"),
        ({**TERMS, "instanceLimit": 1000}, "instanceLimit"),
        ({**TERMS, "instanceExpiresOn": "2017-05-26T00:00:00.000Z"}, "instanceExpiresOn"),
        ({**TERMS, "instanceExpiresOn": "planted"}, "instanceExpiresOn"),
        ({**TERMS, "triggers": []}, "triggers"),
        ({**TERMS, "triggers": [{"id": "t", "timeAfterTrigger": 90}]}, "triggers"),
    ],
)
async def test_an_offer_that_is_attached_already_is_told(
    wire: respx.MockRouter, manage: Manage, there: dict[str, Any], differing: str
) -> None:
    wire.get(SITE_S).respond(json={"exists": True})
    wire.put("/api/offers/o/sites/rel/s").respond(json={"id": "so", "offerId": "o", "siteId": "s", **there})
    campaign = Campaign(
        cost=Decimal("0.12"),
        limit=1010,
        last_day=date(2017, 5, 26),
        triggers=[{"id": "t", "timeAfterTrigger": 120}],
    )
    async with manage() as xerts:
        if not differing:
            assert await xerts.attach_offer("o", "s", campaign) == "so"
            return
        with pytest.raises(
            OtherTerms, match=rf"\(so\), with another {differing}; nothing was changed"
        ) as caught:
            await xerts.attach_offer("o", "s", campaign)
        assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ('{"a": [1, [2, "x"], {"b": []}]}', '{"a": [1, [2, "x"], {"b": []}]}'),
        ('["a": {"b": ["c": 1,],},]', '{"a": {"b": {"c": 1}}}'),
        (r'"[\"k\": \\\" {,]"', r'"[\"k\": \\\" {,]"'),
        ('["a": 1}', '{"a": 1}'),
        ('{"a" 1]', '{"a" 1]'),
        ('"open', '"open'),
        ("]}", "]}"),
        ("", ""),
    ],
)
def test_only_what_is_known_to_be_wrong_is_mended(text: str, mended: str) -> None:
    assert management_replies.mended(text) == mended


@pytest.mark.parametrize(
    "body", ["{", "[" * 100_000, {"totalCouponsIssued": "many"}, {**HEAD, "sites": 1}, []]
)
def test_what_is_no_report_is_unreadable(body: object) -> None:
    with pytest.raises(Unreadable):
        management_replies.report(body, "sites")


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx.Response(404, json=ERROR), Declined),
        (httpx.Response(422, json=ERROR), Declined),
        (httpx.Response(500, json=ERROR), InDoubt),
        (httpx.Response(200, json={}), InDoubt),
        (httpx.Response(200, text="<html>"), InDoubt),
        (httpx.Response(429, json=ERROR), BackendUnavailable),
    ],
)
async def test_how_making_something_fails(
    wire: respx.MockRouter, manage: Manage, response: httpx.Response, error: type[BackendError]
) -> None:
    route = wire.post("/api/vendors/v/sites").mock(return_value=response)
    async with manage() as xerts:
        with pytest.raises(error) as caught:
            await xerts.create_site("v", "Shop")
    assert "planted" not in str(caught.value)
    assert route.call_count == 1


@pytest.mark.parametrize("identifier", ["..", ".", ""])
async def test_an_id_leads_to_no_other_call(wire: respx.MockRouter, manage: Manage, identifier: str) -> None:
    async with manage() as xerts:
        with pytest.raises(BackendMisconfigured):
            await xerts.site_coupons(identifier)
    assert not wire.calls


def test_settings_say_what_is_wrong_with_them() -> None:
    with pytest.raises(ValidationError, match="email and password go together"):
        settings(email="me@example.org")
    with pytest.raises(ValidationError, match="is not a regular expression"):
        settings(code_pattern="(")
    with pytest.raises(ValidationError, match="site"):
        settings(site="../x")
