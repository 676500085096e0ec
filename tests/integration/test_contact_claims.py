"""Of several who ask for one phone at once, one gets it, also where the CRM would give it to all."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from adapter.errors import Code
from adapter.store.contact_claims import PostgresContactClaims
from crm_backends.ports import Written

from .conftest import Adapter, StartAdapter, new_phone

PHONE, EMAIL = "+79160000001", "somebody@example.com"


@pytest.fixture
async def claims(adapter: Adapter) -> PostgresContactClaims:
    return PostgresContactClaims(adapter.service.gateway)


async def test_what_somebody_is_just_getting_nobody_else_gets(claims: PostgresContactClaims) -> None:
    assert await claims.claim([PHONE, EMAIL], "a")
    assert await claims.claim([PHONE, EMAIL], "a"), "the same again"
    assert not await claims.claim([PHONE], "b")
    assert not await claims.claim([EMAIL, "free@example.com"], "b")
    assert await claims.are_claimed([PHONE])
    assert not await claims.are_claimed(["free@example.com"]), "all or nothing"
    await claims.release("a")
    assert await claims.claim([PHONE], "b")


async def test_who_takes_another_gives_up_the_first(claims: PostgresContactClaims) -> None:
    assert await claims.claim([PHONE], "a")
    assert await claims.claim(["+79160000002"], "a")
    assert await claims.claim([PHONE], "b")


@pytest.mark.parametrize("moved", ["-2 minutes", "1 hour"])
async def test_a_claim_lasts_a_minute_whatever_the_databases_clock_does(
    moved: str, adapter: Adapter, claims: PostgresContactClaims
) -> None:
    assert await claims.claim([PHONE], "a")
    await adapter.sql(f"UPDATE koshelek.contact_claims SET until = until + interval '{moved}'")
    assert not await claims.are_claimed([PHONE])
    assert await claims.claim([PHONE], "b")


async def test_a_call_that_began_earlier_does_not_take_what_a_faster_one_has(
    adapter: Adapter, claims: PostgresContactClaims
) -> None:
    assert await claims.claim([PHONE], "a")
    await adapter.sql("UPDATE koshelek.contact_claims SET until = until + interval '5 seconds'")
    assert not await claims.claim([PHONE], "b")
    assert await claims.are_claimed([PHONE])


async def test_those_who_clear_away_what_is_over_do_not_wait_for_each_other(
    adapter: Adapter, claims: PostgresContactClaims
) -> None:
    """Each takes what another clears away; two that wait for each other would end as a fault of ours."""
    contacts = [f"+7916000{i:04}" for i in range(40)]
    assert await claims.claim(contacts, "before")
    for round_ in range(20):
        await adapter.sql("UPDATE koshelek.contact_claims SET until = now() - interval '1 second'")
        taken = await asyncio.gather(
            *(claims.claim(contacts[i::8], f"customer {round_}-{i}") for i in range(8))
        )
        assert all(taken)


async def test_nothing_readable_is_kept(adapter: Adapter, claims: PostgresContactClaims) -> None:
    await claims.claim([PHONE, EMAIL], "a")
    kept = str(await adapter.sql("SELECT string_agg(contact, ' ') FROM koshelek.contact_claims"))
    assert "9160000001" not in kept
    assert "somebody" not in kept


async def test_a_crm_that_would_give_a_phone_to_all_gives_it_to_one(
    start: StartAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six ask at once; nobody new is registered with it before the CRM's search shows whose it is."""
    adapter = await start()
    cards = [await adapter.issue(phone=new_phone()) for _ in range(6)]
    users, wanted = adapter.service.programme.users, new_phone()
    given: list[str] = []

    async def update(customer_id: str, *_: object, **__: object) -> Written:
        await asyncio.sleep(0.05)
        given.append(customer_id)
        return Written.done()

    monkeypatch.setattr(type(users), "update", lambda _, *given, **named: update(*given, **named))
    answers = await asyncio.gather(*[adapter.post(f"/v1/card/{card}", {"phone": wanted}) for card in cards])
    codes = Counter("done" if answer.status == 200 else answer.code for answer in answers)
    assert codes == {"done": 1, Code.CONFLICT: 5}
    assert len(given) == 1
    assert (await adapter.post("/v1/card/anonymous", {"phone": wanted})).code == Code.CONFLICT


async def test_a_phone_that_the_crm_refuses_is_free_at_once(
    start: StartAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = await start()
    first, second = [await adapter.issue(phone=new_phone()) for _ in range(2)]
    users, wanted = adapter.service.programme.users, new_phone()
    with monkeypatch.context() as patched:

        async def refuse(*_: object, **__: object) -> Written:
            return Written.refused()

        patched.setattr(type(users), "update", refuse)
        assert (await adapter.post(f"/v1/card/{first}", {"phone": wanted})).code == Code.UPDATE_REFUSED
    assert (await adapter.post(f"/v1/card/{second}", {"phone": wanted})).status == 200
