"""The one list of everything the adapter may answer instead of a result.

Each entry has the code and the two texts that Koshelek sees (KLO common rules: the codes are the
partner's own) and, for the operator, the cause and the remedy. It may not know where a code is raised.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal

Language = Literal["ru", "en"]


class Code(enum.StrEnum):
    """Codes of the ``{code, description}`` envelope; the value is what goes on the wire."""

    # 1xx: the request itself
    NOT_JSON = "101"
    NOT_AN_OBJECT = "102"
    FIELD_INVALID = "103"
    FIELD_MISSING = "104"
    BODY_TOO_LARGE = "105"
    UNKNOWN_METHOD = "106"
    BAD_REQUEST = "107"
    UNAUTHORIZED = "110"
    # 2xx: cards and people
    CARD_UNKNOWN = "201"
    CARD_BLOCKED = "202"
    NOT_RESERVED = "203"
    RESERVATION_EXPIRED = "204"
    NUMBER_USED = "205"
    NO_NUMBERS = "206"
    SEVERAL_MATCH = "207"
    CONFLICT = "208"
    WEAK_MATCH = "209"
    CARD_NOT_ACTIVE = "210"
    HAS_ANOTHER_CARD = "211"
    REGISTRATION_REFUSED = "212"
    UPDATE_REFUSED = "213"
    # 3xx: receipts
    QR_UNREADABLE = "301"
    RECEIPT_FROM_FUTURE = "302"
    RECEIPT_TOO_OLD = "303"
    RECEIPT_KIND = "304"
    RECEIPT_TOO_SMALL = "305"
    RECEIPT_TAKEN = "306"
    RECEIPT_DIFFERS = "307"
    RECEIPT_REFUSED = "308"
    RECEIPT_TOO_LARGE = "309"
    # 7xx: promo codes
    PROMO_UNKNOWN = "701"
    PROMO_NOT_YET_VALID = "702"
    PROMO_EXPIRED = "703"
    PROMO_USED = "704"
    PROMO_EXHAUSTED = "705"
    PROMO_REFUSED = "706"
    # 9xx: the service
    INTERNAL = "901"
    DATABASE_DOWN = "902"
    CRM_DOWN = "903"
    OVERLOADED = "904"
    TIMED_OUT = "905"
    NOT_SUPPORTED = "906"
    STILL_WORKING = "907"


@dataclass(frozen=True, slots=True)
class CodeText:
    """Texts of one code: ``ru`` and ``en`` for Koshelek, ``cause`` and ``remedy`` for the operator."""

    ru: str
    en: str
    cause: str
    remedy: str

    def text(self, language: Language) -> str:
        return self.ru if language == "ru" else self.en


_CALLER = "The caller has to change the request."
_NORMAL = "Nothing: this is a normal answer."

TEXTS: dict[Code, CodeText] = {
    Code.NOT_JSON: CodeText(
        "Тело запроса не является JSON в кодировке UTF-8",
        "The request body is not JSON in UTF-8",
        "The body is empty, cut short, not JSON, not UTF-8, or nested too deeply.",
        _CALLER,
    ),
    Code.NOT_AN_OBJECT: CodeText(
        "Тело запроса должно быть объектом JSON",
        "The request body must be a JSON object",
        "The body is JSON, but an array or a bare value.",
        _CALLER,
    ),
    Code.FIELD_INVALID: CodeText(
        "Недопустимое значение поля",
        "A field has an invalid value",
        "A field has the wrong type or format; the description names the field.",
        _CALLER,
    ),
    Code.FIELD_MISSING: CodeText(
        "Не заполнено обязательное поле",
        "A required field is missing",
        "The description names the field.",
        "The caller has to send it; which profile fields are required is enrolment.required.",
    ),
    Code.BODY_TOO_LARGE: CodeText(
        "Тело запроса слишком велико",
        "The request body is too large",
        "The body is larger than server.max_body.",
        "Raise server.max_body if the request was genuine.",
    ),
    Code.UNKNOWN_METHOD: CodeText(
        "Неизвестный метод",
        "Unknown method",
        "No such path and verb in the chosen koshelek.api_version, or the method is switched off.",
        "Compare koshelek.api_version and server.base_path with what Koshelek was told.",
    ),
    Code.BAD_REQUEST: CodeText(
        "Некорректный HTTP-запрос",
        "Malformed HTTP request",
        "What arrived is not HTTP/1.1, or its head is too long.",
        "Look at the proxy in front; a TLS client on the plain port ends here too.",
    ),
    Code.UNAUTHORIZED: CodeText(
        "Неверное имя пользователя или пароль",
        "Wrong user name or password",
        "No Basic credentials, malformed ones, or a pair that is not in the settings.",
        "Compare koshelek.login and koshelek.password with what Koshelek was given.",
    ),
    Code.CARD_UNKNOWN: CodeText(
        "Карта не найдена",
        "Card not found",
        "The number is not in the registry and the CRM does not know it either; or it is not issued to "
        "anybody; or it was replaced and cards.replaced_answer is unknown.",
        "koshelek-adapter cards show NUMBER tells its state.",
    ),
    Code.CARD_BLOCKED: CodeText(
        "Карта заблокирована, обратитесь в магазин",
        "The card is blocked, please contact the store",
        "The owner's card was blocked, here or in the CRM, so no other may be issued.",
        "koshelek-adapter cards show NUMBER tells who did; koshelek-adapter cards unblock NUMBER, or unblock "
        "it in the CRM.",
    ),
    Code.NOT_RESERVED: CodeText(
        "Номер карты не зарезервирован",
        "The card number is not reserved",
        "The number to issue is unknown or was never reserved.",
        "The caller has to reserve a number first.",
    ),
    Code.RESERVATION_EXPIRED: CodeText(
        "Срок резервирования номера истёк",
        "The reservation of the number has expired",
        "More than cards.reservation passed between reserving and issuing.",
        "The caller has to reserve again; raise cards.reservation if it happens often.",
    ),
    Code.NUMBER_USED: CodeText(
        "Номер карты уже используется",
        "The card number is already in use",
        "The number belongs to another person, here or in the CRM.",
        "Nothing, unless the log has card_number_refused: then CRM and registry name different owners.",
    ),
    Code.NO_NUMBERS: CodeText(
        "Свободные номера карт закончились",
        "No card numbers are left",
        "The pool is empty and every range is used up, or the next numbers are all known to the CRM.",
        "koshelek-adapter cards import FILE, or add a [[cards.ranges]] entry with numbers of its own.",
    ),
    Code.SEVERAL_MATCH: CodeText(
        "Найдено несколько клиентов, обратитесь в магазин",
        "Several customers match, please contact the store",
        "Phone and e-mail belong to different customers with cards.",
        "matching.several chooses one instead; or merge the customers in the CRM.",
    ),
    Code.CONFLICT: CodeText(
        "Телефон или e-mail уже привязан к другому клиенту",
        "The phone or e-mail already belongs to another customer",
        "The CRM has another customer with this phone or e-mail.",
        _NORMAL,
    ),
    Code.WEAK_MATCH: CodeText(
        "Клиент с таким e-mail уже есть, обратитесь в магазин",
        "A customer with this e-mail exists, please contact the store",
        "Only the unconfirmed e-mail matches an existing customer, so nothing was linked.",
        "Correct the phone in the CRM; matching.link_by_email changes the rule.",
    ),
    Code.CARD_NOT_ACTIVE: CodeText(
        "Карта не активна",
        "The card is not active",
        "The card is inactive, blocked or replaced, here or in the CRM, or has no owner yet; or CRM and "
        "registry name different owners.",
        "koshelek-adapter cards show NUMBER tells its state.",
    ),
    Code.HAS_ANOTHER_CARD: CodeText(
        "У клиента уже есть другая карта",
        "The customer already has another card",
        "A person and a card are one to one; or the CRM keeps a card for them that cannot be shown.",
        "Nothing, unless the log has card_number_refused: then see cards.barcode_fallback.",
    ),
    Code.REGISTRATION_REFUSED: CodeText(
        "Не удалось зарегистрировать клиента с этими данными",
        "The customer could not be registered with these data",
        "The CRM refused the profile.",
        "The log line names the operation; look at the CRM's own rules.",
    ),
    Code.UPDATE_REFUSED: CodeText(
        "Не удалось изменить данные клиента",
        "The customer's data could not be changed",
        "The CRM refused the change.",
        "Look at the CRM's own rules.",
    ),
    Code.QR_UNREADABLE: CodeText(
        "QR-код чека не распознан",
        "The receipt QR code cannot be read",
        "A key is missing, repeated or malformed; the description names it.",
        _CALLER,
    ),
    Code.RECEIPT_FROM_FUTURE: CodeText(
        "Время чека ещё не наступило",
        "The receipt is dated in the future",
        "The receipt's time is more than 12 hours ahead of this server.",
        "Check this server's clock and koshelek.timezone.",
    ),
    Code.RECEIPT_TOO_OLD: CodeText(
        "Срок регистрации чека истёк",
        "The receipt is too old",
        "The receipt is older than receipts.max_age_days.",
        _NORMAL,
    ),
    Code.RECEIPT_KIND: CodeText(
        "Такой вид чека не участвует в программе",
        "This kind of receipt does not take part",
        "The calculation type (n) is not in receipts.calculation_types.",
        _NORMAL,
    ),
    Code.RECEIPT_TOO_SMALL: CodeText(
        "Сумма чека меньше минимальной",
        "The receipt total is below the minimum",
        "The total is below receipts.minimum_total.",
        _NORMAL,
    ),
    Code.RECEIPT_TAKEN: CodeText(
        "Чек уже зарегистрирован другим участником",
        "The receipt is already registered to another card",
        "The same fn, i and fp were sent for another card before.",
        _NORMAL,
    ),
    Code.RECEIPT_DIFFERS: CodeText(
        "Чек уже зарегистрирован с другими данными",
        "The receipt is already registered with other data",
        "The same fn, i and fp were sent before with another total or calculation type.",
        "A forged or misread code; compare with the tax service.",
    ),
    Code.RECEIPT_REFUSED: CodeText(
        "Начисление по чеку отклонено",
        "The receipt was refused",
        "The CRM refused the credit.",
        "Look at the CRM's own rules.",
    ),
    Code.RECEIPT_TOO_LARGE: CodeText(
        "Сумма чека больше допустимой",
        "The receipt total is above the maximum",
        "The total is above receipts.maximum_total, which is more than a cash receipt plausibly has.",
        "Raise receipts.maximum_total if such receipts are genuine.",
    ),
    Code.PROMO_UNKNOWN: CodeText(
        "Промокод не найден", "Unknown promo code", "The CRM does not know the code.", _NORMAL
    ),
    Code.PROMO_NOT_YET_VALID: CodeText(
        "Промокод ещё не действует", "The promo code is not valid yet", "Its term has not begun.", _NORMAL
    ),
    Code.PROMO_EXPIRED: CodeText(
        "Срок действия промокода истёк", "The promo code has expired", "Its term is over.", _NORMAL
    ),
    Code.PROMO_USED: CodeText(
        "Промокод уже использован",
        "The promo code has already been used",
        "By this customer, or a single-use code by another.",
        _NORMAL,
    ),
    Code.PROMO_EXHAUSTED: CodeText(
        "Промокод больше не действует: лимит исчерпан",
        "The promo code has no uses left",
        "All uses of the code are gone.",
        _NORMAL,
    ),
    Code.PROMO_REFUSED: CodeText(
        "Промокод не принят", "The promo code was refused", "The CRM refused it for its own reason.", _NORMAL
    ),
    Code.INTERNAL: CodeText(
        "Внутренняя ошибка сервиса",
        "Internal error",
        "A defect of the adapter.",
        "Find the request id in the log and report the stack that stands there.",
    ),
    Code.DATABASE_DOWN: CodeText(
        "База данных временно недоступна",
        "The database is unavailable for the moment",
        "The adapter's PostgreSQL does not answer.",
        "koshelek-adapter check says which database and why.",
    ),
    Code.CRM_DOWN: CodeText(
        "Система лояльности временно недоступна",
        "The loyalty system is unavailable for the moment",
        "A CRM does not answer, answers oddly, does not know an account that was known, or refuses the "
        "adapter's credentials.",
        "koshelek-adapter check says which and why.",
    ),
    Code.OVERLOADED: CodeText(
        "Сервис перегружен, повторите запрос позже",
        "The service is overloaded, please try again later",
        "More than server.max_requests at once, no database connection free in time, or too many unknown "
        "passwords at once where koshelek.password is a hash.",
        "Add workers or hosts; look for a slow CRM first.",
    ),
    Code.TIMED_OUT: CodeText(
        "Запрос не выполнен за отведённое время",
        "The request was not completed in time",
        "It took longer than server.deadline.",
        "crm_ms in the log line of the call tells how much of it each CRM took; koshelek-adapter check "
        "--phone NUMBER asks them one by one.",
    ),
    Code.NOT_SUPPORTED: CodeText(
        "Операция не поддерживается программой лояльности",
        "The loyalty programme does not support this operation",
        "No CRM that is bound in the settings can do it.",
        "Bind a driver that can: koshelek-adapter config capabilities lists what each can do.",
    ),
    Code.STILL_WORKING: CodeText(
        "Запрос принят и ещё выполняется, повторите позже",
        "The request is accepted and still under way, please repeat later",
        "The CRM has not confirmed in time; the operation is recorded and goes on.",
        "A repeat of the same call gives its result.",
    ),
}


class Refused(Exception):
    """The call ends with the envelope of ``code``.

    ``field`` names the offending input field, never its value.
    """

    def __init__(self, code: Code, field: str | None = None) -> None:
        super().__init__(code.name)
        self.code = code
        self.field = field

    def description(self, language: Language) -> str:
        text = TEXTS[self.code].text(language)
        return f"{text}: {self.field}" if self.field else text
