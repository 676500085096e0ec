"""Stand-in for МойСклад: counterparties and bonus operations, JSON API 1.2.

Facts: the vendor's description of the API (``moysklad/api-remap-1.2-doc``, 2026-08-07), and the models of
its Python client (``moysklad-remap-12-sdk`` 0.32.0). What they do not say, such as whether ``externalCode``
of a bonus operation is unique, is not so here. It may not know any client of the stand-in.

Effects: ``users.register``, ``users.update``, ``users.set_card``, ``points.credit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.crm import Operation
from contracts.sandbox.moysklad.bonuses import PROGRAM, Bonuses
from contracts.sandbox.moysklad.counterparties import FIELDS
from contracts.sandbox.people import PHONES
from contracts.sandbox.server import Refused, Reply, bearer
from contracts.sandbox.skin import Route

__all__ = ["BASE", "PROGRAM", "SETTINGS", "TOKEN", "MoySklad"]

TOKEN = "moysklad-sandbox-token"  # noqa: S105 - made up, opens nothing but this server
BASE = "/api/remap/1.2"
SETTINGS = {"moysklad": {"path": BASE, "token": TOKEN, "bonus_program": PROGRAM}}
"""See ``contracts.sandbox.CONNECTORS``."""
_TAKEN = f"companyType name {' '.join(FIELDS)}"


class MoySklad(Bonuses):
    """JSON API 1.2, for whoever has the token and sends the headers that it wants."""

    name: ClassVar[str] = "moysklad"
    title: ClassVar[str] = "МойСклад (counterparties and bonus points)"
    base: ClassVar[str] = BASE
    denied: ClassVar[tuple[int, str]] = (401, "1056")
    credentials: ClassVar[Mapping[str, str]] = {
        "base": BASE,
        "token": TOKEN,
        "bonus programme": PROGRAM,
        "customers": PHONES,
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "program": Route("GET /entity/bonusprogram/{id}"),
        "counterparties": Route("GET /entity/counterparty", "limit offset filter"),
        "counterparty": Route("GET /entity/counterparty/{id}"),
        "counterparty_create": Route("POST /entity/counterparty", json=f"{_TAKEN} name!"),
        "counterparty_edit": Route("PUT /entity/counterparty/{id}", json=_TAKEN),
        "movements": Route("GET /entity/bonustransaction", "limit offset filter"),
        "movement_create": Route(
            "POST /entity/bonustransaction",
            json="agent! bonusProgram! transactionType! bonusValue externalCode description",
        ),
    }

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if headers.get("Accept-Encoding") != "gzip":
            raise Refused(Reply(None, 415), invalid="Accept-Encoding is not gzip")
        if headers.get("Accept") != "application/json;charset=utf-8":
            raise Refused(self.failure(400, "1062"), invalid="Accept is not application/json;charset=utf-8")
        super().authorize(operation, headers)

    def may_call(self, headers: Mapping[str, str]) -> bool:
        return bearer(headers) == TOKEN

    def failure(self, status: int, reason: str) -> Reply:
        code = int(reason) if reason.isdecimal() else 1040
        return Reply({"errors": [{"error": "Ошибка", "code": code}]}, status)


application = MoySklad.application
