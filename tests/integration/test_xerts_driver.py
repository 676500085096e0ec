"""The Xerts driver and its commands against the sandbox, whose ledger is the judge."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from contracts.sandbox import Sandbox, running, xerts
from contracts.sandbox.faults import FaultKind
from contracts.sandbox.xerts import Xerts
from crm_backends.conformance import ZONE, context
from crm_backends.model import Holder, Profile
from crm_backends.ports import Deadline, Outcome, Refusal, Written
from crm_backends.xerts import XertsBackend, XertsSettings
from crm_backends.xerts.commands import make_app
from crm_backends.xerts.management import Campaign, Management, NewMember, NewOffer
from crm_backends.xerts.replies import XertsCoupon

MOSCOW = ZoneInfo("Europe/Moscow")
HOLDER = Holder(card_number="2900000000017", users_reference="17", profile=Profile())


def settings(sandbox: Sandbox, **changes: Any) -> XertsSettings:
    values: dict[str, Any] = {
        "base_url": sandbox.base_url,
        "api_key": SecretStr(xerts.API_KEY),
        "email": xerts.EMAIL,
        "password": SecretStr(xerts.PASSWORD),
        "site": xerts.OTHER_SITE_ID,  # which has one offer
        "breaker_pause": 0.1,
    }
    return XertsSettings(**{**values, **changes})


class Stage:
    """An open driver, its sandbox, and one holder's device."""

    def __init__(self, sandbox: Sandbox, backend: XertsBackend) -> None:
        self.sandbox = sandbox
        self.backend = backend
        self.device = backend.device_of(HOLDER.card_number)

    @property
    def crm(self) -> Xerts:
        assert isinstance(self.sandbox.stand_in, Xerts)
        return self.sandbox.stand_in

    def effects(self, kind: str) -> int:
        return self.sandbox.ledger().count(kind)

    async def issue(self, seconds: float = 5) -> Written:
        return await self.backend.issue(
            self.device, "visit", idempotency_key="r", deadline=Deadline.after(seconds)
        )

    async def coupon(self) -> XertsCoupon:
        assert (await self.issue()).outcome is Outcome.DONE
        return (await self.backend.coupons(self.device, deadline=Deadline.after(5)))[-1]

    async def redeem(self, code: str, seconds: float = 5) -> Written:
        return await self.backend.redeem(
            self.device, code, idempotency_key="r", deadline=Deadline.after(seconds)
        )

    async def reconcile(self, code: str, since: datetime) -> Written:
        return await self.backend.reconcile_redeem(
            self.device, code, idempotency_key="r", since=since, deadline=Deadline.after(5)
        )


@asynccontextmanager
async def staged(switches: dict[str, Any] | None = None, **changes: Any) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(running("xerts", **(switches or {})))
        backend = XertsBackend(settings(sandbox, **changes), context())
        await backend.open()
        stack.push_async_callback(backend.close)
        yield Stage(sandbox, backend)
        assert sandbox.ledger().invalid_calls == []


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as standing:
        yield standing


# -- coupons -------------------------------------------------------------------------------------------


async def test_a_holder_gets_sees_and_uses_a_coupon(stage: Stage) -> None:
    account = await stage.backend.coupons_account(HOLDER, deadline=Deadline.after(5))
    assert account == stage.device
    assert await stage.backend.offers(stage.device, deadline=Deadline.after(5)) == []
    coupon = await stage.coupon()
    (offer,) = await stage.backend.offers(stage.device, deadline=Deadline.after(5))
    assert (offer.offer_id, offer.title, offer.code) == (coupon.reference, "Pie of the day", coupon.code)
    assert offer.valid_until == coupon.expires_at
    place, later = coupon.triggers
    assert place.radius == 300
    assert later.minutes_after_trigger == 120
    assert (await stage.redeem(coupon.code.lower())).crm_reference == coupon.reference
    assert await stage.backend.offers(stage.device, deadline=Deadline.after(5)) == []
    assert await stage.redeem(coupon.code) == Written.refused(Refusal.CODE_USED)
    assert stage.effects("device_created") == stage.effects("coupon_issued") == 1
    assert stage.effects("coupon_redeemed") == 1


async def test_the_code_of_another_device_is_unknown(stage: Stage) -> None:
    assert await stage.redeem(xerts.OPEN_CODE) == Written.refused(Refusal.CODE_UNKNOWN)
    assert stage.effects("coupon_redeemed") == 0


@pytest.mark.parametrize("create", ["ahead", "by_issue"])
async def test_five_first_issues_at_once_make_one_device(create: str) -> None:
    async with staged(create_devices=create) as stage:
        ends = await asyncio.gather(*(stage.issue() for _ in range(5)))
        assert {end.outcome for end in ends} == {Outcome.DONE}
        assert stage.effects("device_created") == 1
        assert stage.effects("coupon_issued") == 5


async def test_a_site_that_has_nothing_more_gives_nothing() -> None:
    async with staged({"issue_again": False}) as stage:
        assert (await stage.issue()).crm_reference is not None
        assert await stage.issue() == Written.done()


@pytest.mark.parametrize(
    "spelling",
    [
        {"coupon_paths": "site", "device_paths": "device", "device_check": "GET"},
        {"coupon_paths": "site_devices", "device_paths": "device", "device_check": "POST"},
    ],
)
@pytest.mark.parametrize("ids", ["uuid", "integer"])
async def test_every_spelling_of_the_reference(spelling: dict[str, str], ids: str) -> None:
    forms = {"coupon_ids": ids, "gps": "string", "trigger_radius": "triggerRadius"}
    async with staged({**spelling, **forms}, **spelling) as stage:
        coupon = await stage.coupon()
        assert coupon.triggers[0].radius == 300
        assert coupon.site is not None
        assert coupon.site.gps is not None
        assert coupon.site.gps.lat == Decimal("55.7298")
        assert (await stage.redeem(coupon.code)).outcome is Outcome.DONE
        assert [finding for finding in await stage.backend.check() if not finding.ok] == []


async def test_an_activation_shows_the_coupon_and_does_not_redeem_it() -> None:
    async with staged(promo="activate") as stage:
        coupon = await stage.coupon()
        since = datetime.now(UTC)
        assert (await stage.redeem(coupon.code)).outcome is Outcome.DONE
        assert (stage.effects("coupon_activated"), stage.effects("coupon_redeemed")) == (1, 0)
        assert await stage.reconcile(coupon.code, since) == Written.unknown()


# -- faults --------------------------------------------------------------------------------------------

FAULTS: list[tuple[FaultKind, Outcome, int]] = [
    ("hang_up_before", Outcome.UNKNOWN, 0),
    ("hang_up_after", Outcome.UNKNOWN, 1),
    ("error_before", Outcome.UNKNOWN, 0),
    ("error_after", Outcome.UNKNOWN, 1),
    ("garbage", Outcome.UNKNOWN, 1),
    ("too_many", Outcome.NOT_SENT, 0),
]


@pytest.mark.parametrize(("fault", "outcome", "happened"), FAULTS)
async def test_a_redemption_that_goes_wrong(
    stage: Stage, fault: FaultKind, outcome: Outcome, happened: int
) -> None:
    coupon, since = await stage.coupon(), datetime.now(UTC)
    stage.sandbox.fault(fault, "redeemCoupon", status=503)
    assert (await stage.redeem(coupon.code)).outcome is outcome
    assert stage.sandbox.ledger().calls["redeemCoupon"] == 1
    assert stage.effects("coupon_redeemed") == happened
    reconciled = await stage.reconcile(coupon.code, since)
    assert reconciled.outcome is (Outcome.DONE if happened else Outcome.NOT_SENT)
    if not happened:
        assert (await stage.redeem(coupon.code)).outcome is Outcome.DONE
    assert stage.effects("coupon_redeemed") == 1


@pytest.mark.parametrize(("fault", "outcome", "happened"), FAULTS)
async def test_an_issue_that_goes_wrong(
    stage: Stage, fault: FaultKind, outcome: Outcome, happened: int
) -> None:
    stage.sandbox.fault(fault, "createCoupons", status=503)
    assert (await stage.issue()).outcome is outcome
    assert stage.sandbox.ledger().calls["createCoupons"] == 1
    assert stage.effects("coupon_issued") == happened


@pytest.mark.parametrize("fault", [fault for fault, _, _ in FAULTS])
async def test_a_device_that_is_in_doubt_holds_the_issue_back(fault: FaultKind) -> None:
    async with staged(attempts=1) as stage:
        stage.sandbox.fault(fault, "createDevice", status=503)
        assert await stage.issue() == Written.not_sent()
        assert stage.effects("coupon_issued") == 0
        assert (await stage.issue()).outcome is Outcome.DONE
        assert stage.effects("device_created") == 1
        assert stage.effects("coupon_issued") == 1


@pytest.mark.parametrize("fault", [fault for fault, _, _ in FAULTS if fault != "garbage"])
async def test_the_creation_of_a_device_is_tried_again_as_it_does_no_harm(
    stage: Stage, fault: FaultKind
) -> None:
    stage.sandbox.fault(fault, "createDevice", status=503)
    assert (await stage.issue()).outcome is Outcome.DONE
    assert stage.effects("device_created") == 1
    assert stage.effects("coupon_issued") == 1


async def test_a_late_redemption_is_in_doubt_and_settled(stage: Stage) -> None:
    coupon, since = await stage.coupon(), datetime.now(UTC)
    stage.sandbox.fault("late", "redeemCoupon", seconds=0.6)
    assert await stage.redeem(coupon.code, seconds=0.3) == Written.unknown()
    assert (await stage.reconcile(coupon.code, since)).outcome is Outcome.DONE
    assert stage.effects("coupon_redeemed") == 1


async def test_a_coupon_redeemed_before_may_be_a_matter_of_clocks(stage: Stage) -> None:
    coupon = await stage.coupon()
    assert (await stage.redeem(coupon.code)).outcome is Outcome.DONE
    since = datetime.now(UTC) + timedelta(minutes=1)
    assert await stage.reconcile(coupon.code, since) == Written.unknown()
    assert await stage.reconcile("NOSUC", since) == Written.unknown()


# -- check ---------------------------------------------------------------------------------------------


async def bad_findings(**changes: Any) -> list[tuple[str, str]]:
    async with staged(**changes) as stage:
        return [(f.subject, f.remedy) for f in await stage.backend.check() if not f.ok]


async def test_check_names_what_is_wrong() -> None:
    ((subject, remedy),) = await bad_findings(occasions={"visit": "no-such-site"})
    assert subject == "occasions.visit"
    assert "correct occasions.visit" in remedy
    ((subject, remedy),) = await bad_findings(site="no-such-site")
    assert subject == "site"
    ((subject, remedy),) = await bad_findings(password=SecretStr("wrong"))
    assert subject == "login"
    assert "password" in remedy
    ((subject, remedy),) = await bad_findings(api_key=SecretStr("wrong"))
    assert subject == "API key"
    assert "api_key" in remedy


# -- the session ---------------------------------------------------------------------------------------


async def test_one_login_serves_all_calls_and_an_expired_one_is_renewed() -> None:
    async with running("xerts") as sandbox:
        async with Management(settings(sandbox), ZONE) as manager:
            offer = NewOffer("Bun", "Second free", "green", "white", "https://example.org/1.png")
            for _ in range(2):
                await manager.create_offer(xerts.VENDOR_ID, offer)
            assert sandbox.ledger().tokens_issued["session"] == 1
            sandbox.fault("expire_token", "createOffer")
            await manager.create_offer(xerts.VENDOR_ID, offer)
        assert sandbox.ledger().tokens_issued["session"] == 2
        assert sandbox.ledger().count("offer_created") == 3
        assert sandbox.ledger().invalid_calls == []


async def test_coupons_need_no_login(stage: Stage) -> None:
    await stage.redeem((await stage.coupon()).code)
    assert stage.sandbox.ledger().tokens_issued["session"] == 0


async def test_a_programme_from_nothing_to_a_coupon() -> None:
    forms: dict[str, Any] = {
        "gps": "string",
        "token_header": "Authentication",
        "trigger_radius": "triggerRadius",
    }
    paths: dict[str, Any] = {
        "site_admin_method": "POST",
        "vendor_offers_path": "vendor",
        "site_coupons_method": "POST",
    }
    async with running("xerts", **forms, **paths) as sandbox:
        async with Management(settings(sandbox, **forms, **paths), ZONE) as manager:
            admin = await manager.create_member(NewMember("staff@example.org", "secret"))
            site = await manager.create_site(xerts.VENDOR_ID, "Kiosk")
            assert await manager.set_site_admin(site, admin) == site
            offer = NewOffer("Tea", "A cup", "green", "white", "https://example.org/tea.png")
            made = await manager.create_offer(xerts.VENDOR_ID, offer)
            place = {"id": "near", "triggerLocation": {"lat": 1, "lng": 2}, "triggerLocationRadius": 9}
            await manager.attach_offer(made, site, Campaign(Decimal("0.1"), 10, triggers=[place]))
            backend = XertsBackend(settings(sandbox, site=site), context())
            await backend.open()
            device = backend.device_of("1")
            written = await backend.issue(device, "visit", idempotency_key="r", deadline=Deadline.after(5))
            await backend.close()
            (coupon,) = await manager.site_coupons(site)
        assert written.crm_reference == coupon.reference
        assert coupon.device == device
        assert coupon.triggers[0].raw == {
            "id": "near",
            "triggerLocation": place["triggerLocation"],
            "triggerRadius": 9,
        }
        assert sandbox.ledger().invalid_calls == []


# -- commands ------------------------------------------------------------------------------------------

Run = Callable[..., Any]


@asynccontextmanager
async def commanded(
    switches: dict[str, Any] | None = None, **changes: Any
) -> AsyncIterator[tuple[Sandbox, Run]]:
    async with running("xerts", **(switches or {})) as sandbox:
        app = make_app(lambda config: (settings(sandbox, **changes), MOSCOW))

        async def run(*args: str, status: int = 0) -> str:
            """Standard output of a command; of one that fails, standard error."""
            result = await asyncio.to_thread(lambda: CliRunner().invoke(app, list(args)))
            assert result.exit_code == status, result.output
            return result.stderr if status else result.stdout

        yield sandbox, run


async def test_a_programme_is_set_up_by_commands(tmp_path: Path) -> None:
    triggers = tmp_path / "triggers.json"
    triggers.write_text(json.dumps([{"id": "1", "triggerAfterMinutes": 5}]))
    async with commanded() as (sandbox, run):
        crm = sandbox.stand_in
        assert isinstance(crm, Xerts)
        member = (
            await run("member", "create", "--email", "s@example.org", "--password", "secret", "--site-owner")
        ).strip()
        assert crm.members[member]["siteOwner"] is True
        vendor = (
            await run(
                "vendor", "create", "--name", "Tea", "--address", "1 St", "--zipcode", "1", "--city", "Omsk",
                "--country", "Russia", "--description", "Tea house",
            )
        ).strip()  # fmt: skip
        assert crm.vendors[vendor]["ownerId"] == xerts.MEMBER_ID
        site = (await run("site", "create", vendor, "--title", "Kiosk", "--lat", "55,5", "--lng=-3")).strip()
        assert crm.sites[site]["gps"] == {"lat": Decimal("55.5"), "lng": -3}
        assert (await run("site", "admin", site, member)).strip() == site
        assert crm.sites[site]["adminId"] == member
        offer = (
            await run(
                "offer", "create", vendor, "--title", "Cup", "--description", "A cup of tea",
                "--image", "https://example.org/tea.png",
            )
        ).strip()  # fmt: skip
        attached = (
            await run(
                "offer", "attach", offer, site, "--cost", "0.12", "--limit", "1000",
                "--expires", "2099-05-26", "--coupon-days", "3", "--triggers", str(triggers),
            )
        ).strip()  # fmt: skip
        (site_offer,) = [there for there in crm.site_offers if there.id == attached]
        assert site_offer.fields["totalCost"] == 120
        assert site_offer.fields["instanceExpiresOn"] == "2099-05-26T20:59:59.999Z"
        assert site_offer.fields["triggers"] == [{"id": "1", "triggerAfterMinutes": 5}]
        again = ("offer", "attach", offer, site, "--limit", "1000", "--expires", "26.05.2099", "--cost")
        assert (await run(*again, "0.12")).strip() == attached
        told = await run(*again, "5", status=1)
        assert f"({attached}), with another instanceCost, totalCost; nothing was changed" in told
        assert await run("coupons", "list", site) == (
            "code  offer  issued  expires  redeemed  device\n----  -----  ------  -------  --------  ------\n"
        )
        assert sandbox.ledger().invalid_calls == []


async def test_coupons_of_a_site_as_a_table_and_as_csv() -> None:
    async with commanded() as (_, run):
        table = (await run("coupons", "list", xerts.SITE_ID)).splitlines()
        assert len(table) == 4
        assert table[2].startswith(f"{xerts.REDEEMED_CODE}  Second bun free")
        (head, row) = csv.reader(
            io.StringIO(await run("coupons", "list", xerts.SITE_ID, "--open", "--csv", "-"))
        )
        assert head == ["code", "offer", "issued", "expires", "redeemed", "device"]
        assert row[0] == xerts.OPEN_CODE
        assert row[4:] == ["", xerts.DEVICE_ID]


@pytest.mark.parametrize("form", ["map", "list", "seed"])
async def test_reports_as_a_table_and_as_csv(tmp_path: Path, form: str) -> None:
    today = datetime.now(UTC).date()
    period = ("--from", f"{today - timedelta(days=1)}", "--to", f"{today + timedelta(days=1):%d-%m-%Y}")
    async with commanded({"reports": form}) as (_, run):
        table = (await run("report", "vendor", xerts.VENDOR_ID, *period)).splitlines()
        assert [line.split()[-4:-1] for line in table[2:4]] == [["2", "2", "1"], ["1", "0", "0"]]
        assert table[0].split() == ["site", "active", "offers", "issued", "redeemed", "id"]
        assert table[-1].split() == ["total", "2", "1"]
        file = tmp_path / "report.csv"
        assert await run("report", "site", xerts.SITE_ID, *period, "--csv", str(file)) == ""
        assert list(csv.reader(io.StringIO(file.read_text()))) == [
            ["vendor", "active offers", "issued", "redeemed", "id"],
            ["Sandbox Bakery", "2", "2", "1", xerts.VENDOR_ID],
        ]


async def test_what_a_crm_calls_something_steers_no_terminal_and_no_spreadsheet() -> None:
    async with commanded() as (sandbox, run):
        crm = sandbox.stand_in
        assert isinstance(crm, Xerts)
        crm.vendors[xerts.VENDOR_ID]["vendorName"] = "=1+1\x1b[2J"
        command = ("report", "site", xerts.SITE_ID, "--from", "2016-07-28")
        assert "\x1b" not in await run(*command)
        rows = list(csv.reader(io.StringIO(await run(*command, "--csv", "-"))))
        assert rows[1][0].startswith("'=")


async def test_a_mistake_is_one_sentence(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    attach = ("offer", "attach", "o", "s", "--limit", "1", "--cost")
    report = ("report", "site", xerts.SITE_ID, "--from")
    wrong = {
        ("coupons", "list", "nowhere"): "there is no such site",
        ("site", "create", "nowhere", "--title", "t"): "knows nothing of that id",
        ("coupons", "list", ".."): "made of dots",
        (*report, "yesterday"): "is not a day",
        (*report, "2026-02-02", "--to", "2026-02-01"): "--to is before --from",
        (*report, "2026-02-02", "--csv", f"{tmp_path}/no/such"): "cannot be written",
        (*attach, "1"): "there is no such site; nothing was changed",
        (*attach, "much"): "--cost is not a number",
        (*attach, "-1"): "--cost is no amount of money",
        (*attach, "1e400"): "--cost is no amount of money",
        (*attach, "1", "--total-cost", "-1"): "--total-cost is no amount of money",
        (*attach, "1", "--issued", "2"): "--issued is more than --limit",
        (*attach, "1", "--starts", "2026-12-10", "--expires", "2026-12-01"): "--expires is before --starts",
        (*attach, "1", "--expires", "9999-12-31"): "is not a day",
        (*attach, "1", "--triggers", str(bad)): "is not JSON",
        (*attach, "1", "--triggers", str(tmp_path / "none")): "cannot be read",
        ("site", "create", "v", "--title", "t", "--lat", "1"): "go together",
        ("site", "create", "v", "--title", "t", "--lat", "91", "--lng", "1"): "within 90 degrees",
    }
    async with commanded() as (sandbox, run):
        for command, text in wrong.items():
            told = await run(*command, status=1)
            assert told.startswith("error: ")
            assert text in told
            assert told.count("\n") == 1
        assert sandbox.ledger().effects == []
        sandbox.fault("error_after", "createSite")
        told = await run("site", "create", xerts.VENDOR_ID, "--title", "t", status=1)
        assert "look before you ask again" in told
        assert sandbox.ledger().count("site_created") == 1


async def test_refused_credentials_and_settings_are_one_sentence() -> None:
    create = ("offer", "create", xerts.VENDOR_ID, "--title", "t", "--description", "d", "--image", "i")
    async with commanded(password=SecretStr("planted")) as (_, run):
        told = await run(*create, status=1)
        assert "see api_key, email and password" in told
        assert "planted" not in told
    async with commanded(email=None, password=None) as (_, run):
        assert "needs a login" in await run(*create, status=1)
    async with commanded(site="planted/../site") as (_, run):
        told = await run("coupons", "list", "s", status=1)
        assert told.startswith("error: site: ")
        assert "planted" not in told


def test_what_the_settings_file_lacks_is_one_sentence() -> None:
    asked: list[Path | None] = []

    def load(config: Path | None) -> tuple[XertsSettings, ZoneInfo]:
        asked.append(config)
        raise LookupError("there is no [crm.coupons] of xerts")

    result = CliRunner().invoke(make_app(load), ["coupons", "list", "s", "--config", "a.toml"])
    assert result.exit_code == 1
    assert result.stderr == "error: there is no [crm.coupons] of xerts\n"
    assert asked == [Path("a.toml")]
