"""Phones and e-mails: the many ways in which they are written, and the one form inside."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberType

from crm_backends.inputs import read_email, read_phone, wire_phone


@pytest.mark.parametrize(
    "text",
    [
        "79161234567",
        "+79161234567",
        "+7 (916) 123-45-67",
        "7 916 123 45 67",
        "8 (916) 123-45-67",
        "89161234567",
        "+7\u00a0916\u00a0123\u201345\u201367",
        " 7.916.123.45.67\n",
    ],
)
def test_a_russian_mobile_has_one_form_however_it_is_written(text: str) -> None:
    assert read_phone(text, "RU") == "+79161234567"


@pytest.mark.parametrize("text", ["9161234567", "(926) 123-45-67", "8 (495) 123-45-67", "8 (812) 123-45-67"])
def test_a_national_number_is_one_of_the_region_not_of_the_country_its_digits_resemble(text: str) -> None:
    digits = "".join(character for character in text if character.isdigit())[-10:]
    assert read_phone(text, "RU") == f"+7{digits}"


@pytest.mark.parametrize(
    ("text", "phone"),
    [
        ("375291234567", "+375291234567"),
        ("+375 29 123-45-67", "+375291234567"),
        ("77011234567", "+77011234567"),
        ("998901234567", "+998901234567"),
        ("4915112345678", "+4915112345678"),
        ("393401234567", "+393401234567"),
    ],
)
def test_phones_of_other_countries_are_read_by_their_country_code(text: str, phone: str) -> None:
    assert read_phone(text, "RU") == phone


def test_the_region_of_the_settings_decides_about_a_number_without_a_country_code() -> None:
    assert read_phone("0151 12345678", "DE") == "+4915112345678"
    assert read_phone("8 029 123-45-67", "BY") == "+375291234567"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "+",
        "1234",
        "hello",
        "7916123456x",
        "7916123456789012",
        "+89161234567",
        "++79161234567",
        "7+9161234567",
        "79161234567;ext=1",
        "79161234567#1",
        "00000000000",
        "79161234567\x00",
    ],
)
def test_what_is_no_phone_is_not_read(text: str) -> None:
    assert read_phone(text, "RU") is None


def test_digits_of_other_scripts_are_no_phone() -> None:
    assert read_phone("79" + "\u0660" * 9, "RU") is None


def test_the_wire_form_has_no_plus() -> None:
    assert wire_phone("+79161234567") == "79161234567"


_NATIONAL = st.sampled_from(["RU", "KZ", "BY", "UZ", "DE", "US", "CN", "IT", "GB", "AE"]).flatmap(
    lambda region: st.integers(10**6, 10**11).map(lambda number: (region, number))
)


@given(_NATIONAL)
def test_a_phone_read_from_the_wire_is_the_phone_that_was_sent(person: tuple[str, int]) -> None:
    region, number = person
    code = phonenumbers.country_code_for_region(region)
    phone = read_phone(f"+{code}{number}", "RU")
    if phone is None or not phonenumbers.is_valid_number(parsed := phonenumbers.parse(phone)):
        return
    # A landline in ten digits may as well be one of the programme's region without its code.
    if len(wire_phone(phone)) != 10 or phonenumbers.number_type(parsed) is PhoneNumberType.MOBILE:
        assert read_phone(wire_phone(phone), "RU") == phone


@given(st.text(max_size=30))
def test_any_text_is_a_phone_in_e164_or_none(text: str) -> None:
    phone = read_phone(text, "RU")
    if phone is not None:
        assert phone[0] == "+"
        assert phone[1:].isascii()
        assert phone[1:].isdigit()
        assert 5 <= len(phone) - 1 <= 15


@pytest.mark.parametrize(
    ("text", "email"),
    [
        ("anna@example.com", "anna@example.com"),
        (" Anna.Petrova+shop@Example.COM ", "anna.petrova+shop@example.com"),
        ("анна@пример.рф", "анна@пример.рф"),
        ("a@b.co", "a@b.co"),
    ],
)
def test_an_email_is_trimmed_and_in_lower_case(text: str, email: str) -> None:
    assert read_email(text) == email


@pytest.mark.parametrize(
    "text",
    [
        "",
        "anna",
        "anna@",
        "@example.com",
        "anna@example",
        "anna@example.c",
        "anna@example.com.",
        "an na@example.com",
        "anna@@example.com",
        "anna@exa\x00mple.com",
        "a" * 65 + "@example.com",
        "a@" + "b" * 260 + ".com",
    ],
)
def test_what_is_no_email_is_not_read(text: str) -> None:
    assert read_email(text) is None


@given(st.text(max_size=30))
def test_an_email_once_read_reads_as_itself(text: str) -> None:
    email = read_email(f"{text}@example.com")
    if email is not None:
        assert read_email(email) == email
