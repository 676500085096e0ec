"""What the driver can do: it depends on what the use of a code is. It may not make a call."""

from __future__ import annotations

from collections.abc import Mapping

from crm_backends.capabilities import FULL, Capability, nothing_of, partial
from crm_backends.xerts.settings import XertsSettings

BEST: Mapping[str, Capability] = {
    **nothing_of("users", "Xerts knows devices, not people"),
    **nothing_of("points", "Xerts has coupons, no points"),
    "coupons.offers": FULL,
    "coupons.issue": partial("takes no key of ours: an unknown issue stays unknown and is never sent again"),
    "coupons.redeem": partial(
        "only codes of coupons the holder has; activation instead leaves nothing to reconcile by"
    ),
}
"""With settings that let it do the most."""
_ACTIVATION = partial("shows the coupon to the site's staff; an unknown activation cannot be reconciled")


def capabilities(settings: XertsSettings) -> Mapping[str, Capability]:
    """What can be done with these settings."""
    return {**BEST, "coupons.redeem": _ACTIVATION} if settings.promo == "activate" else BEST
