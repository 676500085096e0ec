"""What runs in the background survives what nobody foresaw, and nothing of it ends without a word."""

from __future__ import annotations

import ast
import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

import adapter
from adapter import background
from adapter.delivery import at_once
from adapter.delivery.at_once import AtOnce, KeptPlace
from adapter.delivery.proof import Proofs
from adapter.loyalty.model import Operation, OperationKind, OperationState
from adapter.loyalty.ports import VisibilityBook
from adapter.ops.crm_watch import CrmWatch
from adapter.settings import Delivery
from crm_backends.ports import Backend, Deadline, Finding, Written
from tests.support.waiting import until

ROOT = Path(adapter.__file__).parent
AWAITED = {"api/auth.py"}
"""Modules that begin a task whose callers await its result, and with it what it raises."""
OPERATION = Operation(
    1,
    OperationKind.RECEIPT,
    "identity",
    "2900",
    "",
    None,
    OperationState.DONE,
    1,
    datetime(2026, 1, 1, tzinfo=UTC),
    "KEY",
)


class Defect(Exception):
    """What nobody foresaw."""


def _begins_tasks(tree: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr in ("create_task", "ensure_future", "TaskGroup")
        for node in ast.walk(tree)
    )


def test_tasks_are_started_in_one_place() -> None:
    beginning = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if _begins_tasks(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert beginning == {"background.py"} | AWAITED


async def test_what_ends_by_a_defect_is_logged_at_once_by_its_name() -> None:
    async def broken() -> None:
        raise Defect

    with capture_logs() as logs:
        task = background.start(broken(), "sorting")
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert [(line["event"], line["task"], line["reason"]) for line in logs] == [
        ("background_failed", "sorting", "Defect")
    ]


async def test_what_is_cancelled_is_no_defect() -> None:
    with capture_logs() as logs:
        task = background.start(asyncio.sleep(60), "sleeping")
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert logs == []


class Jobs:
    """A queue; each of its statements fails first."""

    def __init__(self) -> None:
        self.removed: list[int] = []
        self.kept: list[int] = []
        self._failed: set[str] = set()

    def _fails_first(self, statement: str) -> None:
        if statement not in self._failed:
            self._failed.add(statement)
            raise Defect

    async def finish(self, job_ids: Sequence[int]) -> None:
        self._fails_first("finish")
        self.removed.extend(job_ids)

    async def keep(self, job_ids: Sequence[int]) -> None:
        self._fails_first("keep")
        self.kept.extend(job_ids)

    async def put_off(self, job_id: int, delay: timedelta) -> None:
        raise Defect


def _at_once(jobs: Jobs, carry: Callable[..., Any]) -> AtOnce:
    return AtOnce(carry, jobs, lambda _: True, asyncio.Semaphore(2), 2, 5.0)


async def _start(delivering: AtOnce, job_id: int) -> KeptPlace:
    place = await delivering.place(OperationKind.RECEIPT)
    assert place is not None
    place.deliver(OPERATION, job_id)
    return place


async def test_jobs_of_what_is_delivered_are_removed_and_kept_also_after_a_defect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(at_once, "_TIDY_AFTER_FAILURE", 0.05)
    monkeypatch.setattr(at_once, "_BEAT_EVERY", 0.05)
    over = asyncio.Event()

    async def carry(place: KeptPlace, operation: Operation) -> None:
        await over.wait()

    jobs = Jobs()
    delivering = _at_once(jobs, carry)
    with capture_logs() as logs:
        await _start(delivering, 7)
        await until(lambda: 7 in jobs.kept, "its heartbeat is kept", 5)
        over.set()
        await until(lambda: jobs.removed == [7], "its job is removed", 5)
        await delivering.finish()
    assert [line["task"] for line in logs] == ["at_once_jobs", "at_once_jobs"]


async def test_a_job_that_cannot_be_put_off_is_told_and_left_to_others() -> None:
    async def carry(place: KeptPlace, operation: Operation) -> timedelta:
        return timedelta(seconds=1)

    jobs = Jobs()
    delivering = _at_once(jobs, carry)
    with capture_logs() as logs:
        await _start(delivering, 7)
        await delivering.finish()
        await asyncio.sleep(0)
    assert [line["event"] for line in logs] == ["background_failed"]
    assert jobs.removed == jobs.kept == []


class OddBackend:
    """A CRM whose driver has a defect at the first look."""

    name = "odd"

    def __init__(self) -> None:
        self.looks = itertools.count()

    async def check(self) -> Sequence[Finding]:
        if next(self.looks) == 0:
            raise Defect
        return [Finding("odd", True, "well")]


async def test_a_crm_is_looked_at_again_after_a_defect_of_its_driver() -> None:
    odd = OddBackend()
    watch = CrmWatch({"points": cast("Backend", odd)}, every=0.2)
    with capture_logs() as logs:
        looking = background.start(watch.run(), "crm_watch")
        await until(lambda: watch.standings()["points"].state == "wrong", "the defect is told", 5)
        assert watch.standings()["points"].reason == "odd: looking at it failed: Defect"
        await until(lambda: watch.standings()["points"].state == "ok", "it is well again", 5)
        looking.cancel()
        await asyncio.wait([looking])
    assert [line["event"] for line in logs] == ["crm_look_failed", "crm_wrong", "crm_well"]


async def test_what_may_be_doubled_is_looked_for_again_after_a_defect() -> None:
    looks = itertools.count()
    found: list[Written] = []

    async def ask(operation: Operation, deadline: Deadline) -> Written:
        if next(looks) == 0:
            raise Defect
        return replace(Written.done(), entries=("1", "2"))

    async def doubled(operation: Operation, written: Written) -> None:
        found.append(written)

    proofs = Proofs(cast("VisibilityBook", None), Delivery(), ask, doubled)
    with capture_logs() as logs:
        proofs.watch(OPERATION, 0.02)
        await until(lambda: bool(found), "the double is found", 5)
        await proofs.close()
    assert found[0].entries == ("1", "2")
    assert [line["task"] for line in logs] == ["watch_for_doubles"]
