"""What Perx's answers mean: done, refused or unreadable; rows of lists; moments, points and money.

Of a history row's ``properties`` only the mark of a failed burn is looked at: the rest may be personal data.
It may not make a call.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import MAXYEAR, MINYEAR, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from crm_backends.http import Reply
from crm_backends.inputs import amount_of
from crm_backends.model import Balance, Credit, Offer, PointsEntry, Purchase
from crm_backends.ports import BackendMisconfigured

REWARD_LIMIT = 4103
"""Code of a reward that is not given any more, to this customer or at all."""
NO_USER = frozenset({1, 40})
"""Codes of the two searches for "no such customer"."""
_GONE = frozenset({"redeemed", "expired", "released"})
_DAY = timedelta(days=1)


class Said(enum.Enum):
    """How Perx answered. UNREADABLE is the default of doubt."""

    DATA = enum.auto()
    NO = enum.auto()
    UNREADABLE = enum.auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    said: Said
    data: object = field(default=None, repr=False)
    code: int | None = None
    status: int = 0


def verdict(reply: Reply) -> Verdict:
    """Read an answer; an error is told by a code above zero, sometimes with a status of 200."""
    body = reply.body if isinstance(reply.body, dict) else {}
    code = body.get("code")
    code = code if isinstance(code, int) and not isinstance(code, bool) and code > 0 else None
    if reply.ok and "data" in body:
        return Verdict(Said.DATA, body["data"], None, reply.status)
    if code is not None or (not reply.ok and "error" in body):
        return Verdict(Said.NO, None, code, reply.status)
    return Verdict(Said.UNREADABLE, None, None, reply.status)


def mapping(value: object) -> Mapping[str, object]:
    """``value`` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def unexpected(what: str, found: Verdict) -> BackendMisconfigured:
    """The error of a read whose answer is not what is known of Perx."""
    code = f", code {found.code}" if found.code is not None else ""
    return BackendMisconfigured(f"perx: unexpected answer of {what} (status {found.status}{code})")


@dataclass(frozen=True, slots=True, repr=False)
class Page:
    """One page of a list."""

    rows: Sequence[Mapping[str, object]]
    last: bool


def page(what: str, reply: Reply, number: int, size: int) -> Page:
    """A page; endpoints tell its end by the number of pages, by the next page, or not at all."""
    found = verdict(reply)
    if found.said is not Said.DATA or not isinstance(found.data, list):
        raise unexpected(what, found)
    rows = [row for row in found.data if isinstance(row, dict)]
    meta = mapping(mapping(reply.body).get("meta"))
    pages = meta.get("total_pages")
    if isinstance(pages, int):
        last = number >= pages  # an empty page may still have others behind it
    elif not rows:
        last = True
    elif "next_page" in meta:
        last = not meta["next_page"]
    else:
        last = len(rows) < size
    return Page(rows, last)


# -- values --------------------------------------------------------------------------------------------


def number(value: object) -> Decimal | None:
    """A number, given as one or as text."""
    return amount_of(value)


def moment(value: object, zone: ZoneInfo) -> datetime | None:
    """A moment (aware), given in ISO 8601; without an offset it is the programme's time.

    ``None`` for a moment in the calendar's first or last year: in another zone it may not exist.
    """
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    if parsed.year in (MINYEAR, MAXYEAR):
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=zone)


def plain(value: object) -> object:
    """JSON that was read, for sending it back: fractions were read as ``Decimal``.

    Raises ``BackendMisconfigured`` where a fraction has more digits than can be sent back.
    """
    if isinstance(value, Decimal):
        if Decimal(repr(float(value))) != value:
            raise BackendMisconfigured("perx: personal_properties has a number of too many digits to keep")
        return float(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def amount(value: Decimal) -> int | float:
    """A number as JSON has it; up to 15 digits it is printed exactly as it is."""
    return int(value) if value == value.to_integral_value() else float(value)


# -- points --------------------------------------------------------------------------------------------


def balance(data: Mapping[str, object]) -> Balance:
    """Spendable points, and those with what is set aside for purchases under way."""
    available = number(data.get("points_balance"))
    if available is None:
        raise BackendMisconfigured("perx: the loyalty programme's answer has no points_balance")
    aside = number(data.get("redemption_in_progress_points")) or Decimal(0)
    return Balance(total=available + max(aside, Decimal(0)), available=available)


def expiring(data: Mapping[str, object], description: str, zone: ZoneInfo) -> list[PointsEntry]:
    """Points that will expire, soonest first."""
    rows, now = data.get("aging_points"), datetime.now(zone)
    entries = []
    for row in rows if isinstance(rows, list) else []:
        points = number(mapping(row).get("points_expiring"))
        at = moment(mapping(row).get("expiring_on_date"), zone)
        if points is not None and points > 0 and at is not None:
            entries.append(PointsEntry(points, description, now, at.date()))
    return sorted(entries, key=lambda entry: entry.valid_until or date.max)


def happened(row: Mapping[str, object]) -> bool:
    """False for a burn that failed: it is listed with its negative amount all the same."""
    return not mapping(row.get("properties")).get("error_message")


def moved_at(row: Mapping[str, object], zone: ZoneInfo) -> datetime:
    at = moment(row.get("transacted_at"), zone)
    if at is None:
        raise BackendMisconfigured("perx: a row of the history has no transacted_at")
    return at


def row_points(row: Mapping[str, object]) -> Decimal:
    points = number(row.get("amount"))
    if points is None:
        raise BackendMisconfigured("perx: a row of the history has no amount")
    return points


def entry(row: Mapping[str, object], zone: ZoneInfo) -> PointsEntry:
    """One movement."""
    return PointsEntry(row_points(row), _name(row), moved_at(row, zone))


def purchase(row: Mapping[str, object], zone: ZoneInfo) -> Purchase | None:
    """The purchase behind a movement, if there is one; Perx knows its sum and nothing of its lines."""
    kopecks = _kopecks(row)
    if not kopecks:
        return None
    return Purchase(
        at=moved_at(row, zone),
        item=_name(row),
        amount_kopecks=kopecks,
        quantity=Decimal(1),
        location="",
        bonuses=row_points(row),
    )


def _kopecks(row: Mapping[str, object]) -> int | None:
    """The sum of the purchase, where the row has one."""
    kopecks = number(row.get("transacted_cents"))
    if kopecks is None:
        money = number(row.get("transacted_amount"))
        kopecks = None if money is None else money * 100
    return None if kopecks is None else int(kopecks.to_integral_value())


def own_key(row: Mapping[str, object]) -> object:
    """The key of ours that a row repeats, where it does."""
    return mapping(mapping(row.get("transaction_details")).get("data")).get("transaction_reference")


def is_what_was_asked(row: Mapping[str, object], credit: Credit) -> bool:
    """Whether a row has the contents of this credit: its points, or, left to the rules, the receipt's sum."""
    points = row_points(row)
    if credit.points is not None:
        return points == credit.points
    kopecks, receipt = _kopecks(row), credit.receipt
    return points >= 0 and (kopecks is None or receipt is None or kopecks == receipt.total_kopecks)


def _name(row: Mapping[str, object]) -> str:
    name = row.get("name")
    return name if isinstance(name, str) else ""


# -- vouchers ------------------------------------------------------------------------------------------


def offer(row: Mapping[str, object], zone: ZoneInfo) -> Offer | None:
    """A voucher that is not used up."""
    if row.get("id") is None or row.get("state") in _GONE:
        return None
    reward = mapping(row.get("reward"))
    return Offer(
        offer_id=str(row["id"]),
        title=_text(row.get("name")) or _text(reward.get("name")),
        description=_text(reward.get("description")),
        code=_text(row.get("voucher_code")) or None,
        valid_from=moment(row.get("valid_from"), zone),
        valid_until=moment(row.get("valid_to"), zone),
    )


def is_of(row: Mapping[str, object], reward: int) -> bool:
    """Whether a voucher is of this reward."""
    return mapping(row.get("reward")).get("id") == reward


def issued_since(row: Mapping[str, object], since: datetime, zone: ZoneInfo) -> bool | None:
    """Whether a voucher was issued at ``since`` or later; ``None``: the row does not tell."""
    told = row.get("issued_date")
    at = moment(told, zone)
    if at is None:
        # An early start tells nothing: a reward may be valid from a fixed day.
        start = moment(row.get("valid_from"), zone)
        return True if start is not None and start >= since else None
    if at >= since:
        return True
    only_a_day = isinstance(told, str) and len(told) == len("2025-01-31")
    return None if only_a_day and at + _DAY > since else False


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
