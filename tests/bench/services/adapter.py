"""The adapter in one process, put together by its own bootstrap and served as ``serve`` does.

Logging is on at level info, one JSON line per request on standard output. It may not know what is
measured with it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from adapter.api.auth import hash_password
from adapter.api.server import PublicRunner
from adapter.bootstrap import Service
from adapter.process import logs
from adapter.process.serving import spare_the_collector
from adapter.process.signals import run
from adapter.settings import Settings, read_settings, with_overrides
from adapter.store import cards, finder
from crm_backends.postgres.users import PostgresUsers
from tests.bench.services import common

SPEED_PARTS = ("joins", "batches")


def crm_for(options: argparse.Namespace) -> dict[str, Any]:
    """The points at the CRM with that URL; all else in PostgreSQL."""
    if options.crm_url is None:
        return {}
    points: dict[str, Any] = dict(_PERX if options.crm == "perx" else _PEGKE)
    if options.at_once == 0:
        points |= {"concurrency": 400, "queue_timeout": 5}
    # Without known balances: what the CRM did not answer must not count as an answer.
    return {"driver": "postgres", "points": {**points, "base_url": options.crm_url}, "stale_after": 0}


_PERX = {
    "driver": "perx",
    "client_id": common.CRM_CODE,
    "client_secret": common.CRM_SECRET,
    "identifier_secret": 4 * common.CRM_SECRET,
    "loyalty_program_id": 1,
}
_PEGKE = {
    "driver": "pegke",
    "dialect": "merchant_v1",
    "consumer_code": common.CRM_CODE,
    "consumer_secret": common.CRM_SECRET,
}


def settings_for(options: argparse.Namespace) -> Settings:
    """The defaults, but for the password, the port, and what the measurement switches."""
    password = hash_password(common.PASSWORD) if options.auth == "argon2" else common.PASSWORD
    return with_overrides(
        read_settings(),
        {
            "koshelek": {"login": common.LOGIN, "password": SecretStr(password)},
            "server": {"port": options.port},
            "database": {"url": SecretStr(options.database), "pool_size": common.POOL_SIZE},
            "delivery": {"in_process": options.delivery},
            "receipts": {"wait": options.receipts_wait},
            "crm": crm_for(options),
        },
    )


def leave_out(parts: Sequence[str]) -> None:
    """Have the service built without what is there for speed alone, to see what that brings."""
    if "joins" in parts:
        for name in ("finds_many", "finds_many_by_card"):
            setattr(PostgresUsers, name, False)
    if "batches" in parts:
        for module in (finder, cards):
            vars(module).update(READS_MOST=1, READS_LANES=1000)


async def serve(options: argparse.Namespace) -> None:
    """Serve the public port until SIGTERM."""
    leave_out(options.without)
    settings = settings_for(options)
    logs.configure(settings.log)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    service = Service(settings, options.database)
    await service.open()
    runner = PublicRunner(
        service.public_application(authenticated=options.auth != "none"),
        language=settings.koshelek.language,
        shutdown_timeout=settings.server.shutdown_timeout,
    )
    try:
        if options.delivery:
            await service.start_delivery()
        await runner.setup()
        await web.TCPSite(runner, settings.server.host, settings.server.port, backlog=1024).start()
        spare_the_collector()
        await stopping.wait()
    finally:
        await runner.cleanup()
        await service.close()


def main() -> None:
    parser = common.parser("the adapter, one process")
    parser.add_argument("--auth", choices=("plain", "argon2", "none"), default="plain")
    parser.add_argument("--delivery", action="store_true", help="deliver in this process, as serve does")
    parser.add_argument("--receipts-wait", type=float, default=1.5, help="receipts.wait, seconds")
    parser.add_argument("--crm-url", help="points are in the CRM with this base URL")
    parser.add_argument("--at-once", type=int, help="0: as many calls at once to the CRM as are wanted")
    parser.add_argument("--crm", choices=("pegke", "perx"), default="pegke", help="its kind")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=SPEED_PARTS,
        help="joins: people and cards in one statement; batches: look-ups that arrive together go together",
    )
    given = parser.parse_args()
    run(lambda: serve(given))


if __name__ == "__main__":
    main()
