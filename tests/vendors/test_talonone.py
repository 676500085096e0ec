"""Talon.One's own client against the stand-in, and our connector's requests beside its.

Needs the extra ``vendors``.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts.sandbox import running
from contracts.sandbox import talonone as stand_in
from crm_backends.connector.calls import Call
from crm_backends.ports import Deadline, Outcome
from tests.vendors.heard import both

# To import the client takes long: it builds the models of the whole API.
pytestmark = pytest.mark.programs

KEY = "KEY0000000000000000000001"
CUSTOMER = "c1"


@pytest.fixture(scope="module")
def talon_one() -> Any:
    """The vendor's client; it builds the models of the whole API when it is imported."""
    return pytest.importorskip("talon_one")


def opened(talon_one: Any, base_url: str, key: str = stand_in.API_KEY) -> Any:
    configuration = talon_one.Configuration(
        host=base_url, api_key_prefix={"api_key_v1": "ApiKey-v1"}, api_key={"api_key_v1": key}
    )
    return talon_one.IntegrationApi(talon_one.ApiClient(configuration))


def theirs(talon_one: Any, client: Any) -> None:
    """What a shop does with the vendor's client: a purchase that is paid for, then its points."""
    item = talon_one.CartItem(name="Purchase", sku="purchase", quantity=1, price=1250)
    session = talon_one.NewCustomerSessionV2(
        profileId=CUSTOMER, state="closed", cartItems=[item], attributes={stand_in.POINTS_ATTRIBUTE: 5}
    )
    request = talon_one.IntegrationRequest(customerSession=session, responseContent=["customerSession"])
    state = client.update_customer_session_v2(KEY, request)
    assert state.customer_session.state == "closed"
    assert [(one.effect_type, one.props["value"]) for one in state.effects] == [("addLoyaltyPoints", 5)]
    kept = client.get_customer_session(KEY)
    assert (kept.customer_session.profile_id, kept.customer_session.total) == (CUSTOMER, 1250)
    assert client.get_loyalty_balances(stand_in.PROGRAM, CUSTOMER).balance.active_points == 5
    history = client.get_loyalty_program_profile_transactions(
        stand_in.PROGRAM, CUSTOMER, page_size=50, skip=0
    )
    assert [(one.type, one.amount) for one in history.data] == [("addition", 5)]


async def ours(backend: Any) -> None:
    """The same through the connector."""
    soon = Deadline.after(30)
    credit = Call({"points": 5, "receipt": {"total_kopecks": 125000}}, KEY, soon).credit
    done = await backend.credit(CUSTOMER, credit, idempotency_key=KEY, deadline=soon)
    assert (done.outcome, done.points) == (Outcome.DONE, 5)
    found = await backend.reconcile_credit(
        CUSTOMER, credit, idempotency_key=KEY, since=None, before=None, deadline=soon
    )
    assert (found.outcome, found.points) == (Outcome.DONE, 5)
    assert (await backend.balance(CUSTOMER, deadline=soon)).total == 5
    assert [one.amount for one in await backend.entries(CUSTOMER, limit=10, deadline=soon)] == [5]


async def test_the_vendors_client_and_the_connector_ask_the_same(talon_one: Any) -> None:
    vendors, connectors = await both(
        "talonone",
        {
            "api_key": stand_in.API_KEY,
            "program": stand_in.PROGRAM,
            "points_attribute": stand_in.POINTS_ATTRIBUTE,
        },
        lambda url: asyncio.to_thread(theirs, talon_one, opened(talon_one, url)),
        ours,
    )
    for one in (vendors, connectors):
        assert one.sandbox.ledger().count("points.credit", reference=KEY) == 1
    assert vendors.heard == connectors.heard
    assert len(vendors.heard) == 4


async def test_the_vendors_client_reads_the_stand_ins_refusals(talon_one: Any) -> None:
    async with running("talonone") as sandbox:

        def refused() -> None:
            errors = talon_one.exceptions
            with pytest.raises(errors.UnauthorizedException):
                opened(talon_one, sandbox.base_url, "wrong").get_loyalty_balances(stand_in.PROGRAM, CUSTOMER)
            with pytest.raises(errors.NotFoundException):
                opened(talon_one, sandbox.base_url).get_loyalty_balances(stand_in.PROGRAM, "nobody")
            session = talon_one.NewCustomerSessionV2(profileId=CUSTOMER, state="closed")
            request = talon_one.IntegrationRequest(customerSession=session)
            client = opened(talon_one, sandbox.base_url)
            client.update_customer_session_v2(KEY, request)
            with pytest.raises(errors.BadRequestException):
                client.update_customer_session_v2(KEY, request)

        await asyncio.to_thread(refused)
