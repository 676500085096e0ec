"""What a CRM's answer becomes: the plain objects of the ports, each field of its own kind or an error.

No guessing: a number is a number, not its text; a moment has a zone. Text fields take ``false`` and empty
text for nothing. Errors name the field and the kind of value, never the value. A day of zeros, as MySQL
writes that there is none, is nothing. It may not know how anything was asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

from crm_backends.connector.moments import ProgrammeDefaults
from crm_backends.connector.plans import Plan
from crm_backends.connector.scope import CannotTell, Expression
from crm_backends.connector.values import Unfit, is_no_day, kind, number, text_of
from crm_backends.inputs import UnreadablePhone, read_crm_phone, read_email, sex_of
from crm_backends.model import (
    CRM_CARD_STATES,
    Balance,
    CrmCard,
    CrmCardState,
    Customer,
    ListedPhone,
    Offer,
    PointsEntry,
    Profile,
    Purchase,
)

T = TypeVar("T")
_ZERO = re.compile(r"[0-]*0[0-]*")
Read = Callable[[Any], Any]


class Reader:
    """Reads the results of one connector."""

    def __init__(self, programme: ProgrammeDefaults) -> None:
        self._region = programme.region

    def field(
        self, result: Mapping[str, Expression], name: str, context: Mapping[str, Any], read: Read
    ) -> Any:
        """One field of a result; nothing where the connector does not give it. Raises ``CannotTell``."""
        code = result.get(name)
        if code is None:
            return None
        value = code.value(context)
        try:
            return read(value)
        except (Unfit, ValueError) as error:
            raise _of_another_kind(code, name, error) from None

    def told(
        self, result: Mapping[str, Expression], name: str, context: Mapping[str, Any], read: Read
    ) -> Any:
        """The same of what the answer has to have, if only as nothing. Raises ``CannotTell``, ``Lacks``."""
        code = result.get(name)
        if code is None:
            return None
        value = code.there(context)
        try:
            return read(value)
        except (Unfit, ValueError) as error:
            raise _of_another_kind(code, name, error) from None

    def needed(
        self, result: Mapping[str, Expression], name: str, context: Mapping[str, Any], read: Read
    ) -> Any:
        """The same, where nothing is an error."""
        found = self.told(result, name, context, read)
        if found is None:
            where = result[name].where if name in result else ""
            raise CannotTell(f"{where}: {name}: there is nothing in the answer")
        return found

    def phone(self, value: Any) -> str | None:
        return _phone(value, self._region)

    def phone_can_be_read(self, plan: Plan, context: Mapping[str, Any]) -> bool:
        """Whether a customer's phone is one, or is not told. Raises ``CannotTell`` where there is no text."""
        code = plan.mapping.result.get("phone")
        if code is None:
            return True
        try:
            self.phone(code.value(context))
        except Unfit:
            return False
        return True

    def customer(self, plan: Plan, context: Mapping[str, Any], *, phone: bool = True) -> Customer:
        """A customer; without the phone where that is not to be read. Raises ``CannotTell``."""
        result = plan.mapping.result

        def get(name: str, read: Read) -> Any:
            return self.field(result, name, context, read)

        profile = Profile(
            phone=get("phone", self.phone) if phone else None,
            email=get("email", _email),
            first_name=get("first_name", text_or_nothing),
            patronymic=get("patronymic", text_or_nothing),
            surname=get("surname", text_or_nothing),
            birth_date=get("birth_date", day),
            sex=get("sex", _sex),
            country_code=get("country_code", text_or_nothing),
            locality=get("locality", text_or_nothing),
        )
        return Customer(
            customer_id=self.needed(result, "id", context, identifier),
            profile=profile,
            card_number=get("card_number", text_or_nothing),
            registered_at=get("registered_at", moment),
            card_state=get("card_state", card_state),
        )

    def card(self, plan: Plan, context: Mapping[str, Any]) -> CrmCard:
        result = plan.mapping.result
        owner = self.field(result, "customer", context, identifier)
        return CrmCard(
            number=self.needed(result, "number", context, text_or_nothing),
            state=self.field(result, "state", context, card_state) or "active",
            replaced_by=self.field(result, "replaced_by", context, text_or_nothing),
            customer=None if owner is None else Customer(owner, Profile()),
            barcode=self.field(result, "barcode", context, text_or_nothing),
            barcode_type=self.field(result, "barcode_type", context, text_or_nothing),
        )

    def balance(self, plan: Plan, context: Mapping[str, Any]) -> Balance:
        result = plan.mapping.result
        total = self.needed(result, "total", context, amount)
        available = self.field(result, "available", context, amount)
        return Balance(total, max(total if available is None else available, Decimal(0)))

    def entry(self, plan: Plan, context: Mapping[str, Any]) -> PointsEntry:
        result = plan.mapping.result
        return PointsEntry(
            amount=self.needed(result, "amount", context, amount),
            description=self.field(result, "description", context, text_or_nothing) or "",
            at=self.needed(result, "at", context, moment),
            valid_until=self.field(result, "valid_until", context, day),
        )

    def purchase(self, plan: Plan, context: Mapping[str, Any]) -> Purchase:
        result = plan.mapping.result
        quantity = self.field(result, "quantity", context, amount)
        return Purchase(
            at=self.needed(result, "at", context, moment),
            item=self.field(result, "item", context, text_or_nothing) or "",
            amount_kopecks=self.needed(result, "amount_kopecks", context, whole),
            quantity=Decimal(1) if quantity is None else quantity,
            location=self.field(result, "location", context, text_or_nothing) or "",
            bonuses=self.field(result, "bonuses", context, amount) or Decimal(0),
        )

    def offer(self, plan: Plan, context: Mapping[str, Any]) -> Offer:
        result = plan.mapping.result

        def text(name: str) -> Any:
            return self.field(result, name, context, text_or_nothing)

        return Offer(
            offer_id=self.needed(result, "id", context, text_or_nothing),
            title=self.needed(result, "title", context, text_or_nothing),
            description=text("description") or "",
            code=text("code"),
            valid_from=self.field(result, "valid_from", context, moment),
            valid_until=self.field(result, "valid_until", context, moment),
            image_url=text("image_url"),
            url=text("url"),
        )

    def listed(self, plan: Plan, context: Mapping[str, Any]) -> ListedPhone | None:
        """Nothing for a customer without a readable phone: a list of all ends at none of them."""
        result = plan.mapping.result
        try:
            phone = self.field(result, "phone", context, self.phone)
        except CannotTell:
            return None
        if phone is None:
            return None
        params = self.field(result, "params", context, _texts) or {}
        return ListedPhone(phone, params)


def look_at_constant(region: str, operation: str, name: str, value: Any) -> None:
    """See that a value which the file writes out can be this field of an operation's result.

    Raises:
        Unfit, ValueError: it cannot.
    """
    read: Read = _KINDS.get(name, text_or_nothing)
    if name == "phone":
        _phone(value, region)
    elif name == "valid_until" and operation == "coupons.offers":
        moment(value)
    else:
        read(value)


def _of_another_kind(code: Expression, name: str, error: Exception) -> CannotTell:
    cause = str(error) if isinstance(error, Unfit) else "the value cannot be read"
    return CannotTell(f"{code.where}: {name}: {cause}")


def text_or_nothing(value: Any) -> str | None:
    """Text, or a whole number as text; false and empty text are nothing."""
    if value is None or value is False or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return text_of(value)
    raise Unfit(f"text is wanted, this is {kind(value)}")


def identifier(value: Any) -> str | None:
    """What the CRM calls somebody or something; nothing also where it is zero in numbers or as a GUID.

    CRMs write zero where there is none: what goes by it is nobody's, or many people's.
    """
    text = text_or_nothing(value)
    return None if text is not None and _ZERO.fullmatch(text) else text


def amount(value: Any) -> Decimal | None:
    return None if value is None else Decimal(number(value))


def whole(value: Any) -> int | None:
    if value is None:
        return None
    exact = number(value)
    if exact != int(exact):
        raise Unfit("a whole number is wanted, this has a fraction")
    return int(exact)


def moment(value: Any) -> datetime | None:
    if value in (None, False, ""):
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise Unfit(f"a moment is wanted, this is {kind(value)}; make one with time() or epoch()")
    if value.tzinfo is None:
        raise Unfit("the moment has no zone; make one with time(format, zone)")
    return value


def day(value: Any) -> date | None:
    if value in (None, False, ""):
        return None
    if isinstance(value, str):
        return None if is_no_day(value) else date.fromisoformat(value)
    if not isinstance(value, date) or isinstance(value, datetime):
        raise Unfit(f"a day is wanted, this is {kind(value)}; make one with date(format)")
    return value


def card_state(value: Any) -> CrmCardState | None:
    state = text_or_nothing(value)
    if state is not None and state not in CRM_CARD_STATES:
        raise Unfit(f"the state of a card is one of {', '.join(CRM_CARD_STATES)}")
    return state


def _phone(value: Any, region: str) -> str | None:
    text = text_or_nothing(value)
    try:
        return read_crm_phone(text, region)
    except UnreadablePhone:
        raise Unfit("the text is no phone") from None


def _email(value: Any) -> str | None:
    """As it is kept where it is no address: somebody typed it, and it identifies nobody."""
    text = text_or_nothing(value)
    return None if text is None else read_email(text) or text.lower()


def _sex(value: Any) -> Any:
    text = text_or_nothing(value)
    return None if text is None else sex_of(text)


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Unfit(f"a mapping is wanted, this is {kind(value)}")
    return {str(name): text_of(member) for name, member in value.items() if member is not None}


_KINDS: Mapping[str, Read] = {
    "email": _email,
    "birth_date": day,
    "sex": _sex,
    "card_state": card_state,
    "registered_at": moment,
    "state": card_state,
    "params": _texts,
    "total": amount,
    "available": amount,
    "amount": amount,
    "at": moment,
    "amount_kopecks": whole,
    "quantity": amount,
    "bonuses": amount,
    "points": amount,
    "total_kopecks": whole,
    "valid_from": moment,
    "valid_until": day,
}
"""How fields of results are read that are no text, by their names."""
