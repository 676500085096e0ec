"""Sections about cards: their numbers and barcodes, who gets one, and how a person is recognised.

They may not know what the settings are used for.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from adapter.settings.base import Seconds, Section

BARCODE_DIGITS = {"EAN_8": 8, "EAN_13": 13, "UPC_A": 12}
"""Digits of the barcode types that have a fixed number of them, check digit included."""


class NumberRange(Section):
    """Card numbers that the adapter makes: prefix, a value, and a check digit."""

    prefix: str = Field("", pattern="^[0-9]{0,18}$", description="Digits every number begins with.")
    length: int = Field(13, ge=4, le=19, description="Digits of the whole number, check digit included.")
    check_digit: Literal["none", "luhn", "ean"] = Field("ean", description="Rule of the last digit.")
    first: int = Field(1, ge=0, description="Least value.")
    last: int | None = Field(None, ge=0, description="Greatest value; unset: all that fit.")
    order: Literal["random", "counting"] = Field(
        "random",
        description="`random`: with a restored older dump, a new database or a second adapter, a number that "
        "somebody has in their wallet already is hardly ever given again; the more digits, the surer. "
        "`counting`: one after the other; such a database then repeats them all.",
    )

    @property
    def digits(self) -> int:
        """Digits left for the value."""
        return self.length - len(self.prefix) - (self.check_digit != "none")

    @property
    def end(self) -> int:
        """Greatest value, included."""
        return 10**self.digits - 1 if self.last is None else self.last

    @property
    def span(self) -> tuple[int, int]:
        """Between which whole numbers its card numbers lie, both included."""
        low, high = (int(f"{self.prefix}{value:0{self.digits}d}") for value in (self.first, self.end))
        return (low, high) if self.check_digit == "none" else (low * 10, high * 10 + 9)

    @model_validator(mode="after")
    def _room_for_the_counter(self) -> Self:
        if self.digits < 1:
            raise ValueError("prefix and check digit leave no room for the counter; raise length")
        if self.end >= 10**self.digits:
            raise ValueError(f"last has more than the {self.digits} digits that are left for the counter")
        if self.first > self.end:
            raise ValueError("first is greater than last")
        return self


class Cards(Section):
    """Card numbers and barcodes."""

    reservation: Seconds = Field(3600.0, description="Seconds a reserved number is kept (inferred: an hour).")
    ranges: list[NumberRange] = Field(
        [],
        description="Used in this order when the imported pool is empty.",
        examples=[[{"prefix": "2900", "length": 13, "check_digit": "ean"}]],
    )
    barcode_type: Literal["EAN_8", "EAN_13", "CODE_128", "UPC_A", "QR_CODE"] = Field(
        "CODE_128", description="Type of the barcode of new cards."
    )
    barcode_rule: Literal["number", "check_digit"] = Field(
        "number",
        description="`number`: the barcode is the card number; `check_digit`: the card number with the "
        "EAN or UPC check digit added.",
    )
    number_lengths: list[Annotated[int, Field(ge=1, le=64)]] = Field(
        [],
        description="How many characters a card number may have; empty: up to 64. This setting and the next "
        "two hold for every number: imported, made from a range, or taken over from the users CRM.",
    )
    number_alphabet: Literal["printable", "alphanumeric", "digits"] = Field(
        "printable", description="Its characters: printable ASCII, letters and digits, or digits alone."
    )
    number_check_digit: Literal["none", "luhn", "ean"] = Field(
        "none", description="Rule that its last digit keeps."
    )
    adopt: bool = Field(
        True, description="Take over card numbers that the users CRM keeps for a customer found there."
    )
    barcode_fallback: Literal["CODE_128", "QR_CODE", "none"] = Field(
        "CODE_128",
        description="Type of the barcode of a number from the CRM that `barcode_type` cannot carry; `none`: "
        "such a card is not shown, and its owner is told so instead of getting a second one.",
    )
    replaced_answer: Literal["inactive", "unknown"] = Field(
        "inactive",
        description="What a number that was replaced by another is from then on: an inactive card, which a "
        "wallet knows how to show, or an unknown one.",
    )

    @model_validator(mode="after")
    def _ranges_keep_the_rule(self) -> Self:
        for place, rule in enumerate(self.ranges):
            if self.number_lengths and rule.length not in self.number_lengths:
                raise ValueError(f"ranges.{place}.length: {rule.length} is not one of number_lengths")
            if self.number_check_digit not in ("none", rule.check_digit):
                raise ValueError(
                    f"ranges.{place}.check_digit: {rule.check_digit} is not {self.number_check_digit}, "
                    "which number_check_digit asks for"
                )
        return self

    @model_validator(mode="after")
    def _numbers_of_ranges_have_barcodes(self) -> Self:
        digits, kind = BARCODE_DIGITS.get(self.barcode_type), self.barcode_type
        added = self.barcode_rule == "check_digit"
        if added and digits is None and self.ranges:
            raise ValueError(f'barcode_rule: {kind} has no check digit to add; set it to "number"')
        wanted = (digits or 0) - added
        for place, rule in enumerate(self.ranges) if digits is not None else ():
            if rule.length != wanted:
                raise ValueError(
                    f"ranges.{place}.length: {rule.length} digits make no {kind} barcode; "
                    f"set it to {wanted}, or choose another barcode_type"
                )
            if not added and rule.check_digit != "ean":
                raise ValueError(
                    f"ranges.{place}.check_digit: the last digit of {kind} is its check digit; "
                    'set it to "ean", or choose another barcode_type'
                )
        return self

    @model_validator(mode="after")
    def _ranges_share_no_number(self) -> Self:
        for place, rule in enumerate(self.ranges):
            for before, other in enumerate(self.ranges[:place]):
                if rule.length != other.length:
                    continue
                (low, high), (lowest, highest) = rule.span, other.span
                if low <= highest and lowest <= high:
                    raise ValueError(
                        f"ranges: entries {before + 1} and {place + 1} have numbers in common; "
                        "change prefix, first or last of one"
                    )
                counter = (rule.prefix, rule.check_digit) == (other.prefix, other.check_digit)
                if counter and high < lowest:
                    raise ValueError(
                        f"ranges: entry {place + 1} counts lower than entry {before + 1} with the same "
                        "prefix, and would never be used; put it first"
                    )
        return self


class Matching(Section):
    """How a person is recognised."""

    several: Literal["error", "newest", "phone"] = Field(
        "error",
        description="When phone and e-mail lead to different people: answer an error, or take the newest, "
        "or the one the phone leads to.",
    )
    link_by_email: Literal["never", "birth_date", "always"] = Field(
        "birth_date",
        description="May an existing customer be linked by e-mail alone? `birth_date`: only if the CRM has "
        "no phone for them and the birth dates agree.",
    )


class Enrolment(Section):
    """Issuing cards."""

    required: list[Literal["phone", "email", "first_name", "surname", "birth_date", "sex"]] = Field(
        ["phone"], description="Profile fields without which no card is issued."
    )
    wait: Seconds = Field(
        3.0,
        description="Seconds a request waits for the registration to be confirmed, within `server.deadline`.",
    )
