"""Stand-in for Square: members of one loyalty programme and their points, Loyalty and Customers API.

Facts: Square's client ``squareup`` 46.0.0.20260916 and developer.squareup.com (2026-11): paths, fields, codes
of errors, what an idempotency key does, one loyalty account per phone. Beyond them: a phone of any country is
taken (Square takes those of eight), a search finds what was made at once (Square's can be a minute late), and
the code for a phone that has an account is BAD_REQUEST, since Square tells none. It may not know any client.

Effects: ``users.register`` (a loyalty account was made), ``users.update``, ``points.credit``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import ClassVar

from contracts.sandbox.fields import BIRTH_DATE, Fields, Row, alone_in_object, present
from contracts.sandbox.server import Call, Reply
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin, to_be_shown

TOKEN = "square-sandbox-token"  # noqa: S105 - made up, opens nothing but this server
PROGRAM = "d619f755-2d17-41f3-990d-c04ecedd64dd"
LOCATION = "P034NEENMD09F"
SETTINGS = {"square": {"path": "/v2", "token": TOKEN, "program": PROGRAM, "location": LOCATION}}
"""See ``contracts.sandbox.CONNECTORS``."""
_SEARCH = "query limit cursor"
_PAGE = 30
_PROFILE: Fields = {
    "given_name": "first_name",
    "family_name": "last_name",
    "email_address": "email",
    "birthday": BIRTH_DATE,
    "address": alone_in_object("locality", "city"),
}


class Square(Skin):
    """Everybody is a member, phone and account are one to one; what is done under a key is done once."""

    name = "square"
    title = "Square (members of a loyalty programme)"
    base = "/v2"
    denied = (401, "UNAUTHORIZED")
    not_found = (404, "NOT_FOUND")
    sent: ClassVar[Mapping[str, str]] = {"Authorization": f"Bearer {TOKEN}"}
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS)
    routes: ClassVar[Mapping[str, Route]] = {
        "program": Route("GET /loyalty/programs/{id}"),
        "accounts": Route("POST /loyalty/accounts/search", json=_SEARCH),
        "account_create": Route("POST /loyalty/accounts", json="loyalty_account! idempotency_key!"),
        "account": Route("GET /loyalty/accounts/{id}"),
        "accumulate": Route(
            "POST /loyalty/accounts/{id}/accumulate", json="accumulate_points! idempotency_key! location_id!"
        ),
        "events": Route("POST /loyalty/events/search", json=_SEARCH),
        "customers": Route("POST /customers/search", json=_SEARCH),
        "customer": Route("GET /customers/{id}"),
        "customer_edit": Route("PUT /customers/{id}", json=" ".join(_PROFILE)),
    }
    fields: ClassVar[Fields] = _PROFILE
    _answered: dict[str, tuple[str, Reply]]
    """By idempotency key: what was asked, and the answer."""

    def populate(self) -> None:
        super().populate()
        self._answered = {}

    def failure(self, status: int, reason: str) -> Reply:
        code = reason if reason.isupper() else {429: "RATE_LIMITED"}.get(status, "BAD_REQUEST")
        category = {401: "AUTHENTICATION_ERROR", 429: "RATE_LIMIT_ERROR"}.get(status, "INVALID_REQUEST_ERROR")
        return Reply({"errors": [{"category": category, "code": code, "detail": reason}]}, status)

    # -- customers: their phone is that of the loyalty account, which is not written here --------------

    def customer_id(self, member: Member) -> str:
        return f"CUSTOMER{member.id}"

    def customers(self, call: Call) -> Reply:
        query = (call.body.get("query") or {}).get("filter", {})
        email = query.get("email_address", {}).get("exact", "").lower()
        phone = query.get("phone_number", {}).get("exact")
        found = self.shop.find(
            lambda one: email in ("", (one.email or "").lower()) and phone in (None, one.phone)
        )
        return _page(call, "customers", [self._customer(one) for one in found])

    def customer(self, call: Call) -> Reply:
        return Reply({"customer": self._customer(self.named(call.path["id"]))})

    def customer_edit(self, call: Call) -> Reply:
        member, email = self.named(call.path["id"]), call.body.get("email_address")
        if email is not None and "@" not in email:
            self.refuse(400, "INVALID_EMAIL_ADDRESS")
        return Reply({"customer": self._customer(self.edit(call, member, call.body))})

    def _customer(self, member: Member) -> Row:
        told = present(member.told({**_PROFILE, "phone_number": "phone"}))
        return {"id": self.customer_id(member), **told, "created_at": member.since}

    # -- loyalty accounts ------------------------------------------------------------------------------

    def program(self, call: Call) -> Reply:
        if call.path["id"] not in ("main", PROGRAM):
            self.refuse(*self.not_found)
        return Reply({"program": {"id": PROGRAM, "status": "ACTIVE", "location_ids": [LOCATION]}})

    def accounts(self, call: Call) -> Reply:
        query = call.body.get("query") or {}
        phones = [mapping["phone_number"] for mapping in query.get("mappings", [])]
        customers = query.get("customer_ids", [])
        found = self.shop.find(
            lambda one: not query or one.phone in phones or self.customer_id(one) in customers
        )
        return _page(call, "loyalty_accounts", [self._account(one) for one in found])

    def account(self, call: Call) -> Reply:
        return Reply({"loyalty_account": self._account(self._owner(call))})

    def _owner(self, call: Call) -> Member:
        return self.only(lambda member: self.uid(member.id) == call.path["id"], *self.not_found)

    def account_create(self, call: Call) -> Reply:
        return self._once(call, self._enrol)

    def _enrol(self, call: Call) -> Reply:
        wanted, key = call.body["loyalty_account"], call.body["idempotency_key"]
        phone = wanted.get("mapping", {}).get("phone_number", "")
        if wanted.get("program_id") != PROGRAM:
            self.refuse(*self.not_found)
        if not phone.removeprefix("+").isdecimal():
            self.refuse(400, "INVALID_PHONE_NUMBER")
        if self.shop.first(lambda one: one.phone == phone):
            self.refuse(400, "BAD_REQUEST")
        return Reply({"loyalty_account": self._account(self.register(call, {}, key, phone=phone))})

    def accumulate(self, call: Call) -> Reply:
        return self._once(call, self._give)

    def _give(self, call: Call) -> Reply:
        member, key = self._owner(call), call.body["idempotency_key"]
        points = call.body["accumulate_points"].get("points")
        if not isinstance(points, int) or points < 1 or call.body["location_id"] != LOCATION:
            self.refuse(400, "BAD_REQUEST")
        move = self.give_points(call, member, Decimal(points), key=key)
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
        moves = [one for one in self.shop.moves() if wanted in (None, self.uid(one[0].id))]
        moves.sort(key=lambda one: one[1].at, reverse=True)
        return _page(call, "events", [self._event(*one) for one in moves])

    def _account(self, member: Member) -> Row:
        return {
            "id": self.uid(member.id),
            "program_id": PROGRAM,
            "balance": member.points,
            "customer_id": self.customer_id(member),
            "created_at": member.since,
            "mapping": {"id": f"m{member.id}", "phone_number": member.phone},
        }

    def _event(self, member: Member, move: Move) -> Row:
        kind = "accumulate_points" if move.points > 0 else "adjust_points"
        return {
            "id": f"e{move.id}",
            "type": kind.upper(),
            "created_at": move.at,
            kind: {"loyalty_program_id": PROGRAM, "points": move.points},
            "loyalty_account_id": self.uid(member.id),
        }


def _page(call: Call, name: str, rows: list[Row]) -> Reply:
    """A list: what comes after the cursor; a list that is empty is left out, as Square does."""
    first, limit = int(call.body.get("cursor") or 0), int(call.body.get("limit") or _PAGE)
    part = {name: rows[first : first + limit]} if rows[first : first + limit] else {}
    return Reply({**part, **({"cursor": str(first + limit)} if len(rows) > first + limit else {})})


application = Square.application
