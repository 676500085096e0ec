"""Settings of the PostgreSQL driver. It may not open anything: the driver does."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field, SecretStr, field_validator

from crm_backends.database import url_problem


class PostgresSettings(BaseModel, extra="forbid"):
    """Where the CRM's database is, and which SQL is spoken to it."""

    url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL URL of the CRM's database. Unset: the adapter's own database.",
    )
    sql_dir: Path | None = Field(
        default=None,
        description="Folder of your own SQL files. A file named like one of ours replaces it, one by one.",
    )
    manage_schema: bool | None = Field(
        default=None,
        description="Create and extend the schema `crm` at start. Unset: only when url and sql_dir are.",
    )
    pool_size: int = Field(
        default=10, ge=1, le=1000, description="Most connections one process opens to `url`."
    )
    statement_timeout: float = Field(
        default=3.0,
        gt=0,
        le=600,
        description="Seconds one operation may take, waiting for a connection included.",
    )
    pooler: bool = Field(
        default=False,
        description="A transaction-mode pooler such as pgbouncer stands before the database: no prepared "
        "statement is kept, and every call is one transaction.",
    )

    @field_validator("url")
    @classmethod
    def _url_leads_to_a_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and (problem := url_problem(value.get_secret_value())) is not None:
            raise ValueError(problem)
        return value

    def manages_schema(self) -> bool:
        """Whether the driver creates the schema `crm`."""
        if self.manage_schema is None:
            return self.url is None and self.sql_dir is None
        return self.manage_schema
