"""Sections about what moves value: receipts, promo codes, coupons, and carrying them to the CRM.

They may not know what the settings are used for.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, Self

from pydantic import Field, model_validator

from adapter.settings.base import Seconds, Section, Wait


class Receipts(Section):
    """Points for cash receipts."""

    points_by: Literal["rule", "crm"] = Field(
        "rule", description="Who computes the points: the rule below, or the CRM."
    )
    rate: Decimal = Field(Decimal("0.05"), ge=0, le=1000, description="Points per rouble.")
    step: Decimal = Field(Decimal("1"), gt=0, description="Points are a multiple of this.")
    rounding: Literal["down", "half_up", "up"] = Field("down", description="How to get to a multiple.")
    minimum_total: Decimal = Field(Decimal("0"), ge=0, description="Smallest total that takes part, roubles.")
    maximum_total: Decimal = Field(
        Decimal("10000000"),
        gt=0,
        description="Largest total that is believed of a cash receipt, roubles; above, the code is taken for "
        "misread or forged. The contract's own example has 9999999.00.",
    )
    maximum_points: Decimal | None = Field(None, ge=0, description="Most points one receipt can give.")
    fiscal_drive: Literal["padded", "as_given"] = Field(
        "padded",
        description="How the number of the fiscal drive (fn) is compared: with zeros before it up to its 16 "
        "digits, since programs that read it as a number lose them; or as it is given.",
    )
    calculation_types: list[Literal[1, 2, 3, 4]] = Field(
        [1],
        min_length=1,
        description="Accepted calculation types (n): 1 sale, 2 return of a sale, 3 expense, 4 return of an "
        "expense.",
    )
    max_age_days: int = Field(30, ge=1, le=3650, description="Oldest receipt that is accepted, days.")
    wait: Wait = Field(
        1.5,
        description="Seconds a request waits for the credit before it says accepted, within "
        "`server.deadline`; 0: not at all.",
    )

    @model_validator(mode="after")
    def _some_receipt_takes_part(self) -> Self:
        if self.minimum_total > self.maximum_total:
            raise ValueError("minimum_total: it is greater than maximum_total, no receipt would take part")
        return self


class Promo(Section):
    """Promo codes."""

    wait: Seconds = Field(
        3.0,
        description="Seconds a request waits for the CRM's answer before it says accepted, within "
        "`server.deadline`.",
    )
    replay: Seconds = Field(
        60.0,
        description="Seconds within which the same code for the same card, once it has been used, is a "
        "repeated call and counts once; later it is a second use (inferred).",
    )


class CouponTriggers(Section):
    """Coupons that the coupons CRM gives on its own account."""

    card_occasion: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Occasion on which the coupons CRM is asked for coupons when a card is issued; the "
        "driver's settings say what it gives. Unset: none.",
    )
    receipt_occasion: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Occasion on which it is asked when a receipt is credited. Unset: none.",
    )


class Delivery(Section):
    """Carrying recorded operations to the CRM."""

    in_process: bool = Field(True, description="`serve` delivers too; off: run `koshelek-adapter worker`.")
    concurrency: int = Field(
        50,
        ge=2,
        le=1000,
        description="Operations under way at once per process. A little more than the calls that the CRM's "
        "driver makes at once (its `concurrency`).",
    )
    call_timeout: Seconds = Field(10.0, description="Seconds one delivery to the CRM may take.")
    reconcile_after: Seconds = Field(
        30.0,
        description="Seconds after which an unknown outcome is looked up. For as long again it has to stay "
        'missing, while the CRM answers, before "not found" is believed. A CRM that was seen to show writes '
        "later is given more time.",
    )
    proof_patience: Seconds = Field(
        600.0,
        description="Seconds for which a write that the CRM has confirmed is looked for in the CRM. If it is "
        'not found by then, "not found" is never believed of this CRM: doubts wait for a person.',
    )
    ask_before_sending: bool = Field(
        True,
        description="Look a receipt's key up before the receipt is sent, if the CRM can be asked for the key "
        "but does not honour it: another adapter, or this one before a loss of its data, may have sent it.",
    )
    retry_first: Seconds = Field(1.0, description="Seconds before the first retry; doubles, with jitter.")
    retry_ceiling: Seconds = Field(600.0, description="Longest pause between two retries, seconds.")
    retries_per_second: float = Field(
        25.0,
        gt=0,
        le=10_000,
        description="Retries and look-ups of doubts per second, per process and CRM: a CRM that answers "
        "again is not flooded with what waited for it.",
    )
    give_up_after: Seconds = Field(
        259_200.0, description="Seconds after which an operation that never got through is held for a person."
    )
    housekeeping: Seconds = Field(
        60.0,
        description="Seconds between two rounds of housekeeping, which frees expired reservations, restores "
        "lost jobs and purges old details. One process at a time does it.",
    )
