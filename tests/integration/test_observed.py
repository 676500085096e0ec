"""What Koshelek sends that no setting names: seen as names, told once, kept, and taken in by a setting."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapter.api.observed_names import MASK, names_of, safe, safe_path
from adapter.loyalty.observed import ObservedName, advice
from adapter.settings import Koshelek, SettingsError, read_settings
from adapter.store.observed import MOST, PostgresObserved
from crm_backends.ports import Deadline
from tests.integration.processes import run

from .conftest import Adapter, StartAdapter, basic, new_phone

QR = "/v1/promo/qrCode"
SECRETS = ("79161234567", "ivanov@example.com", "Ivanov", "PLANTED-VALUE")


async def kept(adapter: Adapter) -> dict[tuple[str, str, str], int]:
    public = adapter.service._public
    assert public is not None
    await public.observed_names.keep(PostgresObserved(adapter.service.gateway))
    rows = await adapter.service.pool.fetch("SELECT call, what, name, times FROM koshelek.observed")
    return {(row["call"], row["what"], row["name"]): row["times"] for row in rows}


async def test_names_that_nothing_reads_are_kept_and_values_never(adapter: Adapter) -> None:
    phone, number = new_phone(), await adapter.issue(phone=new_phone())
    await adapter.get("/v1/card", msisdn=phone, partnerId=SECRETS[3], email=SECRETS[1])
    body = {"receipt": {"qr": adapter.qr(), "shop": {"inn": "1"}}, "cardNumber": number, SECRETS[0]: {"x": 1}}
    assert (await adapter.post(QR, body)).code == "104"
    await adapter.post(f"/v1/card/{number}", {"phone": phone, "birth_date": "1990-01-01", "tags": [{"a": 1}]})
    await adapter.call("DELETE", f"/v1/card/{number}")
    await adapter.get(f"/loyalty/v1/card/{SECRETS[0]}")
    await adapter.get(f"/v1/card/{number}/offers/{SECRETS[1]}")
    await adapter.call("GET", "/v1/card/anonymous", headers={"X-Partner": SECRETS[3], "X-Request-ID": "1"})
    found = await kept(adapter)
    assert set(found) == {
        ("find_card", "parameter", "partnerId"),
        ("register_receipt", "field", "receipt.qr"),
        ("register_receipt", "field", "receipt.shop.inn"),
        ("register_receipt", "field", f"{MASK}.x"),
        ("register_receipt", "missing", "qrCode"),
        ("update_profile", "field", "birth_date"),
        ("update_profile", "field", "tags[].a"),
        ("elsewhere", "verb", "DELETE /v1/card/{cardNumber}"),
        ("elsewhere", "path", f"GET /loyalty/v1/card/{MASK}"),
        ("elsewhere", "path", f"GET /v1/card/{MASK}/offers/{MASK}"),
        ("every call", "header", "x-partner"),
    }
    everything = await adapter.sql("SELECT string_agg(observed::text, ' ') FROM koshelek.observed")
    assert all(secret not in everything for secret in (*SECRETS, number, phone))


async def test_what_is_usual_leaves_no_trace(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone(), email="a@b.ru", firstName="A", birthDate="1990-01-01")
    await adapter.get("/v1/card", MSISDN=new_phone(), BirthDate="1990-01-01")
    await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})
    await adapter.post(QR, {**dict(pair.split("=") for pair in adapter.qr().split("&")), "card": number})
    await adapter.post("/v1/promo/code", {"code": "X", "msisdn": new_phone()})
    await adapter.call("PUT", f"/v1/card/{number}/communication", {"allow": ["sms"], "deny": []})
    await adapter.get(f"/v1/card/{number}/purchases", startDate="2026-01-01")
    assert await kept(adapter) == {}


async def test_strangers_are_not_looked_at(adapter: Adapter) -> None:
    headers = {"Authorization": basic("koshelek", "wrong"), "X-Odd": "1"}
    await adapter.call("GET", "/admin", headers=headers)
    assert await kept(adapter) == {}


async def test_it_is_added_up_and_told_once(adapter: Adapter) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            await adapter.get("/v1/card", msisdn=new_phone(), partnerId="1")
            await kept(adapter)
    assert await kept(adapter) == {("find_card", "parameter", "partnerId"): 3}
    (line,) = [line for line in logs if line["event"] == "koshelek_sends"]
    assert line["name"] == "partnerId"
    assert "koshelek.other_names" in line["advice"]


async def test_names_made_up_fill_no_database(adapter: Adapter) -> None:
    book = PostgresObserved(adapter.service.gateway)
    for start in range(0, MOST + 300, 100):
        await book.note({ObservedName("find_card", "parameter", f"p{start + n}"): 1 for n in range(100)})
    assert len(await book.all()) == MOST
    assert await book.note({ObservedName("find_card", "parameter", "p1"): 5}) == []
    assert await book.forget() == MOST


async def test_a_setting_takes_it_in(start: StartAdapter) -> None:
    adapter = await start(
        koshelek={
            "qr_fields": ["Receipt.QR", "qrCode"],
            "promo_fields": ["promo.value"],
            "other_names": {"cardNumber": ["holder.card"], "birthDate": ["born"], "msisdn": ["tel"]},
        }
    )
    phone = new_phone()
    number = await adapter.issue(phone=phone, born="1990-01-02")
    known = await adapter.service.programme.users.find(
        phone=f"+{phone}", email=None, birth_date=None, deadline=Deadline.after(5)
    )
    assert str(known[0].profile.birth_date) == "1990-01-02"
    assert (await adapter.get("/v1/card", TEL=phone)).body["card"]["cardNumber"] == number
    sent = await adapter.post(QR, {"receipt": {"qr": adapter.qr()}, "Holder": {"Card": number}})
    assert sent.status == 200, sent
    promo = await adapter.post("/v1/promo/code", {"promo": {"value": "NONE"}, "holder": {"card": number}})
    assert promo.code == "701"
    assert await kept(adapter) == {}


async def test_the_command_shows_it_with_its_setting(adapter: Adapter, database: str, tmp_path: Path) -> None:
    await adapter.post(QR, {"receipt": {"qr": adapter.qr()}, "cardNumber": "1"})
    await kept(adapter)
    env = {"KOSHELEK_DATABASE__URL": database}
    told = await asyncio.to_thread(run, "observed", cwd=tmp_path, env=env)
    assert told.status == 0
    assert "register_receipt: field receipt.qr" in told.out
    assert 'add "receipt.qr" to koshelek.qr_fields' in told.out
    data = json.loads((await asyncio.to_thread(run, "observed", "--json", cwd=tmp_path, env=env)).out)
    assert {one["what"] for one in data} == {"field", "missing"}
    assert "2 forgotten" in (await asyncio.to_thread(run, "observed", "--forget", cwd=tmp_path, env=env)).out
    assert (
        "nothing that no setting names"
        in (await asyncio.to_thread(run, "observed", cwd=tmp_path, env=env)).out
    )


@pytest.mark.parametrize("name", ["79161234567", "a@b.ru", "card-1234567", "Иванов Иван", "x" * 41, "", "1a"])
def test_what_could_be_a_value_is_masked(name: str) -> None:
    assert safe(name) == MASK
    assert safe_path(f"/v1/card/{name or '1'}") == f"/v1/card/{MASK}"


def test_names_within_are_paths() -> None:
    value = {"a": {"b": [{"c": 1}, {"d": [1]}]}, "e": [1, 2]}
    assert list(names_of(value)) == ["a.b[].c", "a.b[].d", "e"]
    deep: Any = 1
    for _ in range(50):
        deep = {"n": deep}
    assert list(names_of(deep)) == ["n.n.n.n"]


def test_advice_about_paths() -> None:
    settings = Koshelek()
    assert 'server.base_path = "/loyalty"' in advice(
        ObservedName("elsewhere", "path", "GET /loyalty/v1/card"), settings, ""
    )
    offers = advice(ObservedName("elsewhere", "path", "GET /v1/card/{…}/offers"), settings, "")
    assert 'koshelek.offers_path = "/v1/card/{cardNumber}/offers"' in offers
    for guessed in ("GET /v1/card/{…}/etc/passwd", "GET /v1/card/.env", "GET /v1/card/{…}/../x"):
        assert "offers_path" not in advice(ObservedName("elsewhere", "path", guessed), settings, "")
    old = Koshelek(api_version="1.0.0")
    assert "raise koshelek.api_version" in advice(
        ObservedName("elsewhere", "path", "POST /v1/promo/qrCode"), old, ""
    )


def test_other_names_are_of_the_contract(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[koshelek.other_names]\nbirthdate = ["born"]\n')
    assert read_settings(file).koshelek.other_names == {"birthDate": ["born"]}
    file.write_text('[koshelek.other_names]\nbirth_date = ["born"]\n')
    with pytest.raises(SettingsError, match='the contract has no "birth_date"; did you mean "birthDate"'):
        read_settings(file)


@pytest.mark.parametrize(
    ("call", "name", "meant"),
    [
        ("update_profile", "lastName", "surname"),
        ("update_profile", "birth_date", "birthDate"),
        ("update_profile", "person.surename", "surname"),
        ("issue_card", "Gender", "sex"),
        ("find_card", "phone", "msisdn"),
        ("register_receipt", "holder.card_number", "cardNumber"),
        ("set_consents", "denied", "deny"),
        ("purchases", "date_from", "startDate"),
    ],
)
def test_another_name_for_the_same_thing_is_advised(call: str, name: str, meant: str) -> None:
    told = advice(ObservedName(call, "field", name), Koshelek(), "")
    assert f'koshelek.other_names = {{ {meant} = ["{name}"] }}' in told


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("update_profile", "communication[].state"),  # once: startDate
        ("update_profile", "phones[].phone"),  # nothing reads within a list
        ("update_profile", "name"),
        ("update_profile", "shopName"),
        ("update_profile", "lastVisit"),
        ("update_profile", "startdate2"),
        ("card_info", "lastName"),
        ("find_card", "partnerId"),
        ("register_receipt", "dateTime"),
    ],
)
def test_a_name_that_is_only_alike_is_not_advised(call: str, name: str) -> None:
    assert "other_names = {" not in advice(ObservedName(call, "field", name), Koshelek(), "")


def test_a_name_of_the_contract_that_the_call_does_not_read_is_passed_over() -> None:
    assert advice(ObservedName("set_consents", "field", "phone"), Koshelek(), "") == (
        "this call does not read it; it is passed over"
    )
