"""The Medusa connector's run of the conformance kit against a real Medusa, and what that answers.

``python -m pytest -m long tests/conformance/test_medusa_server.py``; it takes some minutes and wants npm.
The rig fills Medusa by its API and reads its tables; triggers keep the ledger.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any, ClassVar

import asyncpg
import pytest

from adapter.process.embedded import EmbeddedServer
from crm_backends import registry
from crm_backends.conformance import BaseGeneral, BasePoints, BaseUsers, context
from crm_backends.conformance.base import opened, soon
from crm_backends.conformance.port_calls import five, new_key, new_person, points, points_account
from crm_backends.model import Holder, Profile
from crm_backends.ports import Backend, Outcome
from tests import medusa
from tests.conftest import create_database, drop_database
from tests.medusa import Medusa, answers

from .servers import ServerRig
from .test_medusa import DIVERGENCES, MedusaRig

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
"""The first test installs Medusa, where it is not installed yet."""

WRONG_KEY = "sk_planted-wrong-key"
LEDGER = """
CREATE TABLE ledger (operation text NOT NULL);
CREATE FUNCTION enter() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO ledger VALUES (TG_ARGV[0]); RETURN NULL; END $$;
CREATE TRIGGER a AFTER INSERT ON customer FOR EACH ROW EXECUTE FUNCTION enter('users.register');
CREATE TRIGGER b AFTER UPDATE ON customer FOR EACH ROW EXECUTE FUNCTION enter('users.update');
CREATE TRIGGER a AFTER INSERT OR UPDATE ON store_credit_account FOR EACH ROW
    EXECUTE FUNCTION enter('account');
CREATE TRIGGER a AFTER INSERT OR UPDATE ON store_credit_account_transaction FOR EACH ROW
    EXECUTE FUNCTION enter('points.credit');
"""


class MedusaServerRig(ServerRig):
    spec = registry.load("medusa")
    nobody = MedusaRig.nobody
    writes: ClassVar[Mapping[str, re.Pattern[bytes]]] = {
        "users.register": re.compile(rb"POST /admin/customers HTTP"),
        "points.credit": re.compile(rb"POST /admin/store-credit-accounts/[^/ ]+/credit HTTP"),
    }

    def __init__(self, server: Medusa, tables: asyncpg.Connection) -> None:
        super().__init__(server.url)
        self.server, self.tables = server, tables
        self.secrets = (server.key, WRONG_KEY)

    def build(self, *, credentials: bool = True) -> Backend:
        key = self.server.key if credentials else WRONG_KEY
        base_url = f"http://127.0.0.1:{self.relay.port}"
        settings = {"base_url": base_url, "api_key": key, "breaker_pause": 0.2}
        return self.spec.build(self.spec.settings.model_validate(settings), context())

    async def new_customer(self, profile: Profile) -> Holder:
        metadata = {"birth_date": str(profile.birth_date), "sex": profile.sex, "locality": profile.locality}
        body = {
            "phone": profile.phone,
            "email": profile.email,
            "first_name": profile.first_name,
            "last_name": profile.surname,
            "metadata": {**metadata, "patronymic": profile.patronymic, "country_code": profile.country_code},
        }
        made = (await self._called("POST", "/admin/customers", body))["customer"]["id"]
        return Holder("2900000000001", made, profile)

    async def ledger(self) -> Counter[str]:
        rows = await self.tables.fetch("SELECT operation FROM ledger")
        return Counter(row["operation"] for row in rows)

    async def move(self, account: str, points: Decimal) -> None:
        kind = "credit" if points > 0 else "debit"
        path = f"/admin/store-credit-accounts/{await self._store_credit(account)}/{kind}"
        await self._called("POST", path, {"amount": int(abs(points)), "note": "till"})

    async def double(self, account: str, idempotency_key: str) -> None:
        path = f"/admin/store-credit-accounts/{await self._store_credit(account)}"
        newest = await self._called("GET", f"{path}/transactions?order=-created_at&limit=1")
        (last,) = newest["transactions"]
        assert idempotency_key in last["note"]
        await self._called("POST", f"{path}/credit", {"amount": last["amount"], "note": last["note"]})

    async def _store_credit(self, customer: str) -> str:
        """The customer's account, which is opened where there is none."""
        path = "/admin/store-credit-accounts"
        found = (await self._called("GET", f"{path}?customer_id={customer}"))["store_credit_accounts"]
        if not found:
            body = {"customer_id": customer, "currency_code": "rub"}
            found = [(await self._called("POST", path, body))["store_credit_account"]]
        return str(found[0]["id"])

    async def _called(self, method: str, path: str, body: Any = None) -> Any:
        status, told = await self.server.call(method, path, body)
        assert status == 200, told
        return told


@pytest.fixture(scope="module")
async def database(postgresql: EmbeddedServer) -> AsyncIterator[str]:
    url = await create_database(postgresql, "template0")
    yield url
    await drop_database(postgresql, url)


@pytest.fixture(scope="module")
async def server(database: str) -> AsyncIterator[Medusa]:
    try:
        async with medusa.running(database) as running:
            tables = await asyncpg.connect(database)
            await tables.execute(LEDGER)
            await tables.close()
            yield running
    except medusa.Missing as missing:
        pytest.skip(f"no Medusa: {missing}")


@pytest.fixture
async def rig(server: Medusa, database: str) -> AsyncIterator[MedusaServerRig]:
    tables = await asyncpg.connect(database)
    rig = MedusaServerRig(server, tables)
    async with rig.relay:
        yield rig
    await tables.close()


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    pass


class TestPoints(BasePoints):
    divergences = DIVERGENCES


async def test_first_credits_at_once_open_one_account(rig: MedusaServerRig) -> None:
    holder = await rig.new_customer(new_person())
    async with opened(rig.build()) as backend:
        account = await points_account(backend, holder)
        before = await rig.ledger()
        ends = await asyncio.gather(
            *(
                points(backend).credit(account, five(rig), idempotency_key=new_key(backend), deadline=soon())
                for _ in range(5)
            )
        )
        assert {end.outcome for end in ends} == {Outcome.DONE}
        assert await rig.ledger() - before == Counter({"points.credit": 5, "account": 1})
        assert (await points(backend).balance(account, deadline=soon())).total == 25


async def test_it_answers_as_was_recorded(server: Medusa) -> None:
    """Last, for it leaves two customers of one phone."""
    assert list(answers.differences(await answers.asked(server.call))) == []
