"""The nursery of processes, and stages, for the tests of faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from adapter.process.embedded import EmbeddedServer
from tests.conftest import create_database, drop_database
from tests.faults import crms
from tests.faults.crms import Crm, Rating
from tests.faults.stage import Nursery, Stage, set_up

SetStage = Callable[..., Awaitable[Stage]]
ALWAYS = {"test_judge", "test_model", "test_same_receipt", "test_soak"}
"""What every test run breaks; the soak draws from all faults. The others are *whole programs* (or *long*)."""


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.path.stem not in ALWAYS and item.get_closest_marker("long") is None:
        item.add_marker(pytest.mark.programs)


@pytest.fixture(scope="session")
async def nursery() -> AsyncIterator[Nursery]:
    async with Nursery().running() as nursery:
        yield nursery


@pytest.fixture
async def scene(
    nursery: Nursery, tmp_path: Path, postgresql: EmbeddedServer, template: str
) -> AsyncIterator[SetStage]:
    """Sets stages on the common PostgreSQL: ``await scene("probe")``, or with a CRM of the test's own."""
    async with AsyncExitStack() as stack:

        async def set_one(rating: Rating | Crm, people: int = 40, **options: Any) -> Stage:
            # With the adapter's tables, unless the test or the CRM makes some in its own way.
            empty = rating == "own" or options.keys() & {"tables", "beforehand"}
            begin = "template0" if empty else template
            url, crm_url = [await create_database(postgresql, one) for one in (begin, "template0")]
            for made in (url, crm_url):
                stack.push_async_callback(drop_database, postgresql, made)
            crm = (
                rating
                if isinstance(rating, Crm)
                else crms.make(rating, people, url if rating == "own" else crm_url)
            )
            return await stack.enter_async_context(set_up(nursery, tmp_path, url, crm, **options))

        yield set_one
