"""Square's own client against the stand-in, and our connector's requests beside its.

Needs the extra ``vendors``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import httpx
import pytest

from contracts.sandbox import running
from contracts.sandbox import square as stand_in
from crm_backends.connector.calls import Call
from crm_backends.model import Profile
from crm_backends.ports import Deadline
from tests.vendors.heard import Recording, both

PHONE = "+14155551234"


@pytest.fixture(scope="module")
def square() -> Any:
    """Square's client."""
    return pytest.importorskip("square")


@contextmanager
def client_of(square: Any, base_url: str, token: str = stand_in.TOKEN) -> Iterator[Any]:
    """Square's client; its connections are closed with the block."""
    with httpx.Client() as connections:
        yield square.Square(token=token, base_url=base_url, httpx_client=connections)


def theirs(square: Any, base_url: str, key: str) -> None:
    """What a seller does with Square's client to enrol somebody and give five points, and to look at both."""
    with client_of(square, base_url) as client:
        _enrol_and_give(client, key)


def _enrol_and_give(client: Any, key: str) -> None:
    assert client.loyalty.programs.get(stand_in.PROGRAM).program.location_ids == [stand_in.LOCATION]
    wanted = {"program_id": stand_in.PROGRAM, "mapping": {"phone_number": PHONE}}
    accounts = client.loyalty.accounts
    made = accounts.create(idempotency_key=key, loyalty_account=wanted).loyalty_account
    customer = made.customer_id
    client.customers.update(customer, given_name="Anna", birthday="1990-05-17", address={"locality": "Omsk"})
    (member,) = accounts.search(query={"mappings": [{"phone_number": PHONE}]}).loyalty_accounts
    assert client.customers.get(member.customer_id).customer.given_name == "Anna"
    by_email = {"filter": {"email_address": {"exact": "anna@example.org"}}}
    (other,) = client.customers.search(query=by_email, limit=30).customers
    assert len(accounts.search(query={"customer_ids": [other.id]}).loyalty_accounts) == 1
    (account,) = accounts.search(query={"customer_ids": [customer]}).loyalty_accounts
    points = {"accumulate_points": {"points": 5}, "location_id": stand_in.LOCATION}
    for _ in range(2):
        assert accounts.get(account.id).loyalty_account.customer_id == customer
        given = accounts.accumulate_points(account.id, idempotency_key="KEY2", **points)
        assert [event.accumulate_points.points for event in given.events] == [5]
    assert accounts.get(account.id).loyalty_account.balance == 5
    of_account = {"filter": {"loyalty_account_filter": {"loyalty_account_id": account.id}}}
    (event,) = client.loyalty.search_events(query=of_account, limit=30).events
    assert (event.type, event.accumulate_points.points) == ("ACCUMULATE_POINTS", 5)


async def ours(backend: Any, key: str) -> None:
    """The same through the connector."""
    soon = Deadline.after(10)
    assert [finding.ok for finding in await backend.check()] == [True]
    person = Profile(phone=PHONE, first_name="Anna", birth_date=date(1990, 5, 17), locality="Omsk")
    made = await backend.register(person, idempotency_key=key, deadline=soon)
    found = await backend.find(phone=PHONE, email="anna@example.org", birth_date=None, deadline=soon)
    assert [one.profile.first_name for one in found] == ["Anna", "Anna"]
    account = await backend.points_account(
        Call({"customer": made.crm_reference}, key, soon).holder, deadline=soon
    )
    credit = Call({"points": 5}, key, soon).credit
    for _ in range(2):
        given = await backend.credit(account, credit, idempotency_key="KEY2", deadline=soon)
        assert given.points == 5
    assert (await backend.balance(account, deadline=soon)).total == 5
    assert [one.amount for one in await backend.entries(account, limit=10, deadline=soon)] == [5]


async def test_squares_client_and_the_connector_ask_the_same(square: Any) -> None:
    def told(recording: Recording) -> list[str]:
        return [json.dumps(call, sort_keys=True, default=str) for call in recording.heard]

    squares, connectors = await both(
        "square",
        {"token": stand_in.TOKEN, "program": stand_in.PROGRAM, "location": stand_in.LOCATION},
        lambda url: asyncio.to_thread(theirs, square, url, "KEY1"),
        lambda backend: ours(backend, "KEY1"),
        path="/v2",
    )
    assert told(squares) == told(connectors)
    assert len(squares.heard) == 14


async def test_squares_client_reads_the_stand_ins_refusals(square: Any) -> None:
    async with running("square") as sandbox:

        def code_of(call: Any, **given: Any) -> tuple[int, str]:
            with pytest.raises(square.core.api_error.ApiError) as caught:
                call(**given)
            (error,) = caught.value.errors
            return caught.value.status_code, error.code

        def refused() -> None:
            with client_of(square, sandbox.base_url, "wrong") as stranger:
                assert code_of(stranger.loyalty.accounts.search) == (401, "UNAUTHORIZED")
            with client_of(square, sandbox.base_url) as client:
                accounts = client.loyalty.accounts
                assert code_of(accounts.get, account_id="nobody") == (404, "NOT_FOUND")
                account = accounts.search().loyalty_accounts[0].id
                points = {"account_id": account, "idempotency_key": "KEY", "location_id": stand_in.LOCATION}
                accounts.accumulate_points(**points, accumulate_points={"points": 5})
                other = {**points, "accumulate_points": {"points": 6}}
                assert code_of(accounts.accumulate_points, **other) == (400, "IDEMPOTENCY_KEY_REUSED")

        await asyncio.to_thread(refused)
