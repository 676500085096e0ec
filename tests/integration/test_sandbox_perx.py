"""The Perx stand-in: tokens, customers, points, vouchers, rewards, triggers, and what it writes down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from contracts.sandbox import perx
from contracts.sandbox.people import ANNA, BORIS

from .test_sandbox_caller import Answer, Caller, calling

CLIENT = {
    "grant_type": "client_credentials",
    "client_id": perx.CLIENT_ID,
    "client_secret": perx.CLIENT_SECRET,
}
ANNA_ID, BORIS_ID = perx.IDENTIFIERS[ANNA.phone], perx.IDENTIFIERS[BORIS.phone]


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with calling("perx") as caller:
        yield caller


async def application(call: Caller) -> dict[str, str]:
    """Header with the application's token."""
    answer = await call("issueToken", json=CLIENT)
    return {"Authorization": f"Bearer {answer.body['access_token']}"}


async def user(call: Caller, identifier: str = ANNA_ID) -> dict[str, str]:
    """Header with a customer's token."""
    answer = await call("issueToken", json={**CLIENT, "scope": f"user_account(identifier:{identifier})"})
    return {"Authorization": f"Bearer {answer.body['access_token']}"}


async def merchant(call: Caller) -> dict[str, str]:
    """Header with the token of a merchant's employee."""
    body = {**CLIENT, "scope": "merchant_user_account", "identifier": perx.MERCHANT_IDENTIFIER}
    return {"Authorization": f"Bearer {(await call('issueToken', json=body)).body['bearer_token']}"}


async def earn(call: Caller, points: int, reference: str = "r", identifier: str = ANNA_ID) -> Answer:
    """Add or take points directly."""
    body = {
        "user_account": {"identifier": identifier},
        "loyalty_program_id": 1,
        "points": points,
        "transaction_reference": reference,
    }
    return await call("submitLoyaltyTransaction", json=body, headers=await application(call))


async def balance(call: Caller, identifier: str = ANNA_ID) -> Any:
    answer = await call("getLoyaltyProgram", programId=1, headers=await user(call, identifier))
    return answer.body["data"]


async def history(call: Caller, identifier: str = ANNA_ID, **query: Any) -> Any:
    headers = await user(call, identifier)
    return (await call("listTransactionsHistory", query=query, headers=headers)).body


async def anna_number(call: Caller) -> int:
    answer = await call("searchUserAccount", query={"identifier": ANNA_ID}, headers=await application(call))
    return int(answer.body["data"]["id"])


async def purchase(call: Caller, amount: float, reference: str) -> Answer:
    data = {
        "transaction_type": "purchase",
        "transaction_reference": reference,
        "amount": amount,
        "currency": "RUB",
        "transaction_date": "2025-03-01T10:00:00Z",
        "properties": {"store": "7"},
    }
    body = {"user_account_id": await anna_number(call), "transaction_data": data}
    return await call("submitTransaction", json=body, headers=await application(call))


async def a_voucher(call: Caller) -> int:
    answer = await call("listVouchers", headers=await user(call))
    return int(answer.body["data"][0]["id"])


async def test_each_kind_of_token_is_counted(call: Caller) -> None:
    await application(call)
    await user(call)
    await user(call, BORIS_ID)
    await merchant(call)
    assert call.ledger.tokens_issued == {"application": 1, "user": 2, "merchant": 1}


async def test_token_for_an_unknown_customer_and_with_a_wrong_secret_look_the_same(call: Caller) -> None:
    unknown = await call("issueToken", json={**CLIENT, "scope": "user_account(identifier:nobody)"})
    wrong = await call("issueToken", json={**CLIENT, "client_secret": "wrong"})
    assert unknown.status == wrong.status == 401
    assert unknown.body == wrong.body
    assert not call.ledger.invalid_calls


async def test_a_token_of_another_kind_is_refused_and_recorded(call: Caller) -> None:
    answer = await call("getLoyaltyProgram", programId=1, headers=await application(call))
    assert answer.status == 401
    assert "a token of kind application, user is needed" in call.ledger.invalid_calls[0].reason


async def test_a_token_ends_after_its_time(call: Caller) -> None:
    number = await anna_number(call)
    answer = await call("issueToken", json={**CLIENT, "expires_in": 1})
    assert answer.body["expires_in"] == 1
    headers = {"Authorization": f"Bearer {answer.body['access_token']}"}
    assert (await call("getUserAccount", userAccountId=number, headers=headers)).status == 200
    await asyncio.sleep(1.05)
    assert (await call("getUserAccount", userAccountId=number, headers=headers)).status == 401
    assert not call.ledger.invalid_calls


async def test_customer_is_created_found_and_changed(call: Caller) -> None:
    headers = await application(call)
    new = {"identifier": "token-1", "state": "active", "personal_properties": {"phone": "79991234567"}}
    created = (await call("createUserAccount", json=new, headers=headers)).body["data"]
    found = await call("searchUserAccount", query={"identifier": "token-1"}, headers=headers)
    assert found.body["data"] == created
    assert (await call("getUserAccount", userAccountId=created["id"], headers=headers)).body[
        "data"
    ] == created
    by_phone = await call(
        "searchUserAccountByPhone", query={"phone": "+79991234567"}, headers=await merchant(call)
    )
    assert by_phone.body["data"]["identifier"] == "token-1"
    changed = await call(
        "updateUserAccount", json={"identifier": "token-1", "first_name": "N"}, headers=headers
    )
    assert changed.body["data"]["first_name"] == "N"
    assert (await call("createUserAccount", json=new, headers=headers)).status == 400
    assert call.ledger.count("customer_created", customer="token-1") == 1
    assert call.ledger.count("customer_updated", customer="token-1") == 1


@pytest.mark.parametrize("status", [200, 404])
async def test_absent_customers_are_named_by_code(status: int) -> None:
    async with calling("perx", absent_status=status) as call:
        absent = await call(
            "searchUserAccount", query={"identifier": "nobody"}, headers=await application(call)
        )
        assert (absent.status, absent.body["code"]) == (status, 1)
        absent = await call(
            "searchUserAccountByPhone", query={"phone": "79990009999"}, headers=await merchant(call)
        )
        assert (absent.status, absent.body["code"]) == (status, 40)
        body = {"identifier": "nobody", "first_name": "N"}
        answer = await call("updateUserAccount", json=body, headers=await application(call))
        assert answer.body["code"] == 44


async def test_properties_given_replace_those_kept(call: Caller) -> None:
    headers = await user(call)
    body = {"personal_properties": {"city": "Omsk"}}
    answer = await call("updateCustomer", customerId="me", json=body, headers=headers)
    assert answer.body["data"]["personal_properties"] == {"city": "Omsk"}
    read = await call("getCustomer", customerId="me", headers=headers)
    assert read.body["data"]["personal_properties"] == {"city": "Omsk"}


async def test_purchase_earns_by_the_rule_and_is_found_by_its_reference() -> None:
    async with calling("perx", points_per_100=5) as call:
        answer = await purchase(call, 4619.5, "receipt-1")
        assert answer.body["data"]["points_earned"] == 230
        page = await history(call, transaction_reference="receipt-1")
        (row,) = page["data"]
        assert (row["amount"], row["transacted_amount"], row["transacted_cents"]) == (230, "4619.5", 461950)
        assert call.ledger.total("points_credited", reference="receipt-1") == Decimal(230)
        assert (await balance(call))["points_balance"] == ANNA.points + 230


async def test_the_same_reference_again_credits_again(call: Caller) -> None:
    for _ in range(2):
        await purchase(call, 1000, "receipt-1")
        await earn(call, 7, "direct-1")
    assert call.ledger.count("points_credited", reference="receipt-1") == 2
    assert call.ledger.count("points_credited", reference="direct-1") == 2
    assert (await balance(call))["points_balance"] == ANNA.points + 34
    assert len((await history(call, transaction_reference="receipt-1"))["data"]) == 2


async def test_a_burn_that_failed_stays_in_the_history(call: Caller) -> None:
    answer = await earn(call, -100_000, "burn-1")
    assert answer.status == 400
    (row,) = (await history(call, transaction_reference="burn-1"))["data"]
    assert row["amount"] == -100_000
    assert row["properties"]["error_message"]
    assert (await balance(call))["points_balance"] == ANNA.points
    assert call.ledger.count("points_burned") == 0


async def test_a_burn_takes_what_expires_soonest(call: Caller) -> None:
    before = await balance(call)
    assert [each["points_expiring"] for each in before["aging_points"]] == [250, 400]
    assert (await earn(call, -300, "burn-1")).status == 201
    after = await balance(call)
    assert after["points_balance"] == before["points_balance"] - 300
    assert [each["points_expiring"] for each in after["aging_points"]] == [350]
    assert call.ledger.total("points_burned", customer=ANNA_ID) == 300


async def test_points_given_back_expire_when_they_would_have(call: Caller) -> None:
    before, headers, who = await balance(call), await application(call), {"identifier": ANNA_ID}
    body = {"user_account": who, "loyalty_program_id": 1, "amount_to_deduct": 300}
    held = (await call("reservePoints", json=body, headers=headers)).body["data"]["id"]
    await call("revertPoints", transactionId=held, json={"user_account": who}, headers=headers)
    assert await balance(call) == before


async def test_points_set_aside_are_given_back_or_used(call: Caller) -> None:
    headers, who = await application(call), {"identifier": ANNA_ID}
    body = {"user_account": who, "loyalty_program_id": 1, "amount_to_deduct": 50}
    first = (await call("reservePoints", json=body, headers=headers)).body["data"]["id"]
    second = (await call("reservePoints", json=body, headers=headers)).body["data"]["id"]
    now = await balance(call)
    assert (now["points_balance"], now["redemption_in_progress_points"]) == (ANNA.points - 100, 100)
    await call("revertPoints", transactionId=first, json={"user_account": who}, headers=headers)
    again = await call("revertPoints", transactionId=first, json={"user_account": who}, headers=headers)
    assert again.status == 404
    voucher = await a_voucher(call)
    invoice = {
        "user_account": who,
        "transaction_data": [{"transaction_type": "purchase", "collected_amount": 1000, "currency": "RUB"}],
        "used_items": [
            {"item_type": "StoredValue::Transaction", "item_id": second},
            {"item_type": "Reward::Transaction", "item_id": voucher},
        ],
    }
    answer = await call("createInvoice", json=invoice, headers=headers)
    assert answer.body["data"]["points_earned"] == 10
    now = await balance(call)
    assert (now["points_balance"], now["redemption_in_progress_points"]) == (ANNA.points - 40, 0)
    assert call.ledger.total("points_released") == call.ledger.total("points_burned") == 50
    assert call.ledger.count("voucher_redeemed", reference=str(voucher)) == 1


async def test_history_comes_in_pages(call: Caller) -> None:
    for n in range(4):
        await earn(call, 1, f"r{n}")
    page = await history(call, page=1, size=2, order_by="asc", sort_by="id")
    assert (page["meta"]["next_page"], page["meta"]["total_count"]) == (2, 5)
    last = await history(call, page=3, size=2)
    assert (last["meta"]["next_page"], len(last["data"])) == (None, 1)
    programmes = await call("listLoyaltyPrograms", headers=await user(call))
    assert [each["id"] for each in programmes.body["data"]] == [perx.LOYALTY_PROGRAM_ID]


async def test_voucher_is_redeemed_once(call: Caller) -> None:
    number, headers = await a_voucher(call), await user(call)
    answer = await call("redeemVoucher", voucherId=number, headers=headers)
    assert answer.body["data"]["state"] == "redeemed"
    assert (await call("redeemVoucher", voucherId=number, headers=headers)).status == 400
    assert call.ledger.count("voucher_redeemed", reference=str(number), customer=ANNA_ID) == 1
    redeemed = await call("listVouchers", query={"type": "redeemed"}, headers=headers)
    assert [each["id"] for each in redeemed.body["data"]] == [number]


@pytest.mark.parametrize("state", ["reserved", "redemption_in_progress"])
async def test_voucher_is_set_aside_released_and_confirmed(state: str) -> None:
    async with calling("perx", reserved_state=state) as call:
        number, headers = await a_voucher(call), await user(call)
        aside = await call("redeemVoucher", voucherId=number, query={"confirm": "false"}, headers=headers)
        assert aside.body["data"]["state"] == state
        again = await call("redeemVoucher", voucherId=number, query={"confirm": "false"}, headers=headers)
        assert again.status == 400
        assert (await call("releaseVoucher", voucherId=number, headers=headers)).body["data"][
            "state"
        ] == "issued"
        assert (await call("confirmVoucher", voucherId=number, headers=headers)).status == 400
        await call("redeemVoucher", voucherId=number, query={"confirm": "false"}, headers=headers)
        done = await call("confirmVoucher", voucherId=number, headers=headers)
        assert done.body["data"]["redemption_date"]
        kinds = [effect.kind for effect in call.ledger.effects]
        assert kinds == ["voucher_reserved", "voucher_released", "voucher_reserved", "voucher_redeemed"]


async def test_a_released_voucher_can_be_lost() -> None:
    async with calling("perx", released_state="released") as call:
        number, headers = await a_voucher(call), await user(call)
        await call("redeemVoucher", voucherId=number, query={"confirm": "false"}, headers=headers)
        await call("releaseVoucher", voucherId=number, headers=headers)
        assert (await call("redeemVoucher", voucherId=number, headers=headers)).status == 400


async def test_a_customer_sees_no_voucher_of_another(call: Caller) -> None:
    number = await a_voucher(call)
    assert (await call("getVoucher", voucherId=number, headers=await user(call))).status == 200
    assert (await call("getVoucher", voucherId=number, headers=await user(call, BORIS_ID))).status == 404


async def test_rewards_are_given_up_to_their_limit(call: Caller) -> None:
    headers = await user(call)
    assert len((await call("listRewards", headers=headers)).body["data"]) == 3
    assert (await call("getReward", rewardId=perx.GIFT, headers=headers)).body["data"]["id"] == perx.GIFT
    given = await call("issueReward", rewardId=perx.GIFT, json={}, headers=headers)
    assert given.body["data"]["voucher_code"]
    again = await call("issueReward", rewardId=perx.GIFT, json={}, headers=headers)
    assert again.body["code"] == 4103
    assert call.ledger.count("voucher_issued") == 1


async def test_triggers_answer_nothing_and_do_something(call: Caller) -> None:
    headers = await user(call)
    answer = await call("fireTrigger", triggerId=perx.WELCOME_TRIGGER, json={}, headers=headers)
    assert (answer.status, answer.body) == (200, "")
    await call("fireTrigger", triggerId=perx.BIRTHDAY_TRIGGER, headers=headers)
    assert (await call("fireTrigger", triggerId="unknown", headers=headers)).status == 404
    assert call.ledger.count("trigger_fired") == 2
    assert call.ledger.total("points_credited") == 50
    assert call.ledger.count("voucher_issued") == 1


async def test_invalid_calls_are_answered_and_recorded(call: Caller) -> None:
    headers = await application(call)
    await call("createUserAccount", json={"state": "active"}, headers=headers)
    await call("createUserAccount", headers=headers)
    await call("searchUserAccount", headers=headers)
    await call("getUserAccount", userAccountId="x", headers=headers)
    await call("issueToken", json={**CLIENT, "scope": "everything"})
    await call("issueToken", json={**CLIENT, "scope": "merchant_user_account"})
    await call("submitTransaction", json=[], headers=headers)
    await call("getLoyaltyProgram", programId=1)
    unknown = await call.raw("DELETE", "/v4/vouchers")
    assert unknown.status == 404
    assert set(unknown.body) == {"code", "message"}
    reasons = [(each.operation, each.reason) for each in call.ledger.invalid_calls]
    assert [operation for operation, _ in reasons] == [
        "createUserAccount",
        "createUserAccount",
        "searchUserAccount",
        "getUserAccount",
        "issueToken",
        "issueToken",
        "submitTransaction",
        "getLoyaltyProgram",
        None,
    ]
    assert reasons[0][1] == "body: 'identifier' is a required property"
    assert reasons[2][1] == "query parameter identifier is missing"
    assert reasons[7][1] == "no Authorization: Bearer header"
    assert call.ledger.effects == []


async def test_customers_can_be_added(call: Caller) -> None:
    call.sandbox.add_customer(identifier="extra", phone="+79995550000", points=12, rewards=[perx.COFFEE])
    assert (await balance(call, "extra"))["points_balance"] == 12
    assert len((await call("listVouchers", headers=await user(call, "extra"))).body["data"]) == 1
    with pytest.raises(ValueError, match="taken"):
        call.sandbox.add_customer(identifier="extra")
    assert call.ledger.effects == []


async def shown(call: Caller, reference: str) -> int:
    """Movements that the history shows under a reference."""
    query = {"transaction_reference": reference}
    answer = await call("listTransactionsHistory", query=query, headers=await user(call))
    return len(answer.body["data"])


@pytest.mark.parametrize(
    ("switches", "given", "kept"),
    [
        ({"reference_case": "upper"}, "Ab1", "AB1"),
        ({"reference_case": "lower"}, "Ab1", "ab1"),
        ({"key_length": 2}, "Ab1", "Ab"),
    ],
)
async def test_a_reference_that_is_kept_otherwise_is_found_as_it_is_kept(
    switches: dict[str, Any], given: str, kept: str
) -> None:
    async with calling("perx", **switches) as call:
        await earn(call, 5, given)
        assert (await shown(call, given), await shown(call, kept)) == (0, 1)
        assert call.ledger.count("points_credited", reference=given) == 1


async def test_the_history_is_behind_and_never_shows_some() -> None:
    async with calling("perx", history_seconds=0.3) as call:
        await earn(call, 5)
        assert await shown(call, "r") == 0
        await asyncio.sleep(0.35)
        assert await shown(call, "r") == 1
    async with calling("perx", history_gap=2) as call:
        for number in range(4):
            await earn(call, 5, f"gap-{number}")
        assert sum([await shown(call, f"gap-{number}") for number in range(4)]) == 2
        assert call.ledger.count("points_credited") == 4
