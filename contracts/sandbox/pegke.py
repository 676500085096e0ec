"""Stand-in for Pegke: points, in both dialects at once, over the same customers.

What it is believed to do is in ``contracts/crm/pegke.yaml``. Nothing carries a reference: points given twice
are given twice. It may not know any client.

Effects: ``points_credited``. The customer is the ten-digit phone.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from contracts.crm import Operation
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import (
    Call,
    Handler,
    Refused,
    Reply,
    Server,
    StandIn,
    Switches,
    bearer,
    now,
)

CLIENT_ID = "pegke-sandbox-client"
CLIENT_SECRET = "pegke-sandbox-secret"  # noqa: S105 - made up, opens nothing but this server
CONSUMER_CODE = "SANDBOXCODE"
CONSUMER_SECRET = "SANDBOXSECRET"  # noqa: S105 - made up, opens nothing but this server
SITE_PATH = "/v1"
MERCHANT_PATH = "/apiv1/"
PAGE_SIZE = 10

_TOO_OFTEN = 99


class PegkeSwitches(Switches):
    """How this stand-in behaves where the CRM is not known."""

    token_seconds: int = Field(default=3600, ge=1)
    token_requests: int = Field(default=5, ge=1)
    """Requests for a token within ``token_window`` seconds; the next is answered 403 with code 99."""
    token_window: float = Field(default=60, gt=0)
    site_replies: Literal["plain", "documented"] = "documented"
    """What giving points answers: the balance, or what the draft prints, which is a token reply."""
    site_lookup: bool = True
    """Whether the inferred search and history of site_v1_1 exist."""
    balance_seconds: float = Field(default=0, ge=0)
    """After which balance and history show points that were given."""
    absent_status: Literal[200, 404] = 404
    """Status with which merchant_v1 says that there is no such customer."""


@dataclass
class Customer:
    """A customer, the balance, and what moved it, newest last."""

    cid: str
    phone: str
    name: str
    email: str | None
    points: Decimal
    movements: list[tuple[datetime, Decimal, str]] = field(default_factory=list)
    to_come: list[tuple[datetime, datetime, Decimal, str]] = field(default_factory=list)
    """Movements that are done and not shown yet, each after the moment from which it is."""

    def give(self, points: Decimal, note: str, at: datetime, shown_at: datetime | None = None) -> None:
        self.to_come.append((shown_at or at, at, points, note))
        self.show()

    def show(self) -> None:
        """Let balance and movements have everything whose time has come."""
        for movement in sorted(self.to_come):
            shown_at, at, points, note = movement
            if shown_at <= now():
                self.to_come.remove(movement)
                self.points += points
                self.movements.append((at, points, note))


class NewCustomer(BaseModel):
    """What ``add_customer`` takes."""

    model_config = ConfigDict(extra="forbid")

    phone: str = Field(pattern=r"^[0-9]{10}$")
    cid: str | None = None
    name: str = "Somebody"
    email: str | None = None
    points: Decimal = Field(default=Decimal(0), ge=0)


@dataclass(frozen=True)
class Offer:
    """Something the merchant gives for points."""

    id: int
    title: str
    description: str
    points: int
    days: int
    """For how many days from now it is valid."""


OFFERS = (
    Offer(1, "Free dessert", "With any main course", 100, 60),
    Offer(2, "Two coffees for one", "Mondays to Thursdays", 150, 30),
    Offer(3, "500 off the bill", "From 3000", 500, 90),
)


class Pegke(StandIn):
    """The stand-in's data and operations."""

    name: ClassVar[str] = "pegke"
    title: ClassVar[str] = "Pegke (points)"
    invalid_status: ClassVar[int] = 400
    credentials: ClassVar[Mapping[str, str]] = {
        "site_v1_1 base": SITE_PATH,
        "client id": CLIENT_ID,
        "client secret": CLIENT_SECRET,
        "token endpoint": f"{SITE_PATH}/oauth2/token",
        "merchant_v1 base": MERCHANT_PATH,
        "bearer": f"{CONSUMER_CODE}.{CONSUMER_SECRET}",
        "customers": ", ".join(person.local_phone for person in PEOPLE),
    }
    switches: PegkeSwitches

    def operations(self) -> Mapping[str, Handler]:
        return {
            "siteToken": self.site_token,
            "siteInvalidateToken": self.site_invalidate_token,
            "siteGivePoints": self.site_give_points,
            "siteFindUser": self.site_find_user,
            "siteUserHistory": self.site_user_history,
            "merchantGivePoints": self.merchant_give_points,
            "merchantCheckPoints": self.merchant_check_points,
            "merchantCheckHistory": self.merchant_check_history,
            "merchantMyOffers": self.merchant_my_offers,
        }

    def populate(self) -> None:
        self.customers: dict[str, Customer] = {}
        self._asked: list[datetime] = []
        self._outstanding: str | None = None
        for number, person in enumerate(PEOPLE, 1):
            name = f"{person.first_name} {person.last_name}"
            customer = Customer(f"C{number:05d}", person.local_phone, name, person.email, Decimal(0))
            if person.points:
                customer.give(person.points, "purchase", now() - timedelta(days=20))
            self.customers[customer.phone] = customer

    def add_customer(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add a customer with the fields of ``NewCustomer``."""
        wanted = NewCustomer.model_validate(values)
        if wanted.phone in self.customers:
            raise ValueError(f"phone: {wanted.phone} is taken")
        cid = wanted.cid or f"C{len(self.customers) + 1:05d}"
        customer = Customer(cid, wanted.phone, wanted.name, wanted.email, Decimal(0))
        if wanted.points:
            customer.give(wanted.points, "opening balance", now())
        self.customers[wanted.phone] = customer
        return self._user(customer)

    # Credentials

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if not operation.security:
            return
        text = bearer(headers)
        (wanted,) = operation.security[0]
        if wanted == "merchantKey":
            if text != f"{CONSUMER_CODE}.{CONSUMER_SECRET}":
                invalid = "no Authorization: Bearer header" if text is None else None
                raise Refused(self._merchant_error(401, "Unauthorized"), invalid=invalid)
            return
        if text is None:
            raise Refused(self.unauthorized(), invalid="no Authorization: Bearer header")
        if self.tokens.find(text) is None:
            raise Refused(self.unauthorized())

    def unauthorized(self) -> Reply:
        return self._either_error(401, 89, "Invalid or expired token")

    def failure(self, status: int, reason: str) -> Reply:
        return self._either_error(status, status, reason)

    @staticmethod
    def _either_error(status: int, code: int, message: str) -> Reply:
        """For what happens before it is known which dialect is spoken: both shapes in one."""
        both = {"errors": [{"code": code, "message": message}], "status": "error", "message": message}
        return Reply(both, status)

    @staticmethod
    def _site_error(status: int, code: int, message: str) -> Reply:
        return Reply({"errors": [{"code": code, "message": message}]}, status)

    @staticmethod
    def _merchant_error(status: int, message: str) -> Reply:
        return Reply({"status": "error", "message": message}, status)

    def _authenticate_client(self, call: Call) -> None:
        given = (call.body.get("client_id"), call.body.get("client_secret"))
        scheme, _, encoded = call.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                identifier, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise Refused(self.unauthorized(), invalid="Authorization: Basic is not base64") from None
            given = (identifier, secret)
        if given == (None, None):
            raise Refused(self.unauthorized(), invalid="no client id and secret, in the body or by Basic")
        if given != (CLIENT_ID, CLIENT_SECRET):
            raise Refused(self._site_error(401, 89, "Unknown client"))

    # site_v1_1

    def site_token(self, call: Call) -> Reply:
        self._authenticate_client(call)
        since = now() - timedelta(seconds=self.switches.token_window)
        self._asked = [moment for moment in self._asked if moment > since]
        if len(self._asked) >= self.switches.token_requests:
            raise Refused(self._site_error(403, _TOO_OFTEN, "Tokens are asked for too often"))
        self._asked.append(now())
        return Reply(self._token())

    def _token(self) -> dict[str, Any]:
        """The one token there is, a new one if there is none."""
        token = self.tokens.find(self._outstanding or "")
        if self._outstanding is None or token is None:
            seconds: float = self.switches.token_seconds
            self._outstanding = self.new_token("application", "", seconds)
        else:
            seconds = (token.expires_at - now()).total_seconds()
        return {
            "access_token": self._outstanding,
            "expires_in": int(seconds),
            "refresh_token": self._outstanding[::-1],
            "scope": None,
            "token_type": "Bearer",
        }

    def site_invalidate_token(self, call: Call) -> Reply:
        self._authenticate_client(call)
        if self.tokens.find(call.body["access_token"]) is None:
            raise Refused(self.unauthorized())
        self.tokens.forget(call.body["access_token"])
        self._outstanding = None
        return Reply({"access_token": call.body["access_token"]})

    def site_give_points(self, call: Call) -> Reply:
        customer = self._site_customer(call.body)
        self._give(call, customer, Decimal(call.body["points"]))
        return Reply(self._token() if self.switches.site_replies == "documented" else self._user(customer))

    def site_find_user(self, call: Call) -> Reply:
        self._lookup_exists()
        return Reply(self._user(self._site_customer(call.query)))

    def site_user_history(self, call: Call) -> Reply:
        self._lookup_exists()
        return Reply(self._history(self._site_customer(call.query), call.query["page"]))

    def _lookup_exists(self) -> None:
        if not self.switches.site_lookup:
            raise Refused(self._site_error(404, 34, "There is no such page"))

    def _site_customer(self, named: Mapping[str, Any]) -> Customer:
        kind = named["idType"]
        value = named.get(kind)
        if value is None:
            raise Refused(
                self._site_error(400, 400, f"{kind} is missing"),
                invalid=f"idType is {kind}, {kind} is missing",
            )
        for customer in self.customers.values():
            customer.show()
            if str(value) == {"mob": customer.phone, "cid": customer.cid, "email": customer.email}[kind]:
                return customer
        raise Refused(self._site_error(404, 50, "There is no such user"))

    # merchant_v1

    def merchant_give_points(self, call: Call) -> Reply:
        customer, points = self._merchant_customer(call.body["phone"]), Decimal(call.body["points"])
        self._give(call, customer, points)
        return self._success({"phone": customer.phone, "given": points, "points": customer.points})

    def merchant_check_points(self, call: Call) -> Reply:
        customer = self._merchant_customer(call.query["phone"])
        return self._success({"phone": customer.phone, "points": customer.points})

    def merchant_check_history(self, call: Call) -> Reply:
        customer = self._merchant_customer(call.body["phone"])
        details = {"name": customer.name, "phone": customer.phone, "points": customer.points}
        return self._success(
            {"customer": details, **self._history(customer, int(call.body.get("page") or 1))}
        )

    def merchant_my_offers(self, _call: Call) -> Reply:
        offers = [
            {
                "id": offer.id,
                "title": offer.title,
                "description": offer.description,
                "points": offer.points,
                "valid_till": (now().date() + timedelta(days=offer.days)).isoformat(),
            }
            for offer in OFFERS
        ]
        return self._success({"offers": offers})

    @staticmethod
    def _success(data: Mapping[str, Any]) -> Reply:
        return Reply({"status": "success", "data": data})

    def _merchant_customer(self, phone: str) -> Customer:
        customer = self.customers.get(phone)
        if customer is None:
            raise Refused(self._merchant_error(self.switches.absent_status, "Customer does not exist"))
        customer.show()
        return customer

    # Both

    def _give(self, call: Call, customer: Customer, points: Decimal) -> None:
        shown_at = now() + timedelta(seconds=self.switches.balance_seconds)
        customer.give(points, "given by the merchant", now(), shown_at)
        self.record(call, "points_credited", customer=customer.phone, amount=points)

    @staticmethod
    def _user(customer: Customer) -> dict[str, Any]:
        return {
            "cid": customer.cid,
            "name": customer.name,
            "mob": int(customer.phone),
            "email": customer.email,
            "points": customer.points,
        }

    @staticmethod
    def _history(customer: Customer, page: int) -> dict[str, Any]:
        newest: Sequence[tuple[datetime, Decimal, str]] = customer.movements[::-1]
        rows = newest[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
        return {
            "history": [
                {"date": f"{at:%Y-%m-%d %H:%M:%S}", "points": points, "note": note}
                for at, points, note in rows
            ],
            "page": page,
            "pages": max(1, -(-len(newest) // PAGE_SIZE)),
        }


def application(**switches: Any) -> web.Application:
    """The server; ``switches`` are those of ``PegkeSwitches``, a wrong one raises ``ValueError``."""
    return Server(Pegke(PegkeSwitches(**switches))).application()
