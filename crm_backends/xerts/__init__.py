"""Xerts: coupons of sites and vendors, kept by device.

Exports the driver's description for the registry. It may not import the adapter. The commands are in
``commands`` and are imported by whoever offers them.
"""

from __future__ import annotations

from crm_backends.ports import Reconciliation
from crm_backends.registry import BackendSpec
from crm_backends.xerts.capabilities import BEST
from crm_backends.xerts.driver import NAME, XertsBackend
from crm_backends.xerts.settings import XertsSettings

BACKEND = BackendSpec(
    name=NAME,
    summary="Xerts: coupons issued at sites and redeemed by code",
    settings=XertsSettings,
    build=XertsBackend,
    ports=frozenset({"coupons"}),
    capabilities=BEST,
    reconciliation=Reconciliation.PROBE,
    verified_by="sandbox",
)

__all__ = ["BACKEND", "XertsBackend", "XertsSettings"]
