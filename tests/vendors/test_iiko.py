"""A client made from iiko's own OpenAPI description against the stand-in, and our requests beside its.

Needs the extra ``vendors``.
"""

from __future__ import annotations

import json
import re
import warnings
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from contracts.sandbox import iiko as stand_in
from contracts.sandbox import running
from crm_backends.connector.calls import Call
from crm_backends.model import Profile
from crm_backends.ports import Deadline
from tests.vendors.heard import Heard, both

PHONE, CARD = "+79161234567", "2900000000001"
HERE = stand_in.ORGANIZATION
_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}")


@pytest.fixture(scope="module")
def iikocloudapi() -> Any:
    """The client."""
    return pytest.importorskip("iikocloudapi")


async def theirs(iikocloudapi: Any, iiko: Any) -> None:
    """What a shop does with the client to register somebody, give a card and five points."""
    guests = iiko.loyalty.customer
    with pytest.raises(iikocloudapi.BadRequest, match="There is no user with phone"):
        await guests.info(body={"type": "phone", "phone": PHONE, "organizationId": HERE})
    made = await guests.create_or_update(
        organization_id=HERE,
        phone=PHONE,
        name="Анна",
        birthday=datetime(1990, 5, 17),  # noqa: DTZ001 - a day
        sex=2,
        should_receive_promo_actions_info=False,
    )
    told = await guests.info(body={"type": "id", "id": made.id, "organizationId": HERE})
    assert (told.name, told.phone, told.cards, told.wallet_balances) == ("Анна", PHONE, [], [])
    with pytest.raises(iikocloudapi.BadRequest, match="There is no user with cardNumber"):
        await guests.info(body={"type": "cardNumber", "cardNumber": CARD, "organizationId": HERE})
    await guests.card.add(customer_id=made.id, card_track=f"B{CARD}", card_number=CARD, organization_id=HERE)
    found = await guests.info(body={"type": "phone", "phone": PHONE, "organizationId": HERE})
    assert [card.number for card in found.cards] == [CARD]
    await guests.info(body={"type": "id", "id": made.id, "organizationId": HERE})
    programmes = await iiko.loyalty.program(organization_id=HERE, without_marketing_campaigns=True)
    (programme,) = [one for one in programmes.programs if one.wallet_id == stand_in.WALLET]
    await guests.program.add(organization_id=HERE, customer_id=made.id, program_id=programme.id)
    await guests.wallet.topup(
        organization_id=HERE,
        customer_id=made.id,
        wallet_id=stand_in.WALLET,
        sum=Decimal(5),
        comment="KEY2 · Purchase",
    )
    told = await guests.info(body={"type": "id", "id": made.id, "organizationId": HERE})
    assert [(one.id, one.balance) for one in told.wallet_balances] == [(stand_in.WALLET, 5)]
    now = datetime.now(UTC)
    pages = [
        await guests.transactions.by_date(
            customer_id=made.id,
            date_from=now - timedelta(days=366),
            date_to=now + timedelta(days=1),
            page_number=number,
            page_size=100,
            organization_id=HERE,
        )
        for number in (0, 1)
    ]
    assert [(one.sum, one.comment) for one in pages[0].transactions] == [(5, "KEY2 · Purchase")]
    assert pages[1].transactions == []


async def ours(backend: Any) -> None:
    """The same through the connector."""
    soon = Deadline.after(10)
    person = Profile(phone=PHONE, first_name="Анна", birth_date=date(1990, 5, 17), sex="f")
    made = await backend.register(person, idempotency_key="KEY1", deadline=soon)
    await backend.set_card(
        made.crm_reference, CARD, f"B{CARD}", "EAN_13", replaces=None, idempotency_key="KEY3", deadline=soon
    )
    account = await backend.points_account(Call({"phone": PHONE}, "KEY2", soon).holder, deadline=soon)
    credit = Call({"points": 5}, "KEY2", soon).credit
    await backend.credit(account, credit, idempotency_key="KEY2", deadline=soon)
    assert (await backend.balance(account, deadline=soon)).total == 5
    assert [one.amount for one in await backend.entries(account, limit=10, deadline=soon)] == [5]


def alike(heard: list[Heard]) -> list[str]:
    """Calls without the moments, which differ."""
    return [
        _DATE.sub(
            lambda found: found[0] if found[0].startswith("1990") else "MOMENT",
            json.dumps([operation, path, query, body], sort_keys=True, ensure_ascii=False, default=str),
        )
        for operation, path, query, body in heard
    ]


@pytest.mark.parametrize("portal", [False, True], ids=["API login", "application"])
async def test_the_client_and_the_connector_ask_the_same(iikocloudapi: Any, portal: bool) -> None:
    async def with_the_client(base_url: str) -> None:
        auth = _auth(iikocloudapi, portal)
        async with iikocloudapi.IikoCloud(auth=auth, base_url=base_url) as client:
            await theirs(iikocloudapi, client)

    given = {"api_key": stand_in.API_KEY, "organization": HERE, "wallet": stand_in.WALLET}
    if portal:
        given |= {"app_id": stand_in.APP_ID, "client_secret": stand_in.CLIENT_SECRET}
    client, connector = await both("iiko", given, with_the_client, ours)
    assert alike(client.heard) == alike(connector.heard)
    assert len(client.heard) == 14


def _auth(iikocloudapi: Any, portal: bool) -> Any:
    if portal:
        return iikocloudapi.AppAuth(stand_in.API_KEY, stand_in.APP_ID, stand_in.CLIENT_SECRET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return iikocloudapi.ApiLoginAuth(stand_in.API_KEY)


async def test_the_client_reads_the_stand_ins_refusals(iikocloudapi: Any) -> None:
    stranger = iikocloudapi.AppAuth(stand_in.API_KEY, stand_in.APP_ID, "wrong")
    async with (
        running("iiko") as sandbox,
        iikocloudapi.IikoCloud(auth=stranger, base_url=sandbox.base_url) as client,
    ):
        with pytest.raises(iikocloudapi.Unauthorized, match="not authorized"):
            await client.loyalty.program(organization_id=HERE)
