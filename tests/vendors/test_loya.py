"""A client of Loya that a retailer has published against the stand-in, and what our connector asks.

Needs the extra ``vendors``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date
from types import ModuleType
from typing import Any

import pytest

from contracts.sandbox import loya as stand_in
from contracts.sandbox import running
from crm_backends.connector.calls import Call
from crm_backends.model import ChannelConsents, Profile
from crm_backends.ports import Deadline, Outcome
from tests.vendors.heard import Heard, both

PHONE = "+79161234567"
KEY = "KEY0000000000000000000001"
NUMBER = "2900000000017"


@pytest.fixture(scope="module")
def loya_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The client; it makes a folder for its session when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield pytest.importorskip("loya_client")


def opened(loya_client: ModuleType, base_url: str, password: str = stand_in.PASSWORD) -> Any:
    auth = pytest.importorskip("loya_client.auth").LoyaAuth(stand_in.EMAIL, password, stand_in.API_KEY)
    return loya_client.API(auth, host=base_url, retry_count=0)


def theirs(client: Any) -> None:
    """What a shop does with the client: somebody joins, gets a card and five points, moves, wants no mail."""
    models = pytest.importorskip("loya_client.models")
    assert client.get_client_by_phone("79161234567") == []
    made = client.create_base_client(
        "Петрова", "Анна", PHONE, birthday="1990-05-17", get_sms=False, get_email=False, getPush=False
    )
    account = client.create_account()
    client.attach_account_to_client(made.id, account.id)
    assert client.get_client(made.id).client.accountId == account.id
    card = client.get_card_by_number(NUMBER)
    client.attach_card_to_client(card.id, made.id)
    client.activate_card(card.id)
    assert client.get_card_by_number(NUMBER).clientId == made.id
    known = models.Account.find_by_id(client, account.id, limit=1)
    known.update(5, description=f"{KEY} Purchase")
    assert models.Account.find_by_id(client, account.id, limit=1).balance == 5
    (movement,) = known.history(limit=50)
    assert (movement.record.amount, movement.record.operType) == (5, "credit")
    (person,) = models.Client.find_by_phone(client, "79161234567")
    person.locality = "Чухлома"
    client.client_update(person.id, person)
    person = models.Client.find_by_id(client, made.id)
    person.getEmail = True
    client.client_update(person.id, person)


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
    await backend.balance(account, deadline=soon)
    assert [one.amount for one in await backend.entries(account, limit=10, deadline=soon)] == [5]
    (found,) = await backend.find(phone=PHONE, email=None, birth_date=None, deadline=soon)
    await backend.update(found.customer_id, Profile(locality="Чухлома"), deadline=soon)
    wants = ChannelConsents(allow=frozenset({"email"}), deny=frozenset())
    await backend.set_consents(found.customer_id, wants, deadline=soon)


def alike(heard: list[Heard]) -> list[Any]:
    """Calls in their order, without members that are nothing and a copy that the client makes of one."""
    calls: list[Any] = []
    for operation, path, query, body in heard:
        given = {name: value for name, value in (body or {}).items() if value is not None}
        given.pop("SystemParams", None)
        calls.append((operation, path, {"pager.drop": "0", **query} if query else {}, given))
    return calls


async def test_the_client_and_the_connector_ask_the_same(loya_client: ModuleType) -> None:
    settings = {"email": stand_in.EMAIL, "password": stand_in.PASSWORD, "api_key": stand_in.API_KEY}
    recordings = await both(
        "loya", settings, lambda url: asyncio.to_thread(lambda: theirs(opened(loya_client, url))), ours
    )
    assert [one.sandbox.ledger().total("points.credit") for one in recordings] == [5, 5]
    asked = [alike(one.heard) for one in recordings]
    # Each looks at the client when it likes; the rest is the same in the same order.
    looks = [[call for call in calls if call[0] == "client"] for calls in asked]
    rest = [[call for call in calls if call[0] != "client"] for calls in asked]
    assert rest[0] == rest[1]
    assert len(rest[0]) == 16
    assert all(call == looks[0][0] for call in looks[0] + looks[1])


async def test_the_client_reads_the_stand_ins_refusals(loya_client: ModuleType) -> None:
    errors = pytest.importorskip("loya_client.errors")
    async with running("loya") as sandbox:

        def refused() -> None:
            client = opened(loya_client, sandbox.base_url)
            with pytest.raises(errors.NotFound):
                client.get_client(1)
            sandbox.fault("expire_token", "client")
            with pytest.raises(errors.Unauthorized):
                client.get_client(101)
            assert client.get_client(101).client.id == 101

        await asyncio.to_thread(refused)
