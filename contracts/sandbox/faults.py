"""Faults that a stand-in server is told to have.

A fault names an operation (or all), what goes wrong, and how many times. It may not know any CRM and any
web server.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FaultKind = Literal[
    "late",
    "hang_up_before",
    "hang_up_after",
    "error_before",
    "error_after",
    "too_many",
    "garbage",
    "expire_token",
    "slow",
    "freeze",
]

MEANING: dict[FaultKind, str] = {
    "late": "does the work at once, answers `seconds` later",
    "hang_up_before": "reads the request, does nothing, closes the connection",
    "hang_up_after": "does the work, closes the connection instead of answering",
    "error_before": "does nothing, answers `status`",
    "error_after": "does the work, answers `status`",
    "too_many": "does nothing, answers 429; Retry-After only if `seconds` is given",
    "garbage": "does the work, answers 200 with a page that is no JSON",
    "expire_token": "forgets every token issued so far, answers as to an expired one",
    "slow": "does the work `seconds` later, whether or not anybody still waits for the answer",
    "freeze": "stands still for `seconds` with every request that comes; then all are done",
}

DOES_NOTHING: frozenset[FaultKind] = frozenset({"hang_up_before", "error_before", "too_many", "expire_token"})
TAKES_TIME: frozenset[FaultKind] = frozenset({"late", "slow", "freeze"})
"""Faults that need ``seconds``."""


class Fault(BaseModel):
    """One fault to come."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    operation: str = "*"
    """An operationId; ``*`` is any."""
    fault: FaultKind
    times: int | None = Field(default=1, ge=1)
    """How often; ``None``: until removed."""
    seconds: float = Field(default=0, ge=0, le=3600)
    status: int = Field(default=500, ge=400, le=599)

    @model_validator(mode="after")
    def _late_says_how_late(self) -> Self:
        if self.fault in TAKES_TIME and not self.seconds:
            raise ValueError(f"{self.fault} needs seconds greater than 0")
        return self


class Faults:
    """The faults to come, in the order they were asked for."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Fault, int | None]] = []

    def add(self, fault: Fault) -> None:
        self._waiting.append((fault, fault.times))

    def take(self, operation: str, *, has_token: bool) -> Fault | None:
        """The fault for this call, if there is one; counts it as happened.

        ``expire_token`` for any operation passes over those that need no token.
        """
        for index, (fault, left) in enumerate(self._waiting):
            if fault.operation not in ("*", operation):
                continue
            if fault.fault == "expire_token" and not has_token:
                continue
            if left == 1:
                del self._waiting[index]
            elif left is not None:
                self._waiting[index] = (fault, left - 1)
            return fault
        return None

    def clear(self) -> None:
        self._waiting.clear()

    def as_json(self) -> list[dict[str, object]]:
        """The faults to come, with how often each still will."""
        return [{**fault.model_dump(), "times": left} for fault, left in self._waiting]
