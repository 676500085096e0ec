"""Perx: customers, points by its rule engine, vouchers.

Exports the driver's description for the registry. It may not import the adapter.
"""

from __future__ import annotations

from crm_backends.perx.base import NAME
from crm_backends.perx.capabilities import BEST
from crm_backends.perx.driver import PerxBackend
from crm_backends.perx.settings import PerxSettings, PromoTarget
from crm_backends.ports import Reconciliation
from crm_backends.registry import BackendSpec

BACKEND = BackendSpec(
    name=NAME,
    summary="Perx: customers without personal data, points by rules or directly, vouchers",
    settings=PerxSettings,
    build=PerxBackend,
    ports=frozenset({"users", "points", "coupons"}),
    capabilities=BEST,
    reconciliation=Reconciliation.PROBE,
    verified_by="sandbox",
)

__all__ = ["BACKEND", "PerxBackend", "PerxSettings", "PromoTarget"]
