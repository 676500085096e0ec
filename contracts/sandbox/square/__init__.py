"""Stand-in for Square: members of one loyalty programme and their points, Loyalty and Customers API.

Facts: Square's client ``squareup`` 46.0.0.20260916 and developer.squareup.com (2026-11): paths, fields, codes
of errors, what an idempotency key does, one loyalty account per phone. Beyond them: a phone of any country is
taken (Square takes those of eight), a search finds what was made at once (Square's can be a minute late), and
the code for a phone that has an account is BAD_REQUEST, since Square tells none. It may not know any client.

Effects: ``users.register`` (a loyalty account was made), ``users.update``, ``points.credit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox.people import PHONES
from contracts.sandbox.server import Reply, bearer
from contracts.sandbox.skin import Route
from contracts.sandbox.square.customers import PROFILE
from contracts.sandbox.square.loyalty import LOCATION, PROGRAM, Loyalty

__all__ = ["LOCATION", "PROGRAM", "SETTINGS", "TOKEN", "Square"]

TOKEN = "square-sandbox-token"  # noqa: S105 - made up, opens nothing but this server
SETTINGS = {"square": {"path": "/v2", "token": TOKEN, "program": PROGRAM, "location": LOCATION}}
"""See ``contracts.sandbox.CONNECTORS``."""
_SEARCH = "query limit cursor"


class Square(Loyalty):
    """Both APIs, for whoever has the token."""

    name: ClassVar[str] = "square"
    title: ClassVar[str] = "Square (members of a loyalty programme)"
    base: ClassVar[str] = "/v2"
    denied: ClassVar[tuple[int, str]] = (401, "UNAUTHORIZED")
    credentials: ClassVar[Mapping[str, str]] = {
        "base": "/v2",
        "token": TOKEN,
        "programme": PROGRAM,
        "location": LOCATION,
        "customers": PHONES,
    }
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
        "customer_edit": Route("PUT /customers/{id}", json=" ".join(PROFILE)),
    }

    def may_call(self, headers: Mapping[str, str]) -> bool:
        return bearer(headers) == TOKEN

    def failure(self, status: int, reason: str) -> Reply:
        code = reason if reason.isupper() else {429: "RATE_LIMITED"}.get(status, "BAD_REQUEST")
        category = {401: "AUTHENTICATION_ERROR", 429: "RATE_LIMIT_ERROR"}.get(status, "INVALID_REQUEST_ERROR")
        return Reply({"errors": [{"category": category, "code": code, "detail": reason}]}, status)


application = Square.application
