"""``check`` tries a receipt under the settings in force, without a call: what is never credited is found."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from adapter.crms import refused_receipts
from adapter.settings import Receipts
from crm_backends.ports import BackendMisconfigured, Outcome
from tests.connectors.making import played
from tests.connectors.test_table import give

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def credit(kopecks: str, *at_once: str, account: str = "input.account") -> str:
    decided = f"    at_once: [{', '.join(at_once)}]\n" if at_once else ""
    return (
        f"  points.credit:\n{decided}    steps:\n      - commits: true\n        post: /add\n"
        f'        json: {{n: "${{{account}}}", kop: "${{{kopecks}}}", doc: "${{idempotency_key}}"}}\n'
    )


NO_POINTS = "{when: input.points is none, is: refused}"
NO_NUMBER = "{when: input.points is defined, is: misconfigured}"


@pytest.mark.parametrize(
    ("operations", "rule", "says", "remedy"),
    [
        (
            credit("input.points | kopecks", NO_POINTS),
            Receipts(points_by="crm"),
            "crm: points.credit: the connector says refused without asking the CRM (crm.yaml:",
            'receipts.points_by = "rule"',
        ),
        (
            credit("1", NO_NUMBER),
            Receipts(),
            "says misconfigured without asking",
            'receipts.points_by = "crm"',
        ),
        (
            credit("input.points | kopecks", NO_POINTS),
            Receipts(step=Decimal("0.001")),
            "of 99.99 roubles (4.999 points) would never be credited: crm: points.credit: crm.yaml:",
            "receipts.step",
        ),
    ],
)
async def test_what_no_receipt_gets_through_is_found(
    operations: str, rule: Receipts, says: str, remedy: str
) -> None:
    async with played(operations) as crm:
        (found,) = refused_receipts(crm.backend, rule, NOW)
        assert says in found.detail
        assert remedy in found.remedy
        assert not found.ok
        assert crm.sent == []


@pytest.mark.parametrize(
    ("operations", "rule"),
    [
        (credit("input.points | kopecks", NO_POINTS), Receipts()),
        (credit("1", NO_NUMBER), Receipts(points_by="crm")),
        # Nobody knows what an account looks like: what does not fit whatever the points is not told.
        (credit("input.points | kopecks", account="input.account | e164 | digits | json"), Receipts()),
        (credit("input.points | int", account="input.account[20] | text | upper | int"), Receipts()),
        ('  points.credit: {unsupported: "none here"}\n', Receipts()),
        (credit("input.points | kopecks"), Receipts(rate=Decimal(0), step=Decimal("0.001"))),
    ],
)
async def test_what_may_be_well_is_not_complained_of(operations: str, rule: Receipts) -> None:
    async with played(operations) as crm:
        assert refused_receipts(crm.backend, rule, NOW) == []


async def test_what_the_connector_decides_is_not_told_as_the_crm_s_answer() -> None:
    async with played(credit("1", NO_POINTS)) as crm:
        written = await give(crm.backend, None)
        assert written.outcome is Outcome.REFUSED
        assert "the connector says refused without asking the CRM (crm.yaml:" in (written.reason or "")
    async with played(credit("1", NO_NUMBER)) as crm:
        with pytest.raises(BackendMisconfigured, match="without asking the CRM"):
            await give(crm.backend)
