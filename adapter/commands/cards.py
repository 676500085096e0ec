"""``koshelek-adapter cards``: numbers for the pool, and what a person decides about a card.

What takes long to import is imported where it is used: help should come at once.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapter.commands.terminal import (
    ConfigFile,
    DataDir,
    as_meant,
    decided_by,
    noted,
    plainly,
    settings_of_database,
    with_database,
    with_service,
)
from adapter.loyalty.moments import for_people, for_programs
from contracts.kit.terminal import fail, say, say_json, visible

if TYPE_CHECKING:
    from adapter.bootstrap import Service
    from adapter.loyalty.model import Card
    from adapter.settings import Settings
    from adapter.store.card_life import CardEvent
    from adapter.store.cards import PostgresCards
    from adapter.store.pool import Gateway
    from crm_backends.model import CrmCard

app = typer.Typer(help="Import, show, block, unblock and replace cards.", no_args_is_help=True)

CardNumber = Annotated[str, typer.Argument(metavar="NUMBER", callback=as_meant, help="Card number.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for scripts.")]
By = Annotated[str | None, typer.Option("--by", help="Who decides; default: your name on this machine.")]
Note = Annotated[
    str | None, typer.Option("--note", help="Why, for those who look later; kept for good, no personal data.")
]


@app.command("import")
@plainly
def cards_import(
    file: Annotated[Path, typer.Argument(help="CSV file with a header line; - for standard input.")],
    config: ConfigFile = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the embedded database.")] = None,
) -> None:
    """Import card numbers: columns number, state, barcode, barcode_type, customer.

    States: free (the pool, default), ownerless (plastic without an owner), active, inactive, blocked.
    Numbers that are known stay as they are, so a file may be imported again.
    """
    from adapter.store.importing import BadFile, ImportReport, import_rows, read_rows

    settings = settings_of_database(config, data_dir)
    report = ImportReport()

    def progress(done: int) -> None:
        if sys.stderr.isatty():
            typer.echo(f"\r{done} lines", nl=False, err=True)

    async def work(gateway: Gateway) -> None:
        stream = sys.stdin if str(file) == "-" else file.open(encoding="utf-8", newline="")
        with stream:
            await import_rows(gateway, read_rows(stream, settings.cards, report), report, progress)

    try:
        with_database(settings, work)
    except (BadFile, UnicodeDecodeError) as error:
        fail(f"{file}: {'not UTF-8 text' if isinstance(error, UnicodeDecodeError) else error}")
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")
    for line, reason in sorted(report.rejected):
        typer.echo(f"line {line}: {reason}", err=True)
    typer.echo(f"{report.imported} imported, {report.known} known before, {report.rejected_count} rejected")
    if report.rejected_count:
        raise typer.Exit(1)


@app.command("show")
@plainly
def cards_show(
    number: CardNumber, as_json: AsJson = False, config: ConfigFile = None, data_dir: DataDir = None
) -> None:
    """Show a card: state, barcode, whose it is in each CRM, and what happened to it.

    A number that only the CRM knows is shown as the CRM tells it, with only_in_crm.
    Where the CRM names another owner of the number, that is other_owner; nobody can use the card then.
    """
    from adapter.loyalty.standing import is_anothers
    from adapter.settings import CannotRun
    from crm_backends.ports import BackendError, Deadline

    settings = _settings(config, data_dir)
    other_owner = unasked = None
    only_in_crm: CrmCard | None = None
    found: list[tuple[Card | None, list[CardEvent]]] = []

    async def look(cards: PostgresCards) -> tuple[Card | None, list[CardEvent]]:
        return await cards.get(number), await cards.events(number)

    async def look_and_ask(service: Service) -> None:
        nonlocal other_owner, only_in_crm
        found.append(await look(service.cards))
        card, crm = found[0][0], service.programme.crm_cards
        if crm is None or (card is not None and card.users_reference is None):
            return
        told = await crm.find(number, Deadline.after(_PATIENCE))
        if card is None:
            only_in_crm = told
        elif told is not None and told.customer is not None and is_anothers(card, told):
            other_owner = told.customer.customer_id

    try:
        with_service(settings, look_and_ask)
    except (BackendError, CannotRun) as error:  # the registry's part is shown all the same
        unasked = str(error)
    card, events = found[0] if found else _with_cards(settings, look)
    if card is None and only_in_crm is not None:
        _print_of_crm(only_in_crm, as_json)
        return
    if card is None and unasked is not None:
        fail(f"there is no card with this number here, and the CRM cannot be asked about it: {unasked}")
    _print(card, events, as_json, settings.zone, other_owner=other_owner)
    if unasked is not None:
        typer.echo(f"the CRM cannot be asked whose the number is there: {unasked}", err=True)


@app.command("block")
@plainly
def cards_block(
    number: Annotated[
        str | None, typer.Argument(metavar="[NUMBER]", callback=as_meant, help="Card number.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="File with one number a line; - for standard input.")
    ] = None,
    by: By = None,
    note: Note = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Block a card, or all of a file; the owner cannot get another one.

    It stays blocked whatever the CRM says, until it is unblocked here.
    """
    person, reason = decided_by(by), None if note is None else noted(note)
    if (number is None) == (file is None):
        fail("name a card, or give --file with one number a line")
    if file is not None:
        _block_all(_settings(config, data_dir), file, person, reason, as_json)
        return

    settings, so_already = _settings(config, data_dir), False

    async def block(cards: PostgresCards) -> tuple[Card | None, list[CardEvent]]:
        nonlocal so_already
        so_already = _is_blocked_here(await cards.get(number or ""))
        return await cards.block(number or "", by=person, note=reason), []

    card, events = _with_cards(settings, block)
    _print(card, events, as_json, settings.zone)
    if so_already:
        typer.echo("it was blocked already; nothing was changed", err=True)
    if card is not None and card.state != "blocked":
        from adapter.loyalty.model import why_not_blocked

        fail(f"nothing was changed: {why_not_blocked(card)}")


@app.command("unblock")
@plainly
def cards_unblock(
    number: CardNumber,
    by: By = None,
    note: Note = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Give a blocked card back the state it had.

    One that the CRM has blocked is blocked again at its next use, unless it is unblocked there.
    """
    person, reason = decided_by(by), None if note is None else noted(note)
    settings = _settings(config, data_dir)
    by_crm = was_blocked = False

    async def unblock(cards: PostgresCards) -> tuple[Card | None, list[CardEvent]]:
        nonlocal by_crm, was_blocked
        before = await cards.get(number)
        was_blocked = before is not None and before.state == "blocked"
        by_crm = was_blocked and before is not None and before.by_crm
        return await cards.unblock(number, by=person, note=reason), []

    card, events = _with_cards(settings, unblock)
    _print(card, events, as_json, settings.zone)
    if not was_blocked:
        typer.echo("it was not blocked; nothing was changed", err=True)
    if by_crm:
        typer.echo("the CRM had blocked it: unblock it there too, or it is blocked at its next use", err=True)


@app.command("replace")
@plainly
def cards_replace(
    number: Annotated[str, typer.Argument(metavar="OLD", callback=as_meant, help="Number no longer good.")],
    new: Annotated[
        str, typer.Argument(metavar="NEW", callback=as_meant, help="Number in its place; may be new here.")
    ],
    by: By = None,
    note: Note = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even where only cards.barcode_fallback can carry the new number.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking you.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Put another number in the place of a card: owner, accounts and consents go along, and it is active.

    The CRM is asked whether the new number is free there, and told of it by the running service.
    """
    from adapter.loyalty.replacing import CannotReplace, replace_card
    from crm_backends.ports import BackendError, Deadline

    person, reason = decided_by(by), None if note is None else noted(note)
    settings = _settings(config, data_dir)
    if not yes:
        typer.echo(visible(f"{new} replaces {number}, which is not valid any more"), err=True)
        typer.confirm("Go on?", abort=True, err=True)
    done: list[Card] = []

    async def replace(service: Service) -> None:
        deadline = Deadline.after(_PATIENCE)
        done.append(
            await replace_card(
                service.programme, number, new, by=person, note=reason, deadline=deadline, force=force
            )
        )

    try:
        with_service(settings, replace)
    except CannotReplace as error:
        fail(f"nothing was changed: {error}")
    except BackendError as error:
        fail(f"nothing was changed: the CRM cannot be asked about the new number: {error}")
    _print(done[0], [], as_json, settings.zone)


_PATIENCE = 10.0
"""Seconds; a person waits longer than a caller."""


def _settings(config: Path | None, data_dir: Path | None) -> Settings:
    """The settings in force; these commands say themselves what there is to say, and nothing is logged."""
    from adapter.process import logs

    settings = settings_of_database(config, data_dir)
    logs.silence()
    return settings


def _with_cards(
    settings: Settings,
    act: Callable[[PostgresCards], Awaitable[tuple[Card | None, list[CardEvent]]]],
) -> tuple[Card | None, list[CardEvent]]:
    from adapter.store.cards import PostgresCards

    done: list[tuple[Card | None, list[CardEvent]]] = []

    async def work(gateway: Gateway) -> None:
        done.append(await act(PostgresCards(gateway, settings.cards)))

    with_database(settings, work)
    return done[0]


def _print(
    card: Card | None,
    events: list[CardEvent],
    as_json: bool,
    zone: tzinfo,
    *,
    other_owner: str | None = None,
) -> None:
    if card is None:
        fail("there is no card with this number")
    shown = dataclasses.asdict(card) | {"other_owner": other_owner}
    fields = {name: value for name, value in shown.items() if value}
    moment = for_programs if as_json else partial(for_people, zone=zone)
    fields |= {name: moment(value) for name, value in fields.items() if isinstance(value, datetime)}
    history = [
        {
            "at": moment(event.at),
            "by": event.who,
            "event": event.event,
            "note": event.note,
        }
        for event in events
    ]
    if as_json:
        say_json(fields | ({"history": history} if history else {}))
        return
    for name, value in fields.items():
        say(f"{name:<18} {value}")
    for one in history:
        more = f": {one['note']}" if one["note"] else ""
        say(f"{one['at']}  {one['event']}, by {one['by'] or 'the CRM'}{more}")


def _print_of_crm(told: CrmCard, as_json: bool) -> None:
    """What the CRM says of a number that is not entered here."""
    told_fields = {
        "number": told.number,
        "only_in_crm": True,
        "barcode_number": told.barcode,
        "barcode_type": told.barcode_type,
        "state": told.state,
        "users_reference": None if told.customer is None else told.customer.customer_id,
        "replaced_by": told.replaced_by,
    }
    fields = {name: value for name, value in told_fields.items() if value}
    if as_json:
        say_json(fields)
        return
    say("Only the CRM knows this number; the adapter has no card with it.")
    for name, value in fields.items():
        if name != "only_in_crm":
            say(f"{name:<18} {value}")


def _block_all(settings: Settings, file: Path, by: str, note: str | None, as_json: bool) -> None:
    """Block the cards of a file; each line that cannot be done is told, and the others are done."""
    from adapter.loyalty.model import why_not_blocked

    blocked: list[str] = []
    before: list[str] = []
    rejected: list[dict[str, Any]] = []

    async def block(cards: PostgresCards) -> tuple[None, list[CardEvent]]:
        for line, number in _lines(file):
            if _is_blocked_here(await cards.get(number)):
                before.append(number)
                continue
            card = await cards.block(number, by=by, note=note)
            if card is not None and card.state == "blocked":
                blocked.append(number)
            else:
                why_not = "there is no card with this number" if card is None else why_not_blocked(card)
                rejected.append({"line": line, "number": number, "reason": why_not})
        return None, []

    try:
        _with_cards(settings, block)
    except UnicodeDecodeError:
        fail(f"{file}: not UTF-8 text; {len(blocked)} were blocked before that was seen")
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")
    counts = {"blocked": len(blocked), "blocked_before": len(before), "rejected": len(rejected)}
    if as_json:
        say_json(counts | {"lines": rejected})
    else:
        for one in rejected:
            typer.echo(visible(f"line {one['line']}: {one['number']}: {one['reason']}"), err=True)
        typer.echo(f"{len(blocked)} blocked, {len(before)} blocked before, {len(rejected)} rejected")
    if rejected:
        raise typer.Exit(1)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and card numbers of a file; empty lines are left out, and what nobody sees in a line."""
    from crm_backends.inputs import one_line

    stream = sys.stdin if str(file) == "-" else file.open(encoding="utf-8-sig")
    with stream:
        for line, text in enumerate(stream, start=1):
            if number := one_line(text):
                yield line, number


def _is_blocked_here(card: Card | None) -> bool:
    return card is not None and card.state == "blocked" and not card.by_crm
