"""The ``koshelek-contract`` command.

It may not know the adapter: what it serves and checks stands by itself. Each command imports what it needs
when it runs.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.kit.listening import listen_error, stopped
from contracts.kit.terminal import fail, told_to_the_end
from contracts.suite import commands

if TYPE_CHECKING:
    from contracts.sandbox import Sandbox

app = typer.Typer(
    help="What is agreed with Koshelek and with CRM vendors, as programs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


commands.add_to(app)


@app.command()
def sandbox(
    name: Annotated[str, typer.Argument(help="Which CRM: perx, say; a wrong name lists all.")],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8090,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    switches: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SWITCH=VALUE", help="Change a switch; may be given again."),
    ] = None,
) -> None:
    """Serve a stand-in for a CRM until Ctrl-C.

    It is made from documentation and keeps everything in memory: good for trying drivers, no proof of what
    the vendor's server does. What it accepts and how it can be made to fail is printed at the start.
    """
    from contracts.sandbox import MODULES, running

    if name not in MODULES:
        fail(f"there is no stand-in for {name}; there are: {', '.join(MODULES)}")
    chosen = {}
    for text in switches or []:
        key, equals, value = text.partition("=")
        if not equals:
            fail(f"--set {text}: expected SWITCH=VALUE")
        chosen[key] = value
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("aiohttp.access").setLevel(logging.INFO)

    async def serve() -> None:
        async with running(name, port, host, access_log=True, **chosen) as served:
            end = stopped()
            typer.echo(_introduction(served))
            await end.wait()

    try:
        asyncio.run(serve())
    except ValueError as error:
        fail(f"--set: {_switch_error(error)}")
    except OSError as error:
        fail(listen_error(error, host, port))


@app.command()
def docs(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8095,
    output: Annotated[
        Path | None, typer.Option(help="Write the page to this file instead, with all it needs in it.")
    ] = None,
    api_version: Annotated[
        str, typer.Option(help="Version of the written page; the served ones are all there.")
    ] = "1.3.0",
) -> None:
    """Show the contract of the Loyalty Online API as a page in the browser until Ctrl-C."""
    from contracts.loyalty_online import VERSIONS, page, site

    if api_version not in VERSIONS:
        fail(f"there is no version {api_version}; there are: {', '.join(VERSIONS)}")
    if output is not None:
        try:
            output.write_text(page.render(api_version, alone=True), encoding="utf-8")
        except OSError as error:
            fail(f"cannot write {output}: {error.strerror}")
        typer.echo(f"written: {output}")
        return

    async def serve() -> None:
        async with site.running(port) as base_url:
            end = stopped()
            typer.echo(f"The contract: {base_url}/{api_version} (Ctrl-C ends it)")
            await end.wait()

    try:
        asyncio.run(serve())
    except OSError as error:
        fail(listen_error(error, "127.0.0.1", port))


def _introduction(served: Sandbox) -> str:
    """What is printed at the start."""
    from contracts.sandbox.faults import MEANING
    from contracts.sandbox.server import CONTROL

    stand_in = served.stand_in
    control = served.base_url + CONTROL
    values = stand_in.switches.model_dump()
    width = max(len(key) for key in [*served.credentials, *values, *MEANING])
    lines = [
        f"A stand-in for {stand_in.title}, made from documentation. It is NOT the real CRM.",
        "Everything is in memory and made up; nothing survives a restart.",
        "",
        f"Base URL: {served.base_url}",
        "",
        "It accepts and knows:",
        *(f"  {key:<{width}}  {value}" for key, value in served.credentials.items()),
        "",
        "Switches (--set):",
        *(f"  {key:<{width}}  {value}" for key, value in values.items()),
        "",
        "Control, which no real CRM has:",
        f"  curl {control}/ledger",
        f"  curl -X POST {control}/reset",
        f'  curl -X POST {control}/faults -d \'{{"operation": "*", "fault": "late", "seconds": 3}}\'',
        f"  curl -X DELETE {control}/faults",
        f"  curl -X POST {control}/customers -d '{{...}}'",
        "",
        "Faults:",
        *(f"  {key:<{width}}  {meaning}" for key, meaning in MEANING.items()),
        "",
        f"Operations: {', '.join(stand_in.specification.operations)}",
        "",
        "Ctrl-C ends it.",
    ]
    return "\n".join(lines)


def _switch_error(error: ValueError) -> str:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())


_NEEDED = {"barcode": "python-barcode", "jsonschema": "jsonschema", "segno": "segno"}
"""Modules that pages and stand-ins are made with, and what brings them; the service does without."""


def main() -> None:
    """Entry point of the command."""
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing and "--help" not in sys.argv:  # a report that cannot be written is known before the run
        packages = " and ".join(missing)
        them = "it" if len(missing) == 1 else "them"
        typer.echo(
            f"error: koshelek-contract needs {packages}; install {them}: pip install '.[suite]' in the clone",
            err=True,
        )
        raise SystemExit(1)
    told_to_the_end(app)
