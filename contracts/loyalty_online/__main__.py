"""Writes the OpenAPI documents of all versions: ``python -m contracts.loyalty_online``."""

from contracts.loyalty_online import openapi
from contracts.loyalty_online.clauses import VERSIONS

for version in VERSIONS:
    openapi.file(version).write_text(openapi.text(version), encoding="utf-8")
