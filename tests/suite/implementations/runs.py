"""Runs of the whole suite against the services of this folder, many at once: most of a run is waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from contracts.loyalty_online import VERSIONS
from contracts.suite.config import read_options
from contracts.suite.results import Result, State, TargetRun
from contracts.suite.runner import run
from tests.suite.implementations import (
    clean,
    mutants_of_value,  # noqa: F401 - importing registers them
    other,
    shop,
    tables,
)
from tests.suite.implementations.mutants import MUTANTS, Mutant

AT_ONCE = 6

Server = Callable[[], AbstractAsyncContextManager[str]]
Service = tuple[Server, str, Mapping[str, Any]]
"""How it is served, the version it was agreed to have, options of the run."""
Runs = Mapping[str, asyncio.Task[TargetRun]]


def _clean(version: str) -> Service:
    return lambda: clean.serving(clean.Clean(version)), version, {}


def _mutant(one: Mutant) -> Service:
    return one.serve, one.version, one.options


CLEAN: dict[str, Service] = {f"clean {version}": _clean(version) for version in VERSIONS}
CLEAN["other 1.3.0"] = other.serving, "1.3.0", {}
CLEAN["tables 1.3.0"] = tables.serving, "1.3.0", {}
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
OF_THE_WIRE, OF_THE_SHOP, OF_THE_TABLES = (
    [mutant.name for mutant in MUTANTS if mutant.style == style] for style in ("objects", "rules", "tables")
)
SERVICES = CLEAN | {name: _mutant(mutant) for name, mutant in BY_NAME.items()}


async def found(serve: Server, version: str, options: Mapping[str, Any]) -> TargetRun:
    """What a full, strict run finds."""
    async with serve() as url:
        given = {"urls": [url], "login": clean.LOGIN, "password": clean.PASSWORD, "api_version": version}
        chosen = read_options(given | {"profile": "full", "strict": True} | shop.OPTIONS | dict(options))
        (target,) = (await run(chosen, clean.PASSWORD)).targets
    return target


@asynccontextmanager
async def under_way(names: Iterable[str]) -> AsyncIterator[Runs]:
    """The runs of these services; who wants one awaits it."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> TargetRun:
        async with turn:
            return await found(*SERVICES[name])

    tasks = {name: asyncio.create_task(one(name)) for name in names}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


def breaches(target: TargetRun) -> dict[str, str]:
    """Each broken clause with one sentence about it."""
    return {
        failure.clause: f"{result.check}: expected {failure.expected}; {failure.actual}"
        for result in target.results
        if result.state is State.FAIL
        for failure in result.failures
    }


def errors(target: TargetRun) -> list[Result]:
    """Checks that the suite could not make."""
    return [result for result in target.results if result.state is State.ERROR]


async def breaks_what_it_declares(name: str, runs: Runs) -> None:
    """The mutant is found out, and nothing is said against it but what is true."""
    mutant, target = BY_NAME[name], await runs[name]
    broken = breaches(target)
    assert {clause: told for clause, told in broken.items() if clause not in mutant.clauses} == {}
    assert set(mutant.clauses) - broken.keys() == set()
    assert errors(target) == []


def some_of(services: Sequence[str]) -> list[Any]:
    """One in thirty that is not slow, for the default run; all of them with ``-m "long or not long"``."""
    return [
        pytest.param(service, marks=() if number % 30 == 1 and "slow" not in service else pytest.mark.long)
        for number, service in enumerate(services)
    ]
