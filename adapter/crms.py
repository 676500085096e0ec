"""The CRMs that the settings bind to the three ports: built, asked what they can do, each once.

It knows no CRM by name, and not what is asked of one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol, runtime_checkable

from pydantic import SecretStr

from adapter.loyalty.earning import points_for
from adapter.loyalty.model import OperationKind
from adapter.loyalty.ports import Port
from adapter.settings import Binding, CannotRun, Crm, Receipts
from crm_backends import registry
from crm_backends.database import place_of
from crm_backends.model import Credit, FiscalReceipt
from crm_backends.own_database import KeepsOneCustomerId, SharesDatabase
from crm_backends.ports import (
    KEY_LENGTH,
    Backend,
    Coupons,
    Finding,
    ForeseesCredits,
    LimitsKeys,
    MayComputePoints,
    NamesAccounts,
    NoticesAbsence,
    Points,
    Reconciliation,
    RepeatsHarmlessly,
    Support,
    Users,
)

OTHER_PORTS: tuple[Port, ...] = ("points", "coupons")
"""Ports whose CRM may be another than that of the users."""

_WRITES = (
    (OperationKind.REGISTRATION, "users", "users.register"),
    (OperationKind.RECEIPT, "points", "points.credit"),
    (OperationKind.PROMO_CODE, "coupons", "coupons.redeem"),
    (OperationKind.COUPONS, "coupons", "coupons.issue"),
    (OperationKind.CARD, "users", "users.set_card"),
)
"""Each kind of operation, the port that performs it, and which of the driver's operations that is."""


@runtime_checkable
class UsersBackend(Backend, Users, Protocol):
    """A driver that serves the users port."""


@runtime_checkable
class PointsBackend(Backend, Points, Protocol):
    """A driver that serves the points port."""


@runtime_checkable
class CouponsBackend(Backend, Coupons, Protocol):
    """A driver that serves the coupons port."""


@dataclass(frozen=True, slots=True)
class BoundCrms:
    """One backend per port; one object where several ports share a driver and its settings."""

    users: UsersBackend
    points: PointsBackend | None
    coupons: CouponsBackend | None
    bindings: Mapping[str, Binding | None]
    """Per port, the driver and its settings when it was built: secrets are read from their files then."""
    fingerprints: Mapping[str, str]
    """Per port with a CRM, which one it is."""

    @property
    def by_port(self) -> dict[str, Backend | None]:
        return {"users": self.users, "points": self.points, "coupons": self.coupons}

    @property
    def backends(self) -> list[Backend]:
        """Each once, however many ports it serves."""
        return list({id(one): one for one in self.by_port.values() if one is not None}.values())

    def crm_for(self, kind: OperationKind) -> tuple[Backend | None, str]:
        """The CRM that performs operations of this kind, and as which of a driver's operations."""
        port, operation = next((port, operation) for one, port, operation in _WRITES if one is kind)
        return self.by_port[port], operation

    def fingerprint_of(self, kind: OperationKind) -> str:
        """Tells the CRM that performs operations of this kind from any other; empty: there is none."""
        port = next(port for one, port, _ in _WRITES if one is kind)
        return self.fingerprints.get(port, "")

    def reconciliation(self) -> dict[OperationKind, Reconciliation]:
        """How an unknown outcome of each kind of operation is reconciled."""
        points, coupons = self.points, self.coupons
        # No driver can look an issue of coupons up; it may be sent again where our key is honoured.
        by_key = coupons is not None and coupons.reconciliation is Reconciliation.KEY
        return {
            OperationKind.REGISTRATION: self.users.reconciliation,
            OperationKind.RECEIPT: points.reconciliation if points else Reconciliation.MANUAL,
            OperationKind.PROMO_CODE: coupons.reconciliation if coupons else Reconciliation.MANUAL,
            OperationKind.COUPONS: Reconciliation.KEY if by_key else Reconciliation.MANUAL,
            # The same card told again changes nothing, whatever else the CRM honours.
            OperationKind.CARD: Reconciliation.KEY
            if can(self.users, "users.set_card")
            else Reconciliation.MANUAL,
        }

    def cannot(self) -> frozenset[OperationKind]:
        """Kinds that their CRM's driver declares that it cannot do."""
        crms = {kind: self.crm_for(kind) for kind in OperationKind}
        return frozenset(
            kind for kind, (crm, operation) in crms.items() if crm is not None and not can(crm, operation)
        )

    def harmless_again(self) -> frozenset[OperationKind]:
        """Kinds that may be sent to their CRM again whenever they are not found there."""
        crms = {kind: self.crm_for(kind) for kind in OperationKind}
        return frozenset(kind for kind, (crm, operation) in crms.items() if operation in _harmless_again(crm))

    def key_lengths(self) -> dict[OperationKind, int]:
        """Characters of the idempotency keys that the CRM of each kind takes."""
        return {kind: _key_length(self.crm_for(kind)[0]) for kind in OperationKind}

    def foreign_ports(self) -> tuple[Port, ...]:
        """Ports whose CRM is not that of the users."""
        return tuple(port for port in OTHER_PORTS if self.by_port[port] not in (None, self.users))

    def same_customer_id(self) -> tuple[Port, ...]:
        """Ports whose CRM is that of the users, and keeps a customer under the very same id."""
        if not _keeps_one_customer_id(self.users):
            return ()
        return tuple(port for port in OTHER_PORTS if self.by_port[port] is self.users)

    def named(self) -> dict[Port, NamesAccounts]:
        """Ports whose CRM calls accounts by a phone or an e-mail."""
        bound: Mapping[str, object] = self.by_port
        return {port: crm for port in OTHER_PORTS if isinstance(crm := bound[port], NamesAccounts)}

    def paused(self) -> dict[str, bool]:
        """Per port whose driver tells it: whether calls are paused because the CRM did not answer."""
        bound: Mapping[str, object] = self.by_port
        return {port: crm.paused for port, crm in bound.items() if isinstance(crm, NoticesAbsence)}

    @property
    def points_are_ours(self) -> bool:
        """Whether the points are in the adapter's own database, so that both fail together."""
        return _is_in_our_database(self.points)

    def ports_of(self, backend: Backend) -> Sequence[str]:
        """Which ports this backend is bound to."""
        return [port for port, bound in self.by_port.items() if bound is backend]


def can(backend: Backend, operation: str) -> bool:
    """Whether the driver declares that it can do this, wholly or in part.

    A driver that is older than the operation does not mention it, and cannot do it.
    """
    capability = backend.capabilities.get(operation)
    return capability is not None and capability.support in (Support.FULL, Support.PARTIAL)


# What a driver may offer besides its ports. Typed as object: for mypy no class has two of them.


def _harmless_again(backend: object) -> frozenset[str]:
    return backend.harmless_again if isinstance(backend, RepeatsHarmlessly) else frozenset()


def _key_length(backend: object) -> int:
    return backend.key_length if isinstance(backend, LimitsKeys) else KEY_LENGTH


def _keeps_one_customer_id(backend: object) -> bool:
    return isinstance(backend, KeepsOneCustomerId) and backend.accounts_are_customers


def _is_in_our_database(backend: object) -> bool:
    return isinstance(backend, SharesDatabase) and backend.in_adapters_database


def build(crm: Crm, context: registry.BackendContext) -> BoundCrms:
    """One backend for all ports that share a driver and its settings; none is opened.

    Raises:
        SettingsError: the settings bind no driver that fits.
        CannotRun: a driver lacks what a port asks for.
    """
    bound = crm.bindings()
    bindings = dict(bound)
    if bindings["users"] is None:
        # Without a users CRM the adapter's own database keeps the people.
        bindings["users"] = Binding("postgres", registry.load("postgres").settings())
    built: list[tuple[Binding, Backend]] = []
    by_port: dict[str, Backend | None] = {}
    for port, binding in bindings.items():
        if binding is None:
            by_port[port] = None
            continue
        backend = next((known for other, known in built if other == binding), None)
        if backend is None:
            ports = frozenset(port for port, other in bindings.items() if other == binding)
            spec = registry.load(binding.driver)
            backend = spec.build(binding.settings, dataclasses.replace(context, ports=ports))
            built.append((binding, backend))
        by_port[port] = backend
    users, points, coupons = by_port["users"], by_port["points"], by_port["coupons"]
    if not isinstance(users, UsersBackend):
        raise _lacks("users", users, UsersBackend)
    if points is not None and not isinstance(points, PointsBackend):
        raise _lacks("points", points, PointsBackend)
    if coupons is not None and not isinstance(coupons, CouponsBackend):
        raise _lacks("coupons", coupons, CouponsBackend)
    return BoundCrms(
        users,
        points,
        coupons,
        bindings=bound,
        fingerprints={port: _fingerprint(one) for port, one in bindings.items() if one is not None},
    )


def _lacks(port: str, backend: Backend | None, wanted: type[object]) -> CannotRun:
    """The driver says that it serves the port, and does not: a defect of the driver's."""
    lacking = sorted(name for name in _members(wanted) if not hasattr(backend, name))
    name = backend.name if backend is not None else "?"
    return CannotRun(
        f'crm.{port}.driver: "{name}" lacks {", ".join(lacking)}, which the {port} port asks for; '
        "mend the driver, or bind another one"
    )


def _members(protocol: type[object]) -> set[str]:
    """Names of what a class needs to fit this protocol."""
    every = (name for base in protocol.__mro__ for name in (*vars(base), *inspect.get_annotations(base)))
    return {name for name in every if not name.startswith("_")}


def _fingerprint(binding: Binding) -> str:
    """The same for the same driver at the same address, else another; the address cannot be read from it."""
    where = getattr(binding.settings, "base_url", None)
    url = getattr(binding.settings, "url", None)
    if isinstance(url, SecretStr):
        where = place_of(url.get_secret_value())  # a new password makes no new CRM
    return hashlib.sha256(f"{binding.driver} {where}".encode()).hexdigest()[:16]


_SAMPLES = (9_999, 10_000, 123_457)
"""Kopecks of receipts that are tried out: with and without a remainder."""


def refused_receipts(points: object, rule: Receipts, now: datetime) -> list[Finding]:
    """A finding where the driver would refuse the credit of a receipt under these settings.

    The driver is asked about made-up receipts, the CRM is not asked. A refusal counts only if the driver
    would take a credit of one point, or one without points: else it refuses the made-up person.
    """
    if not isinstance(points, ForeseesCredits):
        return []
    for total in _SAMPLES:
        receipt = FiscalReceipt("9999078900004792", "1", "1", total, now, 1)
        worth = points_for(receipt, rule)
        why = None if worth == 0 else points.foreseen(Credit(worth, "Purchase", receipt))
        if why is None:
            continue
        by_rule = points.foreseen(Credit(Decimal(1), "Purchase", receipt)) is None
        by_crm = points.foreseen(Credit(None, "Purchase", receipt)) is None
        if not by_rule and not by_crm:
            return []
        told = "the CRM's rules decide the points" if worth is None else f"{worth:f} points"
        remedy = 'set receipts.points_by = "crm": this CRM takes no points that are computed here'
        if worth is None:
            remedy = 'set receipts.points_by = "rule": this CRM is told how many points a receipt gives'
        elif by_rule:
            remedy = "set receipts.step to what this CRM takes: 1, or 0.01"
        shown = f"a receipt of {Decimal(total) / 100:f} roubles ({told}) would never be credited: {why}"
        return [Finding("receipts", False, shown, remedy)]
    return []


def unasked_points(points: object, rule: Receipts) -> list[Finding]:
    """A finding where the CRM credits by its own rule, while by the settings the adapter computes the points.

    Every receipt would then be held, since the CRM credits another amount than it was asked for.
    """
    file = points.computes_in if isinstance(points, MayComputePoints) else None
    if file is None or rule.points_by == "crm":
        return []
    return [
        Finding(
            file,
            False,
            'does not use :points, and receipts.points_by is "rule": it would credit another amount than '
            "it is asked for, and every such receipt would be held",
            'set receipts.points_by = "crm" where the file computes them; else put :points on the account',
        )
    ]
