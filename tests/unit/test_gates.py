"""The bulkhead: places are bounded, handed on in order, and never lost, whoever gives up and when."""

from __future__ import annotations

import asyncio
import random

import pytest

from crm_backends.http.gates import Bulkhead


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_places_are_bounded_and_go_to_who_waits_longest() -> None:
    bulkhead = Bulkhead(2, patience=5)
    entered: list[int] = []

    async def call(number: int) -> None:
        assert await bulkhead.enter(5)
        entered.append(number)

    waiting = [asyncio.create_task(call(number)) for number in range(5)]
    await _turns()
    assert (entered, bulkhead.under_way, bulkhead.waiting) == ([0, 1], 2, 3)
    bulkhead.leave()
    late = asyncio.create_task(call(5))  # comes while the place is on its way to another
    await _turns()
    assert (entered, bulkhead.under_way, bulkhead.waiting) == ([0, 1, 2], 2, 3)
    for _ in range(5):
        bulkhead.leave()
        await _turns()
    await asyncio.gather(late, *waiting)
    assert entered == [0, 1, 2, 3, 4, 5]
    assert (bulkhead.under_way, bulkhead.waiting) == (0, 0)


@pytest.mark.parametrize(("patience", "remaining"), [(0.02, 5.0), (5.0, 0.02), (0.0, 5.0)])
async def test_who_waits_too_long_goes_without(patience: float, remaining: float) -> None:
    bulkhead = Bulkhead(1, patience)
    assert await bulkhead.enter(remaining)
    assert not await bulkhead.enter(remaining)
    assert (bulkhead.under_way, bulkhead.waiting) == (1, 0)
    bulkhead.leave()
    assert await bulkhead.enter(remaining)


@pytest.mark.parametrize("place_first", [True, False])
async def test_a_place_that_comes_as_its_caller_gives_up_goes_to_the_next(place_first: bool) -> None:
    bulkhead = Bulkhead(1, patience=5)
    assert await bulkhead.enter(5)
    first, second = (asyncio.create_task(bulkhead.enter(5)) for _ in range(2))
    await _turns()
    if place_first:
        bulkhead.leave()
    first.cancel()
    if not place_first:
        bulkhead.leave()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second
    assert (bulkhead.under_way, bulkhead.waiting) == (1, 0)


@pytest.mark.parametrize("seed", range(20))
async def test_no_place_is_lost_whatever_happens(seed: int) -> None:
    """Callers come, wait, run out of patience and are cancelled at random."""
    chance = random.Random(seed)
    places = chance.randint(1, 3)
    bulkhead = Bulkhead(places, patience=0.01)
    inside = most = 0

    async def call() -> None:
        nonlocal inside, most
        await _turns(chance.randint(0, 20))
        if not await bulkhead.enter(chance.choice([0.0, 0.001, 5.0])):
            return
        inside += 1
        most = max(most, inside)
        try:
            await asyncio.sleep(chance.choice([0, 0, 0.001, 0.003]))
        finally:
            inside -= 1
            bulkhead.leave()

    calls = [asyncio.create_task(call()) for _ in range(60)]
    for task in chance.sample(calls, 20):
        await _turns(chance.randint(0, 6))
        task.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(*calls, return_exceptions=True)
    assert most == places
    assert (inside, bulkhead.under_way, bulkhead.waiting) == (0, 0, 0)
    assert await bulkhead.enter(0.01)
