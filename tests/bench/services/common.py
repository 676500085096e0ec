"""What all measured services agree on: how they are started, who may ask, how many connections.

It may not know what any of them does.
"""

from __future__ import annotations

import argparse

import uvloop
from aiohttp import web

LOGIN, PASSWORD = "koshelek", "bench-9f2c71d4e8b05a36"
POOL_SIZE = 12
"""Most database connections of one service; the adapter's default."""
CRM_CODE, CRM_SECRET = "bench", "4d1f8a60"
"""Both halves of the slow CRM's key."""
CRM_PATH = "/apiv1/"


def parser(description: str, *, database: bool = True) -> argparse.ArgumentParser:
    """Where the database is, for a service that has one, and which port to listen on."""
    made = argparse.ArgumentParser(description=description)
    if database:
        made.add_argument("--database", required=True, help="PostgreSQL URL")
    made.add_argument("--port", type=int, required=True, help="port to listen on, on 127.0.0.1")
    return made


def serve(application: web.Application, port: int) -> None:
    """Serve it on uvloop, without a log, until SIGTERM."""
    web.run_app(
        application,
        host="127.0.0.1",
        port=port,
        backlog=1024,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
