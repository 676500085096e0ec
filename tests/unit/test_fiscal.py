"""The QR code of a cash receipt: what is read, what is refused and which key the refusal names.

The rules are those of the contract's chapter on the fiscal QR.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapter.errors import Code, Refused
from adapter.loyalty.fiscal import KEYS, MAX_TEXT, parse_receipt, read_qr
from crm_backends.model import FiscalReceipt

MOSCOW = ZoneInfo("Europe/Moscow")
NOW = datetime(2018, 5, 19, 12, 0, tzinfo=MOSCOW)
QR = "t=20180518T220500&s=975.88&fn=8710000101125654&i=99456&fp=1250448795&n=1"
OFFICIAL = "t=20150720T1638&s=9999999.00&fn=000110000105&i=12345678&fp=123456&n=2"


def parsed(text: str, now: datetime = NOW, zone: ZoneInfo = MOSCOW) -> FiscalReceipt:
    return parse_receipt(read_qr(text), zone, now)


def facts(receipt: FiscalReceipt) -> tuple[object, ...]:
    return (
        receipt.fiscal_drive,
        receipt.document,
        receipt.sign,
        receipt.total_kopecks,
        receipt.issued_at,
        receipt.calculation_type,
    )


FACTS = facts(parsed(QR))


def with_value(key: str, value: str) -> str:
    """The good QR text with one value replaced."""
    values = read_qr(QR) | {key: value}
    return "&".join(f"{name}={text}" for name, text in values.items())


def refusal(text: str, now: datetime = NOW) -> tuple[Code, str | None]:
    with pytest.raises(Refused) as caught:
        parsed(text, now)
    return caught.value.code, caught.value.field


def test_every_value_of_the_code_is_read() -> None:
    assert facts(parsed(QR)) == (
        "8710000101125654",
        "99456",
        "1250448795",
        97588,
        datetime(2018, 5, 18, 22, 5, tzinfo=MOSCOW),
        1,
    )


def test_the_official_example_is_read() -> None:
    assert facts(parsed(OFFICIAL)) == (
        "000110000105",
        "12345678",
        "123456",
        999_999_900,
        datetime(2015, 7, 20, 16, 38, tzinfo=MOSCOW),
        2,
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("&".join(reversed(QR.split("&"))), id="another order"),
        pytest.param(QR.replace("&", ";"), id="semicolons"),
        pytest.param(QR.replace("&", ";", 2), id="both separators"),
        pytest.param(f"https://check.ofd.ru/rec?{QR}", id="link"),
        pytest.param(f"https://check.ofd.ru/rec?lang=ru&{QR}&utm_source=qr#top", id="link with more"),
        pytest.param(QR.replace("fp=", "fpd="), id="fpd"),
        pytest.param(QR.replace("&i=", "&fd="), id="fd"),
        pytest.param(QR.replace("t=", "dt=", 1), id="dt"),
        pytest.param(QR.replace("&s=", "&sum="), id="sum"),
        pytest.param(QR.replace("&n=1", ""), id="no n"),
        pytest.param(QR.replace("975.88", "975,88"), id="comma"),
        pytest.param(QR.replace("220500", "2205"), id="no seconds"),
        pytest.param(f"  {QR}\r\n", id="blanks around"),
        pytest.param(QR.replace("&", " & ").replace("=", " = "), id="blanks within"),
        pytest.param(QR.upper(), id="capitals"),
        pytest.param(f"&{QR}&", id="empty pairs"),
    ],
)
def test_spellings_met_in_the_field_are_the_same_receipt(text: str) -> None:
    assert facts(parsed(text)) == FACTS


@pytest.mark.parametrize(
    ("total", "kopecks"),
    [
        ("975", 97500),
        ("975.5", 97550),
        ("0.01", 1),
        ("00012.30", 1230),
        ("999999999999.99", 99_999_999_999_999),
    ],
)
def test_the_total_is_whole_kopecks(total: str, kopecks: int) -> None:
    assert parsed(with_value("s", total)).total_kopecks == kopecks


def test_leading_zeros_of_the_fiscal_drive_are_kept_and_of_document_and_sign_are_not() -> None:
    receipt = parsed("t=20180518T2205&s=1&fn=0000000101125654&i=0000099456&fp=0250448795")
    assert (receipt.fiscal_drive, receipt.document, receipt.sign) == (
        "0000000101125654",
        "99456",
        "250448795",
    )


def test_the_shops_clock_runs_in_the_zone_of_the_settings() -> None:
    there = parsed(QR, zone=ZoneInfo("Asia/Vladivostok"))
    assert FACTS[4] - there.issued_at == timedelta(hours=7)  # type: ignore[operator]


@pytest.mark.parametrize("key", ["t", "s", "fn", "i", "fp"])
def test_a_missing_key_is_named(key: str) -> None:
    without = "&".join(pair for pair in QR.split("&") if not pair.startswith(f"{key}="))
    assert refusal(without) == (Code.QR_UNREADABLE, key)
    assert refusal(with_value(key, "")) == (Code.QR_UNREADABLE, key)


@pytest.mark.parametrize("key", KEYS)
def test_a_repeated_key_is_named_even_when_its_value_is_the_same(key: str) -> None:
    again = next(pair for pair in QR.split("&") if pair.startswith(f"{key}="))
    assert refusal(f"{QR}&{again}") == (Code.QR_UNREADABLE, key)


@pytest.mark.parametrize(("alias", "key"), [("fpd", "fp"), ("fd", "i"), ("dt", "t"), ("sum", "s")])
def test_a_key_and_its_alias_are_a_repetition(alias: str, key: str) -> None:
    assert refusal(f"{QR}&{alias}={read_qr(QR)[key]}") == (Code.QR_UNREADABLE, key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("t", "20180230T1000"),
        ("t", "20181301T1000"),
        ("t", "20180518T2460"),
        ("t", "20180518T2500"),
        ("t", "20180518T220561"),
        ("t", "00000101T0000"),
        ("t", "20180518"),
        ("t", "20180518 2205"),
        ("t", "2018-05-18T22:05"),
        ("t", "20180518T22050"),
        ("t", "20180518T2205Z"),
        ("t", "２０１８0518T2205"),
        ("s", "0"),
        ("s", "0.00"),
        ("s", "-975.88"),
        ("s", "+975.88"),
        ("s", "975."),
        ("s", ".88"),
        ("s", "975.888"),
        ("s", "1 975.88"),
        ("s", "9e5"),
        ("s", "NaN"),
        ("s", "1000000000000"),
        ("s", "٩٧٥"),
        ("fn", "87100001011256540"),
        ("fn", "871000010112565X"),
        ("fn", "８710000101125654"),
        ("i", "12345678901"),
        ("i", "-1"),
        ("i", "1.0"),
        ("fp", "4294967296"),
        ("fp", "9999999999"),
        ("fp", "12504487950"),
        ("fp", "0x1"),
        ("n", "0"),
        ("n", "5"),
        ("n", "11"),
        ("n", "x"),
        ("n", "١"),
    ],
)
def test_a_malformed_value_is_refused_and_its_key_named(key: str, value: str) -> None:
    code, field = refusal(with_value(key, value))
    assert (code, field) == (Code.QR_UNREADABLE, key)


def test_the_greatest_fiscal_sign_is_accepted() -> None:
    assert parsed(with_value("fp", "4294967295")).sign == "4294967295"


@pytest.mark.parametrize("sign", ["1", "2", "3", "4"])
def test_all_four_calculation_types_are_read(sign: str) -> None:
    assert parsed(with_value("n", sign)).calculation_type == int(sign)


def test_a_receipt_of_up_to_twelve_hours_ahead_is_accepted_and_a_later_one_not() -> None:
    settled = datetime(2018, 5, 18, 22, 5, tzinfo=MOSCOW)
    assert parsed(QR, now=settled - timedelta(hours=12)).issued_at == settled
    code, field = refusal(QR, now=settled - timedelta(hours=12, seconds=1))
    assert (code, field) == (Code.RECEIPT_FROM_FUTURE, None)


@pytest.mark.parametrize("text", ["", "hello", "&&&", "=", "https://example.com/", "t", "{}"])
def test_what_is_no_receipt_at_all_is_refused(text: str) -> None:
    assert refusal(text) == (Code.QR_UNREADABLE, "t")


def test_a_text_of_absurd_length_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        read_qr(QR + "&x=" + "1" * MAX_TEXT)
    assert caught.value.code is Code.QR_UNREADABLE


def test_a_refusal_repeats_no_value() -> None:
    with pytest.raises(Refused) as caught:
        parsed(with_value("fp", "9999999999"))
    told = f"{caught.value} {caught.value.description('ru')} {caught.value.description('en')}"
    assert "9999999999" not in told
    assert told.endswith(": fp")


# Texts near a real code find more than random ones do.
_VALUES = st.one_of(
    st.text(max_size=20),
    st.from_regex(r"[0-9]{8}T[0-9]{4}([0-9]{2})?", fullmatch=True),
    st.from_regex(r"[0-9]{1,13}([.,][0-9]{0,3})?", fullmatch=True),
    st.integers().map(str),
    st.sampled_from(["", "1", "00010101T0000", "99991231T235959", "²"]),
)
_NAMES = st.sampled_from([*KEYS, "fd", "fpd", "dt", "sum", "T", "x", ""])
_NEAR = st.lists(st.tuples(_NAMES, _VALUES, st.sampled_from("&;?#")), max_size=9).map(
    lambda pairs: "".join(f"{name}={value}{separator}" for name, value, separator in pairs)
)
_EVERY_KEY = st.fixed_dictionaries(dict.fromkeys(KEYS, _VALUES)).map(
    lambda values: "&".join(f"{key}={value}" for key, value in values.items())
)


@given(st.one_of(st.text(), _NEAR, _EVERY_KEY))
@example("t=00010101T0000&s=1&fn=1&i=1&fp=1")
@example("t=99991231T2359&s=1&fn=1&i=1&fp=1")
def test_any_text_is_a_sound_receipt_or_a_refusal(text: str) -> None:
    refused: Refused | None = None
    try:
        receipt = parsed(text)
    except Refused as error:
        refused = error
    if refused is not None:
        assert refused.code in (Code.QR_UNREADABLE, Code.RECEIPT_FROM_FUTURE)
        return
    assert receipt.fiscal_drive.isascii()
    assert receipt.fiscal_drive.isdigit()
    assert 1 <= len(receipt.fiscal_drive) <= 16
    assert 0 <= int(receipt.sign) <= 4_294_967_295
    assert receipt.total_kopecks > 0
    assert receipt.calculation_type in (1, 2, 3, 4)
    assert receipt.issued_at <= NOW + timedelta(hours=12)


@given(
    st.lists(
        st.tuples(st.sampled_from([*KEYS, "fd", "fpd", "x"]), st.from_regex("[0-9T.]{1,8}", fullmatch=True)),
        min_size=5,
        max_size=7,
    ).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))
)
@example("t=1&s=2&fn=3&i=4&fp=5&n=6")
@example("t=1&s=2&fn=3&i=4&fp=5&n=6.")
@example("t=1&s=2&fn=3&i=4&fp=5&fp=6")
def test_a_plain_text_is_read_as_one_that_needs_understanding(text: str) -> None:
    """With quotes around the short way of reading does not take it."""

    def read(text: str) -> dict[str, str] | str | None:
        try:
            return read_qr(text)
        except Refused as error:
            return error.field

    assert read(text) == read(f'"{text}"')


@given(
    moment=st.datetimes(datetime(2017, 1, 1), NOW.replace(tzinfo=None)),  # noqa: DTZ001 - a shop's clock
    kopecks=st.integers(1, 10**14 - 1),
    drive=st.from_regex(r"[0-9]{1,16}", fullmatch=True),
    document=st.integers(0, 10**10 - 1),
    sign=st.integers(0, 4_294_967_295),
    calculation_type=st.integers(1, 4),
    order=st.permutations(range(6)),
)
def test_what_a_cash_register_prints_is_read_back(
    moment: datetime,
    kopecks: int,
    drive: str,
    document: int,
    sign: int,
    calculation_type: int,
    order: list[int],
) -> None:
    moment = moment.replace(microsecond=0)
    pairs = [
        f"t={moment:%Y%m%dT%H%M%S}",
        f"s={kopecks // 100}.{kopecks % 100:02d}",
        f"fn={drive}",
        f"i={document}",
        f"fp={sign:010d}",
        f"n={calculation_type}",
    ]
    receipt = parsed("&".join(pairs[place] for place in order), now=datetime.now(UTC))
    assert facts(receipt) == (
        drive,
        str(document),
        str(sign),
        kopecks,
        moment.replace(tzinfo=MOSCOW),
        calculation_type,
    )
