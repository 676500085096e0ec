"""Counts and logs card infos for which the CRM told no balance, so that an old one was shown, or none.

The holder of a card sees the last balance known; that something is wrong the operator has to see. It may not
know any CRM.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from crm_backends.ports import (
    AccountUnknown,
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
)

log = structlog.get_logger("crm")

_A_LINE_IN = 60.0  # seconds
_CAUSES: tuple[tuple[type[BackendError], str], ...] = (
    (AccountUnknown, "account_unknown"),
    (BackendCredentials, "credentials"),
    (BackendMisconfigured, "misconfigured"),
    (BackendUnavailable, "away"),
)
UNTOLD = (*(name for _, name in _CAUSES), "other")
"""Why the CRM tells no balance. ``account_unknown``: it does not know an account that was known here, or that
had a balance. ``misconfigured``: it answers, and neither settings nor connector name such an answer."""
_REMEDY = {
    "account_unknown": "see whether the customer was removed or merged in the CRM; koshelek-adapter check "
    "--phone NUMBER shows what it tells",
    "misconfigured": "koshelek-adapter check; for a connector, connector try FILE points.balance",
    "credentials": "koshelek-adapter check",
}


class UntoldBalances:
    """Takes each card info for which no balance was told.

    Args:
        observe: is called with the cause, for each.
    """

    def __init__(self, observe: Callable[[str], None] = lambda cause: None) -> None:
        self._observe = observe
        self._next_line: dict[tuple[str, str], float] = {}
        self._more: dict[tuple[str, str], int] = {}

    def note(self, error: BackendError, *, shown: bool) -> None:
        """Count it, and log it. ``shown``: whether the last balance known is shown instead."""
        cause = _cause(error)
        self._observe(cause)
        self._log("balance_not_told", cause, error, last_known_is_shown=shown)

    def note_movements(self, error: BackendError) -> None:
        """Log that the movements beside a balance were not told."""
        self._log("movements_not_told", _cause(error), error)

    def _log(self, event: str, cause: str, error: BackendError, **more: bool) -> None:
        """Of each event and cause at most one line a minute; of a CRM that is away none, as that is told when
        it goes and when it comes back."""
        if cause == "away":
            return
        now, which = time.monotonic(), (event, cause)
        if now < self._next_line.get(which, 0.0):
            self._more[which] = self._more.get(which, 0) + 1
            return
        self._next_line[which] = now + _A_LINE_IN
        log.warning(
            event,
            cause=cause,
            reason=str(error),
            more=self._more.pop(which, 0),
            remedy=_REMEDY.get(cause, "koshelek-adapter check"),
            **more,
        )


def _cause(error: BackendError) -> str:
    return next((name for kind, name in _CAUSES if isinstance(error, kind)), "other")
