"""``koshelek-adapter connector``: connectors of CRMs with an HTTP API, without code.

What takes long to import is imported where it is used. It may not know any connector.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapter.commands.terminal import ConfigFile, plainly
from contracts.kit.terminal import fail, say

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from crm_backends.connector.reading import Loaded
    from crm_backends.http import HttpSettings
    from crm_backends.registry import BackendSpec

app = typer.Typer(
    help="CRMs with an HTTP API, described in a file instead of programmed.", no_args_is_help=True
)
Which = Annotated[str, typer.Argument(help="Name of a shipped connector, or a file (.yaml).")]
_KEY = "KOSHELEKTRYKEY000000000000"


@app.command("list")
@plainly
def list_connectors() -> None:
    """What connectors there are, what each can do, and who has verified it."""
    from crm_backends import registry
    from crm_backends.connector import shipped
    from crm_backends.ports import Support

    for name in shipped():
        spec = registry.load(name)
        there = [
            operation
            for operation, capability in spec.capabilities.items()
            if capability.support in (Support.FULL, Support.PARTIAL)
        ]
        say(f"{name}: {spec.summary}")
        say(f"  verified by: {spec.verified_by}; doubts are reconciled by: {spec.reconciliation}")
        say(f"  can: {', '.join(there)}")


@app.command()
@plainly
def new(file: Annotated[Path, typer.Argument(help="File to write; it must not exist.")]) -> None:
    """Write a commented beginning of a connector."""
    from importlib.resources import files

    if file.suffix not in (".yaml", ".yml"):
        better = file.with_suffix(".yaml") if file.name else "our-crm.yaml"
        fail(f"the name of a connector's file ends in .yaml: {better}; nothing was written")
    text = files("crm_backends.connector").joinpath("beginning.yaml").read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        fail(f"{file} is there already; nothing was changed")
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror or type(error).__name__}")
    say(f"{file} is written. Change it, then: koshelek-adapter connector check {file}")


@app.command()
@plainly
def check(which: Which) -> None:
    """Look at a connector: its language, names and types, and run its examples. Nothing is sent.

    Then answers that mean nothing take the place of those of the examples: none may be read as something.
    """
    from crm_backends.connector.asking import cannot_be_asked
    from crm_backends.connector.examples import run_all, without_examples
    from crm_backends.connector.notes import notes
    from crm_backends.connector.planting import run_planted
    from crm_backends.connector.watching import never_seen

    loaded, spec = _read(which)
    count, problems = asyncio.run(run_all(loaded, spec))
    problems = problems or asyncio.run(run_planted(loaded, spec))
    if problems:
        fail("\n".join(str(problem) for problem in problems))
    asked = asyncio.run(cannot_be_asked(loaded, spec))
    for note in [*notes(loaded), *asked, *asyncio.run(never_seen(loaded))]:
        say(f"{note.place}: note: {note.cause}; {note.remedy}")
    for name in without_examples(loaded):
        say(f"{loaded.place(('operations', name), key=True)}: note: {name} has no example")
    say(f"{loaded.model.name}: well; {count} examples ran")


@app.command("try")
@plainly
def try_(
    which: Which,
    operation: Annotated[str, typer.Argument(help="Such as users.find.")],
    phone: Annotated[str | None, typer.Option(help="Short for --input phone=…")] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="name=value of what the operation is asked; receipt.total_kopecks=…"),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="name=value of a setting; name_file=path of a secret.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="The idempotency key of a write; always the same where none is given.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Stop before what would change something.")
    ] = False,
    reconcile: Annotated[
        bool,
        typer.Option(
            "--reconcile", help="Look for what became of such a write with this key, and send none."
        ),
    ] = False,
    since: Annotated[
        datetime | None, typer.Option(help="When that write was sent; default: a day ago.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Call one operation and show each request, each answer, and what was made of them; secrets are masked.

    Settings come from [crm] of the settings file, where that names this connector, and from --set.

    Exit status 0: what was asked is told, or was done; with --reconcile also that it is not there. 1: else.
    """
    from crm_backends.connector.calls import UnfitInput, key_for
    from crm_backends.connector.trying import WrongCall, try_operation
    from crm_backends.inputs import read_phone
    from crm_backends.registry import BackendContext

    loaded, spec = _read(which)
    values, zone, region = _settings_for(spec, which, operation, config, _pairs(settings, "--set"))
    asked = _with_members(_pairs(inputs, "--input"))
    if phone is not None:
        asked["phone"] = phone
    if isinstance(asked.get("phone"), str):
        asked["phone"] = read_phone(asked["phone"], region) or fail("that is no phone")
    context = BackendContext(database_url="", database_pool=None, timezone=zone, region=region)
    try:
        sent = None
        if reconcile:
            sent = datetime.now(UTC) - timedelta(days=1) if since is None else since.replace(tzinfo=zone)
        ours = key_for(loaded, key, _KEY)
        trying = try_operation(spec, values, context, operation, asked, ours, say, dry=dry_run, sent=sent)
        well = asyncio.run(trying)
    except (WrongCall, UnfitInput) as error:
        fail(str(error))
    if not well:
        raise typer.Exit(1)


@app.command()
@plainly
def schema() -> None:
    """Print the JSON schema of connectors' files, for editors."""
    from crm_backends.connector.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
@plainly
def docs() -> None:
    """Print the reference of the language: names, functions, operations, outcomes, keys."""
    from crm_backends.connector.reference import markdown

    typer.echo(markdown(), nl=False)


def _read(which: str) -> tuple[Loaded, BackendSpec[Any]]:
    from crm_backends.connector.problems import ConnectorError, nearest
    from crm_backends.connector.reading import load, shipped
    from crm_backends.connector.spec import make_spec

    known = shipped()
    if which not in known and not which.endswith((".yaml", ".yml")):
        if Path(which).is_file():
            fail(f"{which} is a file; the name of a connector's file ends in .yaml")
        fail(f'there is no connector "{which}"; {nearest(which, known)}; or name a .yaml file')
    try:
        loaded = load(known.get(which, Path(which)))
        return loaded, make_spec(loaded)
    except ConnectorError as error:
        fail(str(error))


def _settings_for(
    spec: BackendSpec[Any], which: str, operation: str, config: Path | None, given: dict[str, str]
) -> tuple[HttpSettings, ZoneInfo, str]:
    """The connector's settings, and the programme's zone and region."""
    from zoneinfo import ZoneInfo

    from pydantic import ValidationError

    from adapter.settings import read_settings, settings_path
    from adapter.settings.base import read_secret_files
    from crm_backends.connector.problems import nearest

    values: dict[str, Any] = {}
    zone, region = ZoneInfo("Europe/Moscow"), "RU"
    if settings_path(config) is not None:
        settings = read_settings(settings_path(config))
        zone, region = settings.zone, settings.koshelek.region
        binding = settings.crm.bindings().get(operation.partition(".")[0])
        if binding is not None and binding.driver == which:
            values = {name: getattr(binding.settings, name) for name in binding.settings.model_fields_set}
    try:
        values |= read_secret_files(spec.settings, given)
        return spec.settings.model_validate(values), zone, region
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)
        for one in wrong:
            if one["type"] == "extra_forbidden":
                name = str(one["loc"][-1])
                fail(f'there is no setting "{name}"; {nearest(name, _settings_of(spec))}')
        problems = [
            f"{'.'.join(str(step) for step in one['loc'])}: {one['msg'][:1].lower()}{one['msg'][1:]}"
            for one in wrong
        ]
        fail("\n".join(f"{problem}; give it with --set, or in [crm] of --config" for problem in problems))
    except ValueError as error:  # SettingsError among them
        fail(str(error))


def _settings_of(spec: BackendSpec[Any]) -> list[str]:
    """Names that may be set, a secret also as the path of its file."""
    from adapter.settings.base import secret_names

    return [*spec.settings.model_fields, *(f"{name}_file" for name in secret_names(spec.settings))]


def _with_members(pairs: dict[str, str]) -> dict[str, Any]:
    """``receipt.total_kopecks`` is a member of ``receipt``."""
    made: dict[str, Any] = {}
    for name, value in pairs.items():
        outer, dot, member = name.partition(".")
        if not dot:
            made[name] = value
        elif not isinstance(inner := made.setdefault(outer, {}), dict):
            fail(f"--input {outer} is either a value or has members")
        else:
            inner[member] = value
    return made


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for one in given or []:
        name, sign, value = one.partition("=")
        if not sign or not name:
            fail(f"{option} takes name=value")
        pairs[name] = value
    return pairs
