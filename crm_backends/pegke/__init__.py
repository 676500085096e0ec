"""Pegke: points given by phone, customer id or e-mail, in the two dialects the vendor has published.

Exports the driver's description for the registry. It may not import the adapter.
"""

from __future__ import annotations

from crm_backends.pegke.capabilities import BEST
from crm_backends.pegke.driver import NAME, PegkeBackend
from crm_backends.pegke.settings import PegkeSettings
from crm_backends.ports import Reconciliation
from crm_backends.registry import BackendSpec

BACKEND = BackendSpec(
    name=NAME,
    summary="Pegke: points of a merchant's customers (Web API v1.1 or the merchant API of 2016)",
    settings=PegkeSettings,
    build=PegkeBackend,
    ports=frozenset({"points"}),
    capabilities=BEST,
    reconciliation=Reconciliation.COMPARE,
    verified_by="sandbox",
)

__all__ = ["BACKEND", "PegkeBackend", "PegkeSettings"]
