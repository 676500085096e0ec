"""Odoo's own client library against the stand-in, and the requests of both our connectors beside its.

Needs the extra ``vendors``.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest

from contracts.sandbox import odoo as stand_in
from contracts.sandbox import running
from crm_backends.connector.calls import Call
from crm_backends.model import Profile
from crm_backends.ports import Deadline
from tests.vendors.heard import Heard, both

PHONE, KEY, CARD = "+79161234567", "KEY0000000000000000000001", "2900000010016"
PERSON = {"name": "Петрова Анна", "phone": PHONE}
BY_PHONE = ["|", ["phone_sanitized", "=", PHONE], ["phone", "=", PHONE]]
TAXES = {"odoo": "tax_id", "odoo19": "tax_ids"}


@pytest.fixture(scope="module")
def odoolib() -> Any:
    """The vendor's client."""
    return pytest.importorskip("odoolib")


def connected(odoolib: Any, connector: str, base_url: str, key: str = stand_in.API_KEY) -> Any:
    address = urlsplit(base_url)
    return odoolib.get_connection(
        hostname=address.hostname,
        port=address.port,
        protocol={"odoo": "jsonrpc", "odoo19": "json2"}[connector],
        database=stand_in.DATABASE,
        password=key,
        user_id=stand_in.USER,
    )


def order(connector: str, contact: int) -> dict[str, Any]:
    line = {
        "product_id": stand_in.PRODUCT,
        "name": "Purchase",
        "product_uom_qty": 1,
        "price_unit": 1250,
        "discount": 0,
        TAXES[connector]: [[6, 0, []]],
    }
    return {"partner_id": contact, "client_order_ref": KEY, "user_id": False, "order_line": [[0, 0, line]]}


def theirs(connector: str, connection: Any) -> None:
    """What a shop does with the vendor's client to register somebody, give a card, and sell for 1250."""
    contacts, orders = connection.get_model("res.partner"), connection.get_model("sale.order")

    def by_name(model: str, method: str, ids: list[Any], **named: Any) -> Any:
        who = (connection.database, connection.user_id, connection.password)
        return connection.get_service("object").execute_kw(*who, model, method, ids, named)

    def look(model: str, **search: Any) -> Any:
        if connector == "odoo19":
            return connection.get_model(model).search_read(**search)
        return by_name(model, "search_read", [], **search)

    def sees_all_orders() -> Any:
        users = connection.get_model("res.users")
        if connector == "odoo19":
            return users.has_group(ids=[users.context_get()["uid"]], group_ext_id=stand_in.ALL_DOCUMENTS)
        uid = by_name("res.users", "context_get", [])["uid"]
        return by_name("res.users", "has_group", [[uid]], group_ext_id=stand_in.ALL_DOCUMENTS)

    def create(model: Any, values: dict[str, Any]) -> Any:
        return model.create(vals_list=[values]) if connector == "odoo19" else model.create([values])

    def write(model: Any, number: int, values: dict[str, Any]) -> Any:
        if connector == "odoo19":
            return model.write(ids=[number], vals=values)
        return model.write([number], values)

    def confirm(number: int) -> Any:
        return (
            orders.action_confirm(ids=[number]) if connector == "odoo19" else orders.action_confirm([number])
        )

    fields = ["phone", "phone_sanitized"]
    assert look("res.partner", domain=BY_PHONE, fields=fields, order="id", limit=1) == []
    (contact,) = create(contacts, PERSON)
    (now,) = look("res.partner", domain=[["id", "=", contact]], fields=["name"])
    assert now["name"] == PERSON["name"]
    assert write(contacts, contact, {"city": "Тверь"}) is True
    assert look("res.partner", domain=[["id", "=", contact]], fields=["barcode"])[0]["barcode"] is False
    assert look("res.partner", domain=[["barcode", "=", CARD]], fields=["barcode"], limit=2) == []
    assert write(contacts, contact, {"barcode": CARD}) is True
    ours_is = [["client_order_ref", "=", KEY]]
    wanted = ["state", "partner_id", "amount_total"]
    assert look("sale.order", domain=ours_is, fields=wanted, order="id", limit=10) == []
    programme = [["id", "=", stand_in.PROGRAM]]
    assert look("loyalty.program", domain=programme, fields=["program_type"]) != []
    assert sees_all_orders() is True
    (made,) = create(orders, order(connector, contact))
    assert confirm(made) is True
    given = [
        ["order_model", "=", "sale.order"],
        ["order_id", "=", made],
        ["card_id.program_id", "=", stand_in.PROGRAM],
    ]
    assert look("loyalty.history", domain=given, fields=["issued"])[0]["issued"] == 62.5
    card = [["partner_id", "=", contact], ["program_id", "=", stand_in.PROGRAM]]
    assert look("loyalty.card", domain=card, fields=["points"])[0]["points"] == 62.5


async def ours(backend: Any) -> None:
    """The same through the connector."""
    soon = Deadline.after(30)
    person = Profile(phone=PHONE, first_name="Анна", surname="Петрова")
    made = await backend.register(person, idempotency_key=KEY, deadline=soon)
    customer = made.crm_reference
    await backend.update(customer, Profile(locality="Тверь"), deadline=soon)
    await backend.set_card(customer, CARD, CARD, "EAN_13", replaces=None, idempotency_key=KEY, deadline=soon)
    receipt = {"total_kopecks": 125000}
    credit = Call({"receipt": receipt}, KEY, soon).credit
    assert (await backend.credit(customer, credit, idempotency_key=KEY, deadline=soon)).points == 62.5
    assert (await backend.balance(customer, deadline=soon)).total == 62.5


def alike(heard: list[Heard]) -> list[Any]:
    """Calls without the number of a JSON-RPC call, which is its caller's own."""
    found = []
    for operation, path, query, body in heard:
        plain = {name: value for name, value in body.items() if name != "id"}
        found.append((operation, path, query, plain))
    return found


@pytest.mark.parametrize("connector", ["odoo", "odoo19"])
async def test_the_vendors_client_and_the_connector_ask_the_same(odoolib: Any, connector: str) -> None:
    settings = {
        "database": stand_in.DATABASE,
        "api_key": stand_in.API_KEY,
        "program": stand_in.PROGRAM,
        "product": stand_in.PRODUCT,
    }
    if connector == "odoo":
        settings["user_id"] = stand_in.USER
    recordings = await both(
        connector,
        settings,
        lambda url: asyncio.to_thread(theirs, connector, connected(odoolib, connector, url)),
        ours,
    )
    assert [one.sandbox.ledger().count("points.credit", reference=KEY) for one in recordings] == [1, 1]
    vendors, connectors = (alike(one.heard) for one in recordings)
    assert vendors == connectors
    # By JSON-RPC each call is heard twice: as it came, and as what it asks of Odoo.
    assert len(vendors) == {"odoo": 30, "odoo19": 15}[connector]


@pytest.mark.parametrize("connector", ["odoo", "odoo19"])
async def test_the_vendors_client_reads_the_stand_ins_refusals(odoolib: Any, connector: str) -> None:
    async with running(connector) as sandbox:

        def refused() -> None:
            stranger = connected(odoolib, connector, sandbox.base_url, "wrong").get_model("res.partner")
            contacts = connected(odoolib, connector, sandbox.base_url).get_model("res.partner")
            if connector == "odoo19":
                with pytest.raises(odoolib.tools.AuthenticationError):
                    stranger.write(ids=[1], vals={})
                with pytest.raises(ValueError, match=r"404.*MissingError"):
                    contacts.write(ids=[99999999], vals={})
                return
            with pytest.raises(Exception, match=r"odoo\.exceptions\.AccessDenied"):
                stranger.write([1], {})
            with pytest.raises(Exception, match=r"odoo\.exceptions\.MissingError"):
                contacts.write([99999999], {})

        await asyncio.to_thread(refused)
