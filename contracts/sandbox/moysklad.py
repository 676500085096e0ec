"""Stand-in for МойСклад: counterparties and bonus operations, JSON API 1.2.

Facts: the vendor's description of the API (``moysklad/api-remap-1.2-doc``, 2026-08-07), and the models of
its Python client (``moysklad-remap-12-sdk`` 0.32.0). What they do not say, such as whether ``externalCode``
of a bonus operation is unique, is not so here. It may not know any client of the stand-in.

Effects: ``users.register``, ``users.update``, ``users.set_card``, ``points.credit``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar

from contracts.crm import Operation
from contracts.sandbox.people import PEOPLE
from contracts.sandbox.server import Call, Refused, Reply, bearer
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin

TOKEN = "moysklad-sandbox-token"  # noqa: S105 - made up, opens nothing but this server
PROGRAM = "fc2666ba-5d39-4a60-8105-4b678180b059"
_BASE = "/api/remap/1.2"
SETTINGS = {"moysklad": {"path": "/api/remap/1.2", "token": TOKEN, "bonus_program": PROGRAM}}
"""See ``contracts.sandbox.CONNECTORS``."""
_ENTITIES = "https://api.moysklad.ru/api/remap/1.2/entity"
_MOSCOW = timezone(timedelta(hours=3))
_FIELDS = (
    "syncId companyType name legalFirstName legalMiddleName legalLastName phone email birthDate sex"
    " discountCardNumber"
)
_PLAIN = {
    "legalFirstName": "first_name",
    "legalMiddleName": "patronymic",
    "legalLastName": "last_name",
    "phone": "phone",
    "email": "email",
    "syncId": "key",
}


def uid(number: int) -> str:
    """The identifier of what has this number in the shop."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"moysklad-sandbox:{number}"))


def _meta(kind: str, of: str | None = None) -> dict[str, Any]:
    """How the API refers to one entity, or to the list of a kind."""
    href = f"{_ENTITIES}/{kind}" if of is None else f"{_ENTITIES}/{kind}/{of}"
    return {"href": href, "type": kind, "mediaType": "application/json"}


class MoySklad(Skin):
    """Counterparties are told by UUID; several may have one phone."""

    name: ClassVar[str] = "moysklad"
    title: ClassVar[str] = "МойСклад (counterparties and bonus points)"
    invalid_status: ClassVar[int] = 400
    credentials: ClassVar[Mapping[str, str]] = {
        "base": _BASE,
        "token": TOKEN,
        "bonus programme": PROGRAM,
        "customers": ", ".join(person.phone for person in PEOPLE),
    }
    routes: ClassVar[Mapping[str, Route]] = {
        "program": Route(f"GET {_BASE}/entity/bonusprogram/{{id}}"),
        "counterparties": Route(f"GET {_BASE}/entity/counterparty", "limit offset filter"),
        "counterparty": Route(f"GET {_BASE}/entity/counterparty/{{id}}"),
        "counterparty_create": Route(f"POST {_BASE}/entity/counterparty", json=f"{_FIELDS} name!"),
        "counterparty_edit": Route(f"PUT {_BASE}/entity/counterparty/{{id}}", json=_FIELDS),
        "movements": Route(f"GET {_BASE}/entity/bonustransaction", "limit offset filter"),
        "movement_create": Route(
            f"POST {_BASE}/entity/bonustransaction",
            json="agent! bonusProgram! transactionType! bonusValue externalCode description",
        ),
    }

    def authorize(self, operation: Operation, headers: Mapping[str, str]) -> None:
        if headers.get("Accept-Encoding") != "gzip":
            raise Refused(Reply(None, 415), invalid="Accept-Encoding is not gzip")
        if headers.get("Accept") != "application/json;charset=utf-8":
            raise Refused(self.failure(400, "1062"), invalid="Accept is not application/json;charset=utf-8")
        if bearer(headers) != TOKEN:
            raise Refused(self.unauthorized())

    def unauthorized(self) -> Reply:
        return self.failure(401, "1056")

    def failure(self, status: int, reason: str) -> Reply:
        code = int(reason) if reason.isdecimal() else 1040
        return Reply({"errors": [{"error": "Ошибка", "code": code}]}, status)

    def program(self, call: Call) -> Reply:
        if call.path["id"] != PROGRAM:
            return self.failure(404, "1021")
        return Reply({"meta": _meta("bonusprogram", PROGRAM), "id": PROGRAM})

    # -- counterparties --------------------------------------------------------------------------------

    def counterparties(self, call: Call) -> Reply:
        tell: Mapping[str, Callable[[Member], object]] = {
            "phone": lambda member: member.phone,
            "email": lambda member: member.email,
            "syncId": lambda member: member.key,
            "discountCardNumber": lambda member: member.more.get("card"),
            "companyType": lambda member: "individual",
            "archived": lambda member: str(member.more.get("archived", False)).lower(),
        }
        wanted = self._filter(call, tell)
        found = [self._told(one) for one in self.shop.members.values() if wanted(one)]
        return self._rows(found, call, "counterparty")

    def counterparty(self, call: Call) -> Reply:
        return Reply(self._told(self._named(call.path["id"])))

    def counterparty_create(self, call: Call) -> Reply:
        key = call.body.get("syncId")
        known = self.shop.find(lambda member: key is not None and member.key == key)
        if known:
            return Reply(self._told(known[0]))
        member = self.shop.add()
        self._set(member, call.body)
        self.record(call, "users.register", customer=str(member.id), reference=key)
        return Reply(self._told(member))

    def counterparty_edit(self, call: Call) -> Reply:
        member = self._named(call.path["id"])
        self._set(member, call.body)
        kind = "users.set_card" if "discountCardNumber" in call.body else "users.update"
        self.record(call, kind, customer=str(member.id))
        return Reply(self._told(member))

    def _named(self, text: str) -> Member:
        return self.only(lambda member: uid(member.id) == text, 404, "1021")

    @staticmethod
    def _set(member: Member, given: Mapping[str, Any]) -> None:
        member.take(given, {**_PLAIN, "birthDate": "birth_date"})
        if "sex" in given:
            member.sex = {"MALE": "m", "FEMALE": "f"}[given["sex"]]
        if "discountCardNumber" in given:
            member.more["card"] = given["discountCardNumber"]

    @staticmethod
    def _told(member: Member) -> dict[str, Any]:
        told = {
            **member.told(_PLAIN),
            "meta": _meta("counterparty", uid(member.id)),
            "id": uid(member.id),
            "archived": member.more.get("archived", False),
            "birthDate": f"{member.birth_date} 00:00:00" if member.birth_date else None,
            "sex": {"m": "MALE", "f": "FEMALE"}.get(member.sex or ""),
            "discountCardNumber": member.more.get("card"),
            "bonusPoints": member.points,
        }
        return {name: value for name, value in told.items() if value is not None}

    # -- bonus operations ------------------------------------------------------------------------------

    def movements(self, call: Call) -> Reply:
        tell: Mapping[str, Callable[[tuple[Member, Move]], object]] = {
            "agent": lambda one: f"{_ENTITIES}/counterparty/{uid(one[0].id)}",
            "externalCode": lambda one: one[1].key,
        }
        wanted = self._filter(call, tell)
        moves = [(member, move) for member in self.shop.members.values() for move in member.moves]
        return self._rows([self._movement(*one) for one in moves if wanted(one)], call, "bonustransaction")

    def movement_create(self, call: Call) -> Reply:
        agent, program = (call.body[name]["meta"]["href"] for name in ("agent", "bonusProgram"))
        member = self._named(agent.removeprefix(f"{_ENTITIES}/counterparty/"))
        points = call.body.get("bonusValue")
        if program != f"{_ENTITIES}/bonusprogram/{PROGRAM}" or not isinstance(points, int):
            self.refuse(400, "1022")
        key = call.body.get("externalCode")
        move = self.shop.give(member, Decimal(points), call.body.get("description", ""), key)
        self.record(call, "points.credit", customer=str(member.id), amount=Decimal(points), reference=key)
        return Reply(self._movement(member, move))

    @staticmethod
    def _movement(member: Member, move: Move) -> dict[str, Any]:
        return {
            "meta": _meta("bonustransaction", uid(move.id)),
            "id": uid(move.id),
            "agent": {"meta": _meta("counterparty", uid(member.id))},
            "bonusProgram": {"meta": _meta("bonusprogram", PROGRAM)},
            "applicable": True,
            "bonusValue": abs(move.points),
            "transactionType": "EARNING" if move.points >= 0 else "SPENDING",
            "transactionStatus": "COMPLETED",
            "moment": f"{move.at.astimezone(_MOSCOW):%Y-%m-%d %H:%M:%S}",
            "externalCode": move.key or f"{move.id}",
            "description": move.text,
        }

    # -- lists -----------------------------------------------------------------------------------------

    def _filter(self, call: Call, tell: Mapping[str, Callable[[Any], object]]) -> Callable[[Any], bool]:
        """What ``filter`` asks for: equal, or ``~`` for a part of the text; ``;`` joins."""
        tests: list[Callable[[Any], bool]] = []
        for part in filter(None, (call.query["filter"] or "").split(";")):
            match = re.fullmatch(r"(\w+)([~=])(.*)", part)
            if match is None or match[1] not in tell:
                self.refuse(412, "1034")
            told, whole, text = tell[match[1]], match[2] == "=", match[3]
            tests.append(lambda one, t=told, w=whole, x=text: t(one) == x if w else x in str(t(one)))  # type: ignore[misc]
        return lambda one: all(test(one) for test in tests)

    @staticmethod
    def _rows(rows: list[dict[str, Any]], call: Call, kind: str) -> Reply:
        limit, offset = int(call.query["limit"] or 1000), int(call.query["offset"] or 0)
        meta = {**_meta(kind), "size": len(rows), "limit": limit, "offset": offset}
        return Reply({"meta": meta, "rows": rows[offset : offset + limit]})


application = MoySklad.application
