"""The contract a third time, as a page of PHP would do it: one function, SQL on every line, threads.

It shares no line with ``clean`` and ``shop`` and differs wherever it may: balances as "10.00", points that
show at the first opening after a moment, bare reserved numbers, no lists of users, no offers, keys in another
order, errors in Russian with numeric codes. What can be wrong is switched on by name: see ``defects``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.suite.implementations.clean import LOGIN, PASSWORD
from tests.suite.implementations.shop import ANNA, BLOCKED, BORIS, PLASTIC

HEADERS = "application/json; charset=utf-8"
SCHEMA = """
create table people (id integer primary key, phone text, email text, born text, firstname text);
create table old_keys (person integer, phone text, email text);
create table cards (id integer primary key, number text unique, person integer, state text, issued integer);
create table movements (number text, points text, why text, due real);
create table receipts (fn text, i text, fp text, total text, number text, points text,
                       primary key (fn, i, fp));
create table used (code text, number text, primary key (code, number));
create table purchases (number text, day text, item text, kopecks integer, quantity integer);
"""
SEXES = ("m", "f", "м", "ж", "male", "female")
EARNS = (("2", "return earns"), ("3", "expense earns"))
MOMENT = 0.2
"""Seconds until points show."""


class No(Exception):
    """422, with code and description."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code


def digits(text: str) -> str:
    return re.sub(r"\D", "", text)


class Page:
    """All there is: one database and one function for a request."""

    def __init__(self, defect: str = "") -> None:
        self.defect = defect
        self.sql = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self.sql.executescript(SCHEMA)
        self.lock = threading.RLock()
        self.asked = 0
        self.cache: dict[str, Any] = {}
        for number, state, person in (
            ("1", "issued", ANNA),
            ("2", "issued", BORIS),
            ("3", "blocked", BLOCKED),
        ):
            born = person["birthdate"]
            self.query(
                "insert into people (phone, email, born) values (?, ?, ?)",
                person["phone"],
                person["email"],
                born,
            )
            self.query(
                "insert into cards (number, person, state) values (?, ?, ?)",
                f"5000{number:0>12}",
                int(number),
                state,
            )
        self.query("insert into cards (number, state) values (?, 'plastic')", PLASTIC)
        for days in (1, 5, 30):
            day = (datetime.now(UTC).date() - timedelta(days=days)).isoformat()
            self.query(
                "insert into purchases values (?, ?, ?, ?, ?)",
                "5000000000000001",
                day,
                "Кефир 1 л",
                9900,
                days,
            )

    def query(self, text: str, *values: Any) -> list[Any]:
        with self.lock:
            return self.sql.execute(text, values).fetchall()

    @contextmanager
    def at_once(self, *defects: str) -> Iterator[None]:
        """Nobody else meanwhile, unless that is the defect."""
        if self.defect in defects:
            time.sleep(0.2)
            yield
        else:
            with self.lock:
                yield

    # --- one request -------------------------------------------------------------------------------

    def serve(self, verb: str, path: str, query: dict[str, str], body: bytes) -> Any:
        """What is to be sent; ``None``: an empty body."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        words = {
            "literal path taken as card number": "anonymous",
            "list path taken as card number": "getAllUsers",
            "extended list path taken as card number": "getAllUsersExtended",
        }
        read_as_number = words.get(self.defect, "")
        match [verb, *parts]:
            case ["GET", "v1", "card"]:
                return self.find(query)
            case ["GET", "v1", "card", "anonymous"] if read_as_number != "anonymous":
                return self.reserve()
            case ["POST", "v1", "card", "anonymous"]:
                return {"card": self.card_object(self.issue(self.profile(body)))}
            case ["POST", "v1", "card", "anonymous", number]:
                return self.issue_reserved(number, self.profile(body))
            case ["GET", "v1", "card", "getAllUsers" | "getAllUsersExtended" as name] if (
                name != read_as_number
            ):
                raise No(4040, "Метод не поддерживается")
            case ["GET", "v1", "card", number]:
                return self.card(number)
            case ["POST" | "PUT" | "PATCH", "v1", "card", number]:
                self.update(verb, number, self.profile(body))
                if self.defect == "state of a profile" and "cardstate" in self.object(body):
                    self.query(
                        "update cards set state = ? where number = ?", self.object(body)["cardstate"], number
                    )
                return None
            case ["PUT", "v1", "card", number, "communication"]:
                return self.consents(number, self.object(body))
            case ["GET", "v1", "card", number, "purchases"]:
                return self.purchases(number, query)
            case ["POST", "v1", "promo", "qrCode"]:
                return self.paying(4100, "refused receipt pays", self.receipt, self.object(body))
            case ["POST", "v1", "promo", "code"]:
                return self.paying(4201, "refused code pays", self.code, self.object(body))
        raise No(4040, "Метод не поддерживается")

    def paying(
        self, code: int, defect: str, method: Callable[[dict[str, Any]], Any], given: dict[str, Any]
    ) -> Any:
        """The answer of a method; its refusals of this code give points, if that is the defect."""
        try:
            return method(given)
        except No as no:
            if self.defect == defect and no.code == code and given.get("cardnumber"):
                self.credit(self.holder(given), "10.00", "Отказ", False)
            raise

    def object(self, body: bytes) -> dict[str, Any]:
        try:
            value = json.loads(body.decode()) if len(body) < 1_000_000 else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise No(4001, "Тело запроса не читается")
        return {key.lower(): each for key, each in value.items()}

    def profile(self, body: bytes) -> dict[str, str]:
        given = {key: value for key, value in self.object(body).items() if value not in (None, "")}
        fields = ("phone", "email", "birthdate", "firstname", "patronymic", "surname", "sex", "countrycode")
        read = {}
        for key in fields:
            if not isinstance(given.get(key, ""), str):
                raise No(4002, "Поле анкеты не строка")
            if key in given:
                read[key] = given[key]
        if "phone" in read:
            read["as written"], read["phone"] = read["phone"], digits(read["phone"])
            if not 7 <= len(read["phone"]) <= 15:
                raise No(4003, "Телефон указан неверно")
        if "email" in read and not re.fullmatch(r"[^@\s]+@[^@\s]+\.\w+", read["email"]):
            raise No(4004, "Почта указана неверно")
        if "birthdate" in read:
            self.day(read["birthdate"])
        if read.get("sex", "m").lower() not in SEXES:
            raise No(4005, "Пол указан неверно")
        return read | ({"email": read["email"].lower()} if "email" in read else {})

    def day(self, text: str) -> str:
        try:
            return datetime.strptime(text, "%Y-%m-%d").date().isoformat()  # noqa: DTZ007 - a day, no moment
        except ValueError:
            raise No(4006, "Дата указана неверно") from None

    # --- cards -------------------------------------------------------------------------------------

    def found(self, phone: str, email: str) -> list[tuple[int, str, str, str]]:
        """Person, birth date, card and its state, by phone or e-mail; by phone first."""
        by_phone = {
            "phone by its beginning": "phone like ?1 || '%'",
            "phone by a part": "phone like '%' || trim(?1) || '%'",
            "phone by its end": "substr(phone, -10) = substr(?1, -10)",
        }.get(self.defect, "phone = ?1")
        by_email = "email like ?2" if self.defect == "e-mail as a pattern" else "email = ?2"
        old = {"old phone kept": "?1 <> '' and phone = ?1", "old e-mail kept": "?2 <> '' and email = ?2"}
        known = f"select person from old_keys where {old.get(self.defect, '0')}"
        return self.query(
            f"select p.id, coalesce(born, ''), number, state from people p join cards c on c.person = p.id"
            f" where (?1 <> '' and {by_phone}) or (?2 <> '' and {by_email}) or p.id in ({known})"
            " order by phone = ?1 desc, p.id",
            phone,
            email.lower(),
        )

    def find(self, query: dict[str, str]) -> Any:
        phone, email = query.get("msisdn", ""), query.get("email", "").strip()
        if self.defect != "phone by a part" or not phone.isspace():
            phone = digits(phone)
        rows = self.found(phone, email)
        born = query.get("birthDate", "") if self.defect == "found by birth date alone" else ""
        if not rows and (born or (self.defect == "the first one" and not query)):
            rows = self.query(
                "select p.id, '', number, state from people p join cards c on c.person = p.id"
                " where ?1 in ('', born) limit 1", born,
            )  # fmt: skip
        if self.defect == "several at once" and len(rows) > 1 and "birthDate" not in query:
            return {"card": [self.card_object(row[2]) for row in rows]}
        rows = [row for row in rows if row[1] == query.get("birthDate")] or rows
        if not rows:
            return None
        state, hidden = rows[0][3], "blocked by e-mail" if not phone else "blocked by phone"
        if state == "blocked" and self.defect != hidden:
            raise No(4030, "Карта заблокирована")
        return {"card": self.card_object(rows[0][2])}

    def card_object(self, number: str) -> dict[str, Any]:
        ((state,),) = self.query("select state from cards where number = ?", number)
        shown = {
            "barcode": {"barcodeType": "CODE_128", "barcodeNumber": number},
            "cardState": "active" if state == "issued" else "inactive",
            "cardNumber": number,
        }
        return shown | (
            {"source": "/var/www/html/loyalty/card.php"} if self.defect == "path in a card" else {}
        )

    def held(self, number: str) -> int:
        """The owner of a card."""
        rows = self.query("select person from cards where number = ? and person is not null", number)
        if not rows:
            raise No(4041, "Карта не найдена")
        return int(rows[0][0])

    def card(self, number: str) -> Any:
        if self.defect == "card number as a number":
            rows = self.query(
                "select number from cards where cast(number as integer) = cast(? as integer)", number
            )
            number = rows[0][0] if rows else number
        if self.defect == "cached card" and number in self.cache:
            return self.cache[number]
        if not self.query("select 1 from cards where number = ? and state <> 'reserved'", number):
            raise No(4041, "Карта не найдена")
        rows = self.query(
            "select points, why from movements where number = ? and due <= ? order by rowid desc",
            number,
            time.time(),
        )
        if self.defect == "credited again later":
            self.credit_again(number, rows)
        total = sum((Decimal(points) for points, _ in rows), Decimal("0.00"))
        listed = [{"amount": points, "description": why, "validUntil": ""} for points, why in rows]
        bonus = {"available": f"{total:.2f}", "bonuses": listed, "total": f"{total:.2f}"}
        shown = {"card": self.card_object(number) | {"bonus": bonus}}
        self.cache[number] = shown
        return shown

    def reserve(self) -> str:
        with self.lock:
            ((last,),) = self.query("select count(*) from cards")
            number = f"5000{last + 1:0>12}"
            self.query("insert into cards (number, state) values (?, 'reserved')", number)
        return number

    def person(
        self, profile: dict[str, str], both: bool = False
    ) -> tuple[int | None, str | None, str | None]:
        """Who has this phone or e-mail, with card and state."""
        phone = profile.get("as written" if self.defect == "phone as written" else "phone", "")
        rows = self.query(
            "select p.id, number, state from people p left join cards c on c.person = p.id"
            f" where (?1 <> '' and phone = ?1) {'and' if both else 'or'} (?2 <> '' and email = ?2)"
            " order by phone = ?1 desc",
            phone, profile.get("email", ""),
        )  # fmt: skip
        if not profile.get("phone") and not profile.get("email"):
            raise No(4007, "Нужен телефон или почта")
        return rows[0] if rows else (None, None, None)

    def register(self, profile: dict[str, str]) -> int:
        values = [profile.get(key) for key in ("phone", "email", "birthdate", "firstname")]
        with self.lock:
            self.query("insert into people (phone, email, born, firstname) values (?, ?, ?, ?)", *values)
            return int(self.query("select max(id) from people")[0][0])

    def issue(self, profile: dict[str, str]) -> str:
        before = self.person(profile)
        with self.at_once("cards in parallel"):
            person, number, state = before if self.defect == "cards in parallel" else self.person(profile)
            if self.defect == "new card each time" and state == "issued":
                number = None
            if state == "blocked" and self.defect != "card for the blocked":
                raise No(4030, "Карта заблокирована")
            if number is not None and state != "blocked":
                if self.defect == "phone taken by e-mail":
                    self.query("update people set phone = ? where id = ?", profile.get("phone"), person)
                return number
            if state == "blocked":
                self.query("update cards set person = null where number = ?", number)
            number = self.reserve()
            self.bind(number, person if person is not None else self.register(profile))
            return number

    def bind(self, number: str, person: int) -> None:
        self.query("update cards set person = ?, state = 'issued' where number = ?", person, number)

    def owner(self, number: str) -> list[Any]:
        return self.query("select state, person from cards where number = ?", number)

    def issue_reserved(self, number: str, profile: dict[str, str]) -> None:
        both = self.defect == "registered again"
        if self.defect == "reserved for a phone as written":
            profile = profile | {"phone": profile["as written"]} if "as written" in profile else profile
        if self.defect == "any number":
            self.query("insert or ignore into cards (number, state) values (?, 'reserved')", number)
        rows, who = self.owner(number), self.person(profile, both)
        if self.defect in ("number for several", "numbers for one"):
            time.sleep(0.2)
        with self.lock:  # read again, but for the one that the defect forgets
            rows = rows if self.defect == "number for several" else self.owner(number)
            person, card, state = who if self.defect == "numbers for one" else self.person(profile, both)
            if self.defect == "number taken away" and rows and card is None:
                rows = [(rows[0][0], None)]
            if not rows or (rows[0][1] is not None and card != number):
                raise No(4042, "Номер занят или не зарезервирован")
            if state == "blocked" and self.defect != "card for the blocked":
                raise No(4030, "Карта заблокирована")
            if card == number:
                return
            if card is not None and state != "blocked" and self.defect != "second card":
                raise No(4090, "У покупателя уже есть карта")
            self.bind(number, person if person is not None else self.register(profile))

    def update(self, verb: str, number: str, profile: dict[str, str]) -> None:
        person = self.held(number)
        phone = profile.get("as written" if self.defect == "phone of another as written" else "phone", "-")
        taken = "select 1 from people where id <> ? and (phone = ? or email = ?)"
        others = self.query(taken, person, phone, profile.get("email", "-"))
        if self.defect == "one phone for several":
            time.sleep(0.2)
        if self.defect == "phone empties the card" and "phone" in profile:
            self.query("delete from movements where number = ?", number)
        with self.lock:
            if self.defect != "one phone for several":
                others = self.query(taken, person, phone, profile.get("email", "-"))
            if others and self.defect != "taken over":
                raise No(4091, "Телефон или почта уже заняты")
            columns = {"phone": "phone", "email": "email", "birthdate": "born", "firstname": "firstname"}
            for name, column in columns.items():
                if self.defect == f"new {name.replace('email', 'e-mail')} dropped":
                    continue
                wiped = self.defect == "put wipes" and verb == "PUT" and name == "email"
                wiped = wiped or (self.defect == "patch wipes" and verb == "PATCH" and name == "birthdate")
                if name not in profile and not wiped:
                    continue
                if self.defect in ("old phone kept", "old e-mail kept"):
                    old = "insert into old_keys select id, phone, email from people where id = ?"
                    self.query(old, person)
                self.query(f"update people set {column} = ? where id = ?", profile.get(name), person)

    def consents(self, number: str, given: dict[str, Any]) -> None:
        self.held(number)
        for name in ("allow", "deny"):
            if not isinstance(given.get(name, []), list):
                raise No(4008, "Ожидался список каналов")

    def purchases(self, number: str, query: dict[str, str]) -> Any:
        self.held(number)
        if not query.get("startDate"):
            raise No(4009, "Нужна дата начала")
        start, end = self.day(query["startDate"]), self.day(query.get("endDate") or date.max.isoformat())
        whose = (
            "number like '%' || substr(?, 1, 4) || '%'" if self.defect == "purchases of all" else "number = ?"
        )
        rows = self.query(
            f"select * from purchases where {whose} and day between ? and ?", number, start, end
        )
        return [
            {"item": self.damaged(item), "date": f"{day} 12:30:00", "quantity": f"{quantity}.0",
             "amount": f"{kopecks}", "bonuses": "", "location": "Казань"}
            for _, day, item, kopecks, quantity in rows
        ]  # fmt: skip

    def damaged(self, text: str) -> str:
        if self.defect == "letters twice":
            return text.encode().decode("latin-1")
        return text.encode("latin-1", "replace").decode() if self.defect == "question marks" else text

    # --- points ------------------------------------------------------------------------------------

    def holder(self, given: dict[str, Any]) -> str:
        number, phone = given.get("cardnumber"), given.get("msisdn")
        if isinstance(number, str) and number:
            self.held(number)
            return number
        rows = self.found(digits(phone), "") if isinstance(phone, str) else []
        if (
            not rows
            and self.defect == "holder by the end of the phone"
            and isinstance(phone, str)
            and len(phone) > 6
        ):
            end = (
                "select 0, 0, number from cards c join people p on p.id = person where substr(phone, -7) = ?"
            )
            rows = self.query(end, digits(phone)[-7:])
        if not rows:
            raise No(4041, "Карта не найдена")
        return str(rows[0][2])

    def credit(self, number: str, points: str, why: str, elsewhere: bool, after: float = MOMENT) -> None:
        if elsewhere:
            rows = self.query(
                "select number from cards where state = 'issued' and id <"
                " (select id from cards where number = ?) order by id desc limit 1", number,
            )  # fmt: skip
            number = rows[0][0] if rows else number
        self.query("insert into movements values (?, ?, ?, ?)", number, points, why, time.time() + after)

    def credit_receipt(self, number: str, points: str) -> None:
        if self.defect != "never credited":
            self.credit(number, points, "Чек", self.defect == "to another card")
        if self.defect == "credited twice":
            self.credit(number, points, "Чек", False)

    def credit_again(self, number: str, shown: list[tuple[Any, ...]]) -> None:
        """Once more for each receipt that is shown, a second after it was shown first: however late that is,
        the two can be told apart."""
        with self.lock:
            known = self.query(
                "select points from movements where number = ? and why = 'Чек ещё раз'", number
            )
            receipts = [points for points, why in reversed(shown) if why == "Чек"]
            for points in receipts[len(known) :]:
                self.credit(number, points, "Чек ещё раз", False, 1.0)

    def receipt(self, given: dict[str, Any]) -> Any:
        text = next(
            (given[name] for name in ("qrcode", "qr", "code") if isinstance(given.get(name), str)), ""
        )
        pairs = re.findall(r"([a-z]+)=([^&;]*)", text.partition("?")[2] or text) or [
            (name, given[name])
            for name in ("t", "s", "fn", "i", "fp", "n")
            if isinstance(given.get(name), str)
        ]
        names = {"dt": "t", "sum": "s", "fd": "i", "fpd": "fp"}
        values = {names.get(name, name): value for name, value in pairs}
        kind = values.setdefault("n", "1")
        forms = {"t": r"(\d{8}T\d{4})(\d\d)?", "s": r"\d+([.,]\d{2})?", "fn": r"\d{1,16}", "i": r"\d{1,10}",
                 "fp": r"\d{1,10}", "n": "[1-4]"}  # fmt: skip
        if len(values) < len(pairs) or not all(
            re.fullmatch(form, values.get(key, "")) for key, form in forms.items()
        ):
            raise No(4100, "Чек не читается")
        try:
            moment = datetime.strptime(values["t"][:13], "%Y%m%dT%H%M").replace(tzinfo=UTC)
        except ValueError:
            raise No(4100, "Чек не читается") from None
        total = Decimal(values["s"].replace(",", "."))
        if self.defect == "bare total in kopecks" and values["s"].isdigit():
            total /= 100
        if total <= 0 or int(values["fp"]) > 4294967295 or moment > datetime.now(UTC) + timedelta(hours=15):
            raise No(4100, "Чек не читается")
        number = self.holder(given)
        points = f"{total / 20:.2f}" if kind == "1" or (kind, self.defect) in EARNS else "0.00"
        key = (values["fn"].zfill(16), values["i"].lstrip("0"), values["fp"].lstrip("0"))
        if self.defect == "receipt by its text":
            key = (text, "", "")
        elif self.defect == "i and fp as texts":
            key = (key[0], values["i"], values["fp"])
        elif self.defect == "receipt with its time":
            key = (f"{key[0]} {values['t']}", *key[1:])
        elif self.defect == "receipt by its sender":
            key = (f"{key[0]} {given.get('msisdn', '')}", *key[1:])
        elif self.defect == "receipt by fp alone":
            key = ("", "", key[2])
        where = "from receipts where fn = ? and i = ? and fp = ?"
        if self.defect == "receipts in parallel":
            new = not self.query(f"select 1 {where}", *key)
            time.sleep(0.2)
            if new:
                self.query(f"delete {where}", *key)
        (last,) = self.query("select coalesce(max(rowid), 0) from movements")[0]
        unknown = not self.query(f"select 1 {where}", *key)
        if self.defect in ("last receipt counts", "receipt of two at once"):
            time.sleep(0.2)
        with self.lock:
            known = self.query(f"select number, total, points {where}", *key)
            if self.defect == "receipt of two at once" and unknown and known and known[0][0] != number:
                self.query(f"delete {where}", *key)
                known = []
            if self.defect == "last receipt counts" and not known:
                self.query("delete from movements where number = ? and rowid > ?", number, last)
            if known and known[0][0] != number:
                if self.defect == "used receipt pays":
                    self.credit(number, points, "Чек", False)
                if self.defect != "receipt of another taken":
                    raise No(4101, "Чек уже использован с другой картой")
            elif known and known[0][1] != str(total) and self.defect != "any total":
                raise No(4102, "Чек известен с другой суммой")
            if not known:
                self.query("insert into receipts values (?, ?, ?, ?, ?, ?)", *key, str(total), number, points)
            if Decimal(points) and (not known or self.defect == "receipt again"):
                self.credit_receipt(number, points)
        return {"message": f"Начислено баллов: {points}" if Decimal(points) else "Чек принят"}

    def code(self, given: dict[str, Any]) -> Any:
        code = given.get("code") or given.get("promocode")
        if not isinstance(code, str):
            raise No(4200, "Нужен промокод")
        number = self.holder(given)
        if (code.upper() if self.defect == "code in any case" else code) != "WELCOME-100":
            raise No(4201, "Такого промокода нет")
        if self.defect == "code by its sender":
            code += str(given.get("msisdn", ""))
        used = self.query("select 1 from used where code = ? and number = ?", code, number)
        with self.at_once("codes in parallel"):
            if self.defect != "codes in parallel":
                used = self.query("select 1 from used where code = ? and number = ?", code, number)
            if used and self.defect != "code again":
                raise No(4202, "Промокод уже использован")
            self.query("insert or ignore into used values (?, ?)", code, number)
            if self.defect != "code never credited":
                self.credit(number, "100.00", "Промокод", self.defect == "code to another card")
        return {"points": "100.00", "status": "ok"}


def handler(page: Page) -> type[BaseHTTPRequestHandler]:
    agreed = "Basic " + base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def handle_one(self) -> None:
            length = self.headers.get("Content-Length", "0")
            if not length.isdigit() or "Transfer-Encoding" in self.headers:
                self.close_connection = True
                return self.answer(422, {"description": "Длина тела неизвестна", "code": "4000"})
            body = self.rfile.read(int(length))
            if self.headers.get("Authorization", "").replace("basic", "Basic", 1) != agreed:
                return self.answer(401, {"description": "Доступ запрещён", "code": "4010"})
            page.asked += 1
            if page.defect == "slow now and then" and page.asked % 40 == 0:
                time.sleep(4.2)
            parts = urlsplit(self.path)
            query = {key: value[0] for key, value in parse_qs(parts.query, keep_blank_values=True).items()}
            try:
                return self.answer(200, page.serve(self.command, parts.path, query, body))
            except No as no:
                return self.answer(422, {"description": str(no), "code": str(no.code)})

        def answer(self, status: int, value: Any) -> None:
            content = b"" if value is None else json.dumps(value, ensure_ascii=False).encode()
            if page.defect == "key twice":
                content = content.replace(b'"bonuses":', b'"available": "0.00", "bonuses":')
            self.send_response(status)
            self.send_header("Content-Type", HEADERS)
            self.send_header("Content-Length", str(len(content)))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="loyalty"')
            self.end_headers()
            self.wfile.write(content if self.command != "HEAD" else b"")

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = handle_one  # noqa: N815

    return Handler


@asynccontextmanager
async def serving(defect: str = "") -> AsyncIterator[str]:
    """Serve it on a free port in threads; the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(Page(defect)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
