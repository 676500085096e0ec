"""The demo programme: a few people, cards and promo codes in the embedded database, and how to try them.

The people are invented; their phones are of a range that is never given out.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from adapter.bootstrap import Service
from adapter.loyalty.model import CardState
from adapter.loyalty.numbers import range_number
from adapter.process import serving
from adapter.process.database import database
from adapter.process.listening import check_ports
from adapter.process.signals import run as run_to_end
from adapter.settings import CannotRun, CouponTriggers, Crm, NumberRange, Settings, with_overrides
from adapter.store.importing import ImportReport, Row, import_rows
from adapter.store.pool import Gateway
from contracts import sandbox
from contracts.kit.listening import base_url
from contracts.sandbox import CONNECTORS, pegke, perx, xerts
from contracts.sandbox.people import PEOPLE
from crm_backends import registry
from crm_backends.inputs import wire_phone
from crm_backends.model import Holder, Profile
from crm_backends.ports import BackendError, Deadline, Support

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


CRMS = ("perx", "pegke", "xerts")
BY_RULES = frozenset({"odoo", "odoo19", "premiumbonus"})
"""Connectors whose CRM alone decides how many points a receipt gives."""
_NOT_THERE = (Support.IMPOSSIBLE, Support.NOT_IMPLEMENTED)
PERX_CODE = "COFFEE"
"""A promo code for a reward of Perx; its vouchers have codes, too, which are for the till."""


def run(settings: Settings, crm: str, say: Callable[[str], None]) -> None:
    """Serve the demo until a signal; ``crm`` is ``postgres``, one of ``CRMS`` or ``CONNECTORS``, or
    ``mixed``.

    Raises ``CannotRun``.
    """
    known = ("postgres", *CRMS, *CONNECTORS, "mixed")
    if crm not in known:
        raise CannotRun(f"there is no demo over {crm}; there are: {', '.join(known)}")
    check_ports(settings)

    async def ready(service: Service, port: int) -> None:
        people = await (load(service) if crm == "postgres" else load_stand_ins(service))
        file = settings.database.data_dir / "koshelek-contract.yaml"
        file.write_text(
            contract_options(base_url(service.settings.server.host, port), people), encoding="utf-8"
        )
        say(greeting(service, port, crm, people["plastic"], file))

    async def main(url: str) -> None:
        names = CRMS if crm == "mixed" else [name for name in (*CRMS, *CONNECTORS) if name == crm]
        async with AsyncExitStack() as stack:
            running = {name: await stack.enter_async_context(sandbox.running(name)) for name in names}
            update: dict[str, Any] = {"crm": Crm.model_validate(_bindings(crm, running))}
            if running.keys() & {"xerts", "voucherify"}:
                update["coupons"] = CouponTriggers(card_occasion="visit", receipt_occasion="receipt")
            if crm in BY_RULES:
                update["receipts"] = settings.receipts.model_copy(update={"points_by": "crm"})
            bound = settings.model_copy(update=update)
            await serving.serve_until_stopped(bound, url, ready=ready)

    with database(settings) as url:
        run_to_end(lambda: main(url))


def _bindings(crm: str, running: Mapping[str, sandbox.Sandbox]) -> dict[str, Any]:
    """The ``[crm]`` settings that lead to the stand-ins."""
    own = {"driver": "postgres"}
    if crm in CONNECTORS:
        given = dict(CONNECTORS[crm])
        address = f"{running[crm].base_url}{given.pop('path', '')}"
        there = {"driver": crm, "base_url": address, **given}
        # Nobody can be registered there, so people are kept here.
        users = own if registry.load(crm).capabilities["users.register"].support in _NOT_THERE else there
        coupons = there if "coupons" in registry.load(crm).ports else {"driver": "none"}
        return {"users": users, "points": there, "coupons": coupons}
    drivers: dict[str, dict[str, Any]] = {}
    if "perx" in running:
        drivers["perx"] = {
            "driver": "perx",
            "base_url": running["perx"].base_url,
            "client_id": perx.CLIENT_ID,
            "client_secret": perx.CLIENT_SECRET,
            "merchant_identifier": perx.MERCHANT_IDENTIFIER,
            "loyalty_program_id": perx.LOYALTY_PROGRAM_ID,
            "identifier": "token",
            "identifier_secret": "a secret of the demo, no other",
            "find_by": "merchant_search",
            "send_phone": True,
            "properties": {"birth_date": "birthday"},
            "credit_by": "points",
            "promo_codes": {PERX_CODE: {"reward": perx.COFFEE}, "GIFT": {"reward": perx.GIFT}},
        }
    if "pegke" in running:
        drivers["pegke"] = {
            "driver": "pegke",
            "dialect": "merchant_v1",
            "base_url": running["pegke"].base_url + pegke.MERCHANT_PATH,
            "consumer_code": pegke.CONSUMER_CODE,
            "consumer_secret": pegke.CONSUMER_SECRET,
            "country_prefix": "7",
            "history_timezone": "UTC",
        }
    if "xerts" in running:
        drivers["xerts"] = {
            "driver": "xerts",
            "base_url": running["xerts"].base_url,
            "api_key": xerts.API_KEY,
            "email": xerts.EMAIL,
            "password": xerts.PASSWORD,
            "site": xerts.SITE_ID,
        }
    if crm == "postgres":
        return own
    users = drivers.get("perx", own)
    points = drivers.get("pegke") or drivers.get("perx", own)
    coupons = drivers.get("xerts") or drivers.get("perx") or {"driver": "none"}
    return {"users": users, "points": points, "coupons": coupons}


async def load_stand_ins(service: Service) -> dict[str, Any]:
    """Give a person whom the stand-ins know a card; ours are entered in the users CRM if that is ours.

    Returns who is there, as options of ``koshelek-contract``.
    """
    users, anna = service.programme.users, PEOPLE[0]
    deadline = Deadline.after(10)
    found = await users.find(phone=anna.phone, email=None, birth_date=None, deadline=deadline)
    if found:
        customer_id: str | None = found[0].customer_id
    else:
        profile = Profile(phone=anna.phone, email=anna.email, first_name="Anna", birth_date=anna.birth_date)
        customer_id = (await users.register(profile, idempotency_key="demo", deadline=deadline)).crm_reference
    emails = service.programme.emails
    if emails is not None and customer_id is not None:
        await emails.note(customer_id, anna.email)
    row: Row = (ANNA, ANNA, "EAN_13", CardState.ACTIVE.value, customer_id)
    gateway = Gateway(service.pool, 5.0)
    await import_rows(gateway, [row], ImportReport(), lambda done: None)
    people: dict[str, Any] = {
        "existing": {
            "phone": wire_phone(anna.phone),
            "email": anna.email,
            "birth_date": anna.birth_date.isoformat(),
            "card_number": ANNA,
        },
        "plastic": await _plastic(service),
        "receipt_holder": "existing",
        "promo_holder": "existing",
    }
    coupons, bound = service.programme.coupons, service.settings.crm.bindings()["coupons"]
    if bound is not None and bound.driver == "perx":
        people["promo_code"] = PERX_CODE
    elif coupons is not None and customer_id is not None and bound is not None:
        holder = Holder(ANNA, customer_id, Profile(phone=anna.phone))
        account = await coupons.coupons_account(holder, deadline=deadline)
        if account is not None:
            with suppress(BackendError):
                await coupons.issue(account, "visit", idempotency_key="demo-visit", deadline=deadline)
                offers = await coupons.offers(account, deadline=deadline)
                redeem = registry.load(bound.driver).capabilities["coupons.redeem"]
                codes = [offer.code for offer in offers if offer.code and redeem.support not in _NOT_THERE]
                people["promo_code"] = codes[0] if codes else None
    return people


async def load(service: Service) -> dict[str, Any]:
    """Enter the demo people, cards, points, purchases and promo codes; what is there already stays.

    Returns who is there, as options of ``koshelek-contract``.
    """
    sql = files("crm_backends.postgres").joinpath("demo.sql").read_text(encoding="utf-8")
    async with service.pool.acquire() as connection, connection.transaction():
        await connection.execute(sql)
    rows: list[Row] = [
        (ANNA, ANNA, "EAN_13", CardState.ACTIVE.value, await _customer_id(service, "+79000000001")),
        (BLOCKED, BLOCKED, "EAN_13", CardState.BLOCKED.value, await _customer_id(service, "+79000000002")),
    ]
    await import_rows(Gateway(service.pool, 5.0), rows, ImportReport(), lambda done: None)
    return {
        "existing": {
            "phone": "79000000001",
            "email": "anna@example.com",
            "birth_date": "1990-05-17",
            "card_number": ANNA,
        },
        "blocked": {"phone": "79000000002"},
        "plastic": await _plastic(service),
        "promo_code": "WELCOME",
    }


async def _plastic(service: Service) -> str:
    """A plastic card without an owner; a new card if all earlier ones have been issued."""
    value, number = 3, PLASTIC
    while (card := await service.cards.get(number)) is not None:
        if card.state is CardState.OWNERLESS:
            return number
        value += 1
        number = range_number(_RANGE, value)
    row: Row = (number, number, "EAN_13", CardState.OWNERLESS.value, None)
    await import_rows(Gateway(service.pool, 5.0), [row], ImportReport(), lambda done: None)
    return number


async def _customer_id(service: Service, phone: str) -> str:
    found = await service.programme.users.find(
        phone=phone, email=None, birth_date=None, deadline=Deadline.after(5)
    )
    return found[0].customer_id


def contract_options(url: str, people: Mapping[str, Any]) -> str:
    """The options file with which ``koshelek-contract run`` tests this demo."""
    options = {"urls": [url], "login": LOGIN, "password": PASSWORD, **people}
    given = {key: value for key, value in options.items() if value is not None}
    comment = "# Options of koshelek-contract for the demo; written anew at every start.\n"
    return comment + yaml.safe_dump(given, allow_unicode=True, sort_keys=False)


def _beside_us(program: str) -> str:
    """How to call a program that is installed with this one, from the folder where this one was called."""
    beside = Path(sys.argv[0]).with_name(program)
    return str(beside) if shutil.which(program) is None and beside.is_file() else program


def greeting(service: Service, port: int, crm: str, plastic: str, options: Path) -> str:
    """What the demo prints once it answers."""
    base = base_url(service.settings.server.host, port)
    bought = service.programme.now() - timedelta(hours=1)
    receipt = f"t={bought:%Y%m%dT%H%M}&s=1250.00&fn=9999078900004792&i={bought:%d%H%M}&fp=3522207165&n=1"
    curl = f"curl -su {LOGIN}:{PASSWORD}"
    phone = "79000000001" if crm == "postgres" else wire_phone(PEOPLE[0].phone)
    also = _ALSO.format(plastic=plastic) if crm == "postgres" else _STAND_INS
    return f"""
koshelek-adapter demo is ready.

  Base URL      {base}
  Login         {LOGIN}
  Password      {PASSWORD}
  Health        http://127.0.0.1:{service.settings.management.port}/health/ready
  Data          {service.settings.database.data_dir}

Find Anna's card by her phone, look at her points, send a cash receipt of hers:

  {curl} '{base}/v1/card?msisdn={phone}'
  {curl} {base}/v1/card/{ANNA}
  {curl} {base}/v1/promo/qrCode -d '{{"cardNumber":"{ANNA}","qrCode":"{receipt}"}}'

Let the contract suite test all of it:

  {_beside_us("koshelek-contract")} run --config {options} --profile full

{also} Ctrl-C stops everything.
"""


_ALSO = """Also there: a blocked card (msisdn 79000000002), plastic without an owner ({plastic}),
promo codes WELCOME, SINGLE, EXPIRED, SOON and GONE. The data stays."""
_STAND_INS = """The CRMs are stand-ins made from the vendors' documentation, not the vendors' servers;
they forget everything when they stop."""
