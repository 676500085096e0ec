"""A published client of Mindbox against the stand-in, and what our connector asks.

``mindbox-sdk`` 1.0.3 wants pydantic 1, so it is in no extra: beside this project's packages it works when
installed alone (``pip install --no-deps mindbox-sdk``).
"""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import pytest

from contracts.sandbox import mindbox as stand_in
from contracts.sandbox import running
from crm_backends.connector.calls import Call
from crm_backends.model import ChannelConsents, Profile
from crm_backends.ports import Deadline, Outcome
from tests.vendors.heard import both

PHONE = "+79161234567"
KEY = "KEY0000000000000000000001"
NUMBER = "2900000000017"


@pytest.fixture(scope="module")
def client() -> Any:
    """The client's module."""
    return pytest.importorskip("mindbox.client")


def client_of(client: Any, base_url: str, patch: pytest.MonkeyPatch) -> Any:
    base = pytest.importorskip("mindbox.services.base").BaseMindboxAPIService
    patch.setattr(base, "BASE_URI", f"{base_url}/v3/")
    return client.MindboxClient(stand_in.ENDPOINT, stand_in.SECRET_KEY).operations


def theirs(operations: Any) -> None:
    """What a shop does with the client: somebody joins, gets a card and five points, wants no mail."""

    def called(name: str, **payload: Any) -> Any:
        told = operations.process_operation(f"Koshelek.{name}", **payload)
        assert told["status"] == "Success"
        return told

    by_phone = {"mobilePhone": PHONE[1:]}
    assert called("GetCustomer", customer=by_phone)["customer"]["processingStatus"] == "NotFound"
    person = {"firstName": "Анна", "lastName": "Петрова", "birthDate": "1990-05-17"}
    made = operations.register_client("Koshelek.RegisterCustomer", customer={**by_phone, **person})
    assert (made.status, made.validation_messages) == ("Success", [])
    found = operations.get_client("Koshelek.GetCustomer", customer=by_phone)["customer"]
    assert (found["processingStatus"], found["firstName"]) == ("Found", "Анна")
    customer = {"ids": found["ids"]}
    card = {"ids": {"number": NUMBER}}
    assert called("GetDiscountCard", discountCard=card)["discountCard"]["processingStatus"] == "Found"
    bound = called("BindDiscountCard", customer=customer, discountCard=card)
    assert bound["discountCard"]["processingStatus"] == "Bound"
    (one,) = called("GetCustomerDiscountCards", customer=customer)["discountCards"]
    assert one["ids"]["number"] == NUMBER
    gift = {"changeAmount": 5, "comment": f"{KEY} Purchase"}
    called("ChangeCustomerBalance", customer=customer, balanceChanges=[gift])
    (balance,) = called("GetCustomerPoints", customer=customer)["balances"]
    assert (balance["available"], balance["systemName"]) == (5, stand_in.BALANCE)
    history = called(
        "GetCustomerBalanceHistory", customer=customer, page={"pageNumber": 1, "itemsPerPage": 500}
    )
    ((change,),) = (action["customerBalanceChanges"] for action in history["customerActions"])
    assert (change["changeAmount"], change["comment"]) == (5, gift["comment"])
    operations.update_client("Koshelek.EditCustomer", customer={**customer, "firstName": "Аглая"})
    wants = [{"pointOfContact": "Email", "isSubscribed": False}]
    called("SubscribeCustomer", customer={**customer, "subscriptions": wants})


async def ours(backend: Any) -> None:
    """The same through the connector."""
    soon = Deadline.after(30)
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
    assert (await backend.balance(account, deadline=soon)).available == 5
    assert [one.amount for one in await backend.entries(account, limit=10, deadline=soon)] == [5]
    await backend.update(made.crm_reference, Profile(first_name="Аглая"), deadline=soon)
    wants = ChannelConsents(allow=frozenset(), deny=frozenset({"email"}))
    await backend.set_consents(made.crm_reference, wants, deadline=soon)


async def test_the_client_and_the_connector_ask_the_same(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = await both(
        "mindbox",
        {"endpoint": stand_in.ENDPOINT, "secret_key": stand_in.SECRET_KEY, "balance": stand_in.BALANCE},
        lambda url: asyncio.to_thread(theirs, client_of(client, url, monkeypatch)),
        ours,
    )
    assert [one.sandbox.ledger().total("points.credit") for one in recordings] == [5, 5]
    # The connector asks for a customer and the customer's cards before a write, more often than a shop would.
    asked = [one.heard for one in recordings]
    writes = [[call for call in calls if not call[0].startswith("get_")] for calls in asked]
    assert writes[0] == writes[1]
    assert len(writes[0]) == 5
    assert all(call in asked[1] for call in asked[0])


async def test_the_client_reads_the_stand_ins_refusals(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running("mindbox") as sandbox:
        operations = client_of(client, sandbox.base_url, monkeypatch)

        def refused() -> None:
            made = operations.register_client("Koshelek.RegisterCustomer", customer={"firstName": "Анна"})
            assert (made.status, made.validation_messages[0].location) == (
                "ValidationError",
                "/customer/mobilePhone",
            )
            operations.client.headers["Authorization"] = "SecretKey no-such-key"
            told = operations.process_operation("Koshelek.GetCustomer", customer={"ids": {"mindboxId": 101}})
            assert told["status"] == "ProtocolError"

        await asyncio.to_thread(refused)
