"""How many points a receipt earns, by the rule of the settings. Decimal throughout.

Only a sale earns points; a return, and goods sold to the shop, earn none.
points = total in roubles × rate, brought to a multiple of ``step`` by ``rounding``, and never more than
``maximum_points``. Rounding comes before the maximum. It may not know the card, nor any CRM.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, ROUND_UP, Decimal

from adapter.errors import Code, Refused
from adapter.settings import Receipts
from crm_backends.model import FiscalReceipt

_SALE = 1
_ROUNDING = {"down": ROUND_DOWN, "half_up": ROUND_HALF_UP, "up": ROUND_UP}


def admit(receipt: FiscalReceipt, rule: Receipts, now: datetime) -> None:
    """Refuse a receipt that does not take part.

    Raises ``Refused``: RECEIPT_KIND, RECEIPT_TOO_OLD, RECEIPT_TOO_SMALL, RECEIPT_TOO_LARGE.
    """
    if receipt.calculation_type not in rule.calculation_types:
        raise Refused(Code.RECEIPT_KIND)
    if receipt.issued_at < now - timedelta(days=rule.max_age_days):
        raise Refused(Code.RECEIPT_TOO_OLD)
    if receipt.total_kopecks < rule.minimum_total * 100:
        raise Refused(Code.RECEIPT_TOO_SMALL)
    if receipt.total_kopecks > rule.maximum_total * 100:
        raise Refused(Code.RECEIPT_TOO_LARGE)


def points_for(receipt: FiscalReceipt, rule: Receipts) -> Decimal | None:
    """Points this receipt earns by the rule of ``[receipts]``.

    ``None`` with ``receipts.points_by = "crm"``: the driver then gets a ``Credit`` without points, and the
    rule is the CRM's own (in a database: the SQL of ``points_credit``).
    """
    if rule.points_by == "crm":
        return None
    if receipt.calculation_type != _SALE:
        return Decimal(0)
    raw = Decimal(receipt.total_kopecks) / 100 * rule.rate
    points = (raw / rule.step).quantize(Decimal(1), rounding=_ROUNDING[rule.rounding]) * rule.step
    if rule.maximum_points is not None:
        points = min(points, rule.maximum_points)
    return points
