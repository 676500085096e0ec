"""The Xerts driver and its commands against a LoopBack, of version 2 and of version 3.

Only what a LoopBack does otherwise than the reference says, or by itself; the rest is the conformance kit's.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from crm_backends.conformance import context
from crm_backends.http import HttpClient
from crm_backends.ports import BackendMisconfigured, Deadline, Outcome, Refusal, Written
from crm_backends.xerts import XertsBackend, XertsSettings
from crm_backends.xerts.commands import make_app
from crm_backends.xerts.existence import Devices

from .. import loopback
from ..loopback import LoopBack

pytestmark = [pytest.mark.programs, pytest.mark.timeout(400)]
"""The first test installs both, where they are not installed yet."""

MOSCOW = ZoneInfo("Europe/Moscow")
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=loopback.VERSIONS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[LoopBack]:
    try:
        async with loopback.running(request.param) as running:
            yield running
    except loopback.Missing as missing:
        pytest.skip(f"no LoopBack: {missing}")


def settings(server: LoopBack, **changes: Any) -> XertsSettings:
    values: dict[str, Any] = {
        "base_url": server.url,
        "api_key": SecretStr(server.key),
        "email": server.email,
        "password": SecretStr(server.password),
        "site": server.site,
        "breaker_pause": 0.1,
    }
    return XertsSettings(**{**values, **changes})


class Stage:
    """An open driver, its server, and the device of a new card."""

    def __init__(self, server: LoopBack, backend: XertsBackend) -> None:
        self.server = server
        self.backend = backend
        self.device = backend.device_of(f"{next(_numbers)}")

    async def issue(self) -> Written:
        return await self.backend.issue(self.device, "visit", idempotency_key="r", deadline=Deadline.after(5))

    async def redeem(self, code: str) -> Written:
        return await self.backend.redeem(self.device, code, idempotency_key="r", deadline=Deadline.after(5))

    async def bad_findings(self) -> list[tuple[str, str]]:
        return [(f.subject, f.remedy) for f in await self.backend.check() if not f.ok]


@asynccontextmanager
async def staged(server: LoopBack, **changes: Any) -> AsyncIterator[Stage]:
    backend = XertsBackend(settings(server, **changes), context())
    await backend.open()
    try:
        yield Stage(server, backend)
    finally:
        await backend.close()


# -- coupons -------------------------------------------------------------------------------------------


async def test_a_holder_gets_sees_and_uses_a_coupon(server: LoopBack) -> None:
    async with staged(server) as stage:
        assert (await stage.issue()).outcome is Outcome.DONE
        (offer,) = await stage.backend.offers(stage.device, deadline=Deadline.after(5))
        assert offer.code is not None
        used = await stage.redeem(offer.code)
        assert used == Written.done(offer.offer_id, message="Pie of the day")  # the reply has no offer
        assert await stage.redeem(offer.code) == Written.refused(Refusal.CODE_USED)
        assert await stage.redeem("ZZZZZ") == Written.refused(Refusal.CODE_UNKNOWN)


async def test_the_listed_coupons_tell_why_a_code_is_not_taken(server: LoopBack) -> None:
    async with staged(server, redeem_site="default") as stage:
        assert await stage.redeem("ZZZZZ") == Written.refused(Refusal.CODE_UNKNOWN)
        elsewhere = await server.seen("coupon", device=stage.device)
        with pytest.raises(BackendMisconfigured, match="redeem_site"):
            await stage.redeem(elsewhere["code"])


async def test_nothing_is_said_of_the_type_of_a_body_that_there_is_none_of(server: LoopBack) -> None:
    async with staged(server) as stage:
        await stage.issue()
        coupon = await server.seen("coupon", device=stage.device)
        await stage.redeem(coupon["code"])
        calls = [call for call in await server.seen("calls") if stage.device in call["path"]]
    assert {call["method"] for call in calls} == {"GET", "POST", "PUT"}
    assert [call for call in calls if "content-type" in call["headers"]] == []


async def test_a_redemption_in_doubt_may_be_sent_again(server: LoopBack) -> None:
    async with staged(server) as stage:
        assert "coupons.redeem" in stage.backend.harmless_again
        coupon = await server.seen("coupon", device=stage.device)
        assert (await stage.redeem(coupon["code"])).outcome is Outcome.DONE
        (before,) = [
            one for one in (await server.seen("models"))["Coupon"] if one["deviceId"] == stage.device
        ]
        assert (await stage.redeem(coupon["code"])).outcome is Outcome.REFUSED
        (after,) = [one for one in (await server.seen("models"))["Coupon"] if one["deviceId"] == stage.device]
        assert after == before


# -- what is wrong in the settings ---------------------------------------------------------------------


async def test_a_wrong_site_is_for_the_operator(server: LoopBack) -> None:
    async with staged(server, occasions={"visit": "no-such-site"}) as stage:
        with pytest.raises(BackendMisconfigured, match=r"correct occasions\.visit"):
            await stage.issue()
        assert await stage.bad_findings() == [
            ("occasions.visit", "correct occasions.visit; ask the vendor for the id")
        ]


@pytest.mark.parametrize("version", loopback.VERSIONS)
async def test_a_server_that_does_not_tell_its_sites_is_said_to(version: str) -> None:
    try:
        async with (
            loopback.running(version, "closed") as server,
            staged(server, site="no-such-site") as stage,
        ):
            findings = {finding.subject: finding for finding in await stage.backend.check()}
    except loopback.Missing as missing:
        pytest.skip(f"no LoopBack: {missing}")
    assert findings["site"].ok
    assert "this server does not tell whether the site exists" in findings["site"].detail


@pytest.mark.parametrize(
    ("wrong", "subject"),
    [
        ({"coupon_paths": "site"}, "API key"),
        ({"device_check": "POST"}, "device call"),
        ({"device_paths": "device"}, "device call"),
    ],
)
async def test_a_wrong_path_is_for_the_operator(
    server: LoopBack, wrong: dict[str, str], subject: str
) -> None:
    async with staged(server, **wrong) as stage:
        ((found, remedy),) = await stage.bad_findings()
        assert found == subject
        assert next(iter(wrong)) in remedy
        with pytest.raises(BackendMisconfigured) as caught:
            await (stage.redeem("ABCDE") if subject == "API key" else stage.issue())
        assert stage.device not in str(caught.value)


async def test_a_server_without_the_calls_is_for_the_operator_and_refuses_nobody(server: LoopBack) -> None:
    async with staged(
        server, base_url=f"{server.url}/api", redeem_site="default", create_devices="by_issue"
    ) as stage:
        for call in (stage.issue(), stage.redeem("ABCDE")):
            with pytest.raises(BackendMisconfigured, match=r"has no call that .* compare base_url"):
                await call


async def test_check_finds_all_well_and_tries_every_kind_of_call(server: LoopBack) -> None:
    async with staged(server) as stage:
        assert await stage.bad_findings() == []
        subjects = [finding.subject for finding in await stage.backend.check()]
        assert subjects == ["API key", "site", "device call", "code call", "login"]
    async with staged(server, promo="activate") as stage:
        assert await stage.bad_findings() == []


# -- devices -------------------------------------------------------------------------------------------


async def test_five_first_issues_at_once_make_one_device(server: LoopBack) -> None:
    async with staged(server, breaker_failures=1) as stage:
        ends = await asyncio.gather(*(stage.issue() for _ in range(5)))
        assert {end.outcome for end in ends} == {Outcome.DONE}
        assert not stage.backend.paused
        devices = [one["id"] for one in (await server.seen("models"))["Device"]]
        assert devices.count(stage.device) == 1
        calls = [call["path"] for call in await server.seen("calls") if call["method"] == "GET"]
        assert f"/api/devices/{stage.device}/exists" in calls


async def test_a_device_that_is_taken_will_do(server: LoopBack) -> None:
    chosen = settings(server, breaker_failures=1)
    http = HttpClient("xerts", chosen, chosen.key())
    await http.open()
    for _ in range(2):
        await Devices(http, chosen).create("taken", Deadline.after(5))
    assert not http.paused
    await http.close()
    calls = [call for call in await server.seen("calls") if call["path"] == "/api/devices"]
    assert calls[-1]["status"] == {"2": 500, "3": 409}[server.version]


# -- commands ------------------------------------------------------------------------------------------


async def run(server: LoopBack, *args: str, status: int = 0) -> str:
    """Standard output of a command; of one that fails, standard error."""
    app = make_app(lambda config: (settings(server), MOSCOW))
    result = await asyncio.to_thread(lambda: CliRunner().invoke(app, list(args)))
    assert result.exit_code == status, result.output
    return (result.stderr if status else result.stdout).strip()


async def new_offer(server: LoopBack) -> str:
    return await run(
        server, "offer", "create", server.vendor, "--title", "Cup", "--description", "Of tea",
        "--image", "https://example.org/tea.png",
    )  # fmt: skip


async def test_the_last_day_of_an_offer_ends_in_the_zone_of_the_programme(server: LoopBack) -> None:
    offer = await new_offer(server)
    days = ("--starts", "2099-11-01", "--expires", "2099-11-26")
    attached = await run(server, "offer", "attach", offer, server.site, "--cost", "1", "--limit", "0", *days)
    (held,) = [one for one in (await server.seen("models"))["SiteOffer"] if one["id"] == attached]
    assert held["instanceStartIssueOn"] == "2099-10-31T21:00:00.000Z"
    assert held["instanceExpiresOn"] == "2099-11-26T20:59:59.999Z"


async def test_a_second_attachment_on_other_terms_is_told(server: LoopBack) -> None:
    attach = ("offer", "attach", await new_offer(server), server.site, "--limit", "0", "--cost")
    attached = await run(server, *attach, "1", "--expires", "2099-11-26")
    assert await run(server, *attach, "1", "--expires", "2099-11-26") == attached
    told = await run(server, *attach, "1", "--expires", "2099-11-27", status=1)
    assert "with another instanceExpiresOn; nothing was changed" in told
    told = await run(server, *attach, "5", "--total-cost", "7", status=1)
    assert "with another instanceCost, totalCost; nothing was changed" in told
    (held,) = [one for one in (await server.seen("models"))["SiteOffer"] if one["id"] == attached]
    assert (held["instanceCost"], held["instanceExpiresOn"]) == (1, "2099-11-26T20:59:59.999Z")


async def test_no_offer_is_attached_to_a_site_that_there_is_none_of(server: LoopBack) -> None:
    attach = ("offer", "attach", await new_offer(server), "nowhere", "--limit", "1", "--cost", "1")
    assert "there is no such site; nothing was changed" in await run(server, *attach, status=1)
    assert "there is no such site" in await run(server, "coupons", "list", "nowhere", status=1)
    held = (await server.seen("models"))["SiteOffer"]
    assert [one for one in held if one["siteId"] == "nowhere"] == []


async def test_a_programme_is_set_up_by_commands(server: LoopBack) -> None:
    mail = f"staff{next(_numbers)}@example.org"
    member = await run(server, "member", "create", "--email", mail, "--password", "secret", "--site-owner")
    vendor = await run(
        server, "vendor", "create", "--name", "Tea", "--address", "1 St", "--zipcode", "1", "--city", "Omsk",
        "--country", "Russia", "--description", "Tea house",
    )  # fmt: skip
    site = await run(server, "site", "create", vendor, "--title", "Kiosk", "--lat", "55.5", "--lng=-3")
    assert await run(server, "site", "admin", site, member) == site
    offer = await new_offer(server)
    await run(server, "offer", "attach", offer, site, "--cost", "0.12", "--limit", "10")
    async with staged(server, site=site) as stage:
        assert (await stage.issue()).outcome is Outcome.DONE
    assert "Cup" in await run(server, "coupons", "list", site)
    period = ("--from", "2020-01-01", "--to", "2099-01-01")
    assert (await run(server, "report", "vendor", vendor, *period)).splitlines()[2].startswith("Kiosk")
    assert (await run(server, "report", "site", site, *period)).splitlines()[2].startswith("Tea")
    wrong = ("member", "create", "--email", mail, "--password", "secret")
    assert "finds a value wrong" in await run(server, *wrong, status=1)
