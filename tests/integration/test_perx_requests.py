"""What each call to Perx looks like on the wire: the real client before a server that records it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from crm_backends.model import Balance, ChannelConsents, Credit, Holder, Profile
from crm_backends.perx import PerxBackend, identity
from crm_backends.ports import (
    AccountUnknown,
    NotSupported,
    Outcome,
    Refusal,
    Support,
    Written,
)
from crm_backends.registry import BackendContext
from tests.support.perx import (
    ABSENT,
    ACCOUNT,
    FAILED,
    ID,
    NO_ONE,
    PERSON,
    PHONE,
    RECEIPT,
    SINCE,
    TOKEN,
    ZONE,
    row,
    settings,
    settle,
    soon,
    voucher,
)
from tests.support.recording import Recorded, Recorder, Route, Told, recording


class Tenant:
    """The driver before a recorder; tokens are named by whom they are for."""

    def __init__(self, crm: Recorder) -> None:
        self.crm = crm
        crm.post("/v4/oauth/token").answered_by(self._token)
        self.tokens: list[dict[str, Any]] = []
        self.refused: set[str] = set()
        self._open: list[PerxBackend] = []

    def _token(self, request: Recorded) -> Told:
        self.tokens.append(request.json)
        scope = request.json.get("scope", "application")
        if scope in self.refused:
            return Told.of(401, json={"error": "invalid_client"})
        if scope == "merchant_user_account":
            return Told.of(json={"bearer_token": "for-merchant", "tenant": "t"})
        name = "for-application" if scope == "application" else "for-user"
        return Told.of(json={"access_token": name, "token_type": "Bearer", "expires_in": 600})

    async def driver(self, **chosen: Any) -> PerxBackend:
        context = BackendContext("", None, ZONE, "RU")
        backend = PerxBackend(settings(base_url=self.crm.url, **chosen), context)
        await backend.open()
        self._open.append(backend)
        return backend

    async def close(self) -> None:
        for backend in self._open:
            await backend.close()

    def answer(self, method: str, path: str, body: object = None, status: int = 200) -> Route:
        return self.crm.request(method, path).respond(status, json=body)

    def account(self, **fields: object) -> Route:
        """The customer is there."""
        return self.answer("GET", "/v4/pos/user_accounts/search", {"data": {**ACCOUNT, **fields}})

    def nobody(self, status: int = 200) -> Route:
        return self.answer("GET", "/v4/pos/user_accounts/search", ABSENT, status)


@pytest.fixture
async def perx() -> AsyncIterator[Tenant]:
    async with recording() as crm:
        tenant = Tenant(crm)
        yield tenant
        await tenant.close()


def token_account(perx: Tenant, key: str, **fields: object) -> dict[str, object]:
    """The account made by a key, which the search by identifier shows and the one by phone does not."""
    perx.answer("GET", "/v4/merchant_admin/user_accounts/search", NO_ONE)
    return {"id": 5, "identifier": identity.key_identifier(settings(**TOKEN), key), **fields}


def history(perx: Tenant, *pages: list[dict[str, object]]) -> Route:
    """Pages that tell their end by ``next_page``."""
    told = [
        Told.of(json={"data": rows, "meta": {"next_page": n + 1 if n < len(pages) else None}})
        for n, rows in enumerate(pages, 1)
    ]
    return perx.crm.get("/v4/loyalty/transactions_history").respond_in_turn(*told)


def vouchers(perx: Tenant, *rows: dict[str, object], pages: int = 1) -> Route:
    """One page; this endpoint tells the number of pages."""
    return perx.answer("GET", "/v4/vouchers", {"data": list(rows), "meta": {"total_pages": pages}})


def sent(route: Route, call: int = -1) -> tuple[str, dict[str, str], Any]:
    """Authorization, query and body of one call."""
    request = route.requests[call]
    return request.headers.get("Authorization", ""), request.query, request.json


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


@pytest.mark.parametrize("identifier", ["x) user_account(identifier:y", "a b", "(", "", "é", "x" * 256])
async def test_an_identifier_cannot_widen_a_tokens_scope(perx: Tenant, identifier: str) -> None:
    backend = await perx.driver()
    with pytest.raises(AccountUnknown):
        await backend.balance(identifier, deadline=soon())
    assert await backend.get(identifier, deadline=soon()) is None
    written = await backend.issue(identifier, "visit", idempotency_key="r", deadline=soon())
    assert written == Written.refused(Refusal.NO_SUCH_CUSTOMER)
    assert perx.tokens == []


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
    calls = route.call_count
    # The customer got another card at the till meanwhile: it stays, unless ours takes its place.
    perx.answer(
        "GET", "/v4/customers/me", {"data": {**ACCOUNT, "personal_properties": {**kept, "card": "30"}}}
    )
    assert await give("29") == Written.refused(Refusal.CONFLICT)
    assert route.call_count == calls
    assert await give("29", replaces="30") == Written.done(ID)
    perx.answer("GET", "/v4/customers/me", {"data": {**ACCOUNT, "personal_properties": given}})
    assert await give("29") == Written.done(ID)
    assert route.call_count == calls + 1
    perx.account(personal_properties=given)
    got = await backend.get(ID, deadline=soon())
    assert got is not None
    assert got.card_number == "29"


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


async def test_a_token_identifier_is_the_same_for_one_key_and_tells_nothing(perx: Tenant) -> None:
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


async def test_balance_counts_points_set_aside_in_the_total(perx: Tenant) -> None:
    route = perx.answer(
        "GET", "/v4/loyalty/7", {"data": {"points_balance": 12.5, "redemption_in_progress_points": 3}}
    )
    backend = await perx.driver()
    assert await backend.balance(ID, deadline=soon()) == Balance(Decimal("15.5"), Decimal("12.5"))
    assert sent(route) == ("Bearer for-user", {}, None)


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


async def test_a_credit_is_reconciled_by_its_key(perx: Tenant) -> None:
    route = history(perx, [])
    backend = await perx.driver()
    assert await settle(backend) == Written.not_sent()
    assert sent(route)[1]["transaction_reference"] == "ref-1"

    details = {"type": "Transaction", "data": {"transaction_reference": "ref-1"}}
    history(perx, [row(1, 5, transaction_details=details), row(3, 9)])
    assert await settle(backend) == Written.done("1", Decimal(5))


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
    assert {request.method for request in perx.crm.requests if "oauth" not in request.path} == {"GET"}
