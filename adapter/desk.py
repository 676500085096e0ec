"""``koshelek-adapter receipts``: what waits for a person, and what the person decides.

Receipts, promo codes and registrations alike. What is printed is chosen by allow-list: card numbers and
fiscal data are masked unless they are asked for, a person's profile is never shown.
"""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from adapter.loyalty.model import OperationKind, OperationState
from adapter.terminal import ConfigFile, DataDir, fail, plainly, settings_for, with_database

if TYPE_CHECKING:
    from adapter.settings import Settings
    from adapter.store.desk import Event, Item
    from adapter.store.pool import Gateway

app = typer.Typer(
    help="Receipts, promo codes and registrations on their way to the CRM: look, send again, settle.",
    no_args_is_help=True,
)

_MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]
_NOTE = 500

Kind = Annotated[OperationKind | None, typer.Option("--kind", help="Only these.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for scripts.")]
Reveal = Annotated[
    bool, typer.Option("--reveal", help="Show card numbers, fiscal data, totals and promo codes in full.")
]
By = Annotated[str | None, typer.Option("--by", help="Who decides; default: your name on this machine.")]
Note = Annotated[
    str, typer.Option("--note", help="Why, for those who look later; kept for good, so no personal data.")
]


@app.command("held")
@plainly
def held(
    kind: Kind = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    reveal: Reveal = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show what waits for a person, oldest first, and why."""
    from adapter.store.desk import PostgresDesk

    found: list[Item] = []

    async def work(gateway: Gateway) -> None:
        found.extend(await PostgresDesk(gateway).held(kind, limit + 1))

    with_database(_settings(config, data_dir), work)
    _print(found, limit, as_json, reveal, nothing="nothing waits for a person")


@app.command("list")
@plainly
def list_operations(
    state: Annotated[OperationState | None, typer.Option("--state", help="Only those in this state.")] = None,
    kind: Kind = None,
    card: Annotated[str | None, typer.Option("--card", help="Only those of this card number.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since", formats=_MOMENTS, help="Only those recorded then or later (programme's zone)."
        ),
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    reveal: Reveal = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """List operations, newest first."""
    from adapter.store.desk import PostgresDesk

    settings = _settings(config, data_dir)
    moment = None if since is None else since.replace(tzinfo=settings.zone)
    found: list[Item] = []

    async def work(gateway: Gateway) -> None:
        desk = PostgresDesk(gateway)
        found.extend(await desk.newest(state=state, kind=kind, card=card, since=moment, limit=limit + 1))

    with_database(settings, work)
    _print(found, limit, as_json, reveal, nothing="nothing fits")


@app.command("show")
@plainly
def show(
    operation_id: Annotated[int, typer.Argument(metavar="ID", help="Number of the operation.")],
    as_json: AsJson = False,
    reveal: Reveal = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show one operation with everything that happened to it beside the normal course."""
    from adapter.store.desk import PostgresDesk

    found: list[tuple[Item, list[Event]]] = []

    async def work(gateway: Gateway) -> None:
        shown = await PostgresDesk(gateway).show(operation_id)
        if shown is not None:
            found.append(shown)

    with_database(_settings(config, data_dir), work)
    if not found:
        fail(f"there is no operation {operation_id}")
    item, events = found[0]
    fields = _fields(item, reveal)
    if as_json:
        typer.echo(json.dumps(fields | {"history": [_event(event) for event in events]}, ensure_ascii=False))
        return
    for name, value in fields.items():
        if value is not None:
            typer.echo(f"{name:<14} {value}")
    for event in events:
        note = f": {event.note}" if event.note else ""
        change = f"{event.from_state} -> {event.to_state}, attempt {event.attempt}"
        typer.echo(f"{_moment(event.at)}  {change}, by {event.who or 'the service'}{note}")


@app.command("requeue")
@plainly
def requeue(
    note: Note,
    operation_ids: Annotated[
        list[int] | None, typer.Argument(metavar="ID...", help="Numbers of operations.")
    ] = None,
    all_held: Annotated[bool, typer.Option("--all-held", help="Everything that is held.")] = False,
    kind: Kind = None,
    by: By = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Send held operations again: you know that they did not reach the CRM."""
    from adapter.store.desk import PostgresDesk

    if bool(operation_ids) == all_held:
        fail("name the operations, or give --all-held")
    if kind is not None and not all_held:
        fail("--kind goes with --all-held")
    who, why = _who(by), _why(note)
    left: dict[int, str] = {}
    chosen: list[list[int]] = []

    async def work(gateway: Gateway) -> None:
        desk = PostgresDesk(gateway)
        doubtful: list[Item] = []
        portions = desk.all_held(kind) if all_held else desk.some(operation_ids or [])
        async for portion in portions:
            chosen.append([item.id for item in portion])
            doubtful += [item for item in portion if item.state is OperationState.HELD and item.may_double]
        if doubtful and not yes:
            _ask(doubtful)
        for ids in chosen:
            left.update(await desk.requeue(ids, by=who, note=why))

    with_database(_settings(config, data_dir), work)
    requeued = sum(map(len, chosen)) - len(left)
    known = {one for ids in chosen for one in ids}
    left |= {one: f"there is no operation {one}" for one in operation_ids or () if one not in known}
    for reason in left.values():
        typer.echo(f"error: {reason}", err=True)
    typer.echo(f"{requeued} will be sent again")
    if left:
        raise typer.Exit(1)


@app.command("settle")
@plainly
def settle(
    operation_id: Annotated[int, typer.Argument(metavar="ID", help="Number of the operation.")],
    outcome: Annotated[
        Literal["credited", "done", "refused"],
        typer.Option(
            "--as", help="What became of it in the CRM; done says credited of what gives no points."
        ),
    ],
    note: Note,
    points: Annotated[
        str | None,
        typer.Option("--points", help="Points the CRM credited; default: what the receipt was worth."),
    ] = None,
    customer: Annotated[
        str | None,
        typer.Option(
            "--customer", help="The CRM's reference of the person, for a registration that is done."
        ),
    ] = None,
    by: By = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """End a held or doubtful operation: you looked in the CRM and know what became of it.

    Nothing is sent. A caller who asks again gets the answer as if the CRM had given it.
    """
    from adapter.store.desk import CannotDecide, PostgresDesk, Settled

    state = OperationState.REFUSED if outcome == "refused" else OperationState.DONE
    who, why, amount = _who(by), _why(note), _points(points)
    ended: list[Settled] = []

    async def work(gateway: Gateway) -> None:
        ended.append(
            await PostgresDesk(gateway).settle(
                operation_id, state, by=who, note=why, points=amount, customer=customer
            )
        )

    try:
        with_database(_settings(config, data_dir), work)
    except CannotDecide as error:
        fail(str(error))
    typer.echo(ended[0].before or f"operation {operation_id} is {ended[0].state}")


@app.command("purge")
@plainly
def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, change nothing.")] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Remove the details of operations that ended more than retention.bodies_days ago.

    Who, what, how it ended and the points stay, so that a repeated call gets its first answer.
    """
    from adapter.store.upkeep import PostgresUpkeep

    settings = _settings(config, data_dir)
    looked = purged = 0

    async def work(gateway: Gateway) -> None:
        nonlocal looked, purged
        upkeep = PostgresUpkeep(gateway)
        async for portion in upkeep.purge(timedelta(days=settings.retention.bodies_days), dry_run=dry_run):
            looked, purged = looked + portion.looked_at, purged + portion.purged
            if sys.stderr.isatty():
                typer.echo(f"\r{looked} looked at, {purged} to purge", nl=False, err=True)

    with_database(settings, work)
    if looked and sys.stderr.isatty():
        typer.echo(err=True)
    typer.echo(f"{purged} {'would be purged' if dry_run else 'purged'}")


def _settings(config: Path | None, data_dir: Path | None) -> Settings:
    return settings_for(config, {"database": {"data_dir": data_dir}})


def _ask(doubtful: Sequence[Item]) -> None:
    """Make sure the person knows what is at stake. Raises ``typer.Abort``."""
    some = ", ".join(str(item.id) for item in doubtful[:10])
    more = f" and {len(doubtful) - 10} more" if len(doubtful) > 10 else ""
    typer.echo(
        f"{len(doubtful)} may have reached the CRM already ({some}{more}); sent again, points may be "
        "credited twice. Look them up in the CRM by their reference; what is there can be settled instead.",
        err=True,
    )
    typer.confirm("Send again?", abort=True, err=True)


def _who(by: str | None) -> str:
    try:
        name = (getpass.getuser() if by is None else by).strip()
    except (OSError, KeyError):
        name = ""
    if not name or len(name) > 100 or not name.isprintable():
        fail("say with --by who decides (up to 100 characters)")
    return name


def _why(note: str) -> str:
    note = " ".join(note.split())
    if not note or len(note) > _NOTE or not note.isprintable():
        fail(f"say with --note why (up to {_NOTE} characters)")
    return note


def _points(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        points = Decimal(text)
    except InvalidOperation:
        fail("--points is a number, as in 62 or 62.50")
    if not points.is_finite() or points < 0 or points >= 10**12:
        fail("--points is a number from 0")
    return points


def _print(items: Sequence[Item], limit: int, as_json: bool, reveal: bool, *, nothing: str) -> None:
    rows = [_fields(item, reveal) for item in items[:limit]]
    if len(items) > limit:
        typer.echo(f"only {limit} are shown, there are more (--limit)", err=True)
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
    elif not rows:
        typer.echo(nothing)
    else:
        _table(rows)


def _table(rows: Sequence[dict[str, Any]]) -> None:
    """The columns that say something, one line an operation."""
    columns = ["id", "kind", "state", "recorded", "waiting", "card", "points", "attempt", "reason", "code"]
    if any("total" in row for row in rows):
        columns += ["total", "fn", "i", "fp"]
    shown = [name for name in columns if any(row.get(name) is not None for row in rows)]
    texts = [shown, *[["" if row.get(name) is None else str(row[name]) for name in shown] for row in rows]]
    widths = [max(len(line[place]) for line in texts) for place in range(len(shown))]
    for line in texts:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _fields(item: Item, reveal: bool) -> dict[str, Any]:
    """What may be shown of an operation."""

    def masked(text: str | None, last: int) -> str | None:
        return text if reveal or text is None else f"***{text[-last:]}"

    fields: dict[str, Any] = {
        "id": item.id,
        "kind": item.kind.value,
        "state": item.state.value,
        "reference": item.reference,
        "card": masked(item.card_number, 4),
        "attempt": item.attempt,
        "recorded": _moment(item.recorded_at),
        "sent": _moment(item.sent_at),
        "held": _moment(item.held_at),
        "finished": _moment(item.finished_at),
        "waiting": None,
        "reason": item.reason,
        "may_double": item.may_double if item.state is OperationState.HELD else None,
        "points": None if item.points is None else str(item.points),
        "code": None if item.code is None else item.code.value,
        "crm_reference": item.crm_reference,
    }
    if item.state is OperationState.HELD:
        fields["waiting"] = _age(item.held_at or item.sent_at or item.recorded_at)
    if item.occasion is not None:
        fields["occasion"] = item.occasion
    if item.promo_code is not None and reveal:
        fields["promo_code"] = item.promo_code
    if item.receipt is not None:
        receipt = item.receipt
        fields |= {name: masked(getattr(receipt, name), 3) for name in ("fn", "i", "fp")}
        if reveal:
            fields["total"] = f"{Decimal(receipt.kopecks) / 100:.2f}"
    return fields


def _event(event: Event) -> dict[str, Any]:
    return {
        "at": _moment(event.at),
        "by": event.who,
        "from": event.from_state.value,
        "to": event.to_state.value,
        "attempt": event.attempt,
        "note": event.note,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _age(since: datetime) -> str:
    """Time that has passed, in its two largest units."""
    minutes = max(0, int((datetime.now(UTC) - since).total_seconds() // 60))
    hours, days = minutes // 60, minutes // 1440
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
