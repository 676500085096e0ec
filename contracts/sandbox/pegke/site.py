"""Calls of Pegke for a site (site_v1_1): the one token there is, points by phone, e-mail or number."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from contracts.sandbox.fields import Row
from contracts.sandbox.pegke.keeping import Keeping
from contracts.sandbox.pegke.records import CLIENT_ID, CLIENT_SECRET
from contracts.sandbox.server import Call, Refused, Reply, now
from contracts.sandbox.shop import Member

_TOO_OFTEN = 99


class Site(Keeping):
    """Tokens, points, the inferred search and history."""

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
            raise Refused(self.site_error(401, 89, "Unknown client"))

    def site_token(self, call: Call) -> Reply:
        self._authenticate_client(call)
        since = now() - timedelta(seconds=self.switches.token_window)
        self._asked = [moment for moment in self._asked if moment > since]
        if len(self._asked) >= self.switches.token_requests:
            raise Refused(self.site_error(403, _TOO_OFTEN, "Tokens are asked for too often"))
        self._asked.append(now())
        return Reply(self._token())

    def _token(self) -> Row:
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
        self.give(call, customer, Decimal(call.body["points"]))
        return Reply(self._token() if self.switches.site_replies == "documented" else self.user(customer))

    def site_find_user(self, call: Call) -> Reply:
        self._lookup_exists()
        return Reply(self.user(self._site_customer(call.query)))

    def site_user_history(self, call: Call) -> Reply:
        self._lookup_exists()
        return Reply(self.history(self._site_customer(call.query), call.query["page"]))

    def _lookup_exists(self) -> None:
        if not self.switches.site_lookup:
            raise Refused(self.site_error(404, 34, "There is no such page"))

    def _site_customer(self, named: Mapping[str, Any]) -> Member:
        kind = named["idType"]
        value = named.get(kind)
        if value is None:
            raise Refused(
                self.site_error(400, 400, f"{kind} is missing"),
                invalid=f"idType is {kind}, {kind} is missing",
            )
        for phone, customer in self.customers.items():
            if str(value) == {"mob": phone, "cid": customer.more["cid"], "email": customer.email}[kind]:
                return customer
        raise Refused(self.site_error(404, 50, "There is no such user"))
