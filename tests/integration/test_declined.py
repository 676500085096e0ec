"""Operations that a partner's database does not do: declined by a line in a file, and told so."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.commands.check.person import Walk
from adapter.errors import Code
from crm_backends.ports import Support
from crm_backends.postgres.operations import SQL_OPERATIONS

from .conftest import StartAdapter

DECLINED = "-- Our CRM has no such thing.\n-- unsupported: the till gives points, nobody else\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of SQL files in which some operations are declined; the others are our own."""
    for name in (
        "points_credit",
        "coupons_redeem",
        "users_register",
        "users_set_consents",
        "points_purchases",
        "points_entries",
        "coupons_issue",
    ):
        (tmp_path / f"{name}.sql").write_text(DECLINED, encoding="utf-8")
    return tmp_path


async def test_what_is_declined_is_not_supported_and_the_rest_goes_on(
    folder: Path, start: StartAdapter
) -> None:
    adapter = await start(
        crm={"driver": "postgres", "sql_dir": folder, "manage_schema": True},
        coupons={"card_occasion": "welcome"},
    )
    await adapter.sql("INSERT INTO crm.customers (phone) VALUES ('+79161112233')")
    card = await adapter.issue(phone="79161112233")
    assert (await adapter.get(f"/v1/card/{card}")).body["card"]["bonus"]["bonuses"] == []
    assert (await adapter.get(f"/v1/card/{card}/purchases", startDate="2026-01-01")).body == []
    for path, body in (
        ("/v1/promo/qrCode", {"cardNumber": card, "qrCode": adapter.qr()}),
        ("/v1/promo/code", {"cardNumber": card, "code": "WELCOME"}),
        ("/v1/card/anonymous", {"phone": "79161112244"}),
    ):
        assert (await adapter.post(path, body)).code == Code.NOT_SUPPORTED
    consents = await adapter.call("PUT", f"/v1/card/{card}/communication", {"allow": ["sms"], "deny": []})
    assert consents.status == 200  # kept here
    # Nothing waits for ever; that the CRM is told of the card is another matter.
    assert await adapter.sql("SELECT count(*) FROM koshelek.operations WHERE kind <> 'card'") == 0


async def test_the_driver_and_check_tell_why(folder: Path, start: StartAdapter) -> None:
    adapter = await start(crm={"driver": "postgres", "sql_dir": folder, "manage_schema": True})
    (backend,) = adapter.service.backends
    told = backend.capabilities["points.credit"]
    assert (told.support, told.note) == (Support.NOT_IMPLEMENTED, "the till gives points, nobody else")
    found = {finding.subject: finding for finding in await backend.check()}
    assert found["points_credit.sql"].ok
    assert found["points_credit.sql"].detail == "declined: the till gives points, nobody else"
    assert (
        found["statements"].detail
        == f"{len(SQL_OPERATIONS) - 7} of {len(SQL_OPERATIONS) - 7} fit and may be executed"
    )


async def test_a_balance_that_is_declined_is_zero_for_koshelek_and_a_warning_for_us(
    tmp_path: Path, start: StartAdapter
) -> None:
    """The contract has no card without a balance; nobody has to take the zero for the truth."""
    (tmp_path / "points_balance.sql").write_text(DECLINED, encoding="utf-8")
    adapter = await start(crm={"driver": "postgres", "sql_dir": tmp_path, "manage_schema": True})
    await adapter.sql("INSERT INTO crm.customers (phone) VALUES ('+79161112233')")
    card = await adapter.issue(phone="79161112233")
    assert (await adapter.get(f"/v1/card/{card}")).body["card"]["bonus"]["total"] == "0"
    (backend,) = adapter.service.backends
    (said,) = [one for one in await backend.check() if one.subject == "points_balance.sql"]
    assert (said.ok, said.warning) == (True, True)
    assert "a balance of 0" in said.remedy
    told = {one.subject: one for one in await Walk(adapter.service, "79161112233", lists=False).run()}
    assert told["balance"].warning
    assert "the card would show a balance of 0" in told["balance"].detail


@pytest.mark.parametrize("name", ["users_find", "users_get", "points_account"])
async def test_what_everything_depends_on_cannot_be_declined(
    name: str, tmp_path: Path, start: StartAdapter
) -> None:
    (tmp_path / f"{name}.sql").write_text("--unsupported:\n", encoding="utf-8")
    with pytest.raises(Exception, match="cannot be declined: nobody could be found without it"):
        await start(crm={"driver": "postgres", "sql_dir": tmp_path, "manage_schema": True})
