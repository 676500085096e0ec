"""``koshelek-adapter receipts recheck | requeue``: the CRM is asked, then held operations are sent again.

Nothing is sent again that the CRM can be asked about, unless it was asked. Every decision is kept with who,
when and why. It may not know how a CRM is asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapter.commands.operations import AsJson, Kind
from adapter.commands.settle import By, Note
from adapter.commands.terminal import (
    MOST,
    ConfigFile,
    DataDir,
    decided_by,
    noted,
    plainly,
    settings_of_database,
    with_database,
    with_service,
)
from adapter.loyalty.model import OperationKind, OperationState
from contracts.kit.terminal import fail, say, say_json, visible

if TYPE_CHECKING:
    from adapter.bootstrap import Service
    from adapter.delivery.decisions import Asking
    from adapter.delivery.recheck import Asked
    from adapter.loyalty.review import Item
    from adapter.store.pool import Gateway
    from adapter.store.review import PostgresReview

Ids = Annotated[list[int] | None, typer.Argument(metavar="ID...", max=MOST, help="Numbers of operations.")]
AllHeld = Annotated[bool, typer.Option("--all-held", help="Everything that is held.")]


@plainly
def recheck(
    operation_ids: Ids = None,
    all_held: AllHeld = False,
    kind: Kind = None,
    note: Annotated[str, typer.Option("--note", help="Why, for those who look later.")] = "rechecked",
    by: By = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Ask the CRM what became of held operations. What is found there is settled; nothing is sent."""
    from adapter.store.review import PostgresReview

    _must_name(operation_ids, all_held, kind)
    who, why = decided_by(by), noted(note)
    results: list[dict[str, Any]] = []
    unanswered = not_held = 0

    async def work(service: Service) -> None:
        nonlocal unanswered, not_held
        review = PostgresReview(service.gateway)
        asking = _asking(service, who, why)
        async for portion in _chosen(review, operation_ids, all_held, kind):
            for item in portion:
                if item.state is not OperationState.HELD:
                    not_held += 1
                    results.append({"id": item.id, "answer": None})
                    if not as_json:
                        say(f"operation {item.id} is {item.state}; only held ones are asked about")
                    continue
                asked = await asking.ask(item)
                unanswered += asked.answer == "no_answer"
                results.append({"id": item.id, "answer": asked.answer.value, "detail": asked.detail})
                if not as_json:
                    say(_sentence(item, asked))

    with_service(settings_of_database(config, data_dir), work)
    missing = sorted(set(operation_ids or ()) - {result["id"] for result in results})
    if as_json:
        say_json(results)
    for one in missing:
        typer.echo(f"error: there is no operation {one}", err=True)
    if not results and all_held and not as_json:
        say("nothing is held")
    if missing or unanswered or not_held:
        raise typer.Exit(1)


def _asking(service: Service, who: str, why: str) -> Asking:
    from adapter.delivery.decisions import Asking
    from adapter.delivery.recheck import Recheck
    from adapter.store.review import PostgresReview

    recheck = Recheck(service.programme, service.visibility, service.settings.delivery.call_timeout)
    return Asking(recheck, service.operations, PostgresReview(service.gateway), who, why)


_SENTENCES = {
    "found": "found in the CRM; it is done now, nothing was sent",
    "found_twice": "found in the CRM MORE THAN ONCE ({entries}); take one back there, then settle it",
    "conflict": "the CRM knows our key with other contents; look there at {key}",
    "absent": "not in the CRM",
    "not_found": "not found, but this CRM has not proved that it finds our writes (receipts proof)",
    "cannot_tell": "the CRM cannot tell",
    "harmless": "sending it again has no second effect in this CRM; requeue it",
    "nobody_to_ask": "this CRM cannot be asked; look there at {key}",
    "no_answer": "the CRM gave no answer",
}


def _sentence(item: Item, asked: Asked) -> str:
    entries = ", ".join(asked.written.entries) if asked.written is not None else ""
    told = _SENTENCES[asked.answer].format(entries=entries, key=item.idempotency_key)
    return f"operation {item.id}: {told}" + (f" ({asked.detail})" if asked.detail else "")


@plainly
def requeue(
    note: Note,
    operation_ids: Ids = None,
    all_held: AllHeld = False,
    kind: Kind = None,
    by: By = None,
    without_asking: Annotated[
        bool,
        typer.Option("--without-asking", help="Do not ask the CRM first: you know that it is not there."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask you either.")] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Send held operations again. Where the CRM can be asked whether it has them, it is asked first."""
    from adapter.delivery.decisions import Requeue
    from adapter.store.review import PostgresReview

    _must_name(operation_ids, all_held, kind)
    settings = settings_of_database(config, data_dir)
    queue = Requeue(decided_by(by), noted(note), without_asking)

    async def look(gateway: Gateway) -> None:
        async for portion in _chosen(PostgresReview(gateway), operation_ids, all_held, kind):
            queue.sort(portion)

    with_database(settings, look)
    if queue.doubtful and without_asking and not yes:
        _confirm(queue.doubtful)
    if queue.doubtful and not without_asking:
        with_service(settings, lambda service: queue.ask(_asking(service, queue.who, queue.why)))

    async def send(gateway: Gateway) -> None:
        await queue.send(PostgresReview(gateway, settings.zone))

    with_database(settings, send)
    missing = sorted(set(operation_ids or ()) - queue.known)
    left = {item.id: _kept(item, asked) for item, asked in queue.kept} | queue.left
    left |= {one: f"there is no operation {one}" for one in missing}
    for reason in left.values():
        typer.echo(f"error: {visible(reason)}", err=True)
    if queue.found:
        say(f"{queue.found} were in the CRM and are done now")
    if queue.sent or not left:
        say(f"{queue.sent} will be sent again")
    if left:
        raise typer.Exit(1)


def _kept(item: Item, asked: Asked) -> str:
    """Why an operation stays held, and how it can be sent again all the same."""
    told = _sentence(item, asked)
    if asked.answer in ("not_found", "cannot_tell", "nobody_to_ask"):
        told += "; if it is not there, requeue it --without-asking"
    elif asked.answer == "conflict" and asked.written is None:
        told += "; once that is mended there, requeue it --without-asking"
    return told


def _must_name(operation_ids: Sequence[int] | None, all_held: bool, kind: OperationKind | None) -> None:
    if bool(operation_ids) == all_held:
        fail("name the operations, or give --all-held")
    if kind is not None and not all_held:
        fail("--kind goes with --all-held")


async def _chosen(
    review: PostgresReview, operation_ids: Sequence[int] | None, all_held: bool, kind: OperationKind | None
) -> AsyncIterator[list[Item]]:
    portions = review.all_held(kind) if all_held else review.some(operation_ids or [])
    async for portion in portions:
        yield [item for item in portion if not all_held or item.state is OperationState.HELD]


def _confirm(doubtful: Sequence[Item]) -> None:
    """Make sure the person knows what is at stake. Raises ``typer.Abort``."""
    some = ", ".join(str(item.id) for item in doubtful[:10])
    more = f" and {len(doubtful) - 10} more" if len(doubtful) > 10 else ""
    typer.echo(
        f"{len(doubtful)} may have reached the CRM already ({some}{more}); sent again, points may be "
        "credited twice. Look them up in the CRM by their keys; what is there can be settled instead.",
        err=True,
    )
    typer.confirm("Send again?", abort=True, err=True)
