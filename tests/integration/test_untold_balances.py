"""What a card shows whose balance the CRM does not tell: the last one known, and no zero that nobody told.

The points are in a CRM behind a connector; people are in the adapter's own database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapter.checking.findings import of_service
from adapter.errors import Code
from adapter.loyalty.model import OperationKind
from tests.support.recording import Recorder, Told, recording

from .conftest import Adapter, StartAdapter, new_phone

CONNECTOR = """\
connector: 1
name: shop
title: "A CRM of the tests"
doubts: probe
ok: body.ok == 1
outcomes:
  - {when: 'body.err == "GONE"', is: no_such_customer}
  - {when: 'body.err == "NONE"', is: nothing}
check: {steps: [{get: /ping}]}
operations:
  users.find: {unsupported: "no people here"}
  users.get: {unsupported: "no people here"}
  users.register: {unsupported: "no people here"}
  users.update: {unsupported: "no people here"}
  users.set_consents: {unsupported: "no people here"}
  users.list_phones: {unsupported: "no people here"}
  points.account:
    steps: [{get: /account}]
    result: {id: body.id}
  points.balance:
    steps: [{get: /balance}]
    result: {total: body.total}
  points.entries:
    steps: [{get: /entries}]
    rows: body.rows
    result: {amount: row.n, at: row.at}
  points.purchases: {unsupported: "no purchases"}
  points.credit: {unsupported: "at the till alone"}
  coupons: {unsupported: "no coupons"}
"""
GONE, NONE = Told.of(json={"ok": 0, "err": "GONE"}), Told.of(json={"ok": 0, "err": "NONE"})
ODD, PAGE = Told.of(json={"ok": 0, "err": "E77"}), Told.of(text="<html></html>")
SHOWN = {"total": "50", "available": "50", "bonuses": []}
ZERO = {"total": "0", "available": "0", "bonuses": []}


class Shop:
    def __init__(self, crm: Recorder, adapter: Adapter, number: str) -> None:
        self.crm = crm
        self.adapter = adapter
        self.number = number

    def tells(self, told: Told) -> None:
        self.crm.get("/balance").respond_in_turn(told)

    async def bonus(self) -> Any:
        """What the card shows, or the code of the error."""
        answer = await self.adapter.get(f"/v1/card/{self.number}")
        return answer.body["card"]["bonus"] if answer.status == 200 else answer.code

    async def counted(self, cause: str) -> float:
        return self.adapter.service.metrics.counted().untold[cause]

    async def forget(self, days: int = 400) -> None:
        assert self.adapter.service.balances is not None
        await self.adapter.service.balances.close()
        await self.adapter.sql(f"UPDATE koshelek.last_balances SET at = now() - interval '{days} days'")


@pytest.fixture
async def shop(start: StartAdapter, tmp_path: Path) -> AsyncIterator[Shop]:
    file = tmp_path / "shop.yaml"
    file.write_text(CONNECTOR, encoding="utf-8")
    async with recording() as crm:
        crm.get("/ping").respond(json={"ok": 1})
        crm.get("/account").respond(json={"ok": 1, "id": "a1"})
        crm.get("/balance").respond(json={"ok": 1, "total": 50})
        crm.get("/entries").respond(json={"ok": 1, "rows": []})
        points = {"driver": str(file), "base_url": crm.url}
        adapter = await start(crm={"users": {"driver": "postgres"}, "points": points})
        yield Shop(crm, adapter, await adapter.issue(phone=new_phone()))


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        (GONE, "account_unknown"),
        (NONE, "account_unknown"),
        (ODD, "misconfigured"),
        (PAGE, "away"),
        (Told.of(401), "credentials"),
    ],
)
async def test_the_last_balance_known_is_shown_and_the_operator_is_told(
    shop: Shop, told: Told, cause: str
) -> None:
    assert await shop.bonus() == SHOWN
    shop.tells(told)
    with capture_logs() as logs:
        assert [await shop.bonus() for _ in range(3)] == [SHOWN] * 3
    lines = [one for one in logs if one["event"] == "balance_not_told"]
    if cause == "away":  # told when it goes and when it comes back
        assert lines == []
    else:
        (line,) = lines  # once a minute
        assert (line["cause"], line["last_known_is_shown"]) == (cause, True)
        assert line["reason"].startswith("shop: ")
        assert line["remedy"]
    assert await shop.counted(cause) == 3


async def test_a_balance_is_shown_though_its_movements_are_not_told(shop: Shop) -> None:
    """The balance that was just told, and not an older one."""
    assert await shop.bonus() == SHOWN
    shop.tells(Told.of(json={"ok": 1, "total": 70}))
    with capture_logs() as logs:
        for told in (ODD, ODD, PAGE):
            shop.crm.get("/entries").respond_in_turn(told)
            assert await shop.bonus() == {"total": "70", "available": "70", "bonuses": []}
    (line,) = [one for one in logs if one["event"].endswith("_not_told")]
    assert (line["event"], line["cause"], line["more"]) == ("movements_not_told", "misconfigured", 0)


async def test_an_account_that_was_never_seen_is_zero_only_where_that_is_no_loss(shop: Shop) -> None:
    """``nothing``: whoever has no account has nothing. ``no_such_customer``: the CRM gave us that account."""
    shop.tells(NONE)
    assert await shop.bonus() == ZERO
    shop.tells(GONE)
    assert await shop.bonus() == Code.CRM_DOWN
    assert await shop.counted("account_unknown") == 1


async def test_an_account_that_had_nothing_when_it_was_last_told_has_nothing(shop: Shop) -> None:
    """However long ago; but not where the CRM has lost it: it may have got points since."""
    shop.tells(Told.of(json={"ok": 1, "total": 0}))
    assert await shop.bonus() == ZERO
    await shop.forget()
    shop.tells(NONE)
    assert await shop.bonus() == ZERO
    shop.tells(GONE)
    assert await shop.bonus() == Code.CRM_DOWN
    assert await shop.counted("account_unknown") == 1


@pytest.mark.parametrize("told", [GONE, NONE, ODD])
async def test_a_balance_that_is_too_old_to_be_shown_is_no_zero_either(shop: Shop, told: Told) -> None:
    assert await shop.bonus() == SHOWN
    await shop.forget()
    shop.tells(told)
    assert await shop.bonus() == Code.CRM_DOWN


async def test_no_account_is_no_zero_for_somebody_who_had_points(shop: Shop) -> None:
    """The users CRM has lost the person, and nothing tells the account any more."""
    assert await shop.bonus() == SHOWN
    await shop.adapter.sql("UPDATE koshelek.cards SET points_reference = NULL")
    shop.crm.get("/account").respond(json={"ok": 0, "err": "GONE"})
    assert await shop.bonus() == SHOWN
    await shop.forget()
    assert await shop.bonus() == Code.CRM_DOWN
    await shop.adapter.sql("DELETE FROM koshelek.last_balances")
    assert await shop.bonus() == ZERO


async def test_check_says_nothing_of_proof_for_what_the_crm_cannot_do(shop: Shop) -> None:
    service = shop.adapter.service
    found = [one.subject async for one in of_service(service)]
    assert "proof, receipt" not in found
    await service.visibility.not_found(OperationKind.RECEIPT)  # it could once, and what was learnt holds
    assert "proof, receipt" in [one.subject async for one in of_service(service)]
