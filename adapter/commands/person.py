"""``koshelek-adapter person``: everything that is kept of one person, shown or removed.

What the person's CRM keeps is the CRM's, unless its tables are ours.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapter.commands.terminal import (
    ConfigFile,
    DataDir,
    decided_by,
    plainly,
    settings_of_database,
    with_service,
)
from contracts.kit.terminal import fail, say

if TYPE_CHECKING:
    from adapter.bootstrap import Service
    from crm_backends.ports import ForgetsPeople

app = typer.Typer(help="Show and erase what is kept of a person.", no_args_is_help=True)

_PATIENCE = 60.0  # seconds for one question to a CRM

Phone = Annotated[str, typer.Option(help="The person's phone, with the country code.")]
Customer = Annotated[
    list[str] | None,
    typer.Option(help="The person's id in the users CRM, where the CRM has no such phone any more."),
]
By = Annotated[str | None, typer.Option("--by", help="Who asks; default: your name on this machine.")]


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """What is known here of the person a command is about."""

    customer_ids: list[str]
    identities: list[str]
    """By which registrations are known, as they are kept."""


@app.command()
@plainly
def export(
    phone: Phone,
    customer: Customer = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write, readable for you alone; default: standard output.")
    ] = None,
    by: By = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Print everything that is kept of a person, as JSON. That it was shown, and to whom, is noted."""
    settings, who = settings_of_database(config, data_dir), decided_by(by)
    found: dict[str, Any] = {}

    async def work(service: Service) -> None:
        from adapter.store.people import PostgresPeople
        from crm_backends.ports import Deadline

        person = await _find(service, phone, customer)
        people = PostgresPeople(service.gateway)
        found.update(await people.kept(person.customer_ids, person.identities, by=who))
        for crm in _ours(service).values():
            for customer_id in person.customer_ids:
                tables = await crm.kept_of(customer_id, deadline=Deadline.after(_PATIENCE))
                for table, rows in tables.items():
                    found.setdefault(table, []).extend(rows)

    with_service(settings, work)
    text = json.dumps(found, ensure_ascii=False, indent=2)
    if output is None:
        typer.echo(text)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        fail(f"--output: cannot write {output}: {error.strerror}")
    say(f"Wrote {output}.")


@app.command()
@plainly
def erase(
    phone: Phone,
    customer: Customer = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    by: By = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Remove a person for good; what the money needs stays, without the person.

    Receipts stay known, so that none is credited twice. Card numbers stay taken. What another CRM keeps is
    not touched: erase the person there, too, or the next call of Koshelek finds them again.
    """
    settings, who = settings_of_database(config, data_dir), decided_by(by)

    async def work(service: Service) -> None:
        person = await _find(service, phone, customer)
        if not yes:
            count = len(person.customer_ids)
            typer.confirm(f"Erase this person ({count} in the CRM) for good?", err=True, abort=True)
        await _erase(service, person, who)

    with_service(settings, work)


async def _erase(service: Service, person: KnownPerson, who: str) -> None:
    from adapter.store.people import PostgresPeople, StillOpen
    from crm_backends.ports import Deadline

    try:
        changed = await PostgresPeople(service.gateway).erase(person.customer_ids, person.identities, by=who)
    except StillOpen as still:
        numbers = ", ".join(str(number) for number in still.ids[:10])
        fail(
            f"{len(still.ids)} operations of this person are not over ({numbers}); wait, or settle them "
            "(koshelek-adapter receipts show ID), then run this again"
        )
    ours = _ours(service)
    # Last: until then the person is found by the phone, so that this may be run again.
    for crm in ours.values():
        for customer_id in person.customer_ids:
            await crm.forget(customer_id, deadline=Deadline.after(_PATIENCE))
    for table, count in changed.items():
        say(f"{table}: {count}")
    others = [backend.name for backend in service.backends if id(backend) not in ours]
    if ours:
        say(f"{len(person.customer_ids)} in the adapter's own CRM")
    if others:
        ids = ", ".join(person.customer_ids) or "none found"
        say(f"Erase the person in {', '.join(others)}, too (customer: {ids}), and in backups as they age.")


def _ours(service: Service) -> dict[int, ForgetsPeople]:
    """The CRMs whose tables are ours, by the identity of the object."""
    from crm_backends.ports import ForgetsPeople

    return {
        id(backend): backend
        for backend in service.backends
        if isinstance(backend, ForgetsPeople) and backend.keeps_people
    }


async def _find(service: Service, phone: str, given: list[str] | None) -> KnownPerson:
    """Who has this phone. Raises ``CannotRun``."""
    from adapter.settings import CannotRun
    from adapter.store.identities import Identities
    from crm_backends.inputs import read_phone
    from crm_backends.ports import BackendError, Deadline

    number = read_phone(phone, service.settings.koshelek.region)
    if number is None:
        fail("--phone: this is no phone; write it with the country code")
    users = service.programme.users
    try:
        found = await users.find(
            phone=number, email=None, birth_date=None, deadline=Deadline.after(_PATIENCE)
        )
    except BackendError as error:
        raise CannotRun(f"the users CRM does not tell who this is: {error}") from None
    identities = [number, *[f"email:{one.profile.email}" for one in found if one.profile.email]]
    hashed = Identities(service.gateway)
    kept = [await hashed.kept(identity) for identity in identities]
    ids = [*dict.fromkeys([*[one.customer_id for one in found], *(given or [])])]
    return KnownPerson(ids, [*identities, *kept])
