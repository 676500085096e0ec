"""What ``check`` looks at, in the order in which things depend on each other.

It changes nothing; an empty database gets its tables.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import argon2
from pydantic import SecretStr

from adapter import tls
from adapter.bootstrap import Service, ports_of
from adapter.checking.contract import contract
from adapter.checking.proof import proof_findings
from adapter.serving import database, run
from adapter.settings import SHORTEST_PASSWORD, CannotRun, Settings, with_overrides
from adapter.store.cards import COUNTED
from adapter.store.migrate import latest_version
from crm_backends.ports import Finding

_CLOCK_TOLERANCE = 5.0
_RENEW = timedelta(days=14)
"""A certificate that ends sooner is warned of."""


def findings(settings: Settings) -> Iterator[Finding]:
    """One finding a line, in the order in which things depend on each other."""
    yield _password(settings)
    yield from _certificate(settings)
    try:
        with database(settings, join=True, upgrade=False) as url:
            yield Finding("database", True, "reached")
            yield Finding("schema", True, f"version {latest_version()}")
            yield from run(lambda: _with_service(settings, url))
    except CannotRun as error:
        reason, _, remedy = str(error).partition("; ")
        yield Finding("database", False, reason, remedy)


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


async def _with_service(settings: Settings, url: str) -> list[Finding]:
    settings, secret = _with_known_password(settings)
    service = Service(settings, url, upgrade=False)
    found: list[Finding] = []
    try:
        await service.open()
        drift = await service.gateway.clock_drift()
        free = await service.cards.count_free()
        found.append(
            Finding(
                "clock",
                drift < _CLOCK_TOLERANCE,
                f"differs from the database's by {drift:.1f} s",
                "synchronise both machines (NTP): receipts are judged by time",
            )
        )
        found.append(
            Finding(
                "card numbers",
                bool(free or settings.cards.ranges),
                f"{free}{'' if free < COUNTED else ' or more'} in the pool, "
                f"{len(settings.cards.ranges)} ranges",
                "koshelek-adapter cards import FILE, or add a [[cards.ranges]] entry",
            )
        )
        for backend in service.backends:
            serves = ", ".join(ports_of(service, backend))
            for finding in await backend.check():
                found.append(
                    Finding(
                        f"crm {backend.name}",
                        finding.ok,
                        f"{finding.subject}: {finding.detail} ({serves})",
                        finding.remedy,
                    )
                )
        found += proof_findings(await service.shown())
        unbound = [port for port, backend in service.by_port.items() if backend is None]
        if unbound:
            found.append(Finding("crm", True, f"no CRM for {', '.join(unbound)}"))
        if all(finding.ok for finding in found if finding.subject.startswith("crm")):
            # With a CRM away its answers could only repeat what is wrong.
            found.append(await contract(service, secret))
    finally:
        await service.close()
    return found


def _with_known_password(settings: Settings) -> tuple[Settings, str]:
    """Settings to answer ourselves with, and the password: another one where it is hashed or not set.

    The lists of all users are left out: they may be long.
    """
    given = settings.koshelek.password
    text = "" if given is None else given.get_secret_value()
    if not text or text.startswith("$argon2"):
        text = secrets.token_urlsafe(24)
    return with_overrides(settings, {"koshelek": {"password": SecretStr(text), "get_all_users": False}}), text
