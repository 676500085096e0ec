"""Callers that connect and say nothing: they must not shut the others out."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.integration.processes import PASSWORD, Running, call, free_ports

SOFT = 256
"""Less than the usual 1024, so that few callers do."""
IDLE = 600


@contextmanager
def file_limit(soft: int) -> Iterator[None]:
    """What this process may open; those it starts meanwhile keep to it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_idle_callers_than_the_usual_limit_shut_nobody_out(tmp_path: Path, database: str) -> None:
    (port,) = free_ports(1)
    (tmp_path / "koshelek-adapter.toml").write_text(
        f'[koshelek]\npassword = "{PASSWORD}"\n[database]\nurl = "{database}"\n[server]\nport = {port}\n'
        '[management]\nenabled = false\n[[cards.ranges]]\nprefix = "2900"\n',
        encoding="utf-8",
    )
    with file_limit(SOFT):
        serve = Running("serve", cwd=tmp_path)
    with serve, ExitStack() as idle:
        serve.wait_for('"ready"')
        for _ in range(IDLE):
            idle.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        assert call(port, "GET", "/v1/card?msisdn=79990000000").status == 200
