"""What Pegke's replies mean. None but the token's is documented, so the settings say where things are.

It may not send anything, and no text of a reply leaves it but the note of a movement.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from crm_backends.http import Reply
from crm_backends.inputs import amount_of
from crm_backends.model import PointsEntry
from crm_backends.pegke.settings import PegkeSettings
from crm_backends.ports import BackendMisconfigured, BackendUnavailable


class Verdict(enum.Enum):
    """What a reply says of its request."""

    DONE = enum.auto()
    ABSENT = enum.auto()
    """There is no such customer."""
    REFUSED = enum.auto()
    UNCLEAR = enum.auto()
    """No JSON, or nothing in it that the settings know."""


class PegkeReplies:
    """Reads replies as the settings say."""

    def __init__(self, settings: PegkeSettings, zone: ZoneInfo) -> None:
        """``zone`` is that of times without one."""
        self._settings = settings
        self._zone = zone
        self._absent = re.compile(settings.absent_pattern, re.IGNORECASE)

    def verdict(self, reply: Reply) -> Verdict:
        """What a reply with a status of 2xx or 4xx says."""
        if not reply.is_json:
            return Verdict.UNCLEAR
        settings = self._settings
        said = _said(reply, settings.success_field) if settings.success_field else None
        if not reply.ok or said in settings.failure_values:
            if reply.status in settings.absent_statuses or self._names_absence(reply.body):
                return Verdict.ABSENT
            return Verdict.REFUSED
        if at(reply.body, "error") or at(reply.body, "errors"):
            return Verdict.UNCLEAR  # whatever else it says
        if settings.success_field:
            return Verdict.DONE if said in settings.success_values else Verdict.UNCLEAR
        # The status says all, unless the body says the opposite where bodies usually do.
        against = any(_said(reply, path) in settings.failure_values for path in ("status", "success"))
        return Verdict.UNCLEAR if against else Verdict.DONE

    def _names_absence(self, body: object) -> bool:
        return any(self._absent.search(text) for text in _texts(body))

    def too_often(self, reply: Reply) -> bool:
        """Whether a 403 means that something was asked too often."""
        code = str(self._settings.too_often_code)
        return reply.status == 403 and any(str(found) == code for found in _codes(reply.body))

    def balance(self, reply: Reply) -> Decimal | None:
        """Points on the account; ``None`` where there is no such customer.

        Raises:
            BackendUnavailable: the reply is no JSON.
            BackendMisconfigured: it is an error, or has no number where the settings say.
        """
        if not self._present(reply, "balance"):
            return None
        points = number(at(reply.body, self._settings.balance_field or ""))
        if points is None:
            raise BackendMisconfigured("pegke: the reply has no number at balance_field")
        return points

    def page(self, reply: Reply) -> tuple[list[object], int | None]:
        """Movements of a page, and how many pages there are where the reply says so.

        Raises:
            BackendUnavailable: the reply is no JSON.
            BackendMisconfigured: it is an error, or has no list where the settings say.
        """
        if not self._present(reply, "movements"):
            return [], 0
        rows = at(reply.body, self._settings.history_field or "")
        if not isinstance(rows, list):
            raise BackendMisconfigured("pegke: the reply has no list at history_field")
        pages = number(at(reply.body, self._settings.history_pages_field or ""))
        return rows, None if pages is None else int(pages)

    def _present(self, reply: Reply, what: str) -> bool:
        """False where there is no such customer."""
        if not reply.is_json:
            raise BackendUnavailable(f"pegke: the reply is no JSON (status {reply.status})")
        verdict = self.verdict(reply)
        if verdict is Verdict.REFUSED:
            raise BackendMisconfigured(f"pegke: refuses to tell the {what} (status {reply.status})")
        return verdict is not Verdict.ABSENT

    def entry(self, row: object) -> PointsEntry:
        """One movement.

        Raises:
            BackendMisconfigured: it lacks points or time where the settings say.
        """
        amount = number(at(row, self._settings.entry_points_field))
        if amount is None:
            raise BackendMisconfigured("pegke: a movement has no number at entry_points_field")
        kind = self._settings.entry_kind_field
        if kind is not None and str(at(row, kind)) in self._settings.entry_spent_kinds:
            amount = -abs(amount)
        note = at(row, self._settings.entry_note_field)
        return PointsEntry(amount, note if isinstance(note, str) else "", self._time(row))

    def _time(self, row: object) -> datetime:
        value = at(row, self._settings.entry_date_field)
        try:
            if self._settings.date_format is not None:
                moment = datetime.strptime(str(value), self._settings.date_format)  # noqa: DTZ007
            elif isinstance(value, str):
                moment = datetime.fromisoformat(value.strip())
            elif (seconds := number(value)) is not None:
                return datetime.fromtimestamp(int(seconds), UTC)
            else:
                raise ValueError
            # UTC besides: a time that its zone skips or that no calendar has would fail later.
            return (moment if moment.tzinfo else moment.replace(tzinfo=self._zone)).astimezone(UTC)
        except (ValueError, OverflowError, OSError):
            raise BackendMisconfigured("pegke: a movement has no readable time at entry_date_field") from None


def at(body: object, path: str) -> object:
    """The value at a dotted path, list positions as numbers; ``None`` where there is none."""
    for step in _steps(path):
        if isinstance(body, dict):
            body = body.get(step)
        elif isinstance(body, list) and step.isascii() and step.isdecimal() and int(step) < len(body):
            body = body[int(step)]
        else:
            return None
    return body


@functools.cache  # the paths are those of the settings and a few of this module
def _steps(path: str) -> Sequence[str]:
    return path.split(".")


def number(value: object) -> Decimal | None:
    """A number, also one in a text; ``None`` where it is none that an account can hold."""
    return amount_of(value.strip() if isinstance(value, str) else value)


def _said(reply: Reply, path: str) -> str:
    return str(at(reply.body, path)).strip().lower()


def _codes(body: object) -> Iterator[object]:
    """Error codes where they usually are."""
    for path in ("code", "error", "error.code", "error_code", "errors.0.code"):
        yield at(body, path)


def _texts(body: object, depth: int = 3) -> Iterator[str]:
    """Texts of a refusal, not deeper than refusals are."""
    if isinstance(body, str):
        yield body[:500]
    elif depth and isinstance(body, dict | list):
        for value in body.values() if isinstance(body, dict) else body:
            yield from _texts(value, depth - 1)
