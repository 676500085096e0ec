"""A CRM in PostgreSQL: our own schema, or the database a partner already has.

Exports the driver's description for the registry. It may not import the adapter.
"""

from __future__ import annotations

from crm_backends.ports import Reconciliation
from crm_backends.postgres.database import NAME
from crm_backends.postgres.driver import CAPABILITIES, PostgresBackend
from crm_backends.postgres.settings import PostgresSettings
from crm_backends.registry import BackendSpec

BACKEND = BackendSpec(
    name=NAME,
    summary="PostgreSQL: a small CRM of our own, or your tables through your SQL files",
    settings=PostgresSettings,
    build=PostgresBackend,
    ports=frozenset({"users", "points", "coupons"}),
    capabilities=CAPABILITIES,
    reconciliation=Reconciliation.KEY,
    verified_by="real server",
)

__all__ = ["BACKEND", "PostgresBackend", "PostgresSettings"]
