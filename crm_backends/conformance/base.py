"""What all scenarios share: the open driver, what it declares, and what it declares to do otherwise.

A test class states under ``divergences`` what its driver does otherwise, and why. Such a scenario still
runs and has to fail: a divergence that no longer is one is an error too. An overridden scenario
needs a reason as well. This module may not know any port's scenarios.
"""
# ruff: noqa: S101

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import pytest

from crm_backends.conformance.rig import Rig
from crm_backends.ports import (
    Backend,
    BackendError,
    BackendUnavailable,
    Deadline,
    Outcome,
    Reconciliation,
    Support,
    Written,
)

T = TypeVar("T")
Test = TypeVar("Test", bound=Callable[..., Any])

GRACE = 1.0
"""Seconds a call may end after its deadline."""
_PATIENCE = 15.0  # seconds in which a breaker has to let the first call through again
_NUMBER = re.compile(r"([A-Z]\d+)\. ")


@dataclass(frozen=True, slots=True)
class _Needs:
    operation: str
    reconciliation: frozenset[Reconciliation]


def needs(operation: str, *reconciliation: Reconciliation) -> Callable[[Test], Test]:
    """The scenario is about this operation (and only for drivers that reconcile doubts in this way)."""

    def mark(test: Test) -> Test:
        test.__dict__["needs"] = _Needs(operation, frozenset(reconciliation or Reconciliation))
        return test

    return mark


def scenarios_of(cls: type) -> dict[str, str]:
    """Scenario number -> name of the test method, read from the docstrings of a class and its bases.

    Raises:
        TypeError: a test has no number, or a number is used twice.
    """
    found: dict[str, str] = {}
    for name, test in inspect.getmembers(cls, inspect.isfunction):
        if not name.startswith("test_"):
            continue
        number = _number(test)
        if number is None:
            raise TypeError(f"{cls.__name__}.{name}: the docstring does not begin with a scenario number")
        if number in found:
            raise TypeError(f"{cls.__name__}.{name}: {number} is already {found[number]}")
        found[number] = name
    return found


def _number(test: object) -> str | None:
    match = _NUMBER.match(inspect.getdoc(test) or "")
    return match[1] if match else None


def is_there(backend: Backend, operation: str) -> bool:
    """Whether the driver declares that it can do this, wholly or in part."""
    return backend.capabilities[operation].support in (Support.FULL, Support.PARTIAL)


def soon() -> Deadline:
    """A deadline that nothing should reach."""
    return Deadline.after(15)


class Conformance:
    """Base of the scenarios. The driver's test module provides the fixture ``rig``."""

    divergences: ClassVar[Mapping[str, str]] = {}
    """Scenario number -> why this driver does otherwise."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        scenarios = scenarios_of(cls)
        for number, reason in cls.divergences.items():
            if number not in scenarios:
                raise TypeError(f"{cls.__name__}.divergences: there is no scenario {number} in this class")
            if not reason.strip():
                raise TypeError(f"{cls.__name__}.divergences: {number} has no reason")
        for number in _overridden(cls) - set(cls.divergences):
            raise TypeError(f"{cls.__name__} overrides {number}: say why in divergences")

    @pytest.fixture
    async def backend(self, rig: Rig) -> AsyncIterator[Backend]:
        """The driver, open."""
        async with opened(rig.build()) as backend:
            yield backend

    @pytest.fixture(autouse=True)
    def _as_declared(
        self,
        request: pytest.FixtureRequest,
        backend: Backend,
        record_property: Callable[[str, object], None],
    ) -> None:
        """Skip what the driver says it has not; expect to fail what it says it does otherwise."""
        number = _number(request.function) or ""
        reason = self.divergences.get(number)
        need: _Needs | None = getattr(request.function, "needs", None)
        if need is not None:
            capability = backend.capabilities[need.operation]
            if capability.support not in (Support.FULL, Support.PARTIAL):
                pytest.skip(f"{need.operation}: {capability.support} ({capability.note})")
            if backend.reconciliation not in need.reconciliation:
                pytest.skip(f"the driver reconciles by {backend.reconciliation}")
            if reason is not None and capability.support is Support.FULL:
                pytest.fail(f"{number} diverges, so {need.operation} is not FULL but PARTIAL, with a note")
        if reason is not None:
            record_property("divergence", f"{number}: {reason}")
            if number not in _overridden(type(self)):
                request.applymarker(pytest.mark.xfail(strict=True, reason=f"{number} diverges: {reason}"))


def _overridden(cls: type) -> set[str]:
    """Numbers of the scenarios that a driver's test class or one of its own bases replaces."""
    numbers: set[str] = set()
    for number, name in scenarios_of(cls).items():
        if sum(name in base.__dict__ for base in cls.__mro__) > 1:
            numbers.add(number)
    return numbers


@contextlib.asynccontextmanager
async def opened(backend: Backend) -> AsyncIterator[Backend]:
    """The driver, open, and closed afterwards."""
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


@contextlib.asynccontextmanager
async def effects(rig: Rig, operation: str, times: int) -> AsyncIterator[None]:
    """What is done within takes effect in the CRM so many times."""
    before = (await rig.ledger())[operation]
    yield
    happened = (await rig.ledger())[operation] - before
    assert happened == times, f"{operation} took effect {happened} times instead of {times}"


@contextlib.asynccontextmanager
async def nothing_changes(rig: Rig) -> AsyncIterator[None]:
    """What is done within changes nothing in the CRM."""
    before = await rig.ledger()
    yield
    after = await rig.ledger()
    assert after == before, f"took effect in the CRM: {dict(after - before)}"


async def in_time(call: Awaitable[T], deadline: Deadline, what: str) -> T:
    """The call's result, or its error; a failure if it does not end with its deadline."""
    task = asyncio.ensure_future(call)
    done, _ = await asyncio.wait({task}, timeout=deadline.remaining() + GRACE)
    if not done:
        task.cancel()
        pytest.fail(f"{what} did not end within {GRACE:g} s after its deadline")
    return task.result()


async def well_again(call: Callable[[], Awaitable[object]]) -> None:
    """Wait until the call succeeds again; a breaker may hold the first ones back."""
    patience = Deadline.after(_PATIENCE)
    while True:
        try:
            await call()
        except BackendUnavailable:
            if not patience.remaining():
                raise
            await asyncio.sleep(0.1)
        else:
            return


async def ended(call: Awaitable[T]) -> T | BackendError:
    """The call's result, or the error of the driver's family; any other error goes through."""
    try:
        return await call
    except BackendError as error:
        return error


def assert_refused(written: Written, *refusals: object) -> None:
    """The write ended as REFUSED, for one of these reasons where any is given."""
    assert written.outcome is Outcome.REFUSED
    assert written.refusal is not None
    if refusals:
        assert written.refusal in refusals
