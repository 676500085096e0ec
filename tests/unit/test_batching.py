"""Calls that go together: nobody waits for ever, and everybody gets an own result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from crm_backends.batching import Batched


async def doubled(items: Sequence[int]) -> list[int]:
    await asyncio.sleep(0)
    return [2 * item for item in items]


@pytest.mark.parametrize("lanes", [1, 2])
async def test_who_comes_again_with_the_result_in_hand_is_served(lanes: int) -> None:
    """The batch that gave the result is only just over then."""
    together = Batched(doubled, most=10, lanes=lanes)
    async with asyncio.timeout(5):
        for item in range(20):
            assert await together(item) == 2 * item


async def test_those_who_come_while_others_are_under_way_go_together() -> None:
    sizes: list[int] = []

    async def work(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        return await doubled(items)

    together = Batched(work, most=10, lanes=1)
    results = await asyncio.gather(*(together(item) for item in range(25)))
    assert results == [2 * item for item in range(25)]
    assert max(sizes) == 10
    assert len(sizes) < 6


async def test_what_the_work_raises_reaches_everybody_of_the_batch_and_nobody_later() -> None:
    async def work(items: Sequence[int]) -> list[int]:
        if 3 in items:
            raise LookupError
        return await doubled(items)

    together = Batched(work, most=5, lanes=1)
    outcomes = await asyncio.gather(*(together(item) for item in range(3, 6)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {LookupError}
    assert await together(7) == 14


async def test_what_one_item_causes_reaches_its_caller_alone() -> None:
    async def work(items: Sequence[int]) -> list[int]:
        if 3 in items:
            raise LookupError
        return await doubled(items)

    together = Batched(work, most=5, lanes=1, errors_for_whole_batch=(OSError,))
    outcomes = await asyncio.gather(*(together(item) for item in range(1, 6)), return_exceptions=True)
    assert [outcome if isinstance(outcome, int) else type(outcome) for outcome in outcomes] == [
        2,
        4,
        LookupError,
        8,
        10,
    ]


async def test_what_is_no_items_own_is_not_tried_again_for_each() -> None:
    sizes: list[int] = []

    async def work(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        raise ConnectionError

    together = Batched(work, most=5, lanes=1, errors_for_whole_batch=(OSError,))
    outcomes = await asyncio.gather(*(together(item) for item in range(5)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ConnectionError}
    assert sizes == [5]


async def test_who_gives_up_leaves_the_others_their_results() -> None:
    together = Batched(doubled, most=5, lanes=1)
    calls = [asyncio.create_task(together(item)) for item in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes[0] == 0
    assert outcomes[2] == 4


async def test_too_few_results_are_an_error_and_those_who_come_later_are_served() -> None:
    async def work(items: Sequence[int]) -> list[int]:
        return [] if 3 in items else await doubled(items)

    together = Batched(work, most=5, lanes=1)
    calls = asyncio.gather(*(together(item) for item in (3, 4)), return_exceptions=True)
    outcomes = await asyncio.wait_for(calls, 5)
    assert {type(outcome) for outcome in outcomes} == {RuntimeError}
    assert await asyncio.wait_for(together(7), 5) == 14
