"""A file of card numbers, line by line: what is taken, what is rejected and why. No database here."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.loyalty.model import CardState
from adapter.settings import Cards
from adapter.store.importing import BadFile, ImportReport, Row, read_rows

GOOD, OTHER = "2900000000018", "2900000000025"


def read(text: str, **cards: Any) -> tuple[list[Row], ImportReport]:
    report = ImportReport()
    return list(read_rows(io.StringIO(text, newline=""), Cards(**cards), report)), report


def only(text: str, **cards: Any) -> Row:
    rows, report = read(text, **cards)
    assert report.rejected == []
    (row,) = rows
    return row


def test_a_bare_number_is_a_free_card_whose_barcode_follows_the_rule() -> None:
    assert only(f"number\n{GOOD}\n") == (GOOD, GOOD, "CODE_128", "free", None)
    assert only("number\n290000000001\n", barcode_type="EAN_13", barcode_rule="check_digit") == (
        "290000000001",
        GOOD,
        "EAN_13",
        "free",
        None,
    )


def test_a_line_may_say_everything_in_any_order() -> None:
    text = f"customer,barcode_type,barcode,state,number\n person-1 ,EAN_13,{OTHER},active, {GOOD}\n"
    assert only(text) == (GOOD, OTHER, "EAN_13", "active", "person-1")


@pytest.mark.parametrize(
    "text",
    [
        f"number;state\n{GOOD};free\n",
        f"\ufeffnumber,state\r\n{GOOD},free\r\n",
        f"Number , STATE\n\n{GOOD},\n ,\n",
        f'"number","state"\n"{GOOD}","free"\n',
        f"number,state\n{GOOD},free",
    ],
    ids=["semicolons", "mark and CRLF", "blanks and empty lines", "quotes", "no last line break"],
)
def test_the_dialects_of_spreadsheets_are_read(text: str) -> None:
    assert only(text)[0] == GOOD


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "one of them number"),
        ("\n", "one of them number"),
        (f"{GOOD}\n", "one of them number"),
        ("card;state\n1;free\n", "one of them number"),
        ("number;colour\n1;red\n", 'no column "colour"'),
    ],
)
def test_a_file_without_the_right_columns_is_refused_as_a_whole(text: str, says: str) -> None:
    with pytest.raises(BadFile) as caught:
        read(text)
    assert says in str(caught.value)
    assert "number, state, barcode, barcode_type, customer" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (",free,,,", "empty"),
        ("a" * 65 + ",free,,,", "longer than 64"),
        ("no/path,free,,,", "path"),
        ("карта,free,,,", "path"),
        (f"{GOOD},lost,,,", "state"),
        (f"{GOOD},reserved,,,", "state"),
        (f"{GOOD},active,,,", "customer"),
        (f"{GOOD},blocked,,,", "customer"),
        (f"{GOOD},free,,,person", "customer"),
        (f"{GOOD},,4006381333932,EAN_13,", "check digit"),
        (f"{GOOD},,,EAN_8,", "8 digits"),
        (f"{GOOD},,,EAN_14,", "EAN_14"),
        (f"{GOOD},active,,,per\x00son", "customer"),
        (f"{GOOD},free", "columns"),
        (f"{GOOD},free,,,,", "columns"),
    ],
)
def test_a_line_that_makes_no_card_is_rejected_by_its_number_and_the_next_is_read(
    line: str, says: str
) -> None:
    rows, report = read(f"number,state,barcode,barcode_type,customer\n{line}\n{OTHER},,,,\n")
    assert [row[0] for row in rows] == [OTHER]
    ((number, reason),) = report.rejected
    assert number == 2
    assert says in reason
    assert report.rejected_count == 1


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("2.977E+12", "rounded"),
        ('"2,977E+12"', "rounded"),
        ("2.97700000E12", "rounded"),
        ("3E+12", "rounded"),
        ("'2977000000017", "quotes"),
        ("2977000000017'", "quotes"),
        ('"""2977000000017"""', "quotes"),
        ('"=""2977000000017"""', "formula"),
        ("=A1", "formula"),
        ("2977000000017.0", "amount"),
        ("2977000000017.00", "amount"),
        ('"2977000000017,0"', "amount"),
        ('"2,977,000,000,017"', "amount"),
        ('"2,977,000,000,017.00"', "amount"),
        ("2.977.000.000.017", "amount"),
        ('"2.977.000.000.017,00"', "amount"),
        ("2 977 000 000 017", "amount"),
        ('"2 977 000 000 017,00"', "amount"),
        ("2\u00a0977\u00a0000\u00a0000\u00a0017", "amount"),
        ("Err:502", "error"),
        ("#REF!", "#REF!"),
        ("#N/A", "error"),
        ("#VALUE!", "error"),
        ("#ССЫЛКА!", "error"),
        ("#Н/Д", "error"),
        ("#DIV/0!", "error"),
        ("########", "error"),
        ("01.02.2024", "date"),
        ("1/2/2024", "date"),
        ("2024-02-01", "date"),
        ("2024-02-01 00:00:00", "date"),
        ("1-Mar", "date"),
        ("Mar-24", "date"),
        ("TRUE", "word"),
        ("null", "word"),
        ("н/д", "word"),
    ],
)
@pytest.mark.parametrize("column", ["number", "barcode", "customer"])
def test_what_a_spreadsheet_makes_of_a_number_is_rejected_with_line_reason_and_remedy(
    column: str, cell: str, says: str
) -> None:
    line = {
        "number": f"{cell},,,",
        "barcode": f"{GOOD},,{cell},",
        "customer": f"{GOOD},active,,{cell}",
    }[column]
    rows, report = read(f"number,state,barcode,customer\n{line}\n{OTHER},,,\n")
    assert [row[0] for row in rows] == [OTHER]
    ((number, reason),) = report.rejected
    assert number == 2
    assert reason.startswith(f"the {column} ")
    assert says in reason
    assert ";" in reason  # the remedy comes after


@pytest.mark.parametrize(
    "number",
    ["2977000000017", "A17", "OLD-77", "12-34-56", "29E12", "0012", "7" * 64, "1.2.3", "#17", "12-34-5678"],
)
def test_numbers_that_no_spreadsheet_has_touched_are_taken(number: str) -> None:
    assert only(f"number\n{number}\n")[0] == number


def test_blanks_and_characters_nobody_sees_are_taken_off_a_cell() -> None:
    assert only(f"number,state\n\u200b{GOOD}\u00a0 ,\ufefffree\n")[:4] == (GOOD, GOOD, "CODE_128", "free")


def test_two_numbers_with_one_barcode_are_not_two_cards() -> None:
    rows, report = read(f"number,barcode\n{GOOD},77\n{OTHER},77\n{GOOD},77\n{OTHER},78\n")
    assert [row[:2] for row in rows] == [(GOOD, "77"), (GOOD, "77"), (OTHER, "78")]
    assert report.rejected == [
        (3, "another number has this barcode in an earlier line; correct one of them"),
    ]


def test_the_rule_for_card_numbers_holds_for_a_file() -> None:
    rules = {"number_lengths": [13], "number_alphabet": "digits", "number_check_digit": "ean"}
    rows, report = read(f"number\n{GOOD}\n290000000001\n290000000001x\n2900000000019\n", **rules)
    assert [row[0] for row in rows] == [GOOD]
    assert [(line, reason.partition(";")[0]) for line, reason in report.rejected] == [
        (3, "the number has 12 characters, cards.number_lengths has 13"),
        (4, "the number has other characters than cards.number_alphabet allows (digits)"),
        (5, "the last digit of the number is wrong, cards.number_check_digit is ean"),
    ]


def test_a_line_is_counted_as_an_editor_counts_it() -> None:
    rows, report = read(f'number,customer\n"{GOOD}\n",\n{OTHER},person\n')
    assert [row[0] for row in rows] == [GOOD]
    assert [line for line, _ in report.rejected] == [4]


def test_a_field_of_absurd_length_does_not_stop_the_import() -> None:
    """The csv module has a limit of its own, and an exception of its own."""
    try:
        rows, report = read(f'number\n"{"1" * 200_000}"\n{OTHER}\n')
    except BadFile:
        return
    assert (len(rows), report.rejected_count) == (1, 1)


def test_all_rejected_lines_are_counted_and_a_thousand_told() -> None:
    _, report = read("number\n" + "a/b\n" * 1500)
    assert (report.rejected_count, len(report.rejected)) == (1500, 1000)


_STATES = frozenset({"free", "ownerless", "active", "inactive", "blocked"})


@given(st.text(alphabet=st.sampled_from('19a,;"\n\r \t/\x00яfre'), max_size=80))
def test_any_file_gives_cards_or_reasons(text: str) -> None:
    rows, report = read(f"number,state\n{text}")
    assert report.rejected_count == len(report.rejected)
    for number, barcode, _, state, customer in rows:
        assert number
        assert barcode
        assert state in _STATES & set(CardState)
        assert customer is None
