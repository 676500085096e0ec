"""Small inputs that other programs are known to trip over, each standing for a kind: what a call makes of it.

Named as in the list of kinds. How each is read is in ``tests/unit/test_inputs.py``.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from pathlib import Path
from urllib.parse import quote, urlencode

import asyncpg
import pytest
import structlog
from pydantic import SecretStr

from adapter.errors import Code

from .conftest import LOGIN, PASSWORD, Adapter, StartAdapter, basic, new_phone

FIND, ISSUE, QR = "/v1/card", "/v1/card/anonymous", "/v1/promo/qrCode"
UNSEEN = "\u202a{}\u202c\ufeff"


async def _customers(adapter: Adapter) -> int:
    return int(await adapter.sql("SELECT count(*) FROM crm.customers"))


async def _found(adapter: Adapter, **query: str) -> str | None:
    answer = await adapter.get(FIND, **query)
    assert answer.status == 200, answer
    return None if answer.body is None else str(answer.body["card"]["cardNumber"])


# --- a value PostgreSQL holds and Python does not ------------------------------------------------------

BEYOND = ["20010-01-30", "0044-03-15 BC", "infinity", "-infinity", "5874897-12-31", "4713-01-01 BC"]


@pytest.mark.parametrize("day", BEYOND)
async def test_a_birth_date_that_python_does_not_have_harms_nobody(adapter: Adapter, day: str) -> None:
    phones = [new_phone() for _ in range(40)]
    numbers = [await adapter.issue(phone=phone) for phone in phones]
    for place in (7, 23):
        row = f"UPDATE crm.customers SET birth_date = '{day}' WHERE phone = $1"
        await adapter.sql(row, f"+{phones[place]}")
    found = await asyncio.gather(*(_found(adapter, msisdn=phone) for phone in phones * 3))
    assert found == numbers * 3
    # Its owner goes on as before, and may set it right.
    path = f"/v1/card/{numbers[7]}"
    assert (await adapter.post(path, {"firstname": "Анна", "birthDate": "2001-01-30"})).status == 200
    assert (await adapter.get(path)).status == 200


@pytest.mark.parametrize("day", ["275760-09-13", "infinity", "0001-01-01", "4713-01-01 BC"])
async def test_a_day_beyond_all_of_pythons_is_no_day_of_a_movement(adapter: Adapter, day: str) -> None:
    number = await adapter.issue(phone=new_phone())
    assert (await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})).status == 200
    await adapter.sql(f"UPDATE crm.points_ledger SET valid_until = '{day}'")
    (bonus,) = (await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]["bonuses"]
    assert "validUntil" not in bonus


async def test_a_batch_in_which_one_item_fails_fails_for_that_item_alone(adapter: Adapter) -> None:
    """Here by a row that has no reference at all: nothing makes that readable."""
    phones = [new_phone() for _ in range(30)]
    numbers = [await adapter.issue(phone=phone) for phone in phones]
    await adapter.sql("ALTER TABLE crm.customers RENAME TO people")
    await adapter.sql(
        f"CREATE VIEW crm.customers AS SELECT CASE WHEN phone <> '+{phones[11]}' THEN id END AS id, phone, "
        "email, first_name, patronymic, surname, birth_date, sex, country_code, locality, card_number, "
        "registered_at FROM crm.people"
    )
    answers = await asyncio.gather(*(adapter.get(FIND, msisdn=phone) for phone in phones))
    assert [answer.status for answer in answers] == [422 if place == 11 else 200 for place in range(30)]
    assert answers[11].code == Code.CRM_DOWN
    assert answers[12].body["card"]["cardNumber"] == numbers[12]


# --- a CRM's phone as it stands ------------------------------------------------------------------------

CUSTOMER = """
SELECT id AS reference, tel AS phone, mail AS email, born AS birth_date, plastic AS card_number
FROM shop.clients
"""
SQL = {
    # Compares what people typed by its last ten digits, as the driver's page shows.
    "users_find": f"""
        {CUSTOMER} WHERE right(regexp_replace(tel, '\\D', '', 'g'), 10) = :phone_national
        UNION {CUSTOMER} WHERE lower(mail) = lower(:email);
        """,
    "users_get": f"{CUSTOMER} WHERE id = :customer::bigint",
    "users_register": """
        INSERT INTO shop.clients (tel, mail) VALUES ('8' || :phone_national, :email)
        RETURNING id AS reference""",
    "users_update": """
        UPDATE shop.clients SET tel = coalesce('8' || :phone_national, tel), mail = coalesce(:email, mail)
        WHERE id = :customer::bigint RETURNING id AS reference""",
    "users_list_phones": "SELECT tel AS phone, born, seen, opens FROM shop.clients ORDER BY id -- all",
}
TABLES = """
CREATE SCHEMA shop;
CREATE TABLE shop.clients (
    id bigserial PRIMARY KEY, tel text, mail text, born date, plastic char(20), seen timestamptz, opens time
);
INSERT INTO shop.clients (tel, mail, born, seen, opens) VALUES
    ('8 (984) 000-12-36', 'anna@example.com', '1990-05-17', '2026-01-02 03:04+00', '09:30'),
    ('79840001237', NULL, '20010-01-30', 'infinity', '24:00'),
    ('+7 984 000-12-38', NULL, NULL, '275760-09-13', NULL),
    ('нет', 'boris@example.com', '1984-11-02', NULL, NULL),
    ('8 984 000 12 3', 'vera@example.com', '2001-01-30', NULL, NULL),
    ('доб. 12', NULL, '0044-03-15 BC', NULL, NULL);
"""


@pytest.fixture
async def foreign(start: StartAdapter, fresh_database: str, tmp_path: Path) -> Adapter:
    """An adapter over a shop's database in which phones stand as people typed them."""
    connection = await asyncpg.connect(fresh_database)
    await connection.execute(TABLES)
    await connection.close()
    for name, text in SQL.items():
        (tmp_path / f"{name}.sql").write_text(text, encoding="utf-8")
    users = {"driver": "postgres", "url": SecretStr(fresh_database), "sql_dir": str(tmp_path)}
    none = {"driver": "none"}
    return await start(crm={"users": users, "points": none, "coupons": none})


@pytest.mark.parametrize("phone", ["79840001236", "79840001237", "79840001238"])
async def test_an_existing_customer_is_recognised_however_the_crm_writes_the_phone(
    foreign: Adapter, phone: str
) -> None:
    number = await foreign.issue(phone=phone, email="anna@example.com" if phone.endswith("6") else "new@x.ru")
    assert await _found(foreign, msisdn=phone) == number
    assert await _found(foreign, msisdn=f"+7 ({phone[1:4]}) {phone[4:]}") == number
    assert await _found(foreign, email="anna@example.com") == (number if phone.endswith("6") else None)


async def test_a_crm_that_says_there_is_no_phone_has_none(foreign: Adapter) -> None:
    number = await foreign.issue(phone="79840001299", email="boris@example.com", birthDate="1984-11-02")
    assert await _found(foreign, email="boris@example.com") == number


async def test_a_phone_that_nobody_can_read_identifies_nobody_and_its_shape_is_logged_once(
    foreign: Adapter,
) -> None:
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            answer = await foreign.post(ISSUE, {"phone": "79840001234", "email": "vera@example.com"})
            assert answer.code == Code.WEAK_MATCH
    (told,) = [line for line in logs if line["event"] == "crm_value"]
    assert told["file"].endswith("users_find.sql")
    assert 'the column phone holds "9 999 999 99 9"' in told["problem"]
    assert "984" not in json.dumps(logs)


async def test_the_lists_hold_what_can_be_called_and_say_what_they_leave_out(
    foreign: Adapter,
) -> None:
    with structlog.testing.capture_logs() as logs:
        phones = (await foreign.get("/v1/card/getAllUsers")).body
    assert phones == ["79840001236", "79840001237", "79840001238"]
    (told,) = [line for line in logs if line["event"] == "crm_rows_left_out"]
    assert (told["column"], told["rows"], told["shape"]) == ("phone", 2, '"9 999 999 99 9"')
    assert told["file"].endswith("users_list_phones.sql")
    users = (await foreign.get("/v1/card/getAllUsersExtended")).body
    params = [{param["name"]: param["value"] for param in user["params"]} for user in users]
    assert [user["phone"] for user in users] == phones
    assert params[0] == {"born": "1990-05-17", "seen": "2026-01-02 03:04:00+00:00", "opens": "09:30:00"}
    assert params[1] == {"opens": "24:00:00"}
    assert params[2] == {}


# --- a QR text as links and scanners give it -----------------------------------------------------------


async def test_a_receipt_is_credited_once_however_its_code_was_passed_on(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    text = adapter.qr("1250.50", document=4711)
    whole = quote(text, safe="")
    for form in (
        f"https://qr.example/receipt?q={whole}",
        f"https://qr.example/?u={quote(f'https://other.example/?q={whole}', safe='')}",
        text.replace("1250.50", "1250%2C50"),
        text.replace("T", "t", 1),
        f"\ufeff{text}",
        f"\u200b«{text}»\u200b",
        f'"{text}".',
        text.replace("&", "\n"),
    ):
        answer = await adapter.post(QR, {"qrCode": form, "cardNumber": f"\u200b{number} "})
        assert answer.body["status"] == "credited", form
    assert (await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]["total"] == "62"


async def test_a_fiscal_drive_without_its_leading_zeros_is_the_same_receipt(adapter: Adapter) -> None:
    number, other = await adapter.issue(phone=new_phone()), await adapter.issue(phone=new_phone())
    for fn in ("0000440300000001", "440300000001", "000440300000001"):
        text = adapter.qr(document=4711, changed={"fn": fn})
        assert (await adapter.post(QR, {"qrCode": text, "cardNumber": number})).body["points"] == "62"
        assert (await adapter.post(QR, {"qrCode": text, "cardNumber": other})).code == Code.RECEIPT_TAKEN
    assert (await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]["total"] == "62"


async def test_a_fiscal_drive_may_be_compared_as_it_is_given_by_setting(start: StartAdapter) -> None:
    adapter = await start(receipts={"fiscal_drive": "as_given"})
    number = await adapter.issue(phone=new_phone())
    for fn in ("0000440300000001", "440300000001"):
        text = adapter.qr(document=4711, changed={"fn": fn})
        assert (await adapter.post(QR, {"qrCode": text, "cardNumber": number})).status == 200
    assert (await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]["total"] == "124"


async def test_a_total_that_no_cash_receipt_has_is_refused(start: StartAdapter, adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    for total, code in (("10000000.00", None), ("10000000.01", Code.RECEIPT_TOO_LARGE), ("9" * 12, "309")):
        answer = await adapter.post(QR, {"qrCode": adapter.qr(total), "cardNumber": number})
        assert answer.status == 200 if code is None else answer.code == code
    lower = await start(receipts={"maximum_total": 1000})
    assert (await lower.post(QR, {"qrCode": lower.qr("1000.01"), "cardNumber": number})).code == "309"


# --- characters nobody sees; one e-mail, one person ----------------------------------------------------


async def test_characters_nobody_sees_make_no_second_customer(adapter: Adapter) -> None:
    number = await adapter.issue(phone="79161112233", email="anna@example.com", firstname="Анна")
    for phone in (
        "79161112233",
        "+7\u2212916\u2212111\u221222\u221233",
        "7916\u00ad111\u200b2233",
        "７９１６１１１２２３３",
    ):
        assert await adapter.issue(phone=UNSEEN.format(phone), firstname="Анна\u200b") == number
        assert await _found(adapter, msisdn=UNSEEN.format(phone)) == number
    for email in (
        "anna@example.com\u200b",
        "mailto:Anna@example.com",
        "<anna@example.com>",
        "an\u00adna@example.com",
    ):
        assert await adapter.issue(phone="79161112233", email=email) == number
        assert await _found(adapter, email=email) == number
    assert await _customers(adapter) == 1
    assert await adapter.sql("SELECT first_name FROM crm.customers") == "Анна"


async def test_characters_nobody_sees_make_no_other_card(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    receipt = {"qrCode": adapter.qr(), "cardNumber": UNSEEN.format(number)}
    assert (await adapter.post(QR, receipt)).status == 200
    for path in (f"{UNSEEN.format(number)}", f"{number[:4]}\u200b{number[4:]}"):
        answer = await adapter.get(f"/v1/card/{quote(path)}")
        assert answer.status == 200, answer
        assert answer.body["card"]["cardNumber"] == number
    assert (await adapter.get(f"/v1/card/{number}%00")).code == Code.CARD_UNKNOWN


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("анна@пример.рф", "Анна@xn--e1afmkfd.xn--p1ai"),
        ("анна@xn--e1afmkfd.xn--p1ai", "анна@ПРИМЕР.рф"),
        ("jose\u0301@example.com", "jos\u00e9@example.com"),
        ("anna@example.com\u200b", "anna@example.com"),
    ],
)
async def test_one_e_mail_is_one_person_in_whichever_form_it_came_first(
    adapter: Adapter, first: str, second: str
) -> None:
    number = await adapter.issue(phone=new_phone(), email=first)
    assert await _found(adapter, email=second) == number
    other = await adapter.issue(phone=new_phone())
    assert (await adapter.post(f"/v1/card/{other}", {"email": second})).code == Code.CONFLICT


@pytest.mark.parametrize("email", ["a@b..com", "a..b@c.com", "Anna <a@x.ru>", "a b@x.ru", "a@x"])
async def test_what_is_no_address_is_refused(common: Adapter, email: str) -> None:
    answer = await common.post(ISSUE, {"phone": new_phone(), "email": email})
    assert answer.code == Code.FIELD_INVALID
    assert answer.body["description"].endswith(": email")


async def test_a_byte_order_mark_before_json_is_passed_over(adapter: Adapter) -> None:
    body = json.dumps({"phone": new_phone()}).encode("utf-8-sig")
    assert (await adapter.post(ISSUE, body)).status == 200


# --- not a phone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "phone", ["123-45-67", "8 916 123 45 6", "0000000000", "79161234567 доб. 5", "7.9E+10"]
)
async def test_what_is_not_a_phone_gets_no_card_of_somebody_elses_number(
    adapter: Adapter, phone: str
) -> None:
    for field in ("phone", "msisdn"):
        answer = await adapter.post(ISSUE, {field: phone})
        assert answer.code == Code.FIELD_INVALID
    assert (await adapter.get(FIND, msisdn=phone)).code == Code.FIELD_INVALID
    assert (await adapter.post(QR, {"qrCode": adapter.qr(), "msisdn": phone})).code == Code.FIELD_INVALID
    assert await _customers(adapter) == 0


async def test_ten_digits_without_a_code_are_of_the_programmes_region(adapter: Adapter) -> None:
    number = await adapter.issue(phone="9511234567")
    assert await _found(adapter, msisdn="79511234567") == number


# --- a plus in a query ---------------------------------------------------------------------------------


async def test_a_plus_in_a_query_that_nobody_encoded_is_read_as_one(adapter: Adapter) -> None:
    number = await adapter.issue(phone="79161112233", email="ann++x+@example.com")
    for query in ("email=ann++x+@example.com", "msisdn=+79161112233&email=ann++x+@example.com",
                  urlencode({"email": "ann++x+@example.com"}), "msisdn=+79161112233"):  # fmt: skip
        answer = await adapter.get(f"{FIND}?{query}")
        assert answer.status == 200
        assert answer.body["card"]["cardNumber"] == number, query
    assert (
        await adapter.post(ISSUE, {"phone": new_phone(), "email": "ann x@x.ru"})
    ).code == Code.FIELD_INVALID


# --- left-out values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("left_out", ["U", "unknown", "не указан", "null", "None", "-", "n/a", "\u200b"])
async def test_a_value_that_is_not_told_stops_no_card(adapter: Adapter, left_out: str) -> None:
    profile = {"phone": new_phone(), "sex": left_out, "birthDate": left_out, "email": left_out}
    await adapter.issue(**profile)
    row = (
        "SELECT coalesce(sex, '') || coalesce(birth_date::text, '') || coalesce(email, '') FROM crm.customers"
    )
    assert await adapter.sql(row) == ""


# --- anybody writes error lines ------------------------------------------------------------------------

_PLAIN = b'{"phone":"79161234567"}'
_GZIP = gzip.compress(_PLAIN * 100, mtime=0)


@pytest.mark.parametrize(
    "authorization", [None, basic(LOGIN, "wrong"), basic(LOGIN, PASSWORD)], ids=["nobody", "wrong", "right"]
)
@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Encoding: gzip", _PLAIN),
        ("Content-Encoding: deflate", _PLAIN),
        ("Content-Encoding: br", _PLAIN),
        ("Content-Encoding: zstd", _PLAIN),
        ("Content-Encoding: x-gzip", _PLAIN),
        ("Content-Encoding: gzip, gzip", _PLAIN),
        ("Content-Encoding: gzip", _GZIP[:-8]),
        ("Content-Encoding: gzip", _GZIP + b"garbage"),
        ("Transfer-Encoding: chunked\r\nContent-Encoding: gzip", b"5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", b"zz\r\nhello\r\n0\r\n\r\n"),
    ],
    ids=["gzip", "deflate", "br", "zstd", "x-gzip", "twice", "cut", "longer", "chunked gzip", "chunks"],
)
async def test_a_body_that_is_not_what_it_says_writes_no_error(
    common: Adapter, caplog: pytest.LogCaptureFixture, authorization: str | None, head: str, body: bytes
) -> None:
    lines = [f"POST {ISSUE} HTTP/1.1", "Host: x", "Connection: close", head]
    if authorization is not None:
        lines.append(f"Authorization: {authorization}")
    if "chunked" not in head:
        lines.append(f"Content-Length: {len(body)}")
    with caplog.at_level(logging.DEBUG), structlog.testing.capture_logs() as logs:
        for pause in (0.0, 0.05):  # the body with the head, and after it
            reader, writer = await asyncio.open_connection("127.0.0.1", common.port)
            writer.write("\r\n".join([*lines, "", ""]).encode())
            await asyncio.sleep(pause)
            writer.write(body)
            async with asyncio.timeout(10):
                answer = await reader.readuntil(b"}")
            writer.close()
            status = answer.split()[1]
            assert status in (b"200" if authorization == basic(LOGIN, PASSWORD) else b"401", b"422")
            if status != b"200":  # an encoding nobody knows is passed over
                assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"code", "description"}
        await asyncio.sleep(0.1)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert [line for line in logs if line["log_level"] in ("error", "critical") or "exc_info" in line] == []
    assert sum(line["log_level"] == "warning" for line in logs) <= 2  # of two requests
