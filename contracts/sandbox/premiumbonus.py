"""Stand-in for Premium Bonus: buyers of a programme and their bonuses, the PB API for tills and sites.

Facts: the vendor's description of 2026-04 (doc.premiumbonus.ru/pb). The fields of ``purchase-list``, and that
nobody is told by "не найден" where an e-mail or a card is asked for, are read off programs of integrators.
How a wrong token, an unknown number of a purchase and a buyer who is there already are told is not public:
403, 400 and a sentence here. The same ``external_purchase_id`` twice is two purchases here. It may not know
any client.

Effects: ``users.register``, ``users.update``, ``points.credit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from contracts.sandbox.fields import BIRTH_DATE, DIGITS, Fields, Row, sex
from contracts.sandbox.server import Call, Reply, Switches
from contracts.sandbox.shop import Member, Move
from contracts.sandbox.skin import Route, Skin, to_be_shown

TOKEN = "premiumbonus-sandbox-token"  # noqa: S105 - made up, opens nothing but this server
SETTINGS = {"premiumbonus": {"token": TOKEN}}
"""See ``contracts.sandbox.CONNECTORS``."""
_PERSON: Fields = {
    "surname": "last_name",
    "name": "first_name",
    "middle_name": "patronymic",
    "birth_date": BIRTH_DATE,
    "gender": sex("male", "female"),
    "email": "email",
}
_TAKEN = f"{' '.join(_PERSON)} card_number"


class PremiumBonusSwitches(Switches):
    """How many bonuses a purchase gives."""

    percent: Decimal = Decimal(5)


class PremiumBonus(Skin):
    """Buyers are told by their phone, 7 and ten digits."""

    name = "premiumbonus"
    title = "Premium Bonus (buyers and their bonuses)"
    takes: ClassVar[type[Switches]] = PremiumBonusSwitches
    denied = (403, "Доступ запрещён")
    not_found = (400, "Покупатель не найден")
    sent: ClassVar[Mapping[str, str]] = {"Authorization": TOKEN}
    credentials: ClassVar[Mapping[str, str]] = to_be_shown(SETTINGS)
    routes: ClassVar[Mapping[str, Route]] = {
        "buyer_groups": Route("POST /buyer-groups", json="sale_point_id"),
        "buyer_info": Route("POST /buyer-info", json="identificator! external_id sale_point_id extra_fields"),
        "buyer_register": Route("POST /buyer-register", json=f"phone! {_TAKEN} phone_checked"),
        "buyer_edit": Route("POST /buyer-edit", json=f"phone! {_TAKEN}"),
        "purchase_list": Route("POST /buyer/purchase-list", json="phone!"),
        "purchase": Route(
            "POST /purchase", json="phone! sale_point_id external_purchase_id items! purchase_status"
        ),
        "purchase_info": Route("POST /purchase-info", json="external_purchase_id!"),
    }
    fields: ClassVar[Fields] = _PERSON
    switches: PremiumBonusSwitches

    def failure(self, status: int, reason: str) -> Reply:
        return Reply({"success": False, "error_description": reason, "logger": "Aa1aA1aa"}, status)

    def customer_id(self, member: Member) -> str:
        return member.digits

    def buyer_groups(self, call: Call) -> Reply:
        return self._well(list=[{"id": "3f04c71b-fbd7-4310-a84b-6fd34f0bd8ff", "name": "5%"}])

    # -- buyers ----------------------------------------------------------------------------------------

    def buyer_info(self, call: Call) -> Reply:
        wanted = str(call.body["identificator"])
        member = self.shop.first(lambda one: wanted in (one.digits, one.email, one.more.get("card")))
        if member is not None:
            return self._well(is_registered=True, **self._told(member))
        if not _is_phone(wanted):
            self.refuse(*self.not_found)
        return self._well(is_registered=False, phone=wanted, identificator_type="phone")

    def buyer_register(self, call: Call) -> Reply:
        phone = call.body["phone"]
        if not _is_phone(phone):
            self.refuse(400, "Неверный формат телефона")
        if self.shop.first(lambda one: one.digits == phone):
            self.refuse(200, "Такой пользователь уже существует")
        member = self.register(call, call.body, phone=f"+{phone}")
        return self._well(is_register=True, **self._told(member))

    def buyer_edit(self, call: Call) -> Reply:
        member = self.edit(call, self.named(call.body["phone"]), call.body)
        return self._well(is_register=True, **self._told(member))

    @staticmethod
    def _told(member: Member) -> Row:
        return {
            "blocked": member.more.get("blocked", False),
            "client_id": str(member.id),
            **member.told({**_PERSON, "phone": DIGITS, "card_number": "card"}),
            "city": {"id": "c", "name": member.city} if member.city else None,
            "balance": member.points,
            "bonus_inactive": 0,
        }

    # -- purchases -------------------------------------------------------------------------------------

    def purchase(self, call: Call) -> Reply:
        member = self.named(call.body["phone"])
        total = sum((Decimal(str(item["amount"])) for item in call.body["items"]), Decimal(0))
        points = round(total * self.switches.percent / 100, 2)
        key = call.body.get("external_purchase_id")
        return self._well(
            purchase_id=f"p{self.give_points(call, member, points, 'purchase', key).id}",
            external_purchase_id=key,
            purchase_amount=total,
            payment_amount=total,
            total_write_on_bonus=points,
            total_write_off_bonus=0,
            balance=member.points,
            purchase_status="approved",
        )

    def purchase_info(self, call: Call) -> Reply:
        key = call.body["external_purchase_id"]
        for member, _ in self.shop.moves_under(key):
            buyer = member.told({"phone": DIGITS, "name": "first_name"})
            return self._well(external_purchase_id=key, status="approved", buyer=buyer, items=[])
        self.refuse(400, "Покупка не найдена")

    def purchase_list(self, call: Call) -> Reply:
        moves = reversed(self.named(call.body["phone"]).moves)
        return self._well(list=[self._line(move) for move in moves])

    @staticmethod
    def _line(move: Move) -> Row:
        return {
            "id": f"p{move.id}",
            "external_id": move.key,
            "date": move.at.isoformat(),
            "status": "approved",
            "bonus_accumulated_write_on": move.given,
            "bonus_present_write_on": 0,
            "bonus_action_write_on": 0,
            "bonus_accumulated_write_off": move.taken,
            "bonus_present_write_off": 0,
            "bonus_action_write_off": 0,
        }

    @staticmethod
    def _well(**told: Any) -> Reply:
        return Reply({"success": True, **told, "logger": "Aa1aA1aa"})


def _is_phone(text: str) -> bool:
    return len(text) == 11 and text.startswith("7") and text.isdecimal()


application = PremiumBonus.application
