"""The ``check`` command: what was found, a line each or as JSON, and the exit status."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapter.commands.terminal import ConfigFile, DataDir, must_be_somewhere, plainly

if TYPE_CHECKING:
    from crm_backends.ports import Finding

_INDENT = " " * 21


@plainly
def check(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    phone: Annotated[
        str | None,
        typer.Option(help="A real customer's: also show, masked, what Koshelek would get of this person."),
    ] = None,
    writes: Annotated[
        bool,
        typer.Option(
            "--writes",
            help="For a test CRM: also register and credit there, and see that each counts once. With "
            "--phone the points go to that person, and nobody is registered.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do --writes without asking.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object for each finding, for scripts.")
    ] = False,
) -> None:
    """Check settings, database and CRM, one line each; exit status 1 when anything is wrong.

    Each line says what was looked at and what is wrong; the next what to do about it. Nothing is changed
    unless --writes is given; only an empty database gets its tables, and a line says so.
    """
    from adapter.process import logs
    from adapter.settings import (
        CannotRun,
        SettingsError,
        read_settings,
        secret_files,
        settings_path,
        with_overrides,
    )
    from crm_backends.ports import Finding

    logs.silence()
    well = True
    files: dict[str, Path] = {}

    def tell(finding: Finding) -> None:
        nonlocal well
        well &= finding.ok
        if files:
            finding = naming_its_file(finding, files)
        typer.echo(json.dumps(_as_data(finding), ensure_ascii=False) if as_json else _as_text(finding))

    path = settings_path(config)
    try:
        settings = with_overrides(read_settings(path), {"database": {"data_dir": data_dir}})
        must_be_somewhere(config, settings)
    except SettingsError as error:
        for problem in error.problems:
            reason, _, remedy = problem.partition("; ")
            tell(Finding("settings", False, reason, remedy))
        raise typer.Exit(1) from None
    except CannotRun as error:
        reason, _, remedy = str(error).partition("; ")
        tell(Finding("settings", False, reason, remedy))
        raise typer.Exit(1) from None
    tell(Finding("settings", True, f"{path or 'defaults and environment'}"))

    from adapter.checking.secret_files import naming_its_file, open_to_others

    files.update(secret_files(path))
    for finding in open_to_others(files):
        tell(finding)

    from adapter.commands.check.findings import LookedAt, look

    def agreed(lines: list[str]) -> bool:
        for line in lines:
            typer.echo(line, err=True)
        return yes or typer.confirm("Go on?", err=True)

    look(settings, LookedAt(phone, writes, agreed), tell)
    if not well:
        raise typer.Exit(1)


def _as_text(finding: Finding) -> str:
    state = "FAIL" if not finding.ok else "warn" if finding.warning else "ok  "
    line = f"{state}  {finding.subject:<14} {finding.detail}"
    if not finding.remedy or (finding.ok and not finding.warning):
        return line
    remedy = finding.remedy.replace("\n", f"\n{_INDENT}   ")
    return f"{line}\n{_INDENT}-> {remedy}"


def _as_data(finding: Finding) -> dict[str, str]:
    data = asdict(finding)
    state = "fail" if not data.pop("ok") else "ok"
    if state == "ok" and not data["warning"]:
        data["remedy"] = ""  # there is nothing to do
    return {"state": "warn" if data.pop("warning") and state == "ok" else state, **data}
