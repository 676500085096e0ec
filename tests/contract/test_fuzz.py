"""No request makes the adapter answer outside of the contract.

Schemathesis makes requests from the OpenAPI document: allowed ones, broken ones, and ones with bodies that
are no JSON; known cards, phones, receipts and promo codes are mixed in, so that requests get past the first
check. The adapter is a process of its own over its own PostgreSQL. Each answer must have status 200, 401 or
422, the documented content type, strings at every depth, the error envelope, and a body that the document
allows; a fault of the adapter, its database or its CRM is a failure too, since nothing is broken here.

``fuzzing`` is imported when it is used: every process of a test run would make all requests' strategies. The
short run is part of all tests. The long one (50,000 requests, many minutes; shows its progress)::

    python -m pytest -n 0 -s -m long tests/contract/test_fuzz.py
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.loyalty_online import openapi

from ..integration.processes import Running, free_ports

if TYPE_CHECKING:
    from .fuzzing import Target

LONG_RUN = 50_000


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """The adapter with the demo programme.

    Its folder is not one of pytest's: those are cleaned up by other runs, and a long run outlives them.
    """
    port, management = free_ports(2)
    import requests

    from .fuzzing import Target

    arguments = ("--port", str(port), "--management-port", str(management), "--data-dir", "data")
    with tempfile.TemporaryDirectory(prefix="koshelek-fuzz-", ignore_cleanup_errors=True) as folder:
        with Running("demo", *arguments, cwd=Path(folder)) as demo:
            demo.wait_for("demo is ready", limit=60)
            with requests.Session() as session:
                yield Target(f"http://127.0.0.1:{port}", session)
            demo.terminate()
            assert demo.ended().status == 0
        assert not [line for line in demo.lines() if line["level"] == "error"]


def test_no_answer_leaves_the_contract(target: Target) -> None:
    """A few hundred requests, the same ones in every run."""
    from .fuzzing import DOCUMENT, OPERATIONS, fuzz

    assert len(OPERATIONS) == len(list(openapi.operations(DOCUMENT)))
    for index, operation in enumerate(OPERATIONS):
        fuzz(target, index, 22 if operation.body else 8, start=index)
    print(f"{target.statuses.total()} requests: {dict(target.statuses)}")
    print(sorted(target.seen))
    assert target.statuses.total() > 150
    answered = {operation for operation, code in target.seen if code == "ok"}
    assert len(answered) > len(OPERATIONS) / 2, "requests do not get past the first check"


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_no_answer_leaves_the_contract_in_many_requests(target: Target) -> None:
    """At least ``LONG_RUN`` requests, others in every run; the seed is printed."""
    from .fuzzing import OPERATIONS, fuzz

    start = random.SystemRandom().randrange(2**32)
    began, before = time.monotonic(), target.statuses.total()
    print(f"\nseed {start}")
    while (sent := target.statuses.total() - before) < LONG_RUN:
        for index in range(len(OPERATIONS)):
            fuzz(target, index, 200, start)
        start += 1
        print(f"{time.monotonic() - began:.0f} s: {dict(target.statuses)}", flush=True)
    print(f"{sent} requests, {sorted(target.seen)}")
