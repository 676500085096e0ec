"""What ``check`` says of the proof that a CRM finds what it was given."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from adapter.checking.proof import proof_findings
from adapter.loyalty.model import OperationKind
from adapter.loyalty.ports import Proof, Visibility

MOSCOW = ZoneInfo("Europe/Moscow")
SEEN = datetime(2026, 11, 26, 12, tzinfo=UTC)


def test_each_state_says_what_is_known_and_what_to_do() -> None:
    shown = {
        OperationKind.RECEIPT: Visibility(Proof.PROVED, worst_seconds=1.25, found=3, proved_at=SEEN),
        OperationKind.PROMO_CODE: Visibility(),
        OperationKind.REGISTRATION: Visibility(Proof.REFUTED, found=2, proved_at=SEEN),
    }
    proved, not_proved, refuted = proof_findings(shown, MOSCOW)
    assert (proved.ok, proved.warning) == (True, False)
    assert "at worst after 1.2 s (last seen 2026-11-26 15:00:00+03:00)" in proved.detail
    assert (not_proved.ok, not_proved.warning) == (True, True)
    assert "a doubt waits" in not_proved.detail
    assert not refuted.ok
    assert "receipts proof --forget registration" in refuted.remedy


def test_without_a_crm_that_is_looked_at_there_is_nothing_to_say() -> None:
    assert list(proof_findings({}, MOSCOW)) == []
