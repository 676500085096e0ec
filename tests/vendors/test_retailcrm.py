"""RetailCRM's own client against the stand-in, and our connector's requests beside its.

Needs the extra ``vendors``.
"""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import Any

import pytest

from contracts.sandbox import retailcrm as stand_in
from contracts.sandbox import running
from crm_backends.connector.calls import Call
from crm_backends.model import Profile
from crm_backends.ports import Deadline
from tests.vendors.heard import Recording, both

PHONE = "+79161234567"


@pytest.fixture(scope="module")
def retailcrm() -> Any:
    """The vendor's client."""
    return pytest.importorskip("retailcrm")


def theirs(client: Any, key: str) -> None:
    """What a shop does with the vendor's client to register somebody and give five points."""
    assert not client.loyalty_accounts({"phoneNumber": "79161234567"}).get_response()["loyaltyAccounts"]
    assert client.customer(key, site=stand_in.SITE).get_status_code() == 404
    customer = {
        "externalId": key,
        "firstName": "Анна",
        "phones": [{"number": PHONE}],
        "birthday": "1990-05-17",
        "sex": "female",
    }
    made = client.customer_create(customer, stand_in.SITE).get_response()
    account = {"phoneNumber": "79161234567", "customer": {"id": made["id"]}}
    opened = client.loyalty_account_create(stand_in.SITE, account).get_response()["loyaltyAccount"]
    assert client.loyalty_account_activate(opened["id"]).get_response()["loyaltyAccount"]["active"]
    assert client.loyalty_account_bonus_credit(opened["id"], 5, None, None, "Purchase KEY").is_successful()
    assert client.loyalty_account(opened["id"]).get_response()["loyaltyAccount"]["amount"] == 5
    history = client.loyalty_account_bonus_operations(opened["id"], {}).get_response()
    assert [row["amount"] for row in history["bonusOperations"]] == [5]


async def ours(backend: Any, key: str) -> None:
    """The same through the connector."""
    soon = Deadline.after(10)
    person = Profile(phone=PHONE, first_name="Анна", birth_date=date(1990, 5, 17), sex="f")
    made = await backend.register(person, idempotency_key=key, deadline=soon)
    holder = Call({"customer": made.crm_reference}, key, soon).holder
    account = await backend.points_account(holder, deadline=soon)
    credit = Call({"points": 5}, key, soon).credit
    await backend.credit(account, credit, idempotency_key="KEY", deadline=soon)
    await backend.balance(account, deadline=soon)
    assert [one.amount for one in await backend.entries(account, limit=10, deadline=soon)] == [5]


def alike(recording: Recording) -> list[str]:
    """Calls without what may differ: the CRM's numbers, the first page, the default kind of identifier."""
    stood_in: Any = recording.sandbox.stand_in
    (member,) = (one for one in stood_in.shop.members.values() if one.key == "KEY1")
    numbers = {str(member.more["account"]): "ACCOUNT", str(member.id): "CUSTOMER"}
    left_out = {"page": "1", "by": "externalId"}
    found = []
    for operation, path, query, body in recording.heard:
        plain = {name: value for name, value in query.items() if left_out.get(name) != value}
        text = json.dumps([operation, path, plain, body], sort_keys=True, ensure_ascii=False, default=str)
        for number, name in numbers.items():
            text = text.replace(f'"{number}"', name).replace(f": {number}", f": {name}")
        found.append(text)
    # To find an account of a customer is ours alone: the client's user has just made it.
    return [call for call in found if "filter[customerId]" not in call]


async def test_the_vendors_client_and_the_connector_ask_the_same(retailcrm: Any) -> None:
    vendors, connectors = await both(
        "retailcrm",
        {"api_key": stand_in.API_KEY, "site": stand_in.SITE},
        lambda url: asyncio.to_thread(theirs, retailcrm.v5(url, stand_in.API_KEY), "KEY1"),
        lambda backend: ours(backend, "KEY1"),
    )
    assert alike(vendors) == alike(connectors)
    assert len(alike(vendors)) == 8


async def test_the_vendors_client_reads_the_stand_ins_refusals(retailcrm: Any) -> None:
    async with running("retailcrm") as sandbox:

        def refused() -> None:
            stranger = retailcrm.v5(sandbox.base_url, "wrong")
            answer = stranger.loyalty_accounts({})
            assert (answer.get_status_code(), answer.is_successful()) == (403, False)
            assert answer.get_error_msg() == 'Wrong "apiKey" value.'
            client = retailcrm.v5(sandbox.base_url, stand_in.API_KEY)
            assert client.loyalty_account(1).get_error_msg() == "Not found"

        await asyncio.to_thread(refused)
