"""Stand-in for Square: members of one loyalty programme and their points, Loyalty and Customers API.

Facts: Square's client ``squareup`` 46.0.0.20260916 and developer.squareup.com (2026-11): paths, fields, codes
of errors, what an idempotency key does, one loyalty account per phone. Beyond them: a phone of any country is
taken (Square takes those of eight), a search finds what was made at once (Square's can be a minute late), and
the code for a phone that has an account is BAD_REQUEST, since Square tells none. It may not know any client.

Effects: ``users.register`` (a loyalty account was made), ``users.update``, ``points.credit``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import Call, Refused, Reply, bearer
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin

TOKEN = "square-sandbox-token"  # noqa: S105 - made up, opens nothing but this server
PROGRAM = "d619f755-2d17-41f3-990d-c04ecedd64dd"
LOCATION = "P034NEENMD09F"
SETTINGS = {"square": {"path": "/v2", "token": TOKEN, "program": PROGRAM, "location": LOCATION}}
"""See ``contracts.sandbox.CONNECTORS``."""
_PROFILE = "given_name family_name email_address birthday address"
_PLAIN = {
    "given_name": "first_name",
    "family_name": "last_name",
    "email_address": "email",
    "birthday": "birth_date",
}
_PAGE = 30


def customer_id(member: Member) -> str:
    return f"CUSTOMER{member.id}"


def account_id(member: Member) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"square-sandbox:{member.id}"))


class Square(Skin):
    """Everybody in the shop is a member; phone and account are one to one."""

    name: ClassVar[str] = "square"
    title: ClassVar[str] = "Square (members of a loyalty programme)"
    invalid_status: ClassVar[int] = 400
    credentials: ClassVar[Mapping[str, str]] = {
        "base": "/v2",
        "token": TOKEN,
        "programme": PROGRAM,
        "location": LOCATION,
        "customers": ", ".join(person.phone for person in PEOPLE),
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "program": Route("GET /v2/loyalty/programs/{id}"),
        "accounts": Route("POST /v2/loyalty/accounts/search", json="query limit cursor"),
        "account_create": Route("POST /v2/loyalty/accounts", json="loyalty_account! idempotency_key!"),
        "account": Route("GET /v2/loyalty/accounts/{id}"),
        "accumulate": Route(
            "POST /v2/loyalty/accounts/{id}/accumulate",
            json="accumulate_points! idempotency_key! location_id!",
        ),
        "events": Route("POST /v2/loyalty/events/search", json="query limit cursor"),
        "customers": Route("POST /v2/customers/search", json="query limit cursor"),
        "customer": Route("GET /v2/customers/{id}"),
        "customer_edit": Route("PUT /v2/customers/{id}", json=_PROFILE),
    }
    _answered: dict[str, tuple[str, Reply]]
    """By idempotency key: what was asked, and the answer."""

    def populate(self) -> None:
        super().populate()
        self._answered = {}

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if bearer(headers) != TOKEN:
            raise Refused(self.unauthorized())

    def unauthorized(self) -> Reply:
        return self.failure(401, "UNAUTHORIZED")

    def failure(self, status: int, reason: str) -> Reply:
        code = reason if reason.isupper() else {429: "RATE_LIMITED"}.get(status, "BAD_REQUEST")
        category = {401: "AUTHENTICATION_ERROR", 429: "RATE_LIMIT_ERROR"}.get(status, "INVALID_REQUEST_ERROR")
        return Reply({"errors": [{"category": category, "code": code, "detail": reason}]}, status)

    def program(self, call: Call) -> Reply:
        if call.path["id"] not in ("main", PROGRAM):
            self.refuse(404, "NOT_FOUND")
        return Reply({"program": {"id": PROGRAM, "status": "ACTIVE", "location_ids": [LOCATION]}})

    # -- loyalty accounts ------------------------------------------------------------------------------

    def accounts(self, call: Call) -> Reply:
        query = call.body.get("query") or {}
        phones = [mapping["phone_number"] for mapping in query.get("mappings", [])]
        customers = query.get("customer_ids", [])
        found = self.shop.find(lambda one: not query or one.phone in phones or customer_id(one) in customers)
        return _page(call, "loyalty_accounts", [self._account(one) for one in found])

    def account_create(self, call: Call) -> Reply:
        return self._once(call, self._enrol)

    def _enrol(self, call: Call) -> Reply:
        wanted = call.body["loyalty_account"]
        phone = wanted.get("mapping", {}).get("phone_number", "")
        if wanted.get("program_id") != PROGRAM:
            self.refuse(404, "NOT_FOUND")
        if not phone.removeprefix("+").isdecimal():
            self.refuse(400, "INVALID_PHONE_NUMBER")
        if self.shop.find(lambda one: one.phone == phone):
            self.refuse(400, "BAD_REQUEST")
        key = call.body["idempotency_key"]
        member = self.shop.add(phone=phone, key=key)
        self.record(call, "users.register", customer=str(member.id), reference=key)
        return Reply({"loyalty_account": self._account(member)})

    def account(self, call: Call) -> Reply:
        return Reply({"loyalty_account": self._account(self._of_account(call.path["id"]))})

    def accumulate(self, call: Call) -> Reply:
        return self._once(call, self._give)

    def _give(self, call: Call) -> Reply:
        member = self._of_account(call.path["id"])
        points, key = call.body["accumulate_points"].get("points"), call.body["idempotency_key"]
        if not isinstance(points, int) or points < 1 or call.body["location_id"] != LOCATION:
            self.refuse(400, "BAD_REQUEST")
        move = self.shop.give(member, Decimal(points), "", key)
        self.record(call, "points.credit", customer=str(member.id), amount=Decimal(points), reference=key)
        return Reply({"events": [self._event(member, move)]})

    def _once(self, call: Call, work: Callable[[Call], Reply]) -> Reply:
        """The same key again gives the first answer again; with another request it is an error."""
        asked = json.dumps([call.operation.id, call.path, call.body], sort_keys=True, default=str)
        before = self._answered.get(call.body["idempotency_key"])
        if before is None:
            before = self._answered[call.body["idempotency_key"]] = (asked, work(call))
        return before[1] if before[0] == asked else self.failure(400, "IDEMPOTENCY_KEY_REUSED")

    def events(self, call: Call) -> Reply:
        query = (call.body.get("query") or {}).get("filter", {})
        wanted = query.get("loyalty_account_filter", {}).get("loyalty_account_id")
        found = self.shop.find(lambda one: wanted in (None, account_id(one)))
        moves = [(member, move) for member in found for move in member.moves]
        moves.sort(key=lambda one: one[1].at, reverse=True)
        return _page(call, "events", [self._event(*one) for one in moves])

    def _of_account(self, text: str) -> Member:
        return self.only(lambda one: account_id(one) == text, 404, "NOT_FOUND")

    @staticmethod
    def _account(member: Member) -> dict[str, Any]:
        return {
            "id": account_id(member),
            "program_id": PROGRAM,
            "balance": member.points,
            "lifetime_points": sum((max(move.points, Decimal(0)) for move in member.moves), Decimal(0)),
            "customer_id": customer_id(member),
            "created_at": member.since,
            "updated_at": member.since,
            "mapping": {"id": f"m{member.id}", "phone_number": member.phone, "created_at": member.since},
        }

    @staticmethod
    def _event(member: Member, move: Move) -> dict[str, Any]:
        kind = "accumulate_points" if move.points > 0 else "adjust_points"
        return {
            "id": f"e{move.id}",
            "type": kind.upper(),
            "created_at": move.at,
            kind: {"loyalty_program_id": PROGRAM, "points": move.points},
            "loyalty_account_id": account_id(member),
            "source": "LOYALTY_API",
        }

    # -- customers -------------------------------------------------------------------------------------

    def customers(self, call: Call) -> Reply:
        query = (call.body.get("query") or {}).get("filter", {})
        email = query.get("email_address", {}).get("exact")
        phone = query.get("phone_number", {}).get("exact")
        found = self.shop.find(
            lambda one: (
                (email is None or (one.email or "").lower() == email.lower()) and phone in (None, one.phone)
            )
        )
        return _page(call, "customers", [self._customer(one) for one in found])

    def customer(self, call: Call) -> Reply:
        return Reply({"customer": self._customer(self._named(call.path["id"]))})

    def customer_edit(self, call: Call) -> Reply:
        member = self._named(call.path["id"])
        email = call.body.get("email_address")
        if email is not None and "@" not in email:
            self.refuse(400, "INVALID_EMAIL_ADDRESS")
        member.take(call.body, _PLAIN)
        if "address" in call.body:
            member.city = call.body["address"].get("locality", member.city) if call.body["address"] else None
        self.record(call, "users.update", customer=str(member.id))
        return Reply({"customer": self._customer(member)})

    def _named(self, text: str) -> Member:
        return self.only(lambda one: customer_id(one) == text, 404, "NOT_FOUND")

    @staticmethod
    def _customer(member: Member) -> dict[str, Any]:
        told = {
            **member.told(_PLAIN),
            "id": customer_id(member),
            "phone_number": member.phone,
            "address": {"locality": member.city} if member.city else None,
            "created_at": member.since,
            "updated_at": member.since,
            "version": 0,
        }
        return {name: value for name, value in told.items() if value is not None}


def _page(call: Call, name: str, rows: list[dict[str, Any]]) -> Reply:
    """What comes after the cursor; a list that is empty is left out, as Square does."""
    first, limit = int(call.body.get("cursor") or 0), int(call.body.get("limit") or _PAGE)
    part = {name: rows[first : first + limit]} if rows[first : first + limit] else {}
    return Reply({**part, **({"cursor": str(first + limit)} if len(rows) > first + limit else {})})


application = Square.application
