"""``TimeLimit`` does what ``asyncio.timeout`` does."""

from __future__ import annotations

import asyncio

import pytest

from adapter.api.time_limit import TimeLimit


async def test_what_is_done_in_time_is_left_alone() -> None:
    with TimeLimit(0.02):
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)  # the limit passes, and concerns nobody


@pytest.mark.parametrize("seconds", [0.0, 0.02])
async def test_what_takes_longer_is_cut_off(seconds: float) -> None:
    with pytest.raises(TimeoutError), TimeLimit(seconds):
        await asyncio.sleep(30)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # no cancellation is left over


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    async def call() -> None:
        with TimeLimit(30):
            await asyncio.sleep(30)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_comes_together_with_the_limit_stays_one() -> None:
    limit = TimeLimit(30)

    async def call() -> None:
        with limit:
            await asyncio.sleep(30)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    limit._pass()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_error_passes_through() -> None:
    with pytest.raises(ValueError, match="of the call"), TimeLimit(30):
        raise ValueError("of the call")


async def test_the_inner_of_two_limits_is_told_inside() -> None:
    with TimeLimit(30):
        with pytest.raises(TimeoutError), TimeLimit(0.02):
            await asyncio.sleep(30)
        await asyncio.sleep(0)
