"""What the driver can do, which depends on what the settings let Perx know. It may not make a call."""

from __future__ import annotations

from collections.abc import Mapping

from crm_backends.perx.settings import PerxSettings
from crm_backends.ports import FULL, Capability, Support


def _partial(note: str) -> Capability:
    return Capability(Support.PARTIAL, note)


_FIND = _partial(
    "by phone; Perx cannot be asked for an e-mail, so the adapter remembers those of card holders"
)
_GET_WITHOUT_PHONE = _partial("the phone is not told back: the settings do not let Perx know it")
_REGISTER_WITHOUT_PHONE = _partial("Perx keeps what the settings name, and the phone is not among it")
_REGISTER_TOKEN = _partial("one phone registered by two processes at the same moment makes two customers")
_REGISTER_MEMBERSHIP = Capability(
    Support.NOT_IMPLEMENTED, "the identifier is a card number, which a registration does not carry"
)
_UPDATE = _partial(
    "only fields the settings name; the map is replaced whole, so a change made elsewhere at that moment is "
    "lost; a phone that the identifier is made of cannot change"
)
_CONSENTS = _partial("the map is replaced whole, so a change made elsewhere at the same moment is lost")
_NO_CONSENTS = Capability(
    Support.NOT_IMPLEMENTED, "consent_prefix is not set: the adapter keeps the consents"
)
_FIND_BY_CARD = _partial(
    "with identifier = membership; a card is active or inactive there, never blocked and never replaced"
)
_NO_FIND_BY_CARD = Capability(
    Support.NOT_IMPLEMENTED, "Perx can be asked for a card number only where that is the identifier"
)
_SET_CARD = _partial(
    "in card_property; whether another customer has the number cannot be asked; the map is replaced whole"
)
_NO_SET_CARD = Capability(Support.NOT_IMPLEMENTED, "card_property is not set: Perx is not told of cards")
_PURCHASES = _partial("one line for each receipt: no items, no quantities, no place")
_CREDIT = _partial("a key that another customer has is not noticed: Perx shows each customer's history alone")
_CREDIT_BY_RULES = _partial(
    f"{_CREDIT.note}; a sale left to Perx's rules whose answer was lost is held for a person if the history "
    "does not show it"
)
_ISSUE = _partial("Perx takes no key of ours here, so a lost answer stays unknown")
_REDEEM = _partial(
    "codes come from the settings; a trigger whose answer was lost cannot be reconciled, nor a reward that "
    "other codes or occasions give too"
)

BEST: Mapping[str, Capability] = {
    "users.find": _FIND,
    "users.get": FULL,
    "users.register": FULL,
    "users.update": _UPDATE,
    "users.set_consents": _CONSENTS,
    "users.list_phones": Capability(Support.IMPOSSIBLE, "Perx has no call that lists customers"),
    "users.find_by_card": _FIND_BY_CARD,
    "users.set_card": _SET_CARD,
    "points.balance": FULL,
    "points.entries": FULL,
    "points.purchases": _PURCHASES,
    "points.credit": _CREDIT,
    "coupons.offers": FULL,
    "coupons.issue": _ISSUE,
    "coupons.redeem": _REDEEM,
}
"""With settings that let it do the most."""


def capabilities(settings: PerxSettings) -> Mapping[str, Capability]:
    """What can be done with these settings."""
    chosen = dict(BEST)
    if not settings.phone_told:
        chosen["users.get"] = _GET_WITHOUT_PHONE
        chosen["users.register"] = _REGISTER_WITHOUT_PHONE
    elif settings.identifier == "token":
        chosen["users.register"] = _REGISTER_TOKEN
    if settings.identifier == "membership":
        chosen["users.register"] = _REGISTER_MEMBERSHIP
    else:
        chosen["users.find_by_card"] = _NO_FIND_BY_CARD
    if settings.card_property is None:
        chosen["users.set_card"] = _NO_SET_CARD
    if settings.credit_by == "transaction":
        chosen["points.credit"] = _CREDIT_BY_RULES
    if settings.consent_prefix is None:
        chosen["users.set_consents"] = _NO_CONSENTS
    return chosen
