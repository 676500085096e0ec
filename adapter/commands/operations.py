"""``koshelek-adapter receipts``: what waits for a person. The person's decisions: ``settle``, ``requeue``.

Receipts, promo codes and registrations alike. What is printed is chosen by allow-list: card numbers and
fiscal data are masked unless they are asked for, a person's profile is never shown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from adapter.commands.terminal import (
    MOST,
    ConfigFile,
    DataDir,
    as_meant,
    plainly,
    settings_of_database,
    with_database,
)
from adapter.loyalty.model import FOR_A_PERSON, OperationKind, OperationState
from adapter.loyalty.moments import for_people, for_programs
from adapter.loyalty.payloads import CouponsPayload, PromoCodePayload, ReceiptPayload
from adapter.loyalty.steps import RECORDED, SENT, Step, steps, untold_attempts
from contracts.kit.terminal import fail, say, say_json, visible

if TYPE_CHECKING:
    from adapter.loyalty.review import Event, Item
    from adapter.settings import Settings
    from adapter.store.pool import Gateway

app = typer.Typer(
    help="Receipts, promo codes and registrations on their way to the CRM: look, send again, settle.",
    no_args_is_help=True,
)

_IN_WORDS = {
    ("may_double", True): "yes: it may be in the CRM already, look there (recheck) before it is sent again",
    ("may_double", False): "no: it never got there, and can be sent again (requeue)",
}
_HOW_IT_ENDS = (
    "-> koshelek-adapter receipts recheck {id} asks the CRM; if you looked for the key there yourself: "
    'receipts settle {id} --as credited (or refused) --note "…"; '
    'receipts requeue {id} --note "…" sends it again'
)
_MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]

Moment: TypeAlias = Callable[[datetime | None], str | None]
"""How a time is written."""

Kind = Annotated[OperationKind | None, typer.Option("--kind", help="Only these.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for scripts.")]
Reveal = Annotated[
    bool, typer.Option("--reveal", help="Show card numbers, fiscal data, totals and promo codes in full.")
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
    """Show what waits for a person, oldest first: why, and the key to look for in the CRM."""
    from adapter.store.review import PostgresReview

    found: list[Item] = []

    async def work(gateway: Gateway) -> None:
        found.extend(await PostgresReview(gateway).held(kind, limit + 1))

    settings = settings_of_database(config, data_dir)
    with_database(settings, work)
    moment = _written(settings, as_json)
    _print(found, limit, as_json, reveal, moment, nothing="nothing waits for a person", key=True)
    if found and not as_json:
        say(_HOW_IT_ENDS.format(id="ID"))


@app.command("list")
@plainly
def list_operations(
    state: Annotated[OperationState | None, typer.Option("--state", help="Only those in this state.")] = None,
    kind: Kind = None,
    card: Annotated[
        str | None, typer.Option("--card", callback=as_meant, help="Only those of this card number.")
    ] = None,
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
    from adapter.store.review import PostgresReview

    settings = settings_of_database(config, data_dir)
    earliest = None if since is None else since.replace(tzinfo=settings.zone)
    found: list[Item] = []

    async def work(gateway: Gateway) -> None:
        review = PostgresReview(gateway)
        found.extend(await review.newest(state=state, kind=kind, card=card, since=earliest, limit=limit + 1))

    with_database(settings, work)
    _print(found, limit, as_json, reveal, _written(settings, as_json), nothing="nothing fits")


@app.command("show")
@plainly
def show(
    operation_id: Annotated[int, typer.Argument(metavar="ID", max=MOST, help="Number of the operation.")],
    as_json: AsJson = False,
    reveal: Reveal = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show one operation with everything that happened to it, step by step."""
    from adapter.store.review import PostgresReview

    found: list[tuple[Item, list[Event]]] = []

    async def work(gateway: Gateway) -> None:
        shown = await PostgresReview(gateway).show(operation_id)
        if shown is not None:
            found.append(shown)

    settings = settings_of_database(config, data_dir)
    with_database(settings, work)
    if not found:
        fail(f"there is no operation {operation_id}")
    item, events = found[0]
    moment = _written(settings, as_json)
    fields = _fields(item, reveal, moment)
    if as_json:
        say_json(_data(fields) | {"history": [_event(event, moment) for event in events]})
        return
    for name, value in fields.items():
        if value is not None:
            say(f"{name:<14} {_IN_WORDS.get((name, value), value)}")
    for step in steps(item, events):
        say(f"{for_people(step.at, settings.zone)}  {_in_line(step)}")
    if untold := untold_attempts(item, events):
        say(f"(attempts whose times were not kept: {untold}; those of the first ten and of the last are)")
    if item.state in FOR_A_PERSON:
        say(_HOW_IT_ENDS.format(id=item.id))


@app.command("purge")
@plainly
def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, change nothing.")] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Remove the details of operations that ended more than retention.bodies_days ago.

    Who, what, how it ended and the points stay, so that a repeated call is not carried out again.
    """
    from adapter.store.upkeep import PostgresUpkeep

    settings = settings_of_database(config, data_dir)
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


def _print(
    items: Sequence[Item],
    limit: int,
    as_json: bool,
    reveal: bool,
    moment: Moment,
    *,
    nothing: str,
    key: bool = False,
) -> None:
    rows = [_fields(item, reveal, moment) for item in items[:limit]]
    if len(items) > limit:
        typer.echo(f"only {limit} are shown, there are more (--limit)", err=True)
    if as_json:
        say_json([_data(row) for row in rows])
    elif not rows:
        typer.echo(nothing)
    else:
        _table(rows, key)


def _table(rows: Sequence[dict[str, Any]], key: bool) -> None:
    """The columns that say something, one line an operation."""
    columns = ["id", "kind", "state", "recorded", "waiting", "card", "points", "attempt"]
    columns += [*(["key"] if key else []), "reason", "code", "detail"]
    if any("total" in row for row in rows):
        columns += ["total", "fn", "i", "fp"]
    shown = [name for name in columns if any(row.get(name) is not None for row in rows)]
    texts = [
        shown,
        *[["" if row.get(name) is None else visible(str(row[name])) for name in shown] for row in rows],
    ]
    widths = [max(len(line[place]) for line in texts) for place in range(len(shown))]
    for line in texts:
        say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _fields(item: Item, reveal: bool, moment: Moment) -> dict[str, Any]:
    """What may be shown of an operation."""

    def masked(text: str | None, last: int) -> str | None:
        return text if reveal or text is None else f"***{text[-last:]}"

    fields: dict[str, Any] = {
        "id": item.id,
        "kind": item.kind.value,
        "state": item.state.value,
        "key": item.idempotency_key,
        "card": masked(item.card_number, 4),
        "attempt": item.attempt,
        "recorded": moment(item.recorded_at),
        # An operation that was put back certainly did not get there: it was tried, not sent.
        "sent": None if item.state is OperationState.RECORDED else moment(item.sent_at),
        "tried": moment(item.sent_at) if item.state is OperationState.RECORDED else None,
        "next": moment(item.next_at),
        "held": moment(item.held_at),
        "finished": moment(item.finished_at),
        "waiting": None,
        "reason": item.reason,
        "detail": item.detail,
        "may_double": item.may_double if item.state in FOR_A_PERSON else None,
        "points": None if item.points is None else str(item.points),
        "code": None if item.code is None else item.code.value,
        "crm_reference": item.crm_reference,
    }
    if item.state in FOR_A_PERSON:
        fields["waiting"] = _age(item.held_at or item.sent_at or item.recorded_at)
    match item.payload:
        case CouponsPayload(occasion=occasion):
            fields["occasion"] = occasion
        case PromoCodePayload(code=code) if reveal:
            fields["promo_code"] = code
        case ReceiptPayload(receipt=receipt):
            fiscal = {"fn": receipt.fiscal_drive, "i": receipt.document, "fp": receipt.sign}
            fields |= {name: masked(text, 3) for name, text in fiscal.items()}
            if reveal:
                fields["total"] = f"{Decimal(receipt.total_kopecks) / 100:.2f}"
    return fields


def _data(fields: dict[str, Any]) -> dict[str, Any]:
    """The same for scripts; those written for 0.1.0 look for the key under ``reference``."""
    return fields | {"reference": fields["key"]}


def _event(event: Event, moment: Moment) -> dict[str, Any]:
    return {
        "at": moment(event.at),
        "by": event.who,
        "from": event.from_state.value,
        "to": event.to_state.value,
        "attempt": event.attempt,
        "sent": moment(event.sent_at),
        "note": event.note,
    }


def _in_line(step: Step) -> str:
    """A step in one line, without its time."""
    parts = [step.what.replace("→", "->")]
    if step.attempt:
        parts.append(f"attempt {step.attempt}")
    if step.what not in (RECORDED, SENT):
        parts.append(f"by {step.who or 'the service'}")
    return ", ".join(parts) + (f": {step.note}" if step.note else "")


def _written(settings: Settings, as_json: bool) -> Moment:
    write = for_programs if as_json else partial(for_people, zone=settings.zone)
    return lambda moment: None if moment is None else write(moment)


def _age(since: datetime) -> str:
    """Time that has passed, in its two largest units."""
    minutes = max(0, int((datetime.now(UTC) - since).total_seconds() // 60))
    hours, days = minutes // 60, minutes // 1440
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
