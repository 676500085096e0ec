"""How much of a number or a person is shown before somebody asks for all of it. It may not know any page."""

from __future__ import annotations

from adapter.loyalty.payloads import CouponsPayload, PromoCodePayload, ReceiptPayload
from adapter.loyalty.review import Item


def last(text: str | None, characters: int = 4) -> str | None:
    """The last ``characters`` of a number: enough to recognise a number that one has at hand."""
    return None if text is None else f"…{text[-characters:]}"


def private_fields(item: Item, *, shown: bool) -> list[tuple[str, str]]:
    """Names and values of what an operation carries; values are masked unless they are ``shown``."""
    match item.payload:
        case ReceiptPayload(receipt=receipt):
            numbers = [("fn", receipt.fiscal_drive), ("i", receipt.document), ("fp", receipt.sign)]
            fields = [(name, text if shown else f"…{text[-3:]}") for name, text in numbers]
            if shown:
                fields.append(("total", f"{receipt.total_kopecks / 100:.2f}"))
                fields.append(("issued at", f"{receipt.issued_at:%Y-%m-%d %H:%M}"))
            return fields
        case PromoCodePayload(code=code):
            return [("promo code", code if shown else "…")]
        case CouponsPayload(occasion=occasion):
            return [("occasion", occasion)]
    return []
