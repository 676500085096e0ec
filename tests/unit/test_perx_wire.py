"""The exact shape of each call to Perx, and how each kind of answer is read."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import respx
from pydantic import ValidationError

from crm_backends.model import Balance, ChannelConsents, Credit, FiscalReceipt, Holder, Profile
from crm_backends.perx import PerxBackend, PerxSettings, identity
from crm_backends.ports import (
    BackendCredentials,
    BackendMisconfigured,
    Deadline,
    NotSupported,
    Outcome,
    Refusal,
    Support,
    Written,
)
from crm_backends.registry import BackendContext

URL = "https://perx.example"
KEY = "a key of some length"
PHONE = "+79990000001"
ID = hmac.new(KEY.encode(), PHONE.encode(), hashlib.sha256).hexdigest()
ZONE = ZoneInfo("Europe/Moscow")
SINCE = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
BASE: Mapping[str, Any] = {
    "base_url": URL,
    "client_id": "client",
    "client_secret": "secret",
    "loyalty_program_id": 7,
    "identifier_secret": KEY,
    "occasions": {"visit": 11},
    "promo_codes": {"Spring": {"reward": 12}, "HELLO": {"trigger": "hello-rule"}},
    "page_size": 2,
}
ACCOUNT = {"id": 31, "identifier": ID, "personal_properties": {}}
ABSENT = {"code": 1, "message": "User account not found"}
RECEIPT = FiscalReceipt(
    "8710000101125654", "17", "42", 125050, datetime(2025, 3, 1, 15, 4, tzinfo=ZONE), calculation_type=1
)


def settings(**chosen: Any) -> PerxSettings:
    return PerxSettings.model_validate({**BASE, **chosen})


class Tenant:
    """The driver before a mocked Perx; tokens are named by whom they are for."""

    def __init__(self, mock: respx.MockRouter) -> None:
        self.mock = mock
        self.mock.post("/v4/oauth/token").mock(side_effect=self._token)
        self.tokens: list[dict[str, Any]] = []
        self.refused: set[str] = set()
        self._open: list[PerxBackend] = []

    def _token(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.tokens.append(body)
        scope = body.get("scope", "application")
        if scope in self.refused:
            return httpx.Response(401, json={"error": "invalid_client"})
        if scope == "merchant_user_account":
            return httpx.Response(200, json={"bearer_token": "for-merchant", "tenant": "t"})
        name = "for-application" if scope == "application" else "for-user"
        return httpx.Response(200, json={"access_token": name, "token_type": "Bearer", "expires_in": 600})

    async def driver(self, **chosen: Any) -> PerxBackend:
        context = BackendContext("", None, ZONE, "RU")
        backend = PerxBackend(settings(**chosen), context)
        await backend.open()
        self._open.append(backend)
        return backend

    async def close(self) -> None:
        for backend in self._open:
            await backend.close()

    def answer(self, method: str, path: str, body: object = None, status: int = 200) -> respx.Route:
        route = self.mock.request(method, path)
        route.mock(return_value=httpx.Response(status, json=body) if body is not None else None)
        if body is None:
            route.mock(return_value=httpx.Response(status))
        return route

    def account(self, **fields: object) -> respx.Route:
        """The customer is there."""
        return self.answer("GET", "/v4/pos/user_accounts/search", {"data": {**ACCOUNT, **fields}})

    def nobody(self, status: int = 200) -> respx.Route:
        return self.answer("GET", "/v4/pos/user_accounts/search", ABSENT, status)


@pytest.fixture
async def perx() -> AsyncIterator[Tenant]:
    with respx.mock(base_url=URL, using="httpx", assert_all_called=False) as mock:
        tenant = Tenant(mock)
        yield tenant
        await tenant.close()


def sent(route: respx.Route, call: int = -1) -> tuple[str, dict[str, str], Any]:
    """Authorization, query and body of one call."""
    request = route.calls[call].request
    body = json.loads(request.content) if request.content else None
    return request.headers.get("Authorization", ""), dict(request.url.params), body


def soon() -> Deadline:
    return Deadline.after(5)


# -- tokens --------------------------------------------------------------------------------------------


async def test_the_three_token_requests(perx: Tenant) -> None:
    perx.nobody()
    perx.answer("GET", "/v4/merchant_admin/user_accounts/search", {"code": 40, "message": "absent"})
    perx.answer("GET", "/v4/loyalty/7", {"data": {"points_balance": 1}})
    backend = await perx.driver(find_by="merchant_search", merchant_identifier="till")
    assert await backend.get(ID, deadline=soon()) is None
    assert await backend.find(phone=PHONE, email=None, birth_date=None, deadline=soon()) == ()
    await backend.balance(ID, deadline=soon())
    base = {"grant_type": "client_credentials", "client_id": "client", "client_secret": "secret"}
    assert perx.tokens == [
        base,
        {**base, "scope": "merchant_user_account", "identifier": "till"},
        {**base, "scope": f"user_account(identifier:{ID})"},
    ]


async def test_a_customers_token_refused_is_no_such_customer_or_wrong_credentials(perx: Tenant) -> None:
    perx.refused.add(f"user_account(identifier:{ID})")
    backend = await perx.driver()
    perx.nobody(404)
    assert await backend.balance(ID, deadline=soon()) == Balance(Decimal(0), Decimal(0))
    assert await backend.issue(ID, "visit", idempotency_key="r", deadline=soon()) == Written.refused(
        Refusal.NO_SUCH_CUSTOMER
    )
    perx.account()
    with pytest.raises(BackendCredentials):
        await backend.balance(ID, deadline=soon())
    assert await backend.issue(ID, "visit", idempotency_key="r", deadline=soon()) == Written.not_sent()


@pytest.mark.parametrize("identifier", ["x) user_account(identifier:y", "a b", "(", "", "é", "x" * 256])
async def test_an_identifier_cannot_widen_a_tokens_scope(perx: Tenant, identifier: str) -> None:
    backend = await perx.driver()
    assert await backend.balance(identifier, deadline=soon()) == Balance(Decimal(0), Decimal(0))
    assert await backend.get(identifier, deadline=soon()) is None
    written = await backend.issue(identifier, "visit", idempotency_key="r", deadline=soon())
    assert written == Written.refused(Refusal.NO_SUCH_CUSTOMER)
    assert perx.tokens == []


# -- users ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 404])
async def test_find_by_derived_identifier(perx: Tenant, status: int) -> None:
    route = perx.nobody(status)
    backend = await perx.driver()
    assert await backend.find(phone=PHONE, email="a@b.ru", birth_date=None, deadline=soon()) == ()
    assert sent(route) == ("Bearer for-application", {"identifier": ID}, None)
    perx.account(joined_at="2024-01-02T03:04:05.000Z")
    (found,) = await backend.find(phone=PHONE, email=None, birth_date=None, deadline=soon())
    assert (found.customer_id, found.profile.phone) == (ID, PHONE)
    assert found.registered_at == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


async def test_find_by_email_asks_nobody(perx: Tenant) -> None:
    backend = await perx.driver()
    assert await backend.find(phone=None, email="a@b.ru", birth_date=date(2000, 1, 1), deadline=soon()) == ()
    assert perx.tokens == []


async def test_find_by_merchant_search(perx: Tenant) -> None:
    route = perx.answer(
        "GET",
        "/v4/merchant_admin/user_accounts/search",
        {"data": {"identifier": "c-5", "phone": "79990000001", "first_name": "Anna", "last_name": "P"}},
    )
    backend = await perx.driver(
        find_by="merchant_search", merchant_identifier="till", phone_plus=False, identifier="hmac_phone"
    )
    (found,) = await backend.find(phone=PHONE, email=None, birth_date=None, deadline=soon())
    assert sent(route) == ("Bearer for-merchant", {"phone": "79990000001"}, None)
    assert found.customer_id == "c-5"
    assert found.profile == Profile(phone=PHONE, first_name="Anna", surname="P")
    assert found.card_number is None


async def test_where_the_identifier_is_the_card_number_it_is_the_card_they_have(perx: Tenant) -> None:
    named = {"identifier": "2900000000001", "phone": PHONE}
    perx.answer("GET", "/v4/merchant_admin/user_accounts/search", {"data": named})
    backend = await perx.driver(identifier="membership", merchant_identifier="till")
    (found,) = await backend.find(phone=PHONE, email=None, birth_date=None, deadline=soon())
    assert found.card_number == found.customer_id == "2900000000001"


async def test_a_card_number_is_asked_for_as_the_member_it_names(perx: Tenant) -> None:
    number = "2900000000001"
    backend = await perx.driver(identifier="membership", merchant_identifier="till")
    for told, state in (("active", "active"), ("pending", "inactive"), ("expire", "inactive")):
        route = perx.answer("GET", "/v4/loyalty/7", {"data": {"membership_state": told}})
        card = await backend.find_by_card(number, deadline=soon())
        assert sent(route) == ("Bearer for-user", {}, None)
        assert card is not None
        assert (card.number, card.state) == (number, state)
        assert card.customer is not None
        assert card.customer.customer_id == card.customer.card_number == number
    assert perx.tokens[-1]["scope"] == f"user_account(identifier:{number})"
    perx.refused.add("user_account(identifier:nobody)")
    perx.nobody()
    assert await backend.find_by_card("nobody", deadline=soon()) is None
    other = await perx.driver()
    with pytest.raises(NotSupported, match="membership"):
        await other.find_by_card(number, deadline=soon())


async def test_a_card_is_merged_into_the_properties(perx: Tenant) -> None:
    kept = {"tier": "gold"}
    perx.answer("GET", "/v4/customers/me", {"data": {**ACCOUNT, "personal_properties": kept}})
    route = perx.answer("PATCH", "/v4/customers/31", {"data": ACCOUNT})
    backend = await perx.driver(card_property="card", barcode_property="code")

    async def give(number: str, replaces: str | None = None) -> Written:
        return await backend.set_card(
            ID, number, f"0{number}", "EAN_13", replaces=replaces, idempotency_key="r", deadline=soon()
        )

    assert await give("29") == Written.done(ID)
    given = {"tier": "gold", "card": "29", "code": "029"}
    assert sent(route) == ("Bearer for-user", {}, {"personal_properties": given})
    calls = len(route.calls)
    # The customer got another card at the till meanwhile: it stays, unless ours takes its place.
    perx.answer(
        "GET", "/v4/customers/me", {"data": {**ACCOUNT, "personal_properties": {**kept, "card": "30"}}}
    )
    assert await give("29") == Written.refused(Refusal.CONFLICT)
    assert len(route.calls) == calls
    assert await give("29", replaces="30") == Written.done(ID)
    perx.answer("GET", "/v4/customers/me", {"data": {**ACCOUNT, "personal_properties": given}})
    assert await give("29") == Written.done(ID)
    assert len(route.calls) == calls + 1
    perx.account(personal_properties=given)
    got = await backend.get(ID, deadline=soon())
    assert got is not None
    assert got.card_number == "29"


async def test_without_a_property_perx_is_not_told_of_cards(perx: Tenant) -> None:
    backend = await perx.driver()
    assert backend.capabilities["users.set_card"].support is Support.NOT_IMPLEMENTED
    with pytest.raises(NotSupported, match="card_property"):
        await backend.set_card(ID, "29", "29", "QR_CODE", replaces=None, idempotency_key="r", deadline=soon())
    for wrong in ({"barcode_property": "code"}, {"card_property": "x", "properties": {"sex": "x"}}):
        with pytest.raises(ValidationError):
            settings(**wrong)


async def test_a_customer_told_with_another_phone_is_no_match(perx: Tenant) -> None:
    perx.account(phone="+79995555555")
    backend = await perx.driver()
    assert await backend.find(phone=PHONE, email=None, birth_date=None, deadline=soon()) == ()
    assert await backend.register(
        Profile(phone=PHONE), idempotency_key="r", deadline=soon()
    ) == Written.refused(Refusal.CONFLICT)


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, {"oops": 1}), (200, {}), (200, {"data": {"id": 1}}), (200, {"code": 77, "message": "?"})],
)
async def test_an_unexpected_answer_of_a_search_is_nobodys_absence(
    perx: Tenant, status: int, body: object
) -> None:
    perx.answer("GET", "/v4/pos/user_accounts/search", body, status)
    backend = await perx.driver()
    with pytest.raises(BackendMisconfigured):
        await backend.get(ID, deadline=soon())


async def test_another_customer_than_asked_for_is_not_taken(perx: Tenant) -> None:
    perx.account(identifier="somebody-else")
    backend = await perx.driver()
    with pytest.raises(BackendMisconfigured):
        await backend.get(ID, deadline=soon())


PERSON = Profile(
    phone=PHONE,
    email="a@b.ru",
    first_name="Anna",
    surname="Petrova",
    birth_date=date(1990, 5, 17),
    sex="f",
)


async def test_register_sends_nothing_personal_unless_told_to(perx: Tenant) -> None:
    perx.nobody()
    route = perx.answer("POST", "/v4/pos/user_accounts", {"data": ACCOUNT})
    backend = await perx.driver()
    written = await backend.register(PERSON, idempotency_key="r", deadline=soon())
    assert written == Written.done(ID)
    assert sent(route) == ("Bearer for-application", {}, {"identifier": ID, "state": "active"})


async def test_register_sends_what_the_settings_name(perx: Tenant) -> None:
    perx.nobody()
    route = perx.answer("POST", "/v4/pos/user_accounts", {"data": ACCOUNT})
    backend = await perx.driver(
        send_names=True, send_phone=True, properties={"birth_date": "birthday", "email": "mail"}
    )
    await backend.register(PERSON, idempotency_key="r", deadline=soon())
    assert sent(route)[2] == {
        "identifier": ID,
        "state": "active",
        "first_name": "Anna",
        "last_name": "Petrova",
        "phone": PHONE,
        "personal_properties": {"birthday": "1990-05-17", "mail": "a@b.ru"},
    }


async def test_registering_again_is_done_with_the_customer_there(perx: Tenant) -> None:
    perx.account()
    route = perx.answer("POST", "/v4/pos/user_accounts", {"data": ACCOUNT})
    backend = await perx.driver()
    assert await backend.register(PERSON, idempotency_key="r", deadline=soon()) == Written.done(ID)
    assert not route.called


async def test_a_token_identifier_is_the_same_for_one_reference_and_tells_nothing(perx: Tenant) -> None:
    perx.nobody()
    perx.answer("GET", "/v4/merchant_admin/user_accounts/search", {"code": 40, "message": "absent"})
    perx.answer("GET", "/v4/customers/me", {"code": 1, "message": "absent"}, 404)
    route = perx.answer("POST", "/v4/pos/user_accounts", {"code": 4, "message": "no"}, 400)
    backend = await perx.driver(identifier="token", merchant_identifier="till", send_phone=True)
    for reference in ("one", "one", "two"):
        written = await backend.register(PERSON, idempotency_key=reference, deadline=soon())
        assert written.outcome is Outcome.UNKNOWN
    first, again, other = (sent(route, n)[2]["identifier"] for n in range(3))
    assert first == again != other
    assert len(first) == 36


TOKEN: Mapping[str, Any] = {"identifier": "token", "merchant_identifier": "till", "send_phone": True}
NO_ONE = {"code": 40, "message": "absent"}


def token_account(perx: Tenant, reference: str, **fields: object) -> dict[str, object]:
    """The account of a reference, which the search by identifier shows and the one by phone does not."""
    perx.answer("GET", "/v4/merchant_admin/user_accounts/search", NO_ONE)
    identifier = identity.key_identifier(settings(**TOKEN), reference)
    return {"id": 5, "identifier": identifier, **fields}


@pytest.mark.parametrize(
    ("person", "told", "expected"),
    [
        (PERSON, {"phone": PHONE}, Outcome.DONE),
        (PERSON, {"phone": PHONE.removeprefix("+")}, Outcome.DONE),
        (PERSON, {"phone": "+79990000002"}, Refusal.KEY_TAKEN),
        (PERSON, {"phone": "+79990000002", "email": PERSON.email}, Refusal.KEY_TAKEN),
        (PERSON, {"phone": None}, Outcome.UNKNOWN),
        (Profile(email="A@B.ru"), {"phone": "+79990000002", "email": "a@b.ru"}, Outcome.DONE),
        (Profile(email="a@b.ru"), {"email": "b@b.ru"}, Refusal.KEY_TAKEN),
        (Profile(email="a@b.ru"), {}, Outcome.UNKNOWN),
    ],
)
async def test_an_account_made_by_reference_is_believed_only_if_it_is_the_persons(
    perx: Tenant, person: Profile, told: dict[str, object], expected: Outcome | Refusal
) -> None:
    account = token_account(perx, "R", **told)
    perx.answer("GET", "/v4/pos/user_accounts/search", {"data": account})
    create = perx.answer("POST", "/v4/pos/user_accounts", {"data": account})
    backend = await perx.driver(**TOKEN)
    for written in (
        await backend.register(person, idempotency_key="R", deadline=soon()),
        await backend.reconcile_register(person, idempotency_key="R", deadline=soon()),
    ):
        assert expected in (written.outcome, written.refusal)
        assert written.crm_reference == (account["identifier"] if expected is Outcome.DONE else None)
    assert not create.called


async def test_an_account_made_by_phone_that_has_another_phone_now_is_a_conflict(perx: Tenant) -> None:
    perx.account(phone="+79990000002")
    backend = await perx.driver(send_phone=True)
    assert await backend.register(PERSON, idempotency_key="r", deadline=soon()) == Written.refused(
        Refusal.CONFLICT
    )
    assert await backend.reconcile_register(PERSON, idempotency_key="r", deadline=soon()) == Written.unknown()


@pytest.mark.parametrize("chosen", [{}, TOKEN])
async def test_a_refused_registration_is_in_doubt_while_the_searches_may_be_behind(
    perx: Tenant, chosen: Mapping[str, Any]
) -> None:
    perx.nobody()
    perx.answer("GET", "/v4/merchant_admin/user_accounts/search", NO_ONE)
    perx.answer("POST", "/v4/pos/user_accounts", {"code": 4, "message": "Identifier has been taken"}, 400)
    identifier = identity.key_identifier(settings(**chosen), "r") if chosen else ID
    perx.refused.add(f"user_account(identifier:{identifier})")
    patient = await perx.driver(**chosen)
    for _ in range(2):
        assert await patient.register(PERSON, idempotency_key="r", deadline=soon()) == Written.unknown()
    assert (
        await patient.reconcile_register(PERSON, idempotency_key="r", deadline=soon()) == Written.not_sent()
    )
    at_once = await perx.driver(**chosen, search_lag=0.05)
    assert await at_once.register(PERSON, idempotency_key="r", deadline=soon()) == Written.unknown()
    await asyncio.sleep(0.06)
    assert await at_once.register(PERSON, idempotency_key="r", deadline=soon()) == Written.refused()


@pytest.mark.parametrize(("phone", "expected"), [(PHONE, Outcome.DONE), ("+79990000002", Refusal.KEY_TAKEN)])
async def test_a_customer_that_the_searches_do_not_show_yet_is_asked_by_its_token(
    perx: Tenant, phone: str, expected: Outcome | Refusal
) -> None:
    account = token_account(perx, "r", phone=phone)
    perx.nobody()
    perx.answer("POST", "/v4/pos/user_accounts", {"code": 4, "message": "Identifier has been taken"}, 400)
    own = perx.answer("GET", "/v4/customers/me", {"data": account})
    backend = await perx.driver(**TOKEN)
    for written in (
        await backend.register(PERSON, idempotency_key="r", deadline=soon()),
        await backend.reconcile_register(PERSON, idempotency_key="r", deadline=soon()),
    ):
        assert expected in (written.outcome, written.refusal)
    assert sent(own) == ("Bearer for-user", {}, None)


async def test_what_may_be_sent_again(perx: Tenant) -> None:
    registering = frozenset({"users.register"})
    assert (await perx.driver()).harmless_again == registering
    assert (await perx.driver(**TOKEN)).harmless_again == registering
    membership = await perx.driver(identifier="membership", merchant_identifier="till")
    assert membership.harmless_again == frozenset()


async def test_membership_numbers_are_not_made_up(perx: Tenant) -> None:
    backend = await perx.driver(identifier="membership", merchant_identifier="till")
    assert backend.capabilities["users.register"].support is Support.NOT_IMPLEMENTED
    with pytest.raises(NotSupported):
        await backend.register(PERSON, idempotency_key="r", deadline=soon())
    route = perx.account(identifier="2900000000017")
    holder = Holder("2900000000017", "17", PERSON)
    assert await backend.points_account(holder, deadline=soon()) == "2900000000017"
    assert sent(route)[1] == {"identifier": "2900000000017"}


async def test_update_reads_merges_and_writes(perx: Tenant) -> None:
    kept = {"tier": 1.5, "city": "Omsk", "birthday": "1990-05-17"}
    read = perx.answer("GET", "/v4/customers/me", {"data": {**ACCOUNT, "personal_properties": kept}})
    own = perx.answer("PUT", "/v4/pos/user_accounts/update_user", {"data": ACCOUNT})
    write = perx.answer("PATCH", "/v4/customers/31", {"data": ACCOUNT})
    backend = await perx.driver(send_names=True, properties={"locality": "city"})
    change = Profile(first_name="Anna", email="new@b.ru", locality="Tomsk")
    assert await backend.update(ID, change, deadline=soon()) == Written.done(ID)
    assert sent(own) == ("Bearer for-application", {}, {"identifier": ID, "first_name": "Anna"})
    assert sent(read) == ("Bearer for-user", {}, None)
    expected = {"personal_properties": {"tier": 1.5, "city": "Tomsk", "birthday": "1990-05-17"}}
    assert sent(write) == ("Bearer for-user", {}, expected)


async def test_numbers_that_cannot_be_sent_back_are_not_written_over(perx: Tenant) -> None:
    kept = '{"data": {"id": 31, "identifier": "x", "personal_properties": {"rate": 0.12345678901234567}}}'
    perx.mock.get("/v4/customers/me").mock(return_value=httpx.Response(200, text=kept))
    write = perx.answer("PATCH", "/v4/customers/31", {"data": ACCOUNT})
    backend = await perx.driver(properties={"locality": "city"})
    with pytest.raises(BackendMisconfigured, match="too many digits"):
        await backend.update(ID, Profile(locality="Tomsk"), deadline=soon())
    assert not write.called


async def test_properties_that_cannot_be_seen_are_not_written_over(perx: Tenant) -> None:
    perx.answer("GET", "/v4/customers/me", {"data": {"id": 31, "identifier": ID}})
    write = perx.answer("PATCH", "/v4/customers/31", {"data": ACCOUNT})
    backend = await perx.driver(properties={"locality": "city"})
    with pytest.raises(BackendMisconfigured):
        await backend.update(ID, Profile(locality="Tomsk"), deadline=soon())
    assert not write.called


async def test_a_phone_the_identifier_is_made_of_does_not_change(perx: Tenant) -> None:
    perx.account()
    backend = await perx.driver()
    assert await backend.update(ID, Profile(phone=PHONE), deadline=soon()) == Written.done(ID)
    written = await backend.update(ID, Profile(phone="+79995555555"), deadline=soon())
    assert written == Written.refused()


async def test_consents_are_kept_only_under_a_prefix(perx: Tenant) -> None:
    perx.answer("GET", "/v4/customers/me", {"data": {**ACCOUNT, "personal_properties": {"ok_push": True}}})
    write = perx.answer("PATCH", "/v4/customers/31", {"data": ACCOUNT})
    consents = ChannelConsents(allow=frozenset({"sms"}), deny=frozenset({"email"}))
    silent = await perx.driver()
    assert silent.capabilities["users.set_consents"].support is Support.NOT_IMPLEMENTED
    with pytest.raises(NotSupported):
        await silent.set_consents(ID, consents, deadline=soon())
    backend = await perx.driver(consent_prefix="ok_")
    assert await backend.set_consents(ID, consents, deadline=soon()) == Written.done(ID)
    expected = {"personal_properties": {"ok_push": True, "ok_sms": True, "ok_email": False}}
    assert sent(write)[2] == expected


# -- points --------------------------------------------------------------------------------------------


async def test_balance_counts_points_set_aside_in_the_total(perx: Tenant) -> None:
    route = perx.answer(
        "GET", "/v4/loyalty/7", {"data": {"points_balance": 12.5, "redemption_in_progress_points": 3}}
    )
    backend = await perx.driver()
    assert await backend.balance(ID, deadline=soon()) == Balance(Decimal("15.5"), Decimal("12.5"))
    assert sent(route) == ("Bearer for-user", {}, None)


def row(number: int, points: float, **fields: object) -> dict[str, object]:
    at = f"2025-03-{20 - number:02d}T22:30:00.000Z"
    return {"id": number, "amount": points, "name": f"row {number}", "transacted_at": at, **fields}


FAILED = row(2, -500, properties={"error_message": "Insufficient points", "requested_by": "Anna P"})


def history(perx: Tenant, *pages: list[dict[str, object]]) -> respx.Route:
    """Pages that tell their end by ``next_page``."""
    route = perx.mock.get("/v4/loyalty/transactions_history")
    route.mock(
        side_effect=[
            httpx.Response(200, json={"data": rows, "meta": {"next_page": n + 1 if n < len(pages) else None}})
            for n, rows in enumerate(pages, 1)
        ]
    )
    return route


async def test_entries_are_expiring_points_then_movements_without_failed_burns(perx: Tenant) -> None:
    aging = [
        {"expiring_on_date": "2025-06-01", "points_expiring": 5},
        {"expiring_on_date": "2025-05-01", "points_expiring": 2.5},
        {"expiring_on_date": "2025-04-01", "points_expiring": 0},
    ]
    perx.answer("GET", "/v4/loyalty/7", {"data": {"points_balance": 8, "aging_points": aging}})
    route = history(perx, [row(1, 7), FAILED], [row(1, 7), row(3, -4)])
    backend = await perx.driver(expiring_description="expires")
    entries = await backend.entries(ID, limit=10, deadline=soon())
    assert [(entry.amount, entry.description, entry.valid_until) for entry in entries] == [
        (Decimal("2.5"), "expires", date(2025, 5, 1)),
        (Decimal(5), "expires", date(2025, 6, 1)),
        (Decimal(7), "row 1", None),
        (Decimal(-4), "row 3", None),
    ]
    asked = {"sort_by": "transacted_at", "order_by": "desc", "size": "2"}
    assert [sent(route, n)[:2] for n in (0, 1)] == [
        ("Bearer for-user", {**asked, "page": "1"}),
        ("Bearer for-user", {**asked, "page": "2"}),
    ]


async def test_many_lots_that_expire_do_not_hide_what_was_moved(perx: Tenant) -> None:
    aging = [{"expiring_on_date": f"2025-06-{day:02d}", "points_expiring": 1} for day in range(1, 31)]
    perx.answer("GET", "/v4/loyalty/7", {"data": {"points_balance": 30, "aging_points": aging}})
    backend = await perx.driver()
    for limit, lots in ((50, 5), (4, 2)):
        history(perx, [row(1, 7), row(2, 3)])
        entries = await backend.entries(ID, limit=limit, deadline=soon())
        assert [entry.valid_until for entry in entries[:lots]] == [date(2025, 6, 1 + n) for n in range(lots)]
        assert [entry.amount for entry in entries[lots:]] == [7, 3]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:30:00-05:00"])
async def test_a_moment_that_other_zones_do_not_have_is_no_moment(perx: Tenant, at: str) -> None:
    history(perx, [{"id": 1, "amount": 1, "name": "row", "transacted_at": at}])
    backend = await perx.driver()
    with pytest.raises(BackendMisconfigured, match="no transacted_at"):
        await backend.purchases(ID, since=date(2025, 3, 16), until=date(2025, 3, 18), deadline=soon())


async def test_purchases_are_rows_with_money_of_the_days_asked_for(perx: Tenant) -> None:
    money = {"transacted_amount": "4600.5", "transacted_cents": None}
    route = history(
        perx,
        [row(1, 1, transacted_cents=100), row(3, 46, **money)],  # the 20th and the 18th in Moscow
        [row(4, 5), row(5, 2, transacted_cents=20000, transacted_amount="200.0")],
        [row(6, 3, transacted_cents=30000), row(7, 1)],
        [row(8, 1)],
    )
    backend = await perx.driver()
    lines = await backend.purchases(ID, since=date(2025, 3, 16), until=date(2025, 3, 18), deadline=soon())
    assert [(line.amount_kopecks, line.item, line.bonuses) for line in lines] == [
        (460050, "row 3", Decimal(46)),
        (20000, "row 5", Decimal(2)),
    ]
    assert route.call_count == 3


async def test_credit_of_points(perx: Tenant) -> None:
    data = {"id": 900, "points": 12.5, "transaction_reference": "ref-1"}
    route = perx.answer("POST", "/v4/pos/loyalty_transactions", {"data": data}, 201)
    backend = await perx.driver()
    credit = Credit(Decimal("12.50"), "Purchase", RECEIPT)
    written = await backend.credit(ID, credit, idempotency_key="ref-1", deadline=soon())
    assert written == Written.done("900", Decimal("12.5"))
    assert sent(route) == (
        "Bearer for-application",
        {},
        {
            "user_account": {"identifier": ID},
            "loyalty_program_id": 7,
            "points": 12.5,
            "transaction_reference": "ref-1",
        },
    )


async def test_credit_by_the_rules_of_perx(perx: Tenant) -> None:
    perx.account()
    data = {"id": 901, "points_earned": 12, "transaction_reference": "ref-1"}
    route = perx.answer("POST", "/v4/pos/transactions", {"data": data})
    backend = await perx.driver()
    written = await backend.credit(ID, Credit(None, "", RECEIPT), idempotency_key="ref-1", deadline=soon())
    assert written == Written.done("901", Decimal(12))
    assert sent(route) == (
        "Bearer for-application",
        {},
        {
            "user_account_id": 31,
            "transaction_data": {
                "transaction_type": "purchase",
                "transaction_reference": "ref-1",
                "amount": 1250.5,
                "currency": "RUB",
                "transaction_date": "2025-03-01T15:04:00+03:00",
            },
        },
    )


async def test_a_credit_that_nobody_can_reckon_is_refused_without_a_call(perx: Tenant) -> None:
    backend, by_points = await perx.driver(), await perx.driver(credit_by="points")
    for driver, credit in (
        (by_points, Credit(None, "", RECEIPT)),
        (backend, Credit(None, "")),
        (backend, Credit(Decimal(-1), "")),
    ):
        written = await driver.credit(ID, credit, idempotency_key="r", deadline=soon())
        assert written == Written.refused()
    assert perx.tokens == []


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"code": 41, "message": "no"}, Written.refused()),
        (200, {"code": 41, "message": "no"}, Written.refused()),
        (422, {"error": "no", "error_description": "no"}, Written.refused()),
        (200, {"data": {}}, Written.unknown()),
        (200, {}, Written.unknown()),
        (200, None, Written.unknown()),
        (404, {"page": "not Perx's"}, Written.unknown()),
        (500, {"code": 41, "message": "no"}, Written.unknown()),
    ],
)
async def test_answers_of_a_credit(perx: Tenant, status: int, body: object, expected: Written) -> None:
    perx.account()
    route = perx.answer("POST", "/v4/pos/loyalty_transactions", body, status)
    backend = await perx.driver()
    written = await backend.credit(ID, Credit(Decimal(1), ""), idempotency_key="r", deadline=soon())
    assert written == expected
    assert route.call_count == 1


async def settle(backend: PerxBackend) -> Written:
    return await backend.reconcile_credit(
        ID, Credit(Decimal(5), ""), idempotency_key="ref-1", since=SINCE, before=None, deadline=soon()
    )


async def test_a_credit_is_settled_by_its_reference(perx: Tenant) -> None:
    route = history(perx, [])
    backend = await perx.driver()
    assert await settle(backend) == Written.not_sent()
    assert sent(route)[1]["transaction_reference"] == "ref-1"

    details = {"type": "Transaction", "data": {"transaction_reference": "ref-1"}}
    history(perx, [row(1, 5, transaction_details=details), row(3, 9)])
    assert await settle(backend) == Written.done("1", Decimal(5))


SALE = Credit(None, "", RECEIPT)
TAKEN = Written.refused(Refusal.KEY_TAKEN)
OURS: Mapping[str, Any] = {
    "transaction_details": {"type": "Transaction", "data": {"transaction_reference": "ref-1"}}
}


@pytest.mark.parametrize(
    ("credit", "rows", "expected"),
    [
        (Credit(Decimal(5), ""), [row(1, 5.0, **OURS)], Written.done("1", Decimal(5))),
        (Credit(Decimal(5), ""), [row(1, 6, **OURS)], TAKEN),
        (Credit(Decimal(5), ""), [row(1, -5, **OURS)], TAKEN),
        (Credit(Decimal(5), ""), [row(1, 5, **OURS), row(2, 6, **OURS)], TAKEN),
        (SALE, [row(1, 12, transacted_cents=125050, **OURS)], Written.done("1", Decimal(12))),
        (SALE, [row(1, 12, transacted_amount="1250.5", **OURS)], Written.done("1", Decimal(12))),
        (SALE, [row(1, 0, transacted_cents=125050, **OURS)], Written.done("1", Decimal(0))),
        (SALE, [row(1, 12, **OURS)], Written.done("1", Decimal(12))),
        (SALE, [row(1, 12, transacted_cents=125051, **OURS)], TAKEN),
        (SALE, [row(1, 12, transacted_amount="1250.6", **OURS)], TAKEN),
        (SALE, [row(1, -12, **OURS)], TAKEN),
    ],
)
async def test_what_is_found_under_a_reference_is_compared_with_what_was_asked(
    perx: Tenant, credit: Credit, rows: list[dict[str, object]], expected: Written
) -> None:
    history(perx, rows)
    backend = await perx.driver()
    settled = await backend.reconcile_credit(
        ID, credit, idempotency_key="ref-1", since=SINCE, before=None, deadline=soon()
    )
    assert settled == expected


async def test_a_credit_that_is_there_twice_names_both_rows_and_the_points_of_one(perx: Tenant) -> None:
    history(perx, [row(8, 5, **OURS), row(9, 5, **OURS)])
    backend = await perx.driver()
    settled = await settle(backend)
    assert (settled.outcome, settled.points) == (Outcome.DONE, Decimal(5))
    assert (settled.crm_reference, settled.entries) == ("9", ("9", "8"))


@pytest.mark.parametrize("kept", ["REF-1", "ref-", "ref-10"])
async def test_a_reference_that_is_kept_otherwise_than_it_was_sent_proves_nothing(
    perx: Tenant, kept: str
) -> None:
    details = {"type": "Transaction", "data": {"transaction_reference": kept}}
    history(perx, [row(1, 5, transaction_details=details)], [])
    assert await settle(await perx.driver()) == Written.unknown()


async def test_a_sale_left_to_the_rules_that_the_history_does_not_show_is_in_doubt(perx: Tenant) -> None:
    """It may have been awarded nothing, and nobody knows whether a row is made then."""
    history(perx, [])
    backend = await perx.driver()
    assert backend.capabilities["points.credit"].support is Support.PARTIAL
    settled = await backend.reconcile_credit(
        ID, SALE, idempotency_key="ref-1", since=SINCE, before=None, deadline=soon()
    )
    assert settled == Written.unknown()


async def test_a_filter_that_does_not_filter_settles_nothing(perx: Tenant) -> None:
    backend = await perx.driver()
    route = perx.mock.get("/v4/loyalty/transactions_history")
    route.mock(return_value=httpx.Response(200, json={"data": [row(1, 5)], "meta": {"next_page": None}}))
    assert await settle(backend) == Written.unknown()
    some = httpx.Response(200, json={"data": [row(1, 5)], "meta": {"next_page": None}})
    none = httpx.Response(200, json={"data": [], "meta": {"next_page": None}})
    route.mock(side_effect=[some, none])
    assert await settle(backend) == Written.done("1", Decimal(5))


# -- coupons -------------------------------------------------------------------------------------------


def voucher(number: int, reward: int, **fields: object) -> dict[str, object]:
    told = {"id": number, "name": f"voucher {number}", "state": "issued", "reward": {"id": reward}}
    return {**told, **fields}


def vouchers(perx: Tenant, *rows: dict[str, object], pages: int = 1) -> respx.Route:
    """One page; this endpoint tells the number of pages."""
    body = {"data": list(rows), "meta": {"total_pages": pages}}
    return perx.answer("GET", "/v4/vouchers", body)


async def test_offers_are_active_vouchers(perx: Tenant) -> None:
    tea = {"id": 12, "name": "Tea", "description": "One"}
    route = vouchers(
        perx,
        voucher(1, 11, voucher_code="AB1", valid_to="2025-12-31T20:59:59.000Z"),
        voucher(2, 12, voucher_code=None, name=None) | {"reward": tea},
        voucher(3, 12, state="redeemed"),
    )
    backend = await perx.driver()
    first, second = await backend.offers(ID, deadline=soon())
    assert (first.offer_id, first.title, first.code) == ("1", "voucher 1", "AB1")
    assert first.valid_until == datetime(2025, 12, 31, 20, 59, 59, tzinfo=UTC)
    assert (second.title, second.description, second.code) == ("Tea", "One", None)
    assert sent(route) == ("Bearer for-user", {"type": "active", "page": "1", "size": "2"}, None)


async def test_issue_and_redeem_issue_a_reward(perx: Tenant) -> None:
    visit = perx.answer("POST", "/v4/rewards/11/issue", {"data": voucher(5, 11)})
    spring = perx.answer("POST", "/v4/rewards/12/issue", {"data": voucher(6, 12)})
    backend = await perx.driver()
    assert await backend.issue(ID, "visit", idempotency_key="r", deadline=soon()) == Written.done("5")
    assert await backend.redeem(ID, " sPRING ", idempotency_key="r", deadline=soon()) == Written.done("6")
    assert sent(visit) == sent(spring) == ("Bearer for-user", {}, None)


async def test_redeem_fires_a_trigger(perx: Tenant) -> None:
    route = perx.answer("PUT", "/v4/app_triggers/hello-rule")
    backend = await perx.driver()
    assert await backend.redeem(ID, "hello", idempotency_key="r", deadline=soon()) == Written.done()
    assert sent(route) == ("Bearer for-user", {}, None)
    settled = await backend.reconcile_redeem(ID, "hello", idempotency_key="r", since=SINCE, deadline=soon())
    assert settled == Written.unknown()


async def test_unknown_codes_and_occasions_make_no_call(perx: Tenant) -> None:
    backend = await perx.driver()
    written = await backend.redeem(ID, "../rewards", idempotency_key="r", deadline=soon())
    assert written == Written.refused(Refusal.CODE_UNKNOWN)
    assert await backend.issue(ID, "birthday", idempotency_key="r", deadline=soon()) == Written.done()
    assert perx.tokens == []


@pytest.mark.parametrize(
    ("code", "held", "refusal"),
    [
        (4103, [voucher(1, 11)], Refusal.CODE_EXHAUSTED),
        (4103, [voucher(1, 12, state="redeemed")], Refusal.CODE_USED),
        (4000, [voucher(1, 12)], Refusal.OTHER),
    ],
)
async def test_why_a_code_is_refused(
    perx: Tenant, code: int, held: list[dict[str, object]], refusal: Refusal
) -> None:
    perx.answer("POST", "/v4/rewards/12/issue", {"code": code, "message": "limit"}, 400)
    vouchers(perx, *held)
    backend = await perx.driver()
    written = await backend.redeem(ID, "spring", idempotency_key="r", deadline=soon())
    assert written == Written.refused(refusal)


@pytest.mark.parametrize(
    ("row", "pages", "expected"),
    [
        (voucher(1, 12, issued_date="2025-03-01T12:00:01.000Z"), 1, Written.done("1")),
        (voucher(1, 12, issued_date="2025-03-01T11:59:57.000Z"), 1, Written.done("1")),
        (voucher(1, 12, issued_date="2025-03-01T11:59:00.000Z"), 1, Written.not_sent()),
        (voucher(1, 12, issued_date="2025-03-01"), 1, Written.unknown()),
        (voucher(1, 12, issued_date="2025-02-28"), 1, Written.not_sent()),
        (voucher(1, 12, valid_from="2025-03-01T12:00:01.000Z"), 1, Written.done("1")),
        (voucher(1, 12, valid_from="2025-01-01T00:00:00.000Z"), 1, Written.unknown()),
        (voucher(1, 11, issued_date="2025-03-01T12:00:01.000Z"), 1, Written.not_sent()),
        (voucher(1, 11), 9, Written.unknown()),
    ],
)
async def test_a_redemption_is_settled_by_the_vouchers_issued_since(
    perx: Tenant, row: dict[str, object], pages: int, expected: Written
) -> None:
    route = vouchers(perx, row, pages=pages)
    backend = await perx.driver(most_pages=2)
    assert (
        await backend.reconcile_redeem(ID, "spring", idempotency_key="r", since=SINCE, deadline=soon())
        == expected
    )
    assert sent(route)[1]["type"] == "all"


AFTER = {"issued_date": "2025-03-01T12:00:01.000Z"}
BEFORE = {"issued_date": "2025-02-01T12:00:01.000Z"}


@pytest.mark.parametrize(
    ("chosen", "rows", "expected"),
    [
        ({}, [voucher(1, 12, **AFTER), voucher(2, 12, **BEFORE)], Written.done("1")),
        ({}, [voucher(1, 12, **AFTER), voucher(2, 12, **AFTER)], Written.unknown()),
        ({}, [voucher(1, 12, **AFTER), voucher(2, 12)], Written.unknown()),
        ({"promo_codes": {"spring": {"reward": 12}, "may": {"reward": 12}}}, [], Written.not_sent()),
        (
            {"promo_codes": {"spring": {"reward": 12}, "may": {"reward": 12}}},
            [voucher(1, 12, **AFTER)],
            Written.unknown(),
        ),
        ({"occasions": {"visit": 12}}, [voucher(1, 12, **AFTER)], Written.unknown()),
        ({"occasions": {"visit": 12}}, [voucher(1, 12, **BEFORE)], Written.not_sent()),
    ],
)
async def test_a_voucher_that_something_else_may_have_got_proves_nothing(
    perx: Tenant, chosen: dict[str, Any], rows: list[dict[str, object]], expected: Written
) -> None:
    vouchers(perx, *rows)
    backend = await perx.driver(**chosen)
    assert (
        await backend.reconcile_redeem(ID, "spring", idempotency_key="r", since=SINCE, deadline=soon())
        == expected
    )


async def test_a_voucher_is_counted_for_one_operation_alone(perx: Tenant) -> None:
    perx.answer("POST", "/v4/rewards/12/issue", {"data": voucher(1, 12, **AFTER)})
    vouchers(perx, voucher(1, 12, **AFTER))
    backend = await perx.driver()
    assert await backend.redeem(ID, "spring", idempotency_key="first", deadline=soon()) == Written.done("1")
    for reference, expected in (("second", Written.not_sent()), ("first", Written.done("1"))):
        settled = await backend.reconcile_redeem(
            ID, "spring", idempotency_key=reference, since=SINCE, deadline=soon()
        )
        assert settled == expected
    vouchers(perx, voucher(1, 12, **AFTER), voucher(2, 12, **AFTER))
    for reference, expected in (("second", Written.done("2")), ("third", Written.not_sent())):
        settled = await backend.reconcile_redeem(
            ID, "spring", idempotency_key=reference, since=SINCE, deadline=soon()
        )
        assert settled == expected


async def test_a_voucher_is_reserved_confirmed_and_released(perx: Tenant) -> None:
    reserve = perx.answer("POST", "/v4/vouchers/5/redeem", {"data": voucher(5, 11, state="reserved")})
    confirm = perx.answer("PATCH", "/v4/vouchers/5/confirm", {"data": voucher(5, 11, state="redeemed")})
    release = perx.answer("PATCH", "/v4/vouchers/5/release", {"data": voucher(5, 11, state="issued")})
    backend = await perx.driver()
    for move in (backend.reserve_voucher, backend.confirm_voucher, backend.release_voucher):
        assert await move(ID, "5", deadline=soon()) == Written.done("5")
    assert sent(reserve) == ("Bearer for-user", {"confirm": "false"}, None)
    assert sent(confirm) == sent(release) == ("Bearer for-user", {}, None)
    perx.answer("PATCH", "/v4/vouchers/5/confirm", {"data": voucher(5, 11, state="reserved")})
    assert await backend.confirm_voucher(ID, "5", deadline=soon()) == Written.unknown()
    assert await backend.confirm_voucher(ID, "../5", deadline=soon()) == Written.refused(Refusal.CODE_UNKNOWN)


# -- settings and check --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chosen",
    [
        {"identifier_secret": None},
        {"identifier": "token", "merchant_identifier": "till"},
        {"identifier": "token", "send_phone": True},
        {"identifier": "membership", "find_by": "identifier"},
        {"find_by": "merchant_search"},
        {"promo_codes": {"A": {"reward": 1}, "a ": {"reward": 2}}},
        {"promo_codes": {"A": {"reward": 1, "trigger": "t"}}},
        {"promo_codes": {"A": {}}},
        {"properties": {"shoe_size": "shoe"}},
    ],
)
def test_settings_that_cannot_work_are_refused(chosen: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**chosen)


async def test_check_proves_every_token_it_can(perx: Tenant) -> None:
    perx.nobody()
    perx.answer("GET", "/v4/merchant_admin/user_accounts/search", {"code": 40, "message": "absent"})
    perx.answer("GET", "/v4/loyalty/7", {"data": {"points_balance": 1}})
    perx.answer("GET", "/v4/rewards/11", {"data": {"id": 11}})
    perx.answer("GET", "/v4/rewards/12", {"code": 1, "message": "not found"}, 404)
    backend = await perx.driver(
        find_by="merchant_search", merchant_identifier="till", check_customer="tester"
    )
    findings = await backend.check()
    assert [(finding.subject, finding.ok) for finding in findings] == [
        ("application", True),
        ("merchant search", True),
        ("loyalty programme 7", True),
        ("reward 11", True),
        ("reward 12", False),
    ]
    assert {call.request.method for call in perx.mock.calls if "oauth" not in call.request.url.path} == {
        "GET"
    }
