"""Stand-in for iiko: guests of one organisation and the wallet of its bonus programme, iikoCloud API.

Facts: the client ``iikocloudapi`` 1.0.0 (2026-10), made from the vendor's OpenAPI description. That nobody is
an error with the text "There is no user with", and that purchases are ``CloseOrder``, is told by programs
that work with the API. Nothing tells in which order transactions come (here oldest first), nor how long a
page may be (here shorter than what is asked for). It may not know any client.

Effects: ``users.register``, ``users.update``, ``users.set_card``, ``points.credit``.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox.iiko.guests import WALLET
from contracts.sandbox.iiko.wallets import Wallets
from contracts.sandbox.people import PHONES
from contracts.sandbox.server import Call, Reply, bearer
from contracts.sandbox.skin import Route

__all__ = ["API_KEY", "APP_ID", "CLIENT_SECRET", "ORGANIZATION", "SETTINGS", "WALLET", "Iiko"]

API_KEY, APP_ID, CLIENT_SECRET = "iiko-sandbox-key", "5c1f0b7e-app", "iiko-sandbox-client-secret"
ORGANIZATION = "7bc05553-4b68-44e8-b7bc-37be63c6d9e9"
SETTINGS = {"iiko": {"api_key": API_KEY, "organization": ORGANIZATION, "wallet": WALLET}}
"""See ``contracts.sandbox.CONNECTORS``."""
_SECONDS = 3600
_TAKEN = "id phone name middleName surName birthday email sex shouldReceivePromoActionsInfo"


class Iiko(Wallets):
    """The calls of one organisation, for whoever has a token of it."""

    name: ClassVar[str] = "iiko"
    title: ClassVar[str] = "iiko (guests and a bonus wallet)"
    base: ClassVar[str] = "/api"
    denied: ClassVar[tuple[int, str]] = (401, "The token is invalid or has expired")
    credentials: ClassVar[Mapping[str, str]] = {
        "API login, or API key": API_KEY,
        "application id and client secret": f"{APP_ID}, {CLIENT_SECRET}",
        "organisation": ORGANIZATION,
        "wallet": WALLET,
        "guests": PHONES,
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "login": Route("POST /1/access_token", json="apiLogin!", open=True),
        "app_login": Route("POST /v2/access_token", json="apiKey! appId! clientSecret!", open=True),
        **{
            name: Route(f"POST /1/loyalty/iiko/{path}", json=f"organizationId! {members}")
            for name, path, members in (
                ("info", "customer/info", "type! phone cardNumber email id"),
                ("create_or_update", "customer/create_or_update", _TAKEN),
                ("card_add", "customer/card/add", "customerId! cardTrack! cardNumber!"),
                ("card_remove", "customer/card/remove", "customerId! cardTrack!"),
                ("programmes", "program", "withoutMarketingCampaigns"),
                ("program_add", "customer/program/add", "customerId! programId!"),
                ("topup", "customer/wallet/topup", "customerId! walletId! sum! comment"),
                (
                    "transactions",
                    "customer/transactions/by_date",
                    "customerId! dateFrom! dateTo! pageNumber! pageSize!",
                ),
            )
        },
    }

    def may_call(self, headers: Mapping[str, str]) -> bool:
        # A JWT, of which this server knows the last part.
        return self.tokens.find((bearer(headers) or "").rpartition(".")[2]) is not None

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"correlationId": str(uuid.uuid4()), "errorDescription": reason, "error": None}, status)

    def login(self, call: Call) -> Reply:
        return self._token(call.body["apiLogin"] == API_KEY)

    def app_login(self, call: Call) -> Reply:
        given = (call.body["apiKey"], call.body["appId"], call.body["clientSecret"])
        return self._token(given == (API_KEY, APP_ID, CLIENT_SECRET))

    def _token(self, right: bool) -> Reply:
        if not right:
            self.refuse(401, "Login is not authorized")
        claims = json.dumps({"exp": int(time.time()) + _SECONDS}).encode()
        middle = base64.urlsafe_b64encode(claims).decode().rstrip("=")
        token = f"e30.{middle}.{self.new_token('jwt', '', _SECONDS)}"
        return Reply({"correlationId": str(uuid.uuid4()), "token": token})


application = Iiko.application
