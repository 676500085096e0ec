"""How each kind of answer of Perx is read; what leaves the client is in ``test_perx_requests``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest
import respx
from pydantic import ValidationError

from crm_backends.model import Credit, Profile
from crm_backends.perx import PerxBackend, identity
from crm_backends.ports import (
    AccountUnknown,
    BackendCredentials,
    BackendMisconfigured,
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
    ID,
    NO_ONE,
    PERSON,
    PHONE,
    RECEIPT,
    SINCE,
    TOKEN,
    URL,
    ZONE,
    row,
    settings,
    settle,
    soon,
    voucher,
)


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


# -- tokens --------------------------------------------------------------------------------------------


async def test_a_customers_token_refused_is_no_such_customer_or_wrong_credentials(perx: Tenant) -> None:
    perx.refused.add(f"user_account(identifier:{ID})")
    backend = await perx.driver()
    perx.nobody(404)
    with pytest.raises(AccountUnknown):
        await backend.balance(ID, deadline=soon())
    assert await backend.issue(ID, "visit", idempotency_key="r", deadline=soon()) == Written.refused(
        Refusal.NO_SUCH_CUSTOMER
    )
    perx.account()
    with pytest.raises(BackendCredentials):
        await backend.balance(ID, deadline=soon())
    assert await backend.issue(ID, "visit", idempotency_key="r", deadline=soon()) == Written.not_sent()


# -- users ---------------------------------------------------------------------------------------------


async def test_find_by_email_asks_nobody(perx: Tenant) -> None:
    backend = await perx.driver()
    assert await backend.find(phone=None, email="a@b.ru", birth_date=date(2000, 1, 1), deadline=soon()) == ()
    assert perx.tokens == []


async def test_where_the_identifier_is_the_card_number_it_is_the_card_they_have(perx: Tenant) -> None:
    named = {"identifier": "2900000000001", "phone": PHONE}
    perx.answer("GET", "/v4/merchant_admin/user_accounts/search", {"data": named})
    backend = await perx.driver(identifier="membership", merchant_identifier="till")
    (found,) = await backend.find(phone=PHONE, email=None, birth_date=None, deadline=soon())
    assert found.card_number == found.customer_id == "2900000000001"


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


async def test_registering_again_is_done_with_the_customer_there(perx: Tenant) -> None:
    perx.account()
    route = perx.answer("POST", "/v4/pos/user_accounts", {"data": ACCOUNT})
    backend = await perx.driver()
    assert await backend.register(PERSON, idempotency_key="r", deadline=soon()) == Written.done(ID)
    assert not route.called


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


async def test_what_may_be_sent_again(perx: Tenant) -> None:
    registering = frozenset({"users.register"})
    assert (await perx.driver()).harmless_again == registering
    assert (await perx.driver(**TOKEN)).harmless_again == registering
    membership = await perx.driver(identifier="membership", merchant_identifier="till")
    assert membership.harmless_again == frozenset()


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


# -- points --------------------------------------------------------------------------------------------


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


def vouchers(perx: Tenant, *rows: dict[str, object], pages: int = 1) -> respx.Route:
    """One page; this endpoint tells the number of pages."""
    body = {"data": list(rows), "meta": {"total_pages": pages}}
    return perx.answer("GET", "/v4/vouchers", body)


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
