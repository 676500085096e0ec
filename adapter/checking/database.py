"""Lines of ``check`` about the adapter's own database: clock, rights, delivery, and the card numbers in it.

It may not know how lines are shown.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta

from adapter.bootstrap import Service
from adapter.store.cards import COUNTED
from adapter.store.inspection import MOST, range_use
from adapter.store.queue import due
from adapter.store.rights import encryption, rights
from crm_backends.database import place_of
from crm_backends.ports import Backend, BackendError, Deadline, Finding, FindsByCard

_CLOCK_TOLERANCE = 5.0
_LATE = 60.0  # seconds
_FEW = 1000
"""Fewer numbers left than this, and a warning asks for more."""


async def database_findings(service: Service) -> AsyncIterator[Finding]:
    """What there is to say of the database, a line each. Raises ``StoreUnavailable``."""
    yield await _rights(service)
    if (line := await _line(service)) is not None:
        yield line
    drift = await service.gateway.clock_drift()
    yield Finding(
        "clock",
        drift < _CLOCK_TOLERANCE,
        f"differs from the database's by {drift:.1f} s",
        "synchronise both machines (NTP): receipts are judged by time",
    )
    yield await _delivery(service)
    ranges = service.settings.cards.ranges
    free = await service.cards.count_free()
    left = 0
    for place, rule in enumerate(ranges):
        async with service.gateway.connection() as connection:
            use = await range_use(connection, rule)
        left += use.left
        subject = f"cards.ranges.{place}"
        if use.taken:
            yield Finding(
                subject,
                True,
                f"{use.taken}{' or more' if use.taken == MOST else ''} numbers ahead were imported and are "
                "passed over; plastic of that series which was not imported would be given to other people",
                "choose a range of its own (prefix, first), or import the whole series",
                warning=True,
            )
        known = await _known_to_the_crm(service.by_port["users"], use.ahead)
        if known:
            which = "the next" if rule.order == "counting" else "any"
            yield Finding(
                subject,
                True,
                f"the users CRM knows {known} of {which} {len(use.ahead)} numbers as cards of its own",
                "choose a range that the CRM does not use (prefix, first)",
                warning=True,
            )
    few = bool(ranges) and free + left < _FEW
    yield Finding(
        "card numbers",
        bool(free or left),
        f"{free}{'' if free < COUNTED else ' or more'} in the pool, {len(ranges)} ranges"
        + (f" with {left} left" if ranges else ""),
        "koshelek-adapter cards import FILE, or add a [[cards.ranges]] entry",
        warning=few and bool(free or left),
    )


async def _rights(service: Service) -> Finding:
    async with service.gateway.connection() as connection:
        found = await rights(connection)
    if found.read_only:
        return Finding(
            "rights",
            False,
            "the database takes no writes (a standby, or default_transaction_read_only)",
            "name the primary in database.url; ?target_session_attrs=read-write finds it among several hosts",
        )
    if found.grants:
        return Finding(
            "rights",
            False,
            f"{found.role} may not do all it has to in schema koshelek",
            "\n".join(found.grants),
        )
    if found.revokes:
        return Finding(
            "rights",
            True,
            f"{found.role} may remove rows that say who did what",
            "\n".join(found.revokes),
            warning=True,
        )
    # The embedded server has one role, and lets in nobody but its own user.
    if found.more and service.settings.database.url is not None:
        return Finding(
            "rights",
            True,
            f"{found.role} may do more than serve and worker need: {', '.join(found.more)}",
            "koshelek-adapter database prepare --role NAME prints the rights of a role that reads and writes "
            "alone; name that role in database.url",
            warning=True,
        )
    return Finding("rights", True, f"{found.role} may read and write the adapter's tables")


async def _delivery(service: Service) -> Finding:
    """Whether any process delivers what is recorded."""
    async with service.gateway.connection() as connection:
        found = await due(connection)
    if not found.count:
        return Finding("delivery", True, "nothing waits that could be delivered now")
    some = f"{found.count} {'operation' if found.count == 1 else 'operations'}"
    oldest = f"{some} could be delivered now, the oldest for {timedelta(seconds=int(found.oldest_seconds))}"
    if found.nobody_delivers:
        runs = (
            "start koshelek-adapter serve, which delivers (delivery.in_process)"
            if service.settings.delivery.in_process
            else "start koshelek-adapter worker; with delivery.in_process = false serve does not deliver"
        )
        return Finding("delivery", False, f"{oldest}: nobody delivers", runs)
    return Finding(
        "delivery",
        True,
        oldest,
        "another koshelek-adapter worker, or more delivery.concurrency, if it stays so",
        warning=found.oldest_seconds > _LATE,
    )


async def _line(service: Service) -> Finding | None:
    """Whether the connection to a database on another machine is encrypted, and its certificate verified."""
    settings = service.settings.database
    if settings.url is None or settings.pooler:  # behind a pooler the server knows the pooler's line alone
        return None
    place = place_of(settings.url.get_secret_value())
    if place.host.startswith("/") or place.host in ("", "localhost", "::1") or place.host.startswith("127."):
        return None
    async with service.gateway.connection() as connection:
        version = await encryption(connection)
    if version is None:
        return Finding(
            "database line",
            True,
            f"not encrypted, and {place.host} is another machine: it carries phones and names",
            "switch TLS on there (ssl = on), and end database.url with "
            "?sslmode=verify-full&sslrootcert=FILE of the authority that signed its certificate",
            warning=True,
        )
    verified = re.search(r"[?&]sslmode=verify-(ca|full)\b", settings.url.get_secret_value()) is not None
    return Finding(
        "database line",
        True,
        f"{version}, the certificate is {'verified' if verified else 'not verified'}",
        "end database.url with ?sslmode=verify-full&sslrootcert=FILE of the authority that signed it",
        warning=not verified,
    )


async def _known_to_the_crm(users: Backend | None, numbers: tuple[str, ...]) -> int:
    if users is None or not isinstance(users, FindsByCard):
        return 0
    known = 0
    for number in numbers:
        try:
            known += await users.find_by_card(number, deadline=Deadline.after(5)) is not None
        except BackendError:  # told by the lines about the CRM
            return 0
    return known
