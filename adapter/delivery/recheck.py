"""Ask the CRM again about what is held for a person. It sends nothing, and it may not know who asks or
why."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from adapter.delivery.crm_call import reconcile
from adapter.loyalty.model import CONFLICT, Operation
from adapter.loyalty.ports import Proof, StoreUnavailable, Visibility, VisibilityBook
from adapter.loyalty.programme import Programme, kinds_looked_for
from crm_backends.ports import BackendError, Deadline, Outcome, Reconciliation, Refusal, Written


class Rechecked(enum.StrEnum):
    """What the CRM says of a held operation."""

    FOUND = "found"
    """It is there, once."""
    FOUND_TWICE = "found_twice"
    CONFLICT = "conflict"
    """Something else is there under our key."""
    ABSENT = "absent"
    """It is not there, and the CRM has proved that it would be found."""
    NOT_FOUND = "not_found"
    """It is not found; that proves nothing of this CRM."""
    CANNOT_TELL = "cannot_tell"
    HARMLESS = "harmless"
    """Nobody needs to ask: sent again it has no second effect."""
    NOBODY_TO_ASK = "nobody_to_ask"
    """This CRM cannot be asked about it, or not any more."""
    NO_ANSWER = "no_answer"


@dataclass(frozen=True, slots=True)
class Asked:
    answer: Rechecked
    written: Written | None = None
    detail: str | None = None
    """Why there is no answer, in the driver's words."""


@dataclass(frozen=True, slots=True)
class Recheck:
    programme: Programme
    visibility: VisibilityBook
    call_timeout: float
    """Seconds one question may take."""

    async def ask(self, operation: Operation, *, held_for: str | None = None) -> Asked:
        """What became of ``operation``, which waits for a person for this reason. Raises
        ``StoreUnavailable``."""
        how = self.programme.reconciliation[operation.kind]
        if how is Reconciliation.KEY:
            # The CRM would only show again what it has under this key.
            return Asked(Rechecked.CONFLICT if held_for == CONFLICT else Rechecked.HARMLESS)
        # A balance tells nothing once others have had the account.
        if how is not Reconciliation.PROBE:
            return Asked(Rechecked.NOBODY_TO_ASK)
        try:
            written = await reconcile(self.programme, operation, Deadline.after(self.call_timeout))
        except StoreUnavailable:
            raise
        except BackendError as error:
            return Asked(Rechecked.NO_ANSWER, detail=str(error))
        if written.entries:
            return Asked(Rechecked.FOUND_TWICE, written)
        if written.outcome is Outcome.DONE:
            return Asked(Rechecked.FOUND, written)
        if written.refusal is Refusal.KEY_TAKEN:
            return Asked(Rechecked.CONFLICT, written)
        if written.outcome is not Outcome.NOT_SENT:
            return Asked(Rechecked.CANNOT_TELL, written)
        if operation.kind not in kinds_looked_for(self.programme):
            return Asked(Rechecked.ABSENT, written)
        known = (await self.visibility.known()).get(operation.kind, Visibility())
        return Asked(Rechecked.ABSENT if known.proof is Proof.PROVED else Rechecked.NOT_FOUND, written)
