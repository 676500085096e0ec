"""Voucherify's own client against the stand-in, and our connector's requests beside its.

Needs the extra ``vendors``.
"""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import pytest

from contracts.sandbox import running
from contracts.sandbox import voucherify as stand_in
from crm_backends.connector.calls import Call
from crm_backends.model import Profile
from crm_backends.ports import Deadline, Outcome
from tests.vendors.heard import Heard, both

# To import the client takes long: it builds the models of the whole API.
pytestmark = [
    pytest.mark.programs,
    pytest.mark.filterwarnings("ignore:.*/v1/loyalties.* is deprecated:DeprecationWarning"),
]
PHONE = "+79161234567"
KEY = "KEY0000000000000000000001"
COUPON = "KEY0000000000000000000002"
NUMBER = "2900000000032"


@pytest.fixture(scope="module")
def voucherify() -> Any:
    """The vendor's client; it builds the models of the whole API when it is imported."""
    return pytest.importorskip("voucherify")


def opened(voucherify: Any, base_url: str, token: str = stand_in.APP_TOKEN) -> Any:
    keys = {"X-App-Id": stand_in.APP_ID, "X-App-Token": token}
    return voucherify.ApiClient(voucherify.Configuration(host=base_url, api_key=keys))


def theirs(voucherify: Any, client: Any) -> None:
    """What a shop does with the client: somebody joins, gets a card, five points and a coupon, and moves."""
    people, loyalty = voucherify.CustomersApi(client), voucherify.LoyaltiesApi(client)
    vouchers, campaigns = voucherify.VouchersApi(client), voucherify.CampaignsApi(client)
    given = voucherify.PublicationsApi(client)
    loyalty.get_loyalty_program(stand_in.CAMPAIGN)
    with pytest.raises(voucherify.exceptions.NotFoundException):
        people.get_customer("79161234567")
    whole = {
        "source_id": "79161234567",
        "name": "Анна Петрова",
        "phone": PHONE,
        "birthdate": "1990-05-17",
    }
    made = people.create_customer(voucherify.CustomersCreateRequestBody.from_dict(whole))
    people.get_customer(made.id)
    assert loyalty.list_members(stand_in.CAMPAIGN, limit=10, customer=made.id).vouchers == []
    with pytest.raises(voucherify.exceptions.NotFoundException):
        vouchers.get_voucher(NUMBER)
    campaigns.add_voucher_with_specific_code_to_campaign(
        stand_in.CAMPAIGN, NUMBER, voucherify.CampaignsVouchersCreateRequestBody.from_dict({})
    )
    member = {"voucher": NUMBER, "customer": {"id": made.id}, "source_id": KEY}
    loyalty.add_member(stand_in.CAMPAIGN, voucherify.LoyaltiesMembersCreateRequestBody.from_dict(member))
    (card,) = loyalty.list_members(stand_in.CAMPAIGN, limit=10, customer=made.id).vouchers
    assert (card.code, card.holder_id) == (NUMBER, made.id)
    assert loyalty.get_member(NUMBER).loyalty_card.balance == 0
    points = {"points": 5, "reason": "Purchase", "source_id": KEY}
    loyalty.update_loyalty_card_balance1(
        stand_in.CAMPAIGN, NUMBER, voucherify.LoyaltiesMembersBalanceUpdateRequestBody.from_dict(points)
    )
    assert loyalty.get_member(NUMBER).loyalty_card.balance == 5
    order = voucherify.ParameterOrderListTransactions.MINUS_ID
    (moved,) = loyalty.list_loyalty_card_transactions(NUMBER, limit=100, order=order).data
    assert (moved.details.balance.points, moved.source_id) == (5, KEY)
    assert people.get_customer(made.id).id == made.id
    assert given.list_publications(limit=1, source_id=COUPON).publications == []
    coupon = {"campaign": {"name": "visit", "count": 1}, "customer": {"id": made.id}, "source_id": COUPON}
    body = voucherify.PublicationsCreateRequestBody.from_dict(coupon)
    assert given.create_publication(publications_create_request_body=body).result == "SUCCESS"
    newest = voucherify.ParameterOrderListRedeemables.MINUS_ID
    shown = people.list_customer_redeemables(made.id, limit=100, order=newest).data
    assert [one.voucher_type for one in shown] == ["DISCOUNT_VOUCHER", "LOYALTY_CARD"]
    people.get_customer(made.id)
    town = voucherify.CustomersUpdateRequestBody.from_dict({"address": {"city": "Чухлома"}})
    assert people.update_customer(made.id, town).address.city == "Чухлома"


async def ours(backend: Any) -> None:
    """The same through the connector."""
    soon = Deadline.after(30)
    assert all(finding.ok for finding in await backend.check())
    person = Profile(phone=PHONE, surname="Петрова", first_name="Анна", birth_date=date(1990, 5, 17))
    made = await backend.register(person, idempotency_key=KEY, deadline=soon)
    holder = Call({"customer": made.crm_reference}, KEY, soon).holder
    given = await backend.set_card(
        made.crm_reference, NUMBER, NUMBER, "EAN_13", replaces=None, idempotency_key=KEY, deadline=soon
    )
    assert given.outcome is Outcome.DONE
    account = await backend.points_account(holder, deadline=soon)
    credit = Call({"points": 5}, KEY, soon).credit
    await backend.credit(account, credit, idempotency_key=KEY, deadline=soon)
    await backend.balance(account, deadline=soon)
    assert [one.amount for one in await backend.entries(account, limit=10, deadline=soon)] == [5]
    customer = await backend.coupons_account(holder, deadline=soon)
    await backend.issue(customer, "visit", idempotency_key=COUPON, deadline=soon)
    assert [one.title for one in await backend.offers(customer, deadline=soon)] == ["visit"]
    await backend.update(customer, Profile(locality="Чухлома"), deadline=soon)


def alike(heard: list[Heard]) -> list[Any]:
    """Calls without members of bodies that are nothing, which the client sends."""
    return [(operation, path, query, _told(body or {})) for operation, path, query, body in heard]


def _told(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _told(member) for name, member in value.items() if member is not None}


async def test_the_vendors_client_and_the_connector_ask_the_same(voucherify: Any) -> None:
    def cards_later(stood_in: Any) -> None:
        stood_in.cards_at_once = False

    vendors, connectors = await both(
        "voucherify",
        {"campaign": stand_in.CAMPAIGN, "app_id": stand_in.APP_ID, "app_token": stand_in.APP_TOKEN},
        lambda url: asyncio.to_thread(lambda: theirs(voucherify, opened(voucherify, url))),
        ours,
        prepare=cards_later,
    )
    for one in (vendors, connectors):
        assert one.sandbox.ledger().total("points.credit") == 5
    assert alike(vendors.heard) == alike(connectors.heard)
    assert len(vendors.heard) == 19


async def test_the_vendors_client_reads_the_stand_ins_refusals(voucherify: Any) -> None:
    async with running("voucherify") as sandbox:

        def refused() -> None:
            stranger = voucherify.CustomersApi(opened(voucherify, sandbox.base_url, "wrong"))
            with pytest.raises(voucherify.exceptions.UnauthorizedException):
                stranger.get_customer("cust_101")
            given = voucherify.PublicationsApi(opened(voucherify, sandbox.base_url))
            coupon = {"campaign": {"name": "visit"}, "customer": {"id": "cust_101"}, "source_id": COUPON}
            body = voucherify.PublicationsCreateRequestBody.from_dict(coupon)
            given.create_publication(publications_create_request_body=body)
            with pytest.raises(voucherify.exceptions.BadRequestException, match="duplicate_source_id"):
                given.create_publication(publications_create_request_body=body)

        await asyncio.to_thread(refused)
