"""Runs ``check``: opens the database and the service, and tells each finding as it comes.

It changes nothing unless it is told to write; an empty database gets its tables. It may not know how a
finding is printed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adapter.bootstrap import Service
from adapter.checking.contract import contract
from adapter.checking.findings import of_service, of_settings
from adapter.commands.check.person import Walk
from adapter.commands.check.writes import Writes, beforehand
from adapter.process.database import database
from adapter.process.listening import check_addresses
from adapter.process.signals import run
from adapter.settings import CannotRun, Settings
from adapter.store.migrate import latest_version
from crm_backends.database import place_of
from crm_backends.ports import Finding

Tell = Callable[[Finding], None]


@dataclass(frozen=True, slots=True)
class LookedAt:
    """What else ``check`` was told to look at."""

    phone: str | None = None
    """A real person's, to be walked through what Koshelek would ask."""
    writes: bool = False
    """Whether a test CRM is written into."""
    agreed: Callable[[list[str]], bool] = lambda lines: False
    """Is given lines on what the writing will leave behind; whether it may be done."""


def look(settings: Settings, wanted: LookedAt, tell: Tell) -> None:
    """Tell what is found, one thing after the other, in the order in which they depend on each other."""
    for finding in of_settings(settings):
        tell(finding)
    try:
        check_addresses(settings)
    except CannotRun as error:
        reason, _, remedy = str(error).partition("; ")
        tell(Finding("ports", False, reason, remedy))
    created: list[str] = []
    try:
        with database(settings, join=True, upgrade=False, created=created.append) as url:
            tell(Finding("database", True, f"reached: {place_of(url)}"))
            made = ", created just now: the database was empty" if created else ""
            tell(Finding("schema", True, f"version {latest_version()}{made}"))
            run(lambda: _with_service(settings, url, wanted, tell))
    except CannotRun as error:
        reason, _, remedy = str(error).partition("; ")
        tell(Finding("database", False, reason, remedy))


async def _with_service(settings: Settings, url: str, wanted: LookedAt, tell: Tell) -> None:
    service = Service(settings, url, upgrade=False)
    try:
        await service.open()
        well = True
        async for finding in of_service(service):
            well &= finding.ok or not finding.subject.startswith("crm ")
            tell(finding)
        if well:  # while a CRM does not answer, this could only repeat it
            tell(await contract(service))
        if wanted.phone is not None:
            for finding in await Walk(service, wanted.phone, settings.koshelek.get_all_users).run():
                tell(finding)
        if wanted.writes and not well:
            tell(
                Finding(
                    "writes",
                    False,
                    "nothing is written: a line above says that a CRM is wrong",
                    "mend what it names, then call check --writes again",
                )
            )
        elif wanted.writes and wanted.agreed(beforehand(service, wanted.phone)):
            for finding in await Writes(service, wanted.phone).run():
                tell(finding)
    finally:
        await service.close()
