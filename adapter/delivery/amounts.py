"""Whether the points a CRM says it has credited are those it was asked for.

A CRM's own rule, a rounding of its own or a slip in a partner's SQL may make another amount of ours. It may
not know a driver, nor how anything was sent.
"""

from __future__ import annotations

from decimal import Decimal

from adapter.loyalty.payloads import ReceiptPayload
from crm_backends.ports import Outcome, Refusal, Written


def compared(asked: ReceiptPayload, written: Written) -> Written:
    """What a credit came to, once the amount that the CRM tells is held against the one it was asked for.

    Another amount is a conflict for a person to look at, as is a negative one of a credit that was left to
    the CRM's rule. A CRM that tells no amount is believed; so is one that keeps fewer decimals.
    """
    told = written.points
    if written.outcome is not Outcome.DONE or told is None or is_rounded(told, asked.points):
        return written
    if written.entries:  # it is there twice, which a person looks at anyway
        return written
    wanted = "" if asked.points is None else f"{asked.points:f} points were asked for, and "
    reason = f"{wanted}the CRM says that it credited {told:f}"
    return Written.refused(Refusal.KEY_TAKEN, reason)


def is_rounded(told: Decimal, asked: Decimal | None) -> bool:
    """Whether ``told`` is ``asked``, in the decimals that ``told`` has; ``None``: any from zero on."""
    if not told.is_finite():
        return False
    if asked is None:
        return told >= 0
    exponent = told.normalize().as_tuple().exponent
    step = Decimal(1).scaleb(min(0, int(exponent)))
    return told == asked or (told >= 0 and abs(told - asked) < step)
