"""Method 7: purchases."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from contracts.suite.answer import Answer
from contracts.suite.checking import check
from contracts.suite.reading import number
from contracts.suite.trial import Trial

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_UTC = re.compile(r"\d{4}-\d{2}-\d{2}[T ](\d{2}).*(?:Z|[+-]00:?00)", re.IGNORECASE)
SAME_DAY_EVERYWHERE = 12
"""Hour in UTC up to which it is the same day in all of Russia."""


def _today() -> date:
    return datetime.now(UTC).date()


def _range() -> dict[str, str]:
    """A year, up to tomorrow: days end at different times in different places."""
    return {
        "startDate": (_today() - timedelta(days=365)).isoformat(),
        "endDate": (_today() + timedelta(days=1)).isoformat(),
    }


async def _listed(trial: Trial) -> tuple[Answer, list[dict[str, Any]]]:
    """A year of the holder's purchases, of which there are some."""
    answer = await trial.purchases(await trial.existing_number(), **_range())
    trial.need(answer.ok and isinstance(answer.json, list), "purchases are not told as an array")
    trial.need(answer.json, "the holder has no purchases")
    trial.need(all(isinstance(one, dict) for one in answer.json), "elements are no objects")
    return answer, answer.json


def _day(element: dict[str, Any]) -> str | None:
    """The day of a purchase as it is written, if it is one."""
    text = str(element.get("date", ""))[:10]
    try:
        date.fromisoformat(text)
    except ValueError:
        return None
    return text if _DAY.fullmatch(text) else None


def _local_day(element: dict[str, Any]) -> str | None:
    """The day by which the service selects; ``None`` where a time in UTC may be another day there."""
    utc = _UTC.fullmatch(str(element.get("date", "")))
    return _day(element) if utc is None or int(utc[1]) < SAME_DAY_EVERYWHERE else None


@check("KLO-7-01")
async def both_dates(trial: Trial) -> None:
    """startDate and endDate are answered 200 for a holder's card"""
    trial.ok(await trial.purchases(await trial.existing_number(), **_range()), "a holder's card")


@check("KLO-7-02")
async def array(trial: Trial) -> None:
    """The answer is an array at the top level"""
    answer = await trial.purchases(await trial.existing_number(), **_range())
    trial.need(answer.ok, "purchases are not answered 200")
    good = isinstance(answer.json, list) and all(isinstance(one, dict) for one in answer.json)
    trial.that(good, "an array of objects", answer, path="$")


@check("KLO-7-03")
async def none_is_an_empty_array(trial: Trial) -> None:
    """No purchases are answered []"""
    number_ = await trial.existing_number()
    answer = await trial.purchases(number_, startDate="2001-01-01", endDate="2001-01-02")
    trial.need(answer.ok, "purchases are not answered 200")
    trial.need(not (isinstance(answer.json, list) and answer.json), "there are purchases of 2001")
    trial.that(answer.json == [], "[]", answer)


@check("KLO-7-04")
async def start_date_is_required(trial: Trial) -> None:
    """Without startDate the answer is an error"""
    number_ = await trial.existing_number()
    for query in ({}, {"endDate": _today().isoformat()}):
        trial.refused(await trial.purchases(number_, **query), "a request without startDate")


@check("KLO-7-05")
async def end_date_is_optional(trial: Trial) -> None:
    """endDate is optional"""
    number_ = await trial.existing_number()
    trial.need((await trial.purchases(number_, **_range())).ok, "not even both dates are accepted")
    trial.ok(await trial.purchases(number_, startDate=_range()["startDate"]), "startDate alone")


async def _day_of_a_purchase(trial: Trial) -> tuple[str, str]:
    """Card number, and a day with a purchase."""
    _, listed = await _listed(trial)
    asked = _range()
    days = [day for one in listed if (day := _local_day(one))]
    days = [day for day in days if asked["startDate"] <= day <= asked["endDate"]]
    trial.need(
        days, "no purchase in the year asked for has a day that can be read and is the same everywhere"
    )
    return await trial.existing_number(), days[-1]


async def _is_listed(trial: Trial, card: str, day: str, start: str, end: str, what: str) -> None:
    answer = await trial.purchases(card, startDate=start, endDate=end)
    days = (
        [_day(one) for one in answer.json if isinstance(one, dict)] if isinstance(answer.json, list) else []
    )
    trial.that(day in days, f"a purchase on the day {what} is listed", answer)


@check("KLO-7-06")
async def start_date_is_included(trial: Trial) -> None:
    """A purchase on the day startDate is listed"""
    card, day = await _day_of_a_purchase(trial)
    await _is_listed(trial, card, day, day, _range()["endDate"], "startDate")


@check("KLO-7-07")
async def end_date_is_included(trial: Trial) -> None:
    """A purchase on the day endDate is listed"""
    card, day = await _day_of_a_purchase(trial)
    await _is_listed(trial, card, day, _range()["startDate"], day, "endDate")


@check("KLO-7-08")
async def other_days_are_not_listed(trial: Trial) -> None:
    """Purchases of other days are not listed"""
    card, day = await _day_of_a_purchase(trial)
    middle = date.fromisoformat(day)
    before, after = (middle + timedelta(days=days) for days in (-1, 1))
    for start, end in (
        (_range()["startDate"], before.isoformat()),
        (after.isoformat(), max(after, _today()).isoformat()),
        (day, day),
    ):
        answer = await trial.purchases(card, startDate=start, endDate=end)
        for index, one in enumerate(answer.json if isinstance(answer.json, list) else []):
            shown = _local_day(one) if isinstance(one, dict) else None
            good = shown is None or start <= shown <= end
            trial.that(
                good, f"purchases from {start} to {end}", f"{shown}", answer=answer, path=f"$[{index}].date"
            )


def _each(
    trial: Trial, answer: Answer, listed: list[dict[str, Any]], name: str, wanted: str, good: Any
) -> None:
    for index, one in enumerate(listed):
        value = one.get(name)
        trial.that(good(value), wanted, repr(value), answer=answer, path=f"$[{index}].{name}")


@check("KLO-7-09")
async def dates(trial: Trial) -> None:
    """date begins with YYYY-MM-DD"""
    answer, listed = await _listed(trial)
    for index, one in enumerate(listed):
        value = one.get("date")
        trial.that(
            _day(one), "a date that begins YYYY-MM-DD", repr(value), answer=answer, path=f"$[{index}].date"
        )


@check("KLO-7-10")
async def items(trial: Trial) -> None:
    """item names what was bought"""
    answer, listed = await _listed(trial)
    _each(
        trial, answer, listed, "item", "a name", lambda value: isinstance(value, str) and bool(value.strip())
    )


def _numeric(value: object) -> Decimal | None:
    return None if value is None or isinstance(value, (bool, dict, list)) else number(str(value))


@check("KLO-7-11")
async def amounts(trial: Trial) -> None:
    """amount is a whole number of kopecks"""
    answer, listed = await _listed(trial)

    def whole(value: object) -> bool:
        amount = _numeric(value)
        return (
            amount is not None and "." not in str(value) and "," not in str(value) and amount == int(amount)
        )

    _each(trial, answer, listed, "amount", "a whole number of kopecks", whole)


@check("KLO-7-12")
async def quantities(trial: Trial) -> None:
    """quantity is a number"""
    answer, listed = await _listed(trial)
    _each(trial, answer, listed, "quantity", "a number", lambda value: _numeric(value) is not None)


@check("KLO-7-13")
async def bonuses(trial: Trial) -> None:
    """bonuses, where there are any, is a number"""
    answer, listed = await _listed(trial)
    _each(
        trial, answer, listed, "bonuses", "a number",
        lambda value: value in (None, "") or _numeric(value) is not None,
    )  # fmt: skip


@check("KLO-7-14")
async def unknown_card(trial: Trial) -> None:
    """An unknown card is refused"""
    trial.refused(await trial.purchases(trial.people.unknown_card(), **_range()), "an unknown card number")
