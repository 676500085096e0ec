"""How a run of all tests begins on several processes: what is imported when, and which files come first.

Imported by ``conftest``. It may not know what is tested.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
from collections.abc import Generator, Iterable
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_LONGEST = ("suite/test_run_against_stand_ins.py", "integration/test_commands.py", "faults/test_soak.py")
"""Files that take a minute or more: begun last, they would keep one processor busy and the other idle."""
_WAITING = ("faults", "integration")
"""Rooms whose tests wait for sockets and databases more than they compute."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Each process begins to import with other files than the rest.

    pytest rewrites the asserts of a file that is new on this machine, and keeps the outcome for whoever
    imports it next. If all began with the same file, each of them would rewrite all files.
    """
    gc.disable()
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker or session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    files = sorted(_TESTS.rglob("test_*.py"))
    number, of = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    begin = len(files) * number // of
    for file in [*sorted(_TESTS.rglob("conftest.py")), *files[begin:], *files[:begin]]:
        name = ".".join((_TESTS.name, *file.relative_to(_TESTS).with_suffix("").parts))
        # What cannot be imported is told when it is collected.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(name)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """No garbage is looked for until all is collected: it takes two fifths of that time, and finds nothing.

    What was made until then stays until the end, and is not looked at again.
    """
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; then files that wait take turns with files that compute."""
    files = dict.fromkeys(item.path for item in items)
    order = {path: place for place, path in enumerate(_ordered(files))}
    items.sort(key=lambda item: order[item.path])


def _ordered(files: Iterable[Path]) -> list[Path]:
    longest = [_TESTS / name for name in _LONGEST]
    left = [path for path in files if path not in longest]
    waiting = [path for path in left if path.parent.name in _WAITING]
    computing = [path for path in left if path.parent.name not in _WAITING]
    turns = [
        ((place + 0.5) / len(room), path) for room in (waiting, computing) for place, path in enumerate(room)
    ]
    return [*longest, *(path for _, path in sorted(turns))]
