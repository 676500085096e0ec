"""``koshelek-adapter person``: everything that is kept of one person, shown or removed.

What the person's CRM keeps is the CRM's, unless its tables are ours.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

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
    from adapter.loyalty.personal_data import KnownPerson

app = typer.Typer(help="Show and erase what is kept of a person.", no_args_is_help=True)

Phone = Annotated[str | None, typer.Option(help="The person's phone, with the country code.")]
Customer = Annotated[
    list[str] | None,
    typer.Option(
        help="The person's id in the users CRM: of several with this phone, or without --phone where the CRM "
        "has no such phone any more."
    ),
]
_NOBODY = "nothing is kept of such a person, and the users CRM knows nobody like that; look at the phone"

By = Annotated[str | None, typer.Option("--by", help="Who asks; default: your name on this machine.")]


@app.command()
@plainly
def export(
    phone: Phone = None,
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
    _somebody_is_named(phone, customer)
    file = None if output is None else _opened(output)
    found: dict[str, Any] = {}

    async def work(service: Service) -> None:
        person = await _find(service, phone, customer)
        found.update(await service.personal_data.export(person, by=who))

    with_service(settings, work)
    if not found:
        fail(_NOBODY)
    text = json.dumps(found, ensure_ascii=False, indent=2)
    if file is None:
        typer.echo(text)
        return
    with file:
        file.write(text + "\n")
    say(f"Wrote {output}.")


def _opened(output: Path) -> IO[str]:
    """Before anything is shown: what cannot be written must not be noted as shown."""
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        return os.fdopen(descriptor, "w", encoding="utf-8")
    except OSError as error:
        fail(f"--output: cannot write {output}: {error.strerror}")


def _somebody_is_named(phone: str | None, customers: list[str] | None) -> None:
    if phone is None and not customers:
        fail("say who: --phone NUMBER, or --customer ID")


@app.command()
@plainly
def erase(
    phone: Phone = None,
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
    _somebody_is_named(phone, customer)

    async def work(service: Service) -> None:
        person = await _find(service, phone, customer)
        if not yes:
            ids = ", ".join(person.customer_ids) or "nobody any more"
            typer.confirm(f"Erase this person (in the CRM: {ids}) for good?", err=True, abort=True)
        await _erase(service, person, who)

    with_service(settings, work)


async def _erase(service: Service, person: KnownPerson, who: str) -> None:
    from adapter.loyalty.personal_data import StillOpen

    try:
        erased = await service.personal_data.erase(person, by=who)
    except StillOpen as still:
        numbers = ", ".join(str(number) for number in still.ids[:10])
        fail(
            f"{len(still.ids)} operations of this person are not over ({numbers}); wait, or settle them "
            "(koshelek-adapter receipts show ID), then run this again"
        )
    if not erased.rows and not person.customer_ids:
        fail(_NOBODY)
    for table, count in erased.rows.items():
        say(f"{table}: {count}")
    if erased.in_our_crm:
        say(f"{erased.in_our_crm} in the adapter's own CRM")
    if erased.others:
        ids = ", ".join(person.customer_ids) or "none found"
        names = ", ".join(erased.others)
        say(f"Erase the person in {names}, too (customer: {ids}), and in backups as they age.")


async def _find(service: Service, phone: str | None, given: list[str] | None) -> KnownPerson:
    """Who has this phone. Raises ``CannotRun``."""
    from adapter.loyalty.personal_data import NoPhone, SeveralPeople, SomebodyElse
    from adapter.settings import CannotRun
    from crm_backends.ports import BackendError

    try:
        return await service.personal_data.find(phone, given or ())
    except NoPhone:
        fail("--phone: this is no phone; write it with the country code")
    except SomebodyElse:
        fail(
            "--phone: it is another customer's in the CRM than --customer names; give --customer alone for "
            "somebody who has another phone there by now"
        )
    except SeveralPeople as several:
        ids = ", ".join(several.ids)
        fail(f"--phone: {len(several.ids)} customers have it ({ids}); name one: --customer ID")
    except BackendError as error:
        raise CannotRun(f"the users CRM does not tell who this is: {error}") from None
