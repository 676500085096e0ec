"""``koshelek-adapter people``: who may log in to the console, beside the people of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapter.commands.terminal import (
    ConfigFile,
    DataDir,
    as_meant,
    decided_by,
    given_password,
    plainly,
    settings_of_database,
    with_database,
)
from adapter.loyalty.moments import for_people
from contracts.kit.terminal import fail, say

if TYPE_CHECKING:
    from adapter.settings import Person, Settings
    from adapter.store.pool import Gateway

app = typer.Typer(help="Who may log in to the console.", no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(callback=as_meant, help="Login; it stands beside everything the person decides."),
]
By = Annotated[str | None, typer.Option("--by", help="Who decides; default: your name on this machine.")]


@app.command()
@plainly
def add(
    name: Name,
    role: Annotated[
        str | None,
        typer.Option(
            help="reader looks; operator decides, too: held operations, cards, personal data. "
            "Default: reader, or what the person is already."
        ),
    ] = None,
    by: By = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Let somebody in to the console, or give them another password and role.

    The password is asked for twice, or read from a pipe; it is kept as an argon2 hash, in the adapter's
    database, so that all replicas let the person in.
    """
    settings, who = settings_of_database(config, data_dir), decided_by(by)
    if any(person.name == name for person in settings.console.people):
        fail(f"{name} stands in console.people of the settings; change the password there")
    person = _person(name, role or "reader", given_password())
    known = 0

    async def work(gateway: Gateway) -> None:
        from adapter.loyalty.review import AuditAction
        from adapter.store.audit import PostgresAudit
        from adapter.store.console_people import PostgresConsolePeople

        nonlocal known
        people = PostgresConsolePeople(gateway)
        before = {one.name: one for one in await people.people()}
        known = len(before)
        kept = before[name].role if role is None and name in before else person.role
        new = await people.add(person.model_copy(update={"role": kept}), by=who)
        await PostgresAudit(gateway).note(who, AuditAction.PERSON_ADDED, note=f"{name}, {kept}")
        say(f"{name} may log in as {kept}." if new else f"{name} has a new password, as {kept}.")

    with_database(settings, work)
    if not known and not settings.console.people:
        say("This is the first person: restart serve, which has no console until then.")


@app.command()
@plainly
def remove(name: Name, by: By = None, config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Let somebody in no more; who is logged in is out within seconds."""
    settings, who = settings_of_database(config, data_dir), decided_by(by)

    async def work(gateway: Gateway) -> None:
        from adapter.loyalty.review import AuditAction
        from adapter.store.audit import PostgresAudit
        from adapter.store.console_people import PostgresConsolePeople

        if not await PostgresConsolePeople(gateway).remove(name):
            where = " here; take the entry out of console.people in the settings and restart serve"
            fail(f"{name} was not added{where if _in_settings(settings, name) else ''}")
        await PostgresAudit(gateway).note(who, AuditAction.PERSON_REMOVED, note=name)
        say(f"{name} may not log in any more.")

    with_database(settings, work)


@app.command("list")
@plainly
def list_people(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Who may log in, as what, and who let them in."""
    settings = settings_of_database(config, data_dir)
    rows = [(person.name, person.role, "", "the settings") for person in settings.console.people]

    async def work(gateway: Gateway) -> None:
        from adapter.store.console_people import PostgresConsolePeople

        for added in await PostgresConsolePeople(gateway).added():
            at = for_people(added.at, settings.zone)
            rows.append((added.person.name, added.person.role, at, added.by))

    with_database(settings, work)
    if not rows:
        say("Nobody may log in, so there is no console. koshelek-adapter people add NAME lets somebody in.")
        return
    longest = max(len(name) for name, *_ in rows)
    for name, role, at, who in sorted(rows):
        say(f"{name:<{longest}}  {role:<8}  {at:<25}  let in by {who}")


def _in_settings(settings: Settings, name: str) -> bool:
    return any(person.name == name for person in settings.console.people)


def _person(name: str, role: str, password: str) -> Person:
    """Somebody with a hashed password; what the settings refuse is refused here, too."""
    from pydantic import SecretStr, ValidationError

    from adapter.api.auth import hash_password
    from adapter.settings import Person

    try:
        given = Person.model_validate({"name": name, "role": role, "password": password})
    except ValidationError as error:
        location = error.errors()[0]["loc"]
        field = str(location[0]) if location else "password"
        reasons = {
            "name": "a name is up to 60 letters, digits and . _ @ + -",
            "role": "--role is reader or operator",
            "password": "the password is shorter than 16 characters; take a longer one",
        }
        fail(reasons[field])
    text = given.password.get_secret_value()
    return given.model_copy(update={"password": SecretStr(hash_password(text))})
