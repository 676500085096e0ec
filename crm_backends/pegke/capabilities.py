"""What the driver can do: it depends on what Pegke can be asked by these settings. It may not make a call."""

from __future__ import annotations

from collections.abc import Mapping

from crm_backends.capabilities import Capability, not_written, nothing_of, partial

_SHAPE = "the reply's shape is not documented, the settings say where values are"
_CREDIT = "existing customers, by phone, customer id or e-mail; the adapter computes the points"


def capabilities(*, balance: bool, history: bool) -> Mapping[str, Capability]:
    """What the driver can do where the settings give it a balance and a history."""
    return {
        **nothing_of("users", "Pegke has no calls for people: the documented search gives points"),
        **nothing_of("points", "Pegke knows points, no purchases"),
        **nothing_of("coupons", "Pegke has no call for it"),
        "points.balance": partial(
            f"merchant_v1, or site_v1_1 with balance_path; one number, no expiry; {_SHAPE}"
        )
        if balance
        else not_written("site_v1_1 documents no balance; set balance_path when the vendor names one"),
        "points.entries": partial(f"merchant_v1, or site_v1_1 with history_path; {_SHAPE}")
        if history
        else not_written("site_v1_1 documents no history; set history_path, or history = true"),
        "points.credit": partial(
            f"{_CREDIT}; a doubt is reconciled by comparing balances"
            if balance
            else f"{_CREDIT}; without a balance a doubt is held for a person"
        ),
        "coupons.offers": not_written("my_offers is a catalogue, the same for everybody"),
    }


BEST = capabilities(balance=True, history=True)
"""With settings that let it do the most."""
