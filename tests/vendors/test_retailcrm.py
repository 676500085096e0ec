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
from crm_backends import registry
from crm_backends.conformance import context
from crm_backends.connector.calls import Call
from crm_backends.model import Profile
from crm_backends.ports import Deadline
from tests.vendors.heard import Heard, listening

retailcrm = pytest.importorskip("retailcrm")
PHONE = "+79161234567"


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


def alike(heard: list[Heard], numbers: dict[str, str]) -> list[Any]:
    """Calls without what may differ: the CRM's numbers, the first page, the default kind of identifier."""
    left_out = {"page": "1", "by": "externalId"}
    found = []
    for operation, path, query, body in heard:
        plain = {name: value for name, value in query.items() if left_out.get(name) != value}
        text = json.dumps([operation, path, plain, body], sort_keys=True, ensure_ascii=False, default=str)
        for number, name in numbers.items():
            text = text.replace(f'"{number}"', name).replace(f": {number}", f": {name}")
        found.append(text)
    return found


async def test_the_vendors_client_and_the_connector_ask_the_same() -> None:
    asked = []
    for mine in (False, True):
        async with running("retailcrm") as sandbox:
            heard = listening(sandbox.stand_in)
            if mine:
                spec = registry.load("retailcrm")
                settings = spec.settings.model_validate(
                    {"base_url": sandbox.base_url, "api_key": stand_in.API_KEY, "site": stand_in.SITE}
                )
                backend: Any = spec.build(settings, context())
                await backend.open()
                try:
                    await ours(backend, "KEY1")
                finally:
                    await backend.close()
            else:
                client = retailcrm.v5(sandbox.base_url, stand_in.API_KEY)
                await asyncio.to_thread(theirs, client, "KEY1")
            assert sandbox.ledger().invalid_calls == []
            member = next(one for one in sandbox.stand_in.shop.members.values() if one.key == "KEY1")  # type: ignore[attr-defined]
            numbers = {str(member.more["account"]): "ACCOUNT", str(member.id): "CUSTOMER"}
            calls = alike(heard, numbers)
            # To find an account of a customer is ours alone: the client's user has just made it.
            asked.append([call for call in calls if "filter[customerId]" not in call])
    assert asked[0] == asked[1]
    assert len(asked[0]) == 8


async def test_the_vendors_client_reads_the_stand_ins_refusals() -> None:
    async with running("retailcrm") as sandbox:

        def refused() -> None:
            stranger = retailcrm.v5(sandbox.base_url, "wrong")
            answer = stranger.loyalty_accounts({})
            assert (answer.get_status_code(), answer.is_successful()) == (403, False)
            assert answer.get_error_msg() == 'Wrong "apiKey" value.'
            client = retailcrm.v5(sandbox.base_url, stand_in.API_KEY)
            assert client.loyalty_account(1).get_error_msg() == "Not found"

        await asyncio.to_thread(refused)
