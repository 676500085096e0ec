"""The PostgreSQL driver's run of the conformance kit, over a relay to a real server.

The rig writes and reads the tables by SQL of its own; triggers keep the ledger.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from crm_backends import postgres
from crm_backends.conformance import (
    BaseCoupons,
    BaseGeneral,
    BasePoints,
    BaseUsers,
    Relay,
    RelayedRig,
    context,
)
from crm_backends.conformance.port_calls import new_card_number, new_key
from crm_backends.conformance.relay import Streams
from crm_backends.model import Channel, CrmCardState, Holder, Profile
from crm_backends.ports import Refusal

PASSWORD, WRONG_USER, WRONG_PASSWORD = "planted-password", "planted_stranger", "planted-wrong-password"

LEDGER = """
CREATE TABLE public.ledger (operation text NOT NULL);
CREATE FUNCTION public.enter() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.ledger VALUES (TG_ARGV[0]); RETURN NULL; END $$;
CREATE TRIGGER a AFTER INSERT ON crm.customers FOR EACH ROW EXECUTE FUNCTION public.enter('users.register');
CREATE TRIGGER b AFTER UPDATE ON crm.customers FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.* AND OLD.card_number IS NOT DISTINCT FROM NEW.card_number)
    EXECUTE FUNCTION public.enter('users.update');
CREATE TRIGGER c AFTER UPDATE ON crm.customers FOR EACH ROW
    WHEN (OLD.card_number IS DISTINCT FROM NEW.card_number)
    EXECUTE FUNCTION public.enter('users.set_card');
CREATE TRIGGER a AFTER INSERT OR UPDATE ON crm.consents FOR EACH ROW
    EXECUTE FUNCTION public.enter('users.set_consents');
CREATE TRIGGER a AFTER INSERT ON crm.points_ledger FOR EACH ROW
    EXECUTE FUNCTION public.enter('points.credit');
CREATE TRIGGER a AFTER INSERT ON crm.customer_offers FOR EACH ROW
    EXECUTE FUNCTION public.enter('coupons.issue');
CREATE TRIGGER a AFTER INSERT ON crm.promo_redemptions FOR EACH ROW
    EXECUTE FUNCTION public.enter('coupons.redeem');
"""


class PostgresRig(RelayedRig):
    """A database with the schema ``crm``, and the relay the driver reaches it through."""

    spec = postgres.BACKEND
    secrets = (PASSWORD, WRONG_USER, WRONG_PASSWORD)
    nobody = "999999999"

    def __init__(self, relay: Relay, crm: asyncpg.Connection[asyncpg.Record], database: str) -> None:
        super().__init__(relay)
        self._crm = crm
        self._database = database

    def build(self, *, credentials: bool = True) -> postgres.PostgresBackend:
        who = f"postgres:{PASSWORD}" if credentials else f"{WRONG_USER}:{WRONG_PASSWORD}"
        url = f"postgresql://{who}@127.0.0.1:{self.relay.port}/{self._database}?sslmode=disable"
        settings = postgres.PostgresSettings(url=SecretStr(url), statement_timeout=20)
        return postgres.PostgresBackend(settings, context())

    async def new_customer(self, profile: Profile) -> Holder:
        fields = profile.given()
        marks = ", ".join(f"${n}" for n in range(1, len(fields) + 1))
        customer = await self._crm.fetchval(
            f"INSERT INTO crm.customers ({', '.join(fields)}) VALUES ({marks}) RETURNING id", *fields.values()
        )
        return Holder(card_number=f"29{customer:011d}", users_reference=str(customer), profile=profile)

    async def ledger(self) -> Counter[str]:
        rows = await self._crm.fetch("SELECT operation, count(*) FROM public.ledger GROUP BY operation")
        return Counter({row["operation"]: row["count"] for row in rows})

    async def lose_request(self, operation: str) -> None:
        await self.relay.lose_request()

    async def lose_reply(self, operation: str) -> None:
        await self.relay.lose_reply()

    async def consents(self, customer: str) -> Mapping[Channel, bool]:
        rows = await self._crm.fetch(
            "SELECT channel, allowed FROM crm.consents WHERE customer_id = $1", int(customer)
        )
        return {row["channel"]: row["allowed"] for row in rows}

    async def give_card(self, holder: Holder) -> str:
        await self._crm.execute(
            "UPDATE crm.customers SET card_number = $2 WHERE id = $1",
            int(holder.users_reference),
            holder.card_number,
        )
        return holder.card_number

    async def plastic(self) -> str:
        number = new_card_number()
        await self._crm.execute("INSERT INTO crm.cards (number) VALUES ($1)", number)
        return number

    async def change_card(self, number: str, state: CrmCardState) -> str | None:
        if state == "replaced":
            successor = new_card_number()
            await self._crm.execute(
                "UPDATE crm.customers SET card_number = $2 WHERE card_number = $1", number, successor
            )
            return successor
        await self._crm.execute(
            "INSERT INTO crm.cards (number, state) VALUES ($1, $2)"
            " ON CONFLICT (number) DO UPDATE SET state = EXCLUDED.state",
            number,
            state,
        )
        return None

    async def card_of(self, customer: str) -> tuple[str | None, str | None]:
        row = await self._crm.fetchrow(
            "SELECT card_number, barcode FROM crm.customers LEFT JOIN crm.cards ON number = card_number"
            " WHERE id = $1",
            int(customer),
        )
        assert row is not None
        return row["card_number"], row["barcode"]

    async def move(self, account: str, points: Decimal) -> None:
        if points < 0:
            await self._crm.execute(
                "SELECT crm.spend_points($1, $2, 'till', $3)", int(account), -points, new_key()
            )
        else:
            await self._crm.execute(
                "INSERT INTO crm.points_ledger (customer_id, amount, remaining, description)"
                " VALUES ($1, $2, $2, 'till')",
                int(account),
                points,
            )

    async def purchase(self, account: str, at: datetime, amount_kopecks: int) -> None:
        await self._crm.execute(
            "INSERT INTO crm.purchases (customer_id, at, item, amount_kopecks) VALUES ($1, $2, 'line', $3)",
            int(account),
            at,
            amount_kopecks,
        )

    async def offer(self, account: str) -> str:
        title = f"Offer {new_key()}"
        await self._crm.execute(
            "WITH offer AS (INSERT INTO crm.offers (title, occasion) VALUES ($2, $2) RETURNING id)"
            " INSERT INTO crm.customer_offers (customer_id, offer_id, reference)"
            " SELECT $1, id, $2 FROM offer",
            int(account),
            title,
        )
        return title

    async def occasion(self) -> str:
        occasion = new_key()
        await self._crm.execute("INSERT INTO crm.offers (title, occasion) VALUES ('Gift', $1)", occasion)
        return occasion

    async def code(self, account: str) -> str:
        return await self._new_code(max_uses="1")

    async def refused_codes(self, account: str) -> Mapping[str, Refusal]:
        return {
            await self._new_code(valid_until="now() - interval '1 day'"): Refusal.CODE_EXPIRED,
            await self._new_code(valid_from="now() + interval '1 day'"): Refusal.CODE_NOT_YET_VALID,
            await self._new_code(max_uses="2", uses="2"): Refusal.CODE_EXHAUSTED,
        }

    async def _new_code(self, **columns: str) -> str:
        """A code with these columns, given as SQL."""
        code = new_key()
        names, values = ", ".join(["", *columns]), ", ".join(["", *columns.values()])
        await self._crm.execute(
            f"INSERT INTO crm.promo_codes (code, points{names}) VALUES ($1, 50{values})", code
        )
        return code


@pytest.fixture
async def rig(database: str) -> AsyncIterator[PostgresRig]:
    parts = urlsplit(database)
    (folder,) = parse_qs(parts.query)["host"]  # the embedded server listens on a socket file

    async def connect() -> Streams:
        return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")

    crm = await asyncpg.connect(database)
    await crm.execute(LEDGER)
    # A write begins with the message "Bind"; what prepares a statement does not.
    async with Relay(connect, is_write=lambda data: data.startswith(b"B")) as relay:
        yield PostgresRig(relay, crm, parts.path.removeprefix("/"))
    await crm.close()


class TestGeneral(BaseGeneral):
    pass


class TestUsers(BaseUsers):
    pass


class TestPoints(BasePoints):
    pass


class TestCoupons(BaseCoupons):
    pass
