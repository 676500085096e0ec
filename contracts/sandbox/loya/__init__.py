"""Stand-in for Loya: clients, cards and bonus accounts, API 1.0.

Facts: the client ``loya-client`` 0.2.23 (2026-10), what it sends and what it makes of answers. Chosen, for it
does not show them: the texts of errors but for the words it looks for, what calls answer whose answer it does
not read, how long a session lasts. It may not know any client.

Effects: ``users.register``, ``users.update`` (a client was written), ``users.set_card``, ``points.credit``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import ClassVar

from contracts.sandbox.card_stock import PRINTED
from contracts.sandbox.loya.accounts import Accounts
from contracts.sandbox.people import PHONES
from contracts.sandbox.server import Call, Reply, now
from contracts.sandbox.skin import Route

EMAIL, PASSWORD, API_KEY = "koshelek@example.org", "loya-sandbox-password", "loya-sandbox-key"
PLASTIC = "5510000000017"
SETTINGS = {"loya": {"email": EMAIL, "password": PASSWORD, "api_key": API_KEY, "card_prefix": PRINTED}}
"""See ``contracts.sandbox.CONNECTORS``."""
_COOKIE = "PLAY2AUTH_SESS_ID"
_SECONDS = 8 * 3600
_PAGE = "pager.limit pager.drop sorting.field sorting.order"
_NEW = (
    "surname! name! patronymic phone! phoneConfirmed email getSms getEmail getPush birthday segmentId"
    " refusePaperCheck preferChannelType state"
)
_MORE = "id accountId locality street login password systemParams SystemParams wallet"


class Loya(Accounts):
    """Everything needs a session, which a cookie carries."""

    name: ClassVar[str] = "loya"
    title: ClassVar[str] = "Loya (clients, cards and bonus accounts)"
    base: ClassVar[str] = "/api/1.0"
    denied: ClassVar[tuple[int, str]] = (401, "Требуется авторизация")
    credentials: ClassVar[Mapping[str, str]] = {
        "e-mail": EMAIL,
        "password": PASSWORD,
        "api key": API_KEY,
        "card that nobody has": PLASTIC,
        "customers": PHONES,
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "login": Route("POST /login", json="email! password! apikey!", open=True),
        "locations": Route("GET /location", "limit drop"),
        "clients": Route("GET /client", "limit drop"),
        "clients_by_phone": Route("GET /clientbyphone", "phone!"),
        "client": Route("GET /client/{id}"),
        "client_write": Route("POST /client/{id}", json=f"{_NEW.replace('!', '')} {_MORE}"),
        "client_express": Route("PUT /client/express", json=_NEW),
        "account_create": Route("PUT /account", json="awardAmount salesAmount burntAmount state!"),
        "account_attach": Route("PUT /client/attach/{client}/{account}"),
        "account": Route("GET /account/{id}", _PAGE),
        "account_change": Route(
            "POST /account/{id}", json="amount! description! operType! partnerId! bonusValiditySettings!"
        ),
        "card": Route("GET /card/number/{number}"),
        "card_attach": Route("PUT /card/attach/{card}/{client}"),
        "card_status": Route("PUT /card/status/{card}/{state}"),
    }

    def populate(self) -> None:
        super().populate()
        self.put_card(PLASTIC)

    def may_call(self, headers: Mapping[str, str]) -> bool:
        name, _, session = headers.get("Cookie", "").partition("=")
        return name == _COOKIE and self.tokens.find(session.partition("---")[2]) is not None

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"code": status, "message": reason}, status)

    def login(self, call: Call) -> Reply:
        if (call.body["email"], call.body["password"], call.body["apikey"]) != (EMAIL, PASSWORD, API_KEY):
            return self.failure(401, "Ошибка: авторизация не пройдена")
        told = {"lastUsedDateTime": f"{now().isoformat()}[UTC]", "cookieMaxAge": _SECONDS}
        readable = base64.b64encode(json.dumps(told).encode()).decode().rstrip("=")
        session = f"{readable}---{self.new_token('session', EMAIL, _SECONDS)}"
        return Reply("login success", headers={"Set-Cookie": f"{_COOKIE}={session}; Path=/; HTTPOnly"})

    def locations(self, call: Call) -> Reply:
        return Reply([{"id": 1, "partnerId": 1, "name": "Shop", "code": "1"}])


application = Loya.application
