"""``koshelek-adapter database``: all that changes tables, apart from the processes that serve.

It may not know what the tables are for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

import typer

from adapter.commands.terminal import ConfigFile, plainly, settings_for
from contracts.kit.terminal import fail

if TYPE_CHECKING:
    from adapter.bootstrap import Service
    from adapter.settings import Settings
    from adapter.store.pool import Connection

app = typer.Typer(help="Make and change the adapter's tables.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps the name of the one command."""


@app.command()
@plainly
def prepare(
    config: ConfigFile = None,
    owner_url_file: Annotated[
        Path | None,
        typer.Option(
            envvar="KOSHELEK_OWNER_URL_FILE",
            help="File with the URL of the role that owns the tables; default: database.url.",
        ),
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(
            help="The role that serve and worker use; default: the user of database.url, if the owner is "
            "another."
        ),
    ] = None,
    grant: Annotated[bool, typer.Option("--grant", help="Also run what is printed.")] = False,
) -> None:
    """Make the adapter's tables or bring them up to date, and print the GRANTs that the service's role lacks.

    A role that an older version let remove rows that say who did what loses that right by the REVOKE below.

    Run it with an owner's role before serve and worker of a new version start; they then need no right to
    change a table. What is printed is SQL. It may be run again at any time.
    """
    from adapter.process.database import database
    from adapter.process.signals import run
    from adapter.settings import with_overrides
    from adapter.store.migrate import latest_version
    from crm_backends.database import place_of

    settings = settings_for(config)
    if owner_url_file is not None:
        role = role or _user_of(settings)
        owner_url = _read(owner_url_file)
        _must_be_the_services(owner_url, settings)
        settings = with_overrides(settings, {"database": {"url": owner_url}})
    if grant and role is None:
        fail("say with --role who is to have the rights")
    with database(settings, join=True) as url:
        typer.echo(f"-- {place_of(url)}")
        typer.echo(f"-- schema koshelek: version {latest_version()}")
        lines = run(lambda: _prepare(settings, url, role, grant))
    for line in lines:
        typer.echo(line)


def _user_of(settings: Settings) -> str | None:
    url = settings.database.url
    return None if url is None else unquote(urlsplit(url.get_secret_value()).username or "") or None


def _read(file: Path) -> str:
    """The URL in this file; or the command ends."""
    from crm_backends.database import url_problem

    try:
        url = file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--owner-url-file: cannot read {file}: {getattr(error, 'strerror', None) or 'it is no text'}")
    if (problem := url_problem(url)) is not None:
        fail(f"--owner-url-file: {problem}")
    return url


def _must_be_the_services(owner_url: str, settings: Settings) -> None:
    """The owner's URL has to lead to the database that serve uses; or the command ends.

    The host may be another one, since the owner may go by another name or past a pooler: that is told.
    """
    from crm_backends.database import place_of

    if settings.database.url is None:  # a job that is given the owner's URL alone
        return
    owners, services = place_of(owner_url), place_of(settings.database.url.get_secret_value())
    if owners.database != services.database and not settings.database.pooler:
        fail(
            f"--owner-url-file leads to {owners}, database.url to {services}; name the same database in "
            "both, then run this again"
        )
    if (owners.server, owners.database) != (services.server, services.database):
        typer.echo(f"-- database.url leads to {services}: see that this is the same database")


async def _prepare(settings: Settings, url: str, role: str | None, grant: bool) -> list[str]:
    """Make what the CRMs' drivers keep themselves; returns the lines to print. Raises ``CannotRun``."""
    from adapter.bootstrap import Service
    from adapter.settings import CannotRun
    from adapter.store.rights import OWN
    from crm_backends.ports import BackendError, KeepsTables

    service = Service(settings, url)
    try:
        await service.open()
        schemas = [OWN]
        for backend in service.backends:
            if isinstance(backend, KeepsTables):
                schemas += await backend.prepare()
        return await _rights(service, role, schemas, grant)
    except BackendError as error:
        raise CannotRun(str(error)) from None
    finally:
        await service.close()


async def _rights(service: Service, role: str | None, schemas: list[str], grant: bool) -> list[str]:
    from adapter.settings import CannotRun
    from adapter.store.rights import more_than_needed, role_exists

    lines = [f"-- schema {schema}: as this version needs it" for schema in schemas[1:]]
    if role is None:
        return [*lines, "-- with --role NAME the rights that a role lacks to serve are printed"]
    async with service.gateway.connection() as connection:
        if not await role_exists(connection, role):
            raise CannotRun(
                f"there is no role {role} in the database; make it (CREATE ROLE with LOGIN and a PASSWORD), "
                "then run this again"
            )
        lines += await _grants(connection, role, schemas, grant)
        more = await more_than_needed(connection, role, schemas)
    return lines + [f"-- {role} needs none of this and has it: {', '.join(more)}"] * bool(more)


async def _grants(connection: Connection, role: str, schemas: list[str], grant: bool) -> list[str]:
    from adapter.store.rights import grants, revokes

    lacking = await grants(connection, role, schemas)
    taken = await revokes(connection, role)
    if grant:
        async with connection.transaction():
            for statement in (*lacking, *taken):
                await connection.execute(statement)
    lines = (
        ["-- given:" if grant else f"-- {role} lacks:", *lacking]
        if lacking
        else [f"-- {role} has every right it needs"]
    )
    if taken:
        lines += ["-- taken back:" if grant else f"-- {role} may remove who did what; take it back:", *taken]
    return lines
