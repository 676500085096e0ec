"""What ``check`` looks at, in the order in which things depend on each other.

It changes nothing; an empty database gets its tables.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import argon2
from pydantic import SecretStr

from adapter.bootstrap import Service
from adapter.commands.check.contract import contract
from adapter.commands.check.own_database import own_database
from adapter.commands.check.person import Walk
from adapter.commands.check.proof import proof_findings
from adapter.commands.check.writes import Writes, beforehand
from adapter.process import tls
from adapter.process.database import database
from adapter.process.signals import run
from adapter.settings import SHORTEST_PASSWORD, CannotRun, Settings, with_overrides
from adapter.store.migrate import latest_version
from crm_backends.ports import Finding

_RENEW = timedelta(days=14)
"""A certificate that ends sooner is warned of."""


Tell = Callable[[Finding], None]


@dataclass(frozen=True, slots=True)
class LookedAt:
    """What is looked at besides."""

    phone: str | None = None
    """A real person's, to be walked through what Koshelek would ask."""
    writes: bool = False
    """Whether a test CRM is written into."""
    agreed: Callable[[list[str]], bool] = lambda lines: False
    """Told what the writing will leave behind; whether it may be done."""


def look(settings: Settings, wanted: LookedAt, tell: Tell) -> None:
    """Tell what is found, one thing after the other, in the order in which they depend on each other."""
    tell(_password(settings))
    for finding in _certificate(settings):
        tell(finding)
    created: list[str] = []
    try:
        with database(settings, join=True, upgrade=False, created=created.append) as url:
            tell(Finding("database", True, "reached"))
            made = ", created just now: the database was empty" if created else ""
            tell(Finding("schema", True, f"version {latest_version()}{made}"))
            run(lambda: _with_service(settings, url, wanted, tell))
    except CannotRun as error:
        reason, _, remedy = str(error).partition("; ")
        tell(Finding("database", False, reason, remedy))


def _password(settings: Settings) -> Finding:
    password = settings.koshelek.password
    if password is None:
        return Finding("password", False, "koshelek.password is not set", "koshelek-adapter config new")
    text = password.get_secret_value()
    if len(text) < SHORTEST_PASSWORD:
        return Finding(
            "password",
            False,
            f"koshelek.password is shorter than {SHORTEST_PASSWORD} characters",
            "take a generated one: koshelek-adapter config new writes it",
        )
    if not text.startswith("$argon2"):
        return Finding("password", True, "plain, long enough")
    try:
        argon2.extract_parameters(text)
        base64.b64decode(f"{text.rpartition('$')[2]}===", validate=False)
    except (argon2.exceptions.InvalidHashError, ValueError):
        return Finding(
            "password", False, "the hash in koshelek.password is cut short", "koshelek-adapter config hash"
        )
    return Finding("password", True, "hashed")


def _certificate(settings: Settings) -> Iterator[Finding]:
    try:
        found = tls.tried(settings.server)
    except CannotRun as error:
        reason, _, remedy = str(error).partition("; ")
        yield Finding("certificate", False, reason, remedy)
        return
    if found is None:
        return
    soon = found.until - datetime.now(UTC) < _RENEW
    names = ", ".join(found.names) or "no name in it"
    yield Finding(
        "certificate",
        True,
        f"{names}, until {found.until:%Y-%m-%d}",
        "renew it, then send serve a SIGHUP" if soon else "",
        warning=soon,
    )


async def _with_service(settings: Settings, url: str, wanted: LookedAt, tell: Tell) -> None:
    lists = settings.koshelek.get_all_users
    settings, secret = _with_known_password(settings)
    service = Service(settings, url, upgrade=False)
    try:
        await service.open()
        async for finding in own_database(service):
            tell(finding)
        well = True
        for backend in service.backends:
            serves = ", ".join(service.crms.ports_of(backend))
            for finding in await backend.check():
                well &= finding.ok
                detail = f"{finding.subject}: {finding.detail} ({serves})"
                tell(replace(finding, subject=f"crm {backend.name}", detail=detail))
        for finding in proof_findings(await service.shown()):
            tell(finding)
        unbound = [port for port, backend in service.by_port.items() if backend is None]
        if unbound:
            tell(Finding("crm", True, f"no CRM for {', '.join(unbound)}"))
        if well:  # with a CRM away its answers could only repeat what is wrong
            tell(await contract(service, secret))
        if wanted.phone is not None:
            for finding in await Walk(service, wanted.phone, lists).run():
                tell(finding)
        if wanted.writes and wanted.agreed(beforehand(service, wanted.phone)):
            for finding in await Writes(service, wanted.phone).run():
                tell(finding)
    finally:
        await service.close()


def _with_known_password(settings: Settings) -> tuple[Settings, str]:
    """Settings to answer ourselves with, and the password: another one where it is hashed or not set.

    The lists of all users are left out: they may be long.
    """
    given = settings.koshelek.password
    text = "" if given is None else given.get_secret_value()
    if not text or text.startswith("$argon2"):
        text = secrets.token_urlsafe(24)
    return with_overrides(settings, {"koshelek": {"password": SecretStr(text), "get_all_users": False}}), text
