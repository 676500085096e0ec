"""Whose time a request took: the log names each CRM that was asked, also where the deadline ended it."""

from __future__ import annotations

import json

import structlog.testing

from adapter.errors import Code
from contracts.sandbox import perx, running

from .conftest import StartAdapter, new_phone


async def test_a_call_that_the_deadline_ends_names_the_crm_that_used_it(start: StartAdapter) -> None:
    async with running("perx") as crm:
        adapter = await start(
            crm={
                "users": {"driver": "postgres"},
                "points": {
                    "driver": "perx",
                    "base_url": crm.base_url,
                    "client_id": perx.CLIENT_ID,
                    "client_secret": perx.CLIENT_SECRET,
                    "loyalty_program_id": perx.LOYALTY_PROGRAM_ID,
                    "identifier_secret": "only for tests, and long enough",
                },
            },
            server={"deadline": 1.0},
        )
        number = await adapter.issue(phone=new_phone())
        crm.fault("late", "*", times=50, seconds=3)
        with structlog.testing.capture_logs() as lines:
            answer = await adapter.get(f"/v1/card/{number}")
        assert answer.code in (Code.TIMED_OUT, Code.CRM_DOWN)
        (line,) = [line for line in lines if line["event"] == "request"]
        assert line["crm_ms"]["perx"] > 500, json.dumps(line, default=str)
        assert line["crm_ms"].get("postgres", 0) < line["crm_ms"]["perx"]


async def test_a_call_without_a_crm_names_none(start: StartAdapter) -> None:
    adapter = await start()
    with structlog.testing.capture_logs() as lines:
        assert (await adapter.get("/v1/elsewhere")).code == Code.UNKNOWN_METHOD
    (line,) = [line for line in lines if line["event"] == "request"]
    assert "crm_ms" not in line
