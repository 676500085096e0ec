"""The run of the conformance kit of the connector for Odoo 18, over a relay to its stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

import aiohttp
import pytest

from contracts.sandbox import odoo, running
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, Rig, context
from crm_backends.conformance.base import effects, opened, soon
from crm_backends.conformance.port_calls import FIVE, find, five, new_key, new_person, points, points_account
from crm_backends.model import Credit
from crm_backends.ports import BackendCredentials, BackendMisconfigured, Outcome, ReconcilesCredit, Written
from tests.conformance.skins import ACCOUNT_IS_THE_NUMBER, FIVE_FOR_1250, OneCardEach, rig_of


class OdooRig(OneCardEach[odoo.Odoo]):
    connector = "odoo"
    nobody = "99999999"
    takes_points = False
    own: ClassVar[Mapping[str, object]] = {
        "database": odoo.DATABASE,
        "user_id": odoo.USER,
        "api_key": odoo.API_KEY,
        "program": odoo.PROGRAM,
        "product": odoo.PRODUCT,
        "birth_date_field": odoo.BIRTH_DATE,
    }
    secret_settings = ("api_key",)
    calls: ClassVar[Mapping[str, str]] = {
        "users.register": "contact_create",
        "users.set_card": "contact_write",
        "points.credit": "order_confirm",
    }

    def prepare(self, test: pytest.FixtureRequest) -> None:
        self.crm.rate = FIVE_FOR_1250

    async def double(self, account: str, idempotency_key: str) -> None:
        """A second order under the key, made and confirmed."""
        order = next(one for one in self.crm.orders_kept if one["client_order_ref"] == idempotency_key)
        again = {**order, "id": self.crm.shop.number()}
        self.crm.orders_kept.append(again)
        member = self.member(account)
        last = member.moves[-1]
        self.crm.shop.give(member, last.points, last.text, str(again["id"]))


rig = rig_of(OdooRig)


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    pass


class TestPoints(BasePoints):
    divergences: ClassVar[Mapping[str, str]] = {"P3": ACCOUNT_IS_THE_NUMBER}


class OfOdoo:
    """What Odoo does beside the kit; seen on real servers."""

    async def test_a_credit_is_done_though_the_customer_has_points_for_a_reward(self, rig: Rig) -> None:
        """Odoo 19 confirms the order and answers with a notice in the place of true."""
        async with opened(rig.build()) as backend:
            account = await points_account(backend, await rig.new_customer(new_person()))
            await rig.move(account, Decimal(odoo.REWARD))
            async with effects(rig, "points.credit", 1):
                written = await points(backend).credit(
                    account, five(rig), idempotency_key=new_key(backend), deadline=soon()
                )
            assert (written.outcome, written.points) == (Outcome.DONE, FIVE)

    async def test_points_are_hundredths_though_odoo_adds_up_binary_fractions(self, rig: Rig) -> None:
        async with opened(rig.build()) as backend:
            account = await points_account(backend, await rig.new_customer(new_person()))
            for moved in ("494.52", "1.33"):
                await rig.move(account, Decimal(moved))
            assert (await points(backend).balance(account, deadline=soon())).total == Decimal("495.85")


class OfRights:
    """What the integration's user may do in Odoo, and the programme of the settings."""

    async def test_check_is_well_with_the_rights_of_the_readme(self, rig: OdooRig) -> None:
        async with opened(rig.build()) as backend:
            assert [finding.ok for finding in await backend.check()] == [True]

    @pytest.mark.parametrize("right", [odoo.ALL_DOCUMENTS, odoo.CONTACT_CREATION])
    async def test_check_fails_where_the_user_lacks_a_right(self, rig: OdooRig, right: str) -> None:
        rig.crm.rights.remove(right)
        async with opened(rig.build()) as backend:
            (finding,) = await backend.check()
        assert not finding.ok
        assert "rights" in finding.remedy

    async def test_a_user_who_sees_their_own_orders_gives_no_points_twice(self, rig: OdooRig) -> None:
        """The right is taken away, and the credited order is given to another salesperson."""
        account, credit = (await rig.new_customer(new_person())).users_reference, five(rig)
        async with opened(rig.build()) as backend:
            assert isinstance(backend, ReconcilesCredit)
            key = new_key(backend)
            async with effects(rig, "points.credit", 1):
                first = await points(backend).credit(account, credit, idempotency_key=key, deadline=soon())
                (order,) = rig.crm.orders_kept
                order["user_id"] = odoo.USER + 1
                rig.crm.rights.remove(odoo.ALL_DOCUMENTS)
                with pytest.raises(BackendCredentials):
                    await points(backend).credit(account, credit, idempotency_key=key, deadline=soon())
                with pytest.raises(BackendCredentials):
                    await looked_up(backend, account, credit, key)
            rig.crm.rights.add(odoo.ALL_DOCUMENTS)
            found = await looked_up(backend, account, credit, key)
        assert (first.outcome, found.outcome) == (Outcome.DONE, Outcome.DONE)
        assert len(rig.crm.orders_kept) == 1

    async def test_an_order_is_of_no_salesperson(self, rig: OdooRig) -> None:
        account = (await rig.new_customer(new_person())).users_reference
        async with opened(rig.build()) as backend:
            await points(backend).credit(
                account, five(rig), idempotency_key=new_key(backend), deadline=soon()
            )
        assert [order["user_id"] for order in rig.crm.orders_kept] == [False]

    async def test_of_a_programme_that_is_not_there_no_order_is_made(self, rig: OdooRig) -> None:
        """It would be confirmed without points, and they would never come."""
        account = (await rig.new_customer(new_person())).users_reference
        address = f"http://127.0.0.1:{rig.relay.port}"
        settings = {"base_url": address, **rig.own, "program": odoo.PROGRAM + 1}
        async with opened(rig.spec.build(rig.spec.settings.model_validate(settings), context())) as backend:
            with pytest.raises(BackendMisconfigured):
                await points(backend).credit(
                    account, five(rig), idempotency_key=new_key(backend), deadline=soon()
                )
        assert rig.crm.orders_kept == []


async def looked_up(backend: ReconcilesCredit, account: str, credit: Credit, key: str) -> Written:
    now = datetime.now().astimezone()
    return await backend.reconcile_credit(
        account, credit, idempotency_key=key, since=now, before=None, deadline=soon()
    )


NOT_TAKEN = [
    ("create", {"vals_list": [{"phone": "+79161234567"}]}, 422, "odoo.exceptions.ValidationError"),
    ("write", {"ids": [1], "vals": {odoo.BIRTH_DATE: "1990-17-05"}}, 500, "builtins.ValueError"),
    ("write", {"ids": [1], "vals": {"none": "x"}}, 500, "builtins.ValueError"),
    ("search_read", {"domain": [], "fields": ["name"], "order": "none"}, 500, "builtins.ValueError"),
    ("search_read", {"domain": [["name", "none", "x"]]}, 500, "builtins.ValueError"),
]


@pytest.mark.parametrize(("method", "body", "status", "name"), NOT_TAKEN)
async def test_the_stand_in_names_what_it_does_not_take_as_odoo_does(
    method: str, body: dict[str, Any], status: int, name: str
) -> None:
    async with running("odoo") as sandbox, aiohttp.ClientSession(sandbox.base_url) as http:
        if "ids" in body:
            body = {**body, "ids": [sandbox.add_customer(phone="+79161234567")["id"]]}
        bearer = {"Authorization": f"Bearer {odoo.API_KEY}"}
        async with http.post(f"/json/2/res.partner/{method}", json=body, headers=bearer) as answer:
            assert (answer.status, (await answer.json())["name"]) == (status, name)
        who = [odoo.DATABASE, odoo.USER, odoo.API_KEY, "res.partner", method, [], body]
        call = {"jsonrpc": "2.0", "method": "call", "id": 1, "params": {"args": who}}
        async with http.post("/jsonrpc", json=call) as answer:
            assert (answer.status, (await answer.json())["error"]["data"]["name"]) == (200, name)


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_the_stand_in_refuses_a_key_as_odoo_19_does(key: str) -> None:
    async with running("odoo19") as sandbox, aiohttp.ClientSession(sandbox.base_url) as http:
        bearer = {"Authorization": f"Bearer {key}"}
        async with http.post("/json/2/res.users/context_get", json={}, headers=bearer) as answer:
            told = await answer.json()
    assert (answer.status, told["name"], told["message"]) == (
        401,
        "werkzeug.exceptions.Unauthorized",
        "Invalid apikey",
    )


async def test_odoo_18_has_no_notice_of_rewards(rig: OdooRig) -> None:
    """By JSON-RPC the confirming is answered with true, whatever points the customer has (seen)."""
    account = (await rig.new_customer(new_person())).users_reference
    await rig.move(account, Decimal(odoo.REWARD))
    async with opened(rig.build()) as backend:
        await points(backend).credit(account, five(rig), idempotency_key=new_key(backend), deadline=soon())
    assert rig.crm.ledger.calls["orders"] == 1  # one before it is made, none to see what the notice means


class TestRights(OfRights):
    pass


class TestOfOdoo(OfOdoo):
    async def test_a_contact_with_a_mobile_number_is_found_by_its_phone_too(self, rig: OdooRig) -> None:
        """Odoo 18 alone: it keeps two numbers, and its own reading of the mobile one."""
        person, other = new_person(), new_person()
        holder = await rig.new_customer(person)
        rig.customer(holder.users_reference).more["mobile"] = other.phone
        async with opened(rig.build()) as backend:
            for phone in (person.phone, other.phone):
                assert list(await find(backend, phone=phone)) == [holder.users_reference]
