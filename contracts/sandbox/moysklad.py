"""Stand-in for МойСклад: counterparties and bonus operations, JSON API 1.2.

Facts: the vendor's description of the API (``moysklad/api-remap-1.2-doc``, 2026-08-07), and the models of
its Python client (``moysklad-remap-12-sdk`` 0.32.0). What they do not say, such as whether ``externalCode``
of a bonus operation is unique, is not so here. It may not know any client of the stand-in.

Effects: ``users.register``, ``users.update``, ``users.set_card``, ``points.credit``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.fields import BIRTH_DATE, Field, Fields, Row, present, sex
from contracts.sandbox.server import Call, Refused, Reply, local_time
from contracts.sandbox.shop import MOSCOW, Member, Move
from contracts.sandbox.skin import Route, Skin, to_be_shown

TOKEN = "moysklad-sandbox-token"  # noqa: S105 - made up, opens nothing but this server
BASE = "/api/remap/1.2"
PROGRAM = "fc2666ba-5d39-4a60-8105-4b678180b059"
SETTINGS = {"moysklad": {"path": BASE, "token": TOKEN, "bonus_program": PROGRAM}}
"""See ``contracts.sandbox.CONNECTORS``."""
_ENTITIES = "https://api.moysklad.ru/api/remap/1.2/entity"
_FIELDS: Fields = {
    "legalFirstName": "first_name",
    "legalMiddleName": "patronymic",
    "legalLastName": "last_name",
    "phone": "phone",
    "email": "email",
    "syncId": "key",
    "birthDate": Field("birth_date", lambda day: f"{day} 00:00:00", BIRTH_DATE.taken),
    "sex": sex("MALE", "FEMALE"),
    "discountCardNumber": "card",
}
_TAKEN = f"companyType name {' '.join(_FIELDS)}"
_MOVE = "agent! bonusProgram! transactionType! bonusValue externalCode description"


class MoySklad(Skin):
    """Several counterparties may have one phone; the same ``externalCode`` again moves points again."""

    name = "moysklad"
    title = "МойСклад (counterparties and bonus points)"
    base = BASE
    denied = (401, "1056")
    not_found = (404, "1021")
    sent: ClassVar[Mapping[str, str]] = {"Authorization": f"Bearer {TOKEN}"}
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS)
    routes: ClassVar[Mapping[str, Route]] = {
        "program": Route("GET /entity/bonusprogram/{id}"),
        "counterparties": Route("GET /entity/counterparty", "limit offset filter"),
        "counterparty": Route("GET /entity/counterparty/{id}"),
        "counterparty_create": Route("POST /entity/counterparty", json=f"{_TAKEN} name!"),
        "counterparty_edit": Route("PUT /entity/counterparty/{id}", json=_TAKEN),
        "movements": Route("GET /entity/bonustransaction", "limit offset filter"),
        "movement_create": Route("POST /entity/bonustransaction", json=_MOVE),
    }
    fields: ClassVar[Fields] = _FIELDS

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if headers.get("Accept-Encoding") != "gzip":
            raise Refused(Reply(None, 415), invalid="Accept-Encoding is not gzip")
        if headers.get("Accept") != "application/json;charset=utf-8":
            raise Refused(self.failure(400, "1062"), invalid="Accept is not application/json;charset=utf-8")
        super().authorize(operation, headers)

    def failure(self, status: int, reason: str) -> Reply:
        code = int(reason) if reason.isdecimal() else 1040
        return Reply({"errors": [{"error": "Ошибка", "code": code}]}, status)

    def _listed(self, call: Call, kind: str, rows: list[Row], keys: set[str]) -> Reply:
        """What ``filter`` asks for by these keys: equal, or ``~`` for a part of the text; ``;`` joins."""
        for part in filter(None, (call.query["filter"] or "").split(";")):
            match = re.fullmatch(r"(\w+)([~=])(.*)", part)
            if match is None or match[1] not in keys:
                self.refuse(412, "1034")
            key, how, text = match.groups()
            told = [(_in_filters(row.get(key, "")), row) for row in rows]
            rows = [row for value, row in told if value == text or (how == "~" and text in value)]
        limit, offset = call.number("limit", 1000), call.number("offset", 0)
        meta = {**_meta(kind), "size": len(rows), "limit": limit, "offset": offset}
        return Reply({"meta": meta, "rows": rows[offset : offset + limit]})

    # -- counterparties: the same ``syncId`` again makes nobody ----------------------------------------

    def customer_id(self, member: Member) -> str:
        return self.uid(member.id)

    def counterparties(self, call: Call) -> Reply:
        rows = [self.told(member) for member in self.shop.members.values()]
        keys = {"phone", "email", "syncId", "discountCardNumber", "companyType", "archived"}
        return self._listed(call, "counterparty", rows, keys)

    counterparty = Skin.customer

    def counterparty_create(self, call: Call) -> Reply:
        key = call.body.get("syncId")
        known = self.shop.first(lambda one: key is not None and one.key == key)
        return Reply(self.told(known or self.register(call, call.body, key)))

    def counterparty_edit(self, call: Call) -> Reply:
        kind = "users.set_card" if "discountCardNumber" in call.body else "users.update"
        return Reply(self.told(self.edit(call, self.named(call.path["id"]), call.body, kind)))

    def told(self, member: Member) -> Row:
        return {
            **present(member.told(_FIELDS)),
            "meta": _meta("counterparty", self.uid(member.id)),
            "id": self.uid(member.id),
            "companyType": "individual",
            "archived": member.more.get("archived", False),
            "bonusPoints": member.points,
        }

    # -- the bonus programme and its operations --------------------------------------------------------

    def program(self, call: Call) -> Reply:
        if call.path["id"] != PROGRAM:
            self.refuse(*self.not_found)
        return Reply({"meta": _meta("bonusprogram", PROGRAM), "id": PROGRAM})

    def movements(self, call: Call) -> Reply:
        rows = [self._movement(member, move) for member, move in self.shop.moves()]
        return self._listed(call, "bonustransaction", rows, {"agent", "externalCode"})

    def movement_create(self, call: Call) -> Reply:
        agent, program = (call.body[name]["meta"]["href"] for name in ("agent", "bonusProgram"))
        member = self.named(agent.removeprefix(f"{_ENTITIES}/counterparty/"))
        points = call.body.get("bonusValue")
        if program != f"{_ENTITIES}/bonusprogram/{PROGRAM}" or not isinstance(points, int):
            self.refuse(400, "1022")
        text, key = call.body.get("description", ""), call.body.get("externalCode")
        return Reply(self._movement(member, self.give_points(call, member, Decimal(points), text, key)))

    def _movement(self, member: Member, move: Move) -> Row:
        return {
            "meta": _meta("bonustransaction", self.uid(move.id)),
            "id": self.uid(move.id),
            "agent": {"meta": _meta("counterparty", self.uid(member.id))},
            "bonusProgram": {"meta": _meta("bonusprogram", PROGRAM)},
            "applicable": True,
            "bonusValue": abs(move.points),
            "transactionType": "EARNING" if move.points >= 0 else "SPENDING",
            "transactionStatus": "COMPLETED",
            "moment": local_time(move.at, MOSCOW),
            "externalCode": move.key or f"{move.id}",
            "description": move.text,
        }


def _meta(kind: str, of: str | None = None) -> Row:
    """How the API refers to one entity, or to the list of a kind."""
    href = f"{_ENTITIES}/{kind}" if of is None else f"{_ENTITIES}/{kind}/{of}"
    return {"href": href, "type": kind, "mediaType": "application/json"}


def _in_filters(value: Any) -> str:
    """A value as filters write it; of an entity its address."""
    if isinstance(value, dict):
        return str(value["meta"]["href"])
    return str(value).lower() if isinstance(value, bool) else str(value)


application = MoySklad.application
