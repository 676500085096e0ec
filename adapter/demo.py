"""The demo programme: a few people, cards and promo codes in the embedded database, and how to try them.

The people are invented; their phones are of a range that is never given out.
"""

from __future__ import annotations

from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from adapter.bootstrap import Service
from adapter.loyalty.model import CardState
from adapter.loyalty.numbers import range_number
from adapter.settings import NumberRange, Settings, with_overrides
from adapter.store.importing import Report, Row, import_rows
from adapter.store.pool import Gateway
from crm_backends.ports import Deadline

LOGIN, PASSWORD = "koshelek", "demo"
_RANGE = NumberRange(prefix="2900", length=13, check_digit="ean", first=1000)
ANNA, BLOCKED, PLASTIC = (range_number(_RANGE, value) for value in (1, 2, 3))


def demo_settings(*, host: str, port: int, data_dir: Path, management_port: int) -> Settings:
    """Settings of the demo: the embedded database, the PostgreSQL CRM in it, a known password."""
    overrides: dict[str, dict[str, Any]] = {
        "koshelek": {
            "login": LOGIN,
            "password": SecretStr(PASSWORD),
            "offers_path": "/v1/card/{cardNumber}/offers",
        },
        "server": {"host": host, "port": port},
        "management": {"port": management_port},
        "database": {"data_dir": data_dir},
        "cards": {"ranges": [_RANGE], "barcode_type": "EAN_13"},
    }
    # The built-in defaults alone: the environment may point to a database that is no toy.
    return with_overrides(Settings.model_construct(), overrides)


async def load(service: Service) -> None:
    """Enter the demo people, cards, points, purchases and promo codes; what is there already stays."""
    sql = files("crm_backends.postgres").joinpath("demo.sql").read_text(encoding="utf-8")
    async with service.pool.acquire() as connection, connection.transaction():
        await connection.execute(sql)
    rows: list[Row] = [
        (ANNA, ANNA, "EAN_13", CardState.ACTIVE.value, await _reference(service, "+79000000001")),
        (BLOCKED, BLOCKED, "EAN_13", CardState.BLOCKED.value, await _reference(service, "+79000000002")),
        (PLASTIC, PLASTIC, "EAN_13", CardState.OWNERLESS.value, None),
    ]
    gateway = Gateway(service.pool, 5.0)
    await import_rows(gateway, rows, Report(), lambda done: None)


async def _reference(service: Service, phone: str) -> str:
    found = await service.programme.users.find(
        phone=phone, email=None, birth_date=None, deadline=Deadline.after(5)
    )
    return found[0].reference


def greeting(service: Service, port: int) -> str:
    """What the demo prints once it answers."""
    host = service.settings.server.host
    base = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104
    bought = service.programme.now() - timedelta(hours=1)
    receipt = f"t={bought:%Y%m%dT%H%M}&s=1250.00&fn=9999078900004792&i={bought:%d%H%M}&fp=3522207165&n=1"
    curl = f"curl -su {LOGIN}:{PASSWORD}"
    return f"""
koshelek-adapter demo is ready.

  Base URL      {base}
  Login         {LOGIN}
  Password      {PASSWORD}
  Health        http://127.0.0.1:{service.settings.management.port}/health/ready
  Data          {service.settings.database.data_dir}

Find Anna's card by her phone, look at her points, send a cash receipt of hers:

  {curl} '{base}/v1/card?msisdn=79000000001'
  {curl} {base}/v1/card/{ANNA}
  {curl} {base}/v1/promo/qrCode -d '{{"cardNumber":"{ANNA}","qrCode":"{receipt}"}}'

Also there: a blocked card (msisdn 79000000002), plastic without an owner ({PLASTIC}),
promo codes WELCOME, SINGLE, EXPIRED, SOON and GONE. Ctrl-C stops everything; the data stays.
"""
