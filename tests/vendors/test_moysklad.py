"""МойСклад's own client against the stand-in, and our connector's requests beside its.

Needs the extra ``vendors``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from contracts.sandbox import moysklad as stand_in
from contracts.sandbox import running
from crm_backends.connector.calls import Call
from crm_backends.connector.functions import uuid5
from crm_backends.model import Profile
from crm_backends.ports import Deadline
from tests.vendors.heard import Recording, both

# To import the client takes long: it builds the models of the whole API.
pytestmark = [pytest.mark.programs, pytest.mark.timeout(300)]
PHONE, KEY, BASE = "+79161234567", "KEY1", "/api/remap/1.2"
PROGRAMME = f"https://api.moysklad.ru{BASE}/entity/bonusprogram/{stand_in.PROGRAM}"
SAME_PHONE = {"limit": 100, "filter": "phone~9161234567"}
# What the API wants of each request; the client does not send it unless told.
HEADERS = {"Accept": "application/json;charset=utf-8", "Accept-Encoding": "gzip"}


@pytest.fixture(scope="module")
def sdk() -> Any:
    """The vendor's client; imported only when a test wants it, as that takes half a minute."""
    return pytest.importorskip("moysklad_remap_12_sdk")


def client(
    sdk: Any, base_url: str, *, token: str = stand_in.TOKEN, headers: Mapping[str, str] = HEADERS
) -> Any:
    """The vendor's client, pointed at the stand-in."""
    made = sdk.ApiClient(sdk.Configuration(host=base_url + BASE, access_token=token))
    for name, value in headers.items():
        made.set_default_header(name, value)
    return made


def theirs(sdk: Any, api: Any) -> None:
    """What a shop does with the client to register somebody and give five points."""
    people, moves = sdk.CounterpartiesApi(api), sdk.BonusTransactionsApi(api)
    assert sdk.BonusProgramsApi(api).get_bonus_program_by_id(stand_in.PROGRAM).id == stand_in.PROGRAM
    assert people.get_counterparties(**SAME_PHONE).rows == []
    somebody = sdk.Counterparty(
        sync_id=uuid5(KEY),
        company_type="individual",
        name="Анна",
        legal_first_name="Анна",
        phone=PHONE,
        birth_date="1990-05-17 00:00:00",
        sex="FEMALE",
    )
    made = people.create_counterparty(somebody)
    (found,) = people.get_counterparties(**SAME_PHONE).rows
    assert (found.id, found.sync_id, found.phone, found.sex) == (made.id, uuid5(KEY), PHONE, "FEMALE")
    assert (people.get_counterparty_by_id(made.id).bonus_points, found.archived) == (0, False)
    agent = sdk.Counterparty.create_with_meta(made.id)
    programme = sdk.Meta(href=PROGRAMME, type="bonusprogram", media_type="application/json")
    moved = moves.create_bonus_transaction(
        sdk.BonusTransaction(
            agent=agent,
            bonus_program=sdk.BonusProgram(meta=programme),
            transaction_type="EARNING",
            bonus_value=5,
            external_code=KEY,
            description="Purchase",
        )
    )
    assert people.get_counterparty_by_id(made.id).bonus_points == 5
    (row,) = moves.get_bonus_transactions(limit=1000, filter=f"agent={agent.meta.href}").rows
    told = sdk.BonusTransaction.from_dict(row)  # the client takes this list for one operation
    assert (told.id, told.bonus_value, told.transaction_type) == (moved.id, 5, "EARNING")
    assert (told.external_code, told.description, told.applicable) == (KEY, "Purchase", True)
    assert (told.agent.meta.href, told.bonus_program.meta.href) == (agent.meta.href, PROGRAMME)


async def ours(backend: Any) -> None:
    """The same through the connector."""
    soon = Deadline.after(10)
    assert all(finding.ok for finding in await backend.check())
    person = Profile(phone=PHONE, first_name="Анна", birth_date=date(1990, 5, 17), sex="f")
    made = await backend.register(person, idempotency_key=KEY, deadline=soon)
    (found,) = await backend.find(phone=PHONE, email=None, birth_date=None, deadline=soon)
    assert found.customer_id == made.crm_reference
    account = await backend.points_account(
        Call({"customer": made.crm_reference}, KEY, soon).holder, deadline=soon
    )
    credit = Call({"points": 5}, KEY, soon).credit
    await backend.credit(account, credit, idempotency_key=KEY, deadline=soon)
    assert (await backend.balance(account, deadline=soon)).total == 5
    assert [one.amount for one in await backend.entries(account, limit=10, deadline=soon)] == [5]


def alike(recording: Recording) -> list[str]:
    """Calls without what differs by its nature.

    The customer's number may be another each time. Where the client refers to a counterparty, it sends the
    ``id`` beside ``meta``, which holds the same number; the API needs ``meta`` alone, which is what we send.
    Into the ``meta`` of a programme the client puts an empty ``additional_properties``, a word of its own.
    """

    def plain(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        left_out = {"id"} if "meta" in value else {"additional_properties"} if "href" in value else set()
        return {name: plain(one) for name, one in value.items() if name not in left_out}

    stood_in: Any = recording.sandbox.stand_in
    (member,) = stood_in.shop.find(lambda one: one.key == uuid5(KEY))
    customer = stand_in.MoySklad.uid(member.id)
    return [
        json.dumps([operation, path, query, plain(body)], sort_keys=True, ensure_ascii=False).replace(
            customer, "CUSTOMER"
        )
        for operation, path, query, body in recording.heard
    ]


async def test_the_vendors_client_and_the_connector_ask_the_same(sdk: Any) -> None:
    vendors, connectors = await both(
        "moysklad",
        {"token": stand_in.TOKEN, "bonus_program": stand_in.PROGRAM},
        lambda url: asyncio.to_thread(theirs, sdk, client(sdk, url)),
        ours,
        path=BASE,
    )
    assert alike(vendors) == alike(connectors)
    assert len(vendors.heard) == 8


async def test_the_vendors_client_reads_the_stand_ins_refusals(sdk: Any) -> None:
    async with running("moysklad") as sandbox:

        def refused() -> None:
            with pytest.raises(sdk.exceptions.UnauthorizedException) as stranger:
                sdk.CounterpartiesApi(client(sdk, sandbox.base_url, token="wrong")).get_counterparties()
            assert [one["code"] for one in json.loads(stranger.value.body)["errors"]] == [1056]
            with pytest.raises(sdk.exceptions.NotFoundException) as nobody:
                sdk.CounterpartiesApi(client(sdk, sandbox.base_url)).get_counterparty_by_id(
                    stand_in.MoySklad.uid(999_999)
                )
            assert [one["code"] for one in json.loads(nobody.value.body)["errors"]] == [1021]
            as_it_is = sdk.CounterpartiesApi(
                client(sdk, sandbox.base_url, headers={"Accept-Encoding": "gzip"})
            )
            with pytest.raises(sdk.exceptions.BadRequestException) as accept:
                as_it_is.get_counterparties()
            assert [one["code"] for one in json.loads(accept.value.body)["errors"]] == [1062]
            with pytest.raises(sdk.ApiException) as plain:
                sdk.CounterpartiesApi(client(sdk, sandbox.base_url, headers={})).get_counterparties()
            assert plain.value.status == 415

        await asyncio.to_thread(refused)
