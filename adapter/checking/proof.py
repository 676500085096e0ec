"""A line of ``check`` for each kind of operation whose doubts are reconciled by looking in a CRM.

It may not ask a CRM: it tells what deliveries have found out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import tzinfo

from adapter.loyalty.model import OperationKind
from adapter.loyalty.moments import for_people
from adapter.loyalty.ports import Proof, Visibility
from crm_backends.ports import Finding

_FORGET = "koshelek-adapter receipts proof --forget {kind}, once the vendor has told what becomes of our keys"


def proof_findings(shown: Mapping[OperationKind, Visibility], zone: tzinfo) -> Iterator[Finding]:
    """Whether the CRM has proved that it finds what it was given, as far as it was tried out."""
    for kind, visibility in shown.items():
        subject = f"proof, {kind}"
        match visibility.proof:
            case Proof.PROVED:
                last = for_people(visibility.proved_at, zone) if visibility.proved_at else "before"
                yield Finding(
                    subject,
                    True,
                    f"the CRM finds what it was given, at worst after {visibility.worst_seconds:.1f} s "
                    f"(last seen {last})",
                )
            case Proof.NOT_PROVED:
                yield Finding(
                    subject,
                    True,
                    "the CRM has not shown yet that it finds what it was given; a doubt waits until it has",
                    "nothing, if nothing was sent yet: the first confirmed writes will show it",
                    warning=True,
                )
            case Proof.REFUTED:
                yield Finding(
                    subject,
                    False,
                    "the CRM does not find everything it has confirmed (case or length of our key, an "
                    "archive, another account?); doubts are held and not sent again",
                    _FORGET.format(kind=kind),
                )
