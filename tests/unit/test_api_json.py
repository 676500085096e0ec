"""JSON on the wire: answers whose every elementary field is a string, requests read leniently."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.api import answers, requests
from adapter.errors import Code, Refused
from adapter.loyalty.holder import CardInfo
from adapter.loyalty.model import Card, CardState, Operation, OperationKind, OperationState
from crm_backends.model import Balance, ListedPhone, Offer, PointsEntry, Profile, Purchase

MOSCOW = ZoneInfo("Europe/Moscow")
CARD = Card("2900000001", "2900000000018", "EAN_13", CardState.ACTIVE)


def refusal(call: Any) -> tuple[Code, str | None]:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.code, caught.value.field


def profile(**body: Any) -> Profile:
    values = requests.by_lower_case(requests.read_object(json.dumps(body).encode()), {})
    return requests.read(requests.ProfileBody, values).profile("RU")


# --- answers -------------------------------------------------------------------------------------------

_ELEMENTARY = st.one_of(
    st.text(),
    st.integers(),
    st.booleans(),
    st.floats(),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
    st.dates(),
    st.datetimes(timezones=st.just(UTC)),
    st.sampled_from(CardState),
)
_ANSWERS: st.SearchStrategy[Any] = st.recursive(
    _ELEMENTARY,
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(st.text(), st.one_of(inner, st.none()))
    ),
    max_leaves=25,
)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


@given(_ANSWERS)
def test_every_elementary_field_is_a_string_at_any_depth(value: Any) -> None:
    parsed = json.loads(answers.encode(value).decode("utf-8"))
    assert all(type(leaf) is str for leaf in leaves(parsed))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-5, "-5"),
        (Decimal("12"), "12"),
        (Decimal("12.50"), "12.5"),
        (Decimal("100"), "100"),
        (Decimal("1E+2"), "100"),
        (Decimal("0.00"), "0"),
        (Decimal("-3.10"), "-3.1"),
        (Decimal("0.0000001"), "0.0000001"),
        (date(2026, 5, 19), "2026-05-19"),
        (datetime(2026, 5, 19, 12, 30, tzinfo=MOSCOW), "2026-05-19T12:30:00+03:00"),
        (CardState.ACTIVE, "active"),
        ("ё", "ё"),
        ("", ""),
    ],
)
def test_how_each_kind_of_value_is_written(value: Any, text: str) -> None:
    assert json.loads(answers.encode({"field": value})) == {"field": text}


def test_nothing_is_the_empty_body_and_a_field_without_a_value_is_left_out() -> None:
    assert answers.encode(None) == b""
    assert answers.encode({"a": None, "b": {"c": None}}) == b'{"b":{}}'
    assert answers.encode([]) == b"[]"


def test_text_is_utf8_and_a_lone_surrogate_does_not_break_the_answer() -> None:
    assert answers.encode("Анна ☂ 😀") == '"Анна ☂ 😀"'.encode()
    assert answers.encode(["a\ud800b"]).decode("utf-8") == '["a?b"]'


@pytest.mark.parametrize("state", CardState)
def test_only_an_active_card_is_shown_as_active(state: CardState) -> None:
    shown = answers.card_json(Card("1", "2", "EAN_13", state))
    assert shown["cardState"] == ("active" if state is CardState.ACTIVE else "inactive")


def test_the_card_with_its_points_has_the_documented_shape() -> None:
    entries = [PointsEntry(Decimal("62.50"), "Покупка", datetime(2026, 5, 1, tzinfo=UTC), date(2027, 5, 1))]
    info = CardInfo(CARD, Balance(Decimal("562.50"), Decimal("500")), entries)
    assert json.loads(answers.encode(answers.card_info_json(info))) == {
        "card": {
            "cardNumber": "2900000001",
            "cardState": "active",
            "barcode": {"barcodeNumber": "2900000000018", "barcodeType": "EAN_13"},
            "bonus": {
                "total": "562.5",
                "available": "500",
                "bonuses": [{"description": "Покупка", "amount": "62.5", "validUntil": "2027-05-01"}],
            },
        }
    }


def test_a_purchase_is_in_kopecks_and_in_the_programmes_zone() -> None:
    bought = datetime(2026, 5, 19, 21, 30, 15, 999, tzinfo=UTC)
    purchase = Purchase(bought, "Кофе", 105_000, Decimal("0.350"), "Москва", Decimal("52"))
    assert json.loads(answers.encode(answers.purchase_json(purchase, MOSCOW))) == {
        "date": "2026-05-20T00:30:15+03:00",
        "item": "Кофе",
        "amount": "105000",
        "quantity": "0.35",
        "location": "Москва",
        "bonuses": "52",
    }


def test_an_offer_leaves_out_what_it_does_not_have() -> None:
    offer = Offer("7", "Кофе", "за полцены", valid_until=datetime(2026, 6, 1, tzinfo=UTC))
    assert json.loads(answers.encode(answers.offer_json(offer, MOSCOW))) == {
        "id": "7",
        "title": "Кофе",
        "description": "за полцены",
        "validUntil": "2026-06-01T03:00:00+03:00",
    }


def operation(state: OperationState, **more: Any) -> Operation:
    return Operation(
        id=1,
        kind=OperationKind.RECEIPT,
        identity="1:2:3",
        card_number="1",
        fingerprint="",
        payload=None,
        idempotency_key="R1",
        state=state,
        attempt=1,
        recorded_at=datetime(2026, 5, 19, tzinfo=UTC),
        **more,
    )


def test_an_operation_tells_its_points_only_once_they_are_credited() -> None:
    texts = {**dict.fromkeys(OperationState, "under way"), OperationState.DONE: "credited"}
    done = operation(OperationState.DONE, points=Decimal("62"), message=None)
    assert json.loads(answers.encode(answers.operation_json(done, texts))) == {
        "status": "credited",
        "points": "62",
        "description": "credited",
    }
    own_words = operation(OperationState.DONE, points=Decimal("5"), message="Спасибо!")
    assert answers.operation_json(own_words, texts)["description"] == "Спасибо!"
    doubled = operation(OperationState.DOUBLED, points=Decimal("62"))
    texts[OperationState.DOUBLED] = "credited"
    assert answers.operation_json(doubled, texts) == answers.operation_json(done, texts)
    for state in set(OperationState) - {OperationState.DONE, OperationState.DOUBLED}:
        shown = json.loads(answers.encode(answers.operation_json(operation(state, points=Decimal(9)), texts)))
        assert shown == {"status": "accepted", "description": "under way"}


def test_the_list_of_users_has_phones_without_a_plus() -> None:
    users = [ListedPhone("+79000123456"), ListedPhone("+375291234567", {"level": "gold"})]
    assert answers.listed_phones_json([listed.phone for listed in users]) == ["79000123456", "375291234567"]
    assert answers.listed_users_json(users) == [
        {"phone": "79000123456", "params": []},
        {"phone": "375291234567", "params": [{"name": "level", "value": "gold"}]},
    ]


# --- requests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{}}",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b"\xef\xbb\xbf",
        b"{}\xef\xbb\xbf",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b'{"a": "\x00"}',
        b"phone=79161234567",
        b"<xml/>",
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        '{"a": 1}'.encode("utf-16"),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_json_is_told_so(body: bytes) -> None:
    assert refusal(lambda: requests.read_object(body)) == (Code.NOT_JSON, None)


def test_a_byte_order_mark_before_json_is_passed_over() -> None:
    """RFC 8259, 8.1: a parser may ignore it."""
    assert requests.read_object(b'\xef\xbb\xbf{"A": 1}') == {"A": 1}


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"text"', b"true", b'[{"phone": "1"}]'])
def test_json_that_is_no_object_is_told_so(body: bytes) -> None:
    assert refusal(lambda: requests.read_object(body)) == (Code.NOT_AN_OBJECT, None)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_refusal(body: bytes) -> None:
    code = None
    try:
        assert isinstance(requests.read_object(body), dict)
    except Refused as refused:
        code = refused.code
    assert code in (None, Code.NOT_JSON, Code.NOT_AN_OBJECT)


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
_FIELDS = [
    "phone",
    "email",
    "firstname",
    "surname",
    "birthDate",
    "sex",
    "locality",
    "allow",
    "deny",
]


@given(st.dictionaries(st.sampled_from(_FIELDS), _JSON))
def test_any_object_is_read_or_a_field_of_it_is_named(body: dict[str, Any]) -> None:
    values = requests.by_lower_case(requests.read_object(json.dumps(body).encode()), {})
    for model in (requests.ProfileBody, requests.ConsentsBody, requests.HolderFields):
        named = None
        try:
            read = requests.read(model, values)
            if isinstance(read, requests.ProfileBody):
                read.profile("RU")
            if isinstance(read, requests.ConsentsBody):
                read.consents()
        except Refused as refused:
            named = (refused.code, refused.field)
        assert named is None or named in {(Code.FIELD_INVALID, field) for field in body}


@pytest.mark.parametrize("key", ["firstname", "firstName", "FIRSTNAME", "FirstName"])
def test_keys_are_read_in_any_case(key: str) -> None:
    assert profile(**{key: "Анна"}).first_name == "Анна"


@pytest.mark.parametrize("key", ["birthDate", "birthdate", "BIRTHDATE"])
def test_both_spellings_of_the_birth_date_are_read(key: str) -> None:
    assert profile(**{key: "1990-05-17"}).birth_date == date(1990, 5, 17)


def test_a_whole_profile_is_read_and_unknown_fields_are_ignored() -> None:
    assert profile(
        phone="79161234567",
        email="Anna@Example.com",
        firstname=" Анна ",
        patronymic="Петровна",
        surname="Демо",
        birthDate="1990-05-17",
        sex="f",
        countryCode="RU",
        locality="Москва",
        shoeSize=38,
    ) == Profile(
        phone="+79161234567",
        email="anna@example.com",
        first_name="Анна",
        patronymic="Петровна",
        surname="Демо",
        birth_date=date(1990, 5, 17),
        sex="f",
        country_code="RU",
        locality="Москва",
    )


@pytest.mark.parametrize("empty", ["", "   ", None])
@pytest.mark.parametrize("key", ["phone", "email", "firstname", "birthDate", "sex", "locality"])
def test_an_empty_field_counts_as_absent(key: str, empty: str | None) -> None:
    assert profile(**{key: empty}).is_empty()


@pytest.mark.parametrize("given_phone", ["79161234567", "+7 (916) 123-45-67", 79161234567, "8 916 123-45-67"])
def test_a_phone_may_have_punctuation_or_be_a_number(given_phone: str | int) -> None:
    assert profile(phone=given_phone).phone == "+79161234567"
    assert profile(msisdn=given_phone).phone == "+79161234567"


@pytest.mark.parametrize(
    ("text", "sex"),
    [
        ("m", "m"), ("M", "m"), ("male", "m"), ("Male", "m"), ("м", "m"), ("М", "m"), ("муж", "m"),
        ("f", "f"), ("F", "f"), ("female", "f"), ("FEMALE", "f"), ("ж", "f"), ("Ж", "f"), (" жен ", "f"),
    ],
)  # fmt: skip
def test_spellings_of_the_sex(text: str, sex: str) -> None:
    assert profile(sex=text).sex == sex


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("phone", "hello"),
        ("phone", "1234"),
        ("phone", 7.9),
        ("phone", True),
        ("phone", ["79161234567"]),
        ("phone", {"number": "79161234567"}),
        ("phone", 10**4000),
        ("email", "anna"),
        ("email", 5),
        ("firstname", "a\x00b"),
        ("firstname", "a" * 256),
        ("firstname", ["Анна"]),
        ("surname", False),
        ("birthDate", "1990-02-30"),
        ("birthDate", "17.05.1990"),
        ("birthDate", "1990-05-17T00:00:00"),
        ("birthDate", "19900517"),
        ("birthDate", "1990-W20-4"),
        ("birthDate", "0001-01-01"),
        ("birthDate", "9999-12-31"),
        ("birthDate", 19900517),
        ("birthDate", "１９９０-05-17"),
        ("sex", "x"),
        ("sex", 1),
        ("sex", ["f"]),
        ("locality", "\x00"),
    ],
)
def test_a_wrong_field_is_named_as_the_contract_spells_it(key: str, value: Any) -> None:
    assert refusal(lambda: profile(**{key: value})) == (Code.FIELD_INVALID, key)


def consents(body: Any) -> tuple[set[str], set[str]]:
    values = requests.by_lower_case(requests.read_object(json.dumps(body).encode()), {})
    read = requests.read(requests.ConsentsBody, values).consents()
    return set(read.allow), set(read.deny)


@pytest.mark.parametrize(
    ("body", "allow", "deny"),
    [
        ({"allow": ["sms", "email"], "deny": ["call"]}, {"sms", "email"}, {"call"}),
        ({"ALLOW": ["Push "]}, {"push"}, set()),
        ({"deny": ["sms", "sms"]}, set(), {"sms"}),
        ({"allow": ["telepathy", "sms", ""]}, {"sms"}, set()),
        ({"allow": [], "deny": None}, set(), set()),
        ({}, set(), set()),
    ],
)
def test_consents_are_read_and_unknown_channels_ignored(body: Any, allow: set[str], deny: set[str]) -> None:
    assert consents(body) == (allow, deny)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"allow": "sms"}, "allow"),
        ({"deny": {"sms": True}}, "deny"),
        ({"allow": [1]}, "allow"),
        ({"deny": [None]}, "deny"),
        ({"allow": ["sms"], "deny": ["sms"]}, "deny"),
    ],
)
def test_wrong_consents_name_the_field(body: Any, field: str) -> None:
    assert refusal(lambda: consents(body)) == (Code.FIELD_INVALID, field)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"startdate": "2026-13-01"}, "startDate"),
        ({"startdate": "2026-05-01", "enddate": "tomorrow"}, "endDate"),
        ({"startdate": "2026-05-01T00:00"}, "startDate"),
        ({"startdate": " 2026-05-01"}, "startDate"),
        ({"startdate": "20260501"}, "startDate"),
        ({"startdate": "2026-W20-1"}, "startDate"),
    ],
)
def test_a_wrong_day_names_the_parameter(query: dict[str, str], field: str) -> None:
    assert refusal(lambda: requests.read(requests.PurchasesQuery, query)) == (Code.FIELD_INVALID, field)


def test_a_parameter_without_a_value_counts_as_absent() -> None:
    query = requests.read(requests.FindQuery, {"msisdn": "", "email": " ", "birthdate": "", "other": "x"})
    assert (query.msisdn, query.email, query.birth_date) == (None, None, None)


@pytest.mark.parametrize("left_out", ["", " ", "null", "None", "undefined", "-", "\u200b"])
def test_a_day_or_a_card_that_is_not_told_counts_as_absent(left_out: str) -> None:
    days = requests.read(requests.PurchasesQuery, {"startdate": left_out, "enddate": left_out})
    assert (days.start_date, days.end_date) == (None, None)
    holder = requests.read(requests.HolderFields, {"cardnumber": left_out, "msisdn": "79161234567"})
    assert (holder.card_number, holder.msisdn) == (None, "79161234567")


@pytest.mark.parametrize("number", [0, 9])
def test_a_sex_that_is_not_told_may_be_a_number_of_iso_5218(number: int) -> None:
    assert profile(sex=number).sex is None


def test_the_first_named_field_that_holds_text_is_taken() -> None:
    values = requests.by_lower_case(requests.read_object(b'{"QR": "one", "code": "two", "n": 1}'), {})
    assert requests.text_field(values, ["qrCode", "qr", "code"]) == "one"
    assert requests.text_field(values, ["Code", "QR"]) == "two"
    assert requests.text_field(values, ["n"]) == "1"
    assert requests.text_field(values, ["absent"]) is None
    assert requests.text_field({"qr": " ", "code": "two"}, ["qr", "code"]) == "two"


@pytest.mark.parametrize("value", ["a\x00", ["x"], {"x": "y"}, True, 1.5])
def test_a_text_field_that_holds_no_text_is_named(value: Any) -> None:
    assert refusal(lambda: requests.text_field({"qrcode": value}, ["qrCode"])) == (
        Code.FIELD_INVALID,
        "qrCode",
    )


@pytest.mark.parametrize("digits", [4301, 60_000])
def test_a_number_of_thousands_of_digits_is_refused_like_other_nonsense(digits: int) -> None:
    with pytest.raises(Refused):
        requests.text_field(requests.read_object(b'{"code": ' + b"1" * digits + b"}"), ["code"])
