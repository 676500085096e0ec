"""Small inputs that other programs are known to trip over, each standing for a kind.

Named as in the list of kinds: characters nobody sees, not a phone, a CRM's phone as it stands, one e-mail for
one person, a QR text as links and scanners give it, left-out values. What they do to a whole call is shown in
``tests/integration/test_inputs.py``; spreadsheets are in ``test_importing.py``, tokens in
``test_http_auth.py``, X-Forwarded-For in ``test_processes.py``.
"""

from __future__ import annotations

from datetime import date
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_backends import inputs
from crm_backends.inputs.receipts import UnreadableReceipt, read_qr, receipt_of

PHONE = "+79161234567"
UNSEEN = [
    "\u200b", "\u200d", "\u200e", "\u202a", "\u202c", "\u2060", "\u2066", "\ufeff", "\u00ad", "\u180e",
    "\u034f",
    "\u061c", "\ufe0f", "\u3164", "\U000e0001",
]  # fmt: skip

# --- characters nobody sees --------------------------------------------------------------------------


@pytest.mark.parametrize("unseen", UNSEEN, ids=ascii)
def test_characters_nobody_sees_change_nobody(unseen: str) -> None:
    for phone in (
        f"{unseen}79161234567",
        f"7916{unseen}1234567{unseen}",
        f"{unseen}+7 916 {unseen}123-45-67",
    ):
        assert inputs.read_phone(phone, "RU") == PHONE
        assert inputs.read_crm_phone(phone, "RU") == PHONE
    for email in (f"anna@example.com{unseen}", f"{unseen}an{unseen}na@exam{unseen}ple.com"):
        assert inputs.read_email(email) == "anna@example.com"
    assert inputs.one_line(f"{unseen}Анна{unseen} ") == "Анна"
    assert inputs.birth_date_of(f"1990-05-17{unseen}") == date(1990, 5, 17)
    assert inputs.sex_of(f"ж{unseen}") == "f"


@pytest.mark.parametrize(
    "text",
    [
        "\u202a+7 (916) 123\u201145\u201167\u202c",
        "7\u2212916\u2212123\u221245\u221267",
        "+7\u2013916\u2014123\u201045\u201267",
        "+7\u00a0916\u202f123\u200945\u300067",
        "７９１６１２３４５６７",
        "＋７ （９１６） １２３－４５－６７",
        "tel:+7-916-123-45-67",
        "TEL:+79161234567",
        "8(916)1234567",
    ],
)
def test_dashes_blanks_and_wide_digits_of_any_kind_are_understood_in_a_phone(text: str) -> None:
    assert inputs.read_phone(text, "RU") == PHONE


def test_a_name_has_one_form_however_its_letters_were_put_together() -> None:
    assert inputs.one_line("И\u0306осиф\u00a0 \tПетрович\r\n") == "Йосиф Петрович"


@given(st.text(max_size=40))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = inputs.one_line(text)
    assert inputs.one_line(once) == once


# --- not a phone -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "123-45-67", "1234567", "12-34-56", "8 916 123 45 6", "8916123456", "+7 916 123 45 6", "7916123456",
        "8 916 123 45 678", "0000000000", "00000000000", "1111111111", "11111111111", "70000000000",
        "71234567890",
        "8888888888", "+1 111 111 11 11", "1234567890", "+8 916 123-45-67", "112", "8-800", "79161234567.0",
        "9161234567,0", "7.9161234567E+10", "7,9161E+10", "79161234567 доб. 5", "79161234567,5",
        "79161234567x5",
        "79161234567;ext=5", "tel:+79161234567;ext=5", "tel:8-916-123-45-67;phone-context=+7",
        "79161234567, 79161234568", "79161234567/68", "7+9161234567", "++79161234567", "+", "-", "()",
    ],
)  # fmt: skip
def test_what_is_not_a_phone_is_nobodys(text: str) -> None:
    assert inputs.read_phone(text, "RU") is None


@pytest.mark.parametrize(
    ("text", "region", "phone"),
    [
        ("9212345678", "RU", "+79212345678"),  # not +92, Pakistan
        ("9261234567", "RU", "+79261234567"),
        ("3432123456", "RU", "+73432123456"),  # not +34, Spain
        ("2015550123", "US", "+12015550123"),  # not +20, Egypt
        ("9876543210", "IN", "+919876543210"),
        ("4951234567", "RU", "+74951234567"),  # not +49, a landline in Germany
        ("4741234567", "RU", "+4741234567"),  # a mobile number of Norway in full, no landline in Lipetsk
        ("3725123456", "RU", "+3725123456"),  # no Russian number; an Estonian one in full
    ],
)
def test_ten_digits_without_a_country_code_are_read_in_the_programmes_region_first(
    text: str, region: str, phone: str
) -> None:
    assert inputs.read_phone(text, region) == phone


@pytest.mark.parametrize("text", ["79551234567", "37254999999", "998201234567", "+998 20 123-45-67"])
def test_a_number_given_in_full_is_believed_though_its_range_may_have_been_opened_yesterday(
    text: str,
) -> None:
    digits = "".join(character for character in text if character.isdigit())
    assert inputs.read_phone(text, "RU") == f"+{digits}"


def test_digits_are_never_left_out_to_make_a_phone_of_another_country() -> None:
    assert inputs.read_phone("88005553535", "RU") == "+78005553535"  # not +880 5553535, Bangladesh


# --- a CRM's phone as it stands -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "kept",
    [
        "+79840001236", "79840001236", "8 (984) 000-12-36", "89840001236", "9840001236", "(984) 000-12-36",
        "+7(984)000-12-36", "7-984-000-12-36", " 8.984.000.12.36 ", "8\u00a0984\u00a0000\u201112\u201136",
    ],
)  # fmt: skip
def test_a_phone_as_people_type_it_is_brought_to_e164(kept: str) -> None:
    assert inputs.read_crm_phone(kept, "RU") == "+79840001236"


def test_what_a_russian_crm_keeps_is_a_russian_number_first() -> None:
    assert inputs.read_crm_phone("84951234567", "RU") == "+74951234567"  # not +84, Vietnam
    assert inputs.read_crm_phone("375291234567", "RU") == "+375291234567"
    assert inputs.read_crm_phone("0151 12345678", "DE") == "+4915112345678"


@pytest.mark.parametrize("nothing", [None, "", " ", "нет", "-", "—", "null", "не указан", "x"])
def test_a_crm_that_keeps_no_phone_keeps_none(nothing: str | None) -> None:
    assert inputs.read_crm_phone(nothing, "RU") is None


@pytest.mark.parametrize(
    ("kept", "shape"),
    [
        ("8 (984) 000-12-3", '"9 (999) 999-99-9"'),
        ("89840001236 Анна", '"99999999999 xxxx"'),
        ("8984000123\u200b", '"9999999999?"'),
        ("1" * 60, f'"{"9" * 40}" and 20 more'),
    ],
)
def test_a_value_that_is_no_phone_is_told_by_its_shape_alone(kept: str, shape: str) -> None:
    with pytest.raises(inputs.UnreadablePhone) as caught:
        inputs.read_crm_phone(kept, "RU")
    assert str(caught.value) == shape


def test_a_phone_in_the_forms_a_foreign_table_may_keep() -> None:
    for phone, digits, national in (
        ("+79161234567", "79161234567", "9161234567"),
        ("+375291234567", "375291234567", "291234567"),
    ):
        assert (inputs.wire_phone(phone), inputs.national_digits(phone)) == (digits, national)


# --- one e-mail, one person ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forms", "email"),
    [
        (["a@x.ru", "A@X.RU", "mailto:a@x.ru", "<a@x.ru>", " <mailto:A@x.ru> ",
          "MAILTO:a%40x.ru?subject=x", "ａ＠x.ru"],
         "a@x.ru"),
        (["анна@пример.рф", "Анна@ПРИМЕР.РФ", "анна@xn--e1afmkfd.xn--p1ai",
          "анна@XN--E1AFMKFD.XN--P1AI", "анна@пример。рф"],
         "анна@пример.рф"),
        (["jose\u0301@x.ru", "jos\u00e9@x.ru"], "jos\u00e9@x.ru"),
        (["o'brien+shop@mail.example.com"], "o'brien+shop@mail.example.com"),
    ],
)  # fmt: skip
def test_an_address_is_one_however_it_is_written(forms: list[str], email: str) -> None:
    assert [inputs.read_email(form) for form in forms] == [email] * len(forms)


@pytest.mark.parametrize(
    "text",
    [
        "a@b..com", "a@.b.com", "a@b.com.", "a@b.com..", ".a@b.com", "a.@b.com", "a..b@c.com",
        "a b@x.ru", "a@x .ru",
        "Anna <a@x.ru>", "a@x.ru, b@x.ru", "a@x.ru;b@x.ru", "a@", "@x.ru", "a@@x.ru", "a@x", "a@-x.ru",
        "a@x-.ru",
        "a@1.2.3.4", "a@[1.2.3.4]", '"a"@x.ru', "a(b)@x.ru", "a@x_y.ru", "a@xn--.ru", "a@xn--999999999999.ru",
        "mailto:", "<>", "a@x.ru>", "<a@x.ru", "http://a@x.ru", "a\\@x.ru",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    assert inputs.read_email(text) is None


# --- QR text as links and scanners give it ------------------------------------------------------------

QR = "t=20261125T2025&s=1250.50&fn=9960440300000001&i=12345&fp=1234567890&n=1"
WHOLE = quote(QR, safe="")
VALUES = dict(pair.split("=") for pair in QR.split("&"))


@pytest.mark.parametrize(
    "text",
    [
        f"https://qr.example/receipt?q={WHOLE}",
        f"https://qr.example/receipt?lang=ru&text={WHOLE}&utm_source=qr#top",
        f"https://qr.example/?t=99&q={WHOLE}",
        f"https://qr.example/?url={quote(f'https://other.example/?q={WHOLE}', safe='')}",
        f"https://qr.example/?q={QR}",
        f"https://qr.example/?{quote(QR, safe='&')}",
        f"https://qr.example/?{WHOLE}",
        f"https://qr.example/#/check?{QR}",
        f"https://qr.example/#{QR}",
        f"https://qr.example/a=b/?{QR}",
        f"https://qr.example/{QR}",
        WHOLE,
        quote(WHOLE, safe=""),
        QR.replace("=", "%3D"),
        QR.replace("&", "%26"),
        f"https://qr.example/?{QR.replace('&', '%26')}",
        QR.replace("1250.50", "1250%2C50"),
        QR.replace("1250.50", "1250%252C50"),
        QR.replace("T2025", "t2025"),
        QR.replace("&", "&amp;"),
        QR.replace("&", "\r\n"),
        "\ufeff" + QR,
        QR.replace("&", "\u200b&\u200b"),
        QR.replace("fn=", "f\u00adn="),
        f'"{QR}"',
        f"«{QR}».",
        f"“{QR}”",
        f"'{QR}'",
        f"<{QR}>",
        f"({QR})!",
        f"\u00a0{QR}\u2028",
        f"{QR}.",
        f"{QR};",
    ],
)
def test_a_receipt_is_one_however_its_code_was_passed_on(text: str) -> None:
    zone = ZoneInfo("Europe/Moscow")
    read, plain = (receipt_of(read_qr(one), zone, pad_drive=True) for one in (text, QR))
    for field in ("fiscal_drive", "document", "sign", "total_kopecks", "issued_at", "calculation_type"):
        assert getattr(read, field) == getattr(plain, field)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"{QR}&s=1250.50", "s"),
        (f"https://qr.example/?q={WHOLE}&q={WHOLE}", "t"),
        (f"https://qr.example/?a={WHOLE}&b={quote(QR.replace('1250', '9999'), safe='')}", "t"),
        (f"https://qr.example/?s=1&q={quote(QR.replace('fn=', 'no='), safe='')}", "s"),
    ],
)
def test_a_key_that_is_there_twice_is_refused_wherever_it_stands(text: str, key: str) -> None:
    with pytest.raises(UnreadableReceipt) as caught:
        read_qr(text)
    assert caught.value.key == key


def test_a_text_may_stand_within_texts() -> None:
    text = QR
    for _ in range(3):
        text = f"q={quote(text, safe='')}"
    assert read_qr(text) == VALUES


@pytest.mark.parametrize("fn", ["0000440300000001", "440300000001", "000440300000001"])
def test_a_fiscal_drive_that_lost_its_leading_zeros_is_the_same(fn: str) -> None:
    zone = ZoneInfo("Europe/Moscow")
    assert receipt_of(VALUES | {"fn": fn}, zone, pad_drive=True).fiscal_drive == "0000440300000001"
    assert receipt_of(VALUES | {"fn": fn}, zone, pad_drive=False).fiscal_drive == fn


# --- left-out values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", " ", "U", "u", "unknown", "UNKNOWN", "не указан", "Не указано", "неизвестно", "null", "NULL",
     "None", "n/a",
     "-", "—", "0", "9", "other", "undefined", "\u200b", "NOT_SPECIFIED", "not_known", "не_указан",
     "не выбран"],
)  # fmt: skip
def test_a_sex_that_is_not_told_is_left_out(text: str) -> None:
    assert inputs.sex_of(text) is None


@pytest.mark.parametrize(
    "text", ["", "null", "None", "undefined", "нет", "не указана", "-", "n/a", "NOT_SET"]
)
def test_a_birth_date_that_is_not_told_is_left_out(text: str) -> None:
    assert inputs.birth_date_of(text) is None
