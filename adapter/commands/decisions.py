"""``koshelek-adapter receipts recheck | requeue | settle | proof``: what a person decides, and asks first.

Nothing is sent again that the CRM can be asked about, unless it was asked. Every decision is kept with who,
when and why. It may not know how a CRM is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from adapter.commands.operations import AsJson, Kind, app, desk_settings
from adapter.commands.terminal import (
    ConfigFile,
    DataDir,
    decided_by,
    noted,
    plainly,
    with_database,
    with_service,
)
from adapter.loyalty.model import OperationKind, OperationState
from contracts.kit.terminal import fail, say, say_json, visible

if TYPE_CHECKING:
    from adapter.bootstrap import Service
    from adapter.delivery.recheck import Asked, Recheck
    from adapter.settings import Settings
    from adapter.store.pool import Gateway
    from adapter.store.review import Item, PostgresDesk

By = Annotated[str | None, typer.Option("--by", help="Who decides; default: your name on this machine.")]
Note = Annotated[
    str, typer.Option("--note", help="Why, for those who look later; kept for good, so no personal data.")
]
Ids = Annotated[list[int] | None, typer.Argument(metavar="ID...", help="Numbers of operations.")]
AllHeld = Annotated[bool, typer.Option("--all-held", help="Everything that is held.")]


@dataclass
class _Asking:
    """One person going through held operations: each is asked about, and what is found is settled."""

    service: Service
    desk: PostgresDesk
    who: str
    why: str
    asked: Counter[str] = field(default_factory=Counter)

    @property
    def recheck(self) -> Recheck:
        from adapter.delivery.recheck import Recheck

        service = self.service
        return Recheck(service.programme, service.visibility, service.settings.delivery.call_timeout)

    async def ask(self, item: Item) -> Asked:
        """Ask about one, and write down what was found."""
        from adapter.delivery.recheck import Answer, Asked
        from adapter.store.review import CannotDecide

        operation = await self.service.operations.get(item.id)
        if operation is None or operation.state is not OperationState.HELD:
            return Asked(Answer.CANNOT_TELL, detail="it is not held any more")
        asked = await self.recheck.ask(operation)
        written = asked.written
        if asked.answer is Answer.FOUND and written is not None:
            try:
                await self.desk.settle(
                    item.id,
                    OperationState.DONE,
                    by=self.who,
                    note=f"{self.why}; found in the CRM",
                    points=written.points if operation.kind is OperationKind.RECEIPT else None,
                    customer=written.crm_reference,
                    occasion=_occasion(self.service.settings),
                )
            except CannotDecide as error:
                return Asked(Answer.CANNOT_TELL, detail=str(error))
        elif asked.answer is Answer.FOUND_TWICE and written is not None:
            await self.desk.doubled(
                item.id, written.entries, by=self.who, note=f"{self.why}; found in the CRM more than once"
            )
        self.asked[asked.answer] += 1
        return asked


_SENTENCES = {
    "found": "found in the CRM; it is done now, nothing was sent",
    "found_twice": "found in the CRM MORE THAN ONCE ({entries}); take one back there, then settle it",
    "conflict": "the CRM knows our reference with other contents; look there at {reference}",
    "absent": "not in the CRM",
    "not_found": "not found, but this CRM has not proved that it finds our writes (receipts proof)",
    "cannot_tell": "the CRM cannot tell",
    "harmless": "sent again it has no second effect in this CRM; requeue it",
    "nobody_to_ask": "this CRM cannot be asked; look there at {reference}",
    "no_answer": "the CRM gave no answer",
}


def _sentence(item: Item, asked: Asked) -> str:
    entries = ", ".join(asked.written.entries) if asked.written is not None else ""
    told = _SENTENCES[asked.answer].format(entries=entries, reference=item.reference)
    return f"operation {item.id}: {told}" + (f" ({asked.detail})" if asked.detail else "")


@app.command("recheck")
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
    from adapter.store.review import PostgresDesk

    _must_name(operation_ids, all_held, kind)
    who, why = decided_by(by), noted(note)
    results: list[dict[str, Any]] = []
    unanswered = not_held = 0

    async def work(service: Service) -> None:
        nonlocal unanswered, not_held
        desk = PostgresDesk(service.gateway)
        asking = _Asking(service, desk, who, why)
        async for portion in _chosen(desk, operation_ids, all_held, kind):
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

    with_service(desk_settings(config, data_dir), work)
    missing = sorted(set(operation_ids or ()) - {result["id"] for result in results})
    if as_json:
        say_json(results)
    for one in missing:
        typer.echo(f"error: there is no operation {one}", err=True)
    if not results and all_held and not as_json:
        say("nothing is held")
    if missing or unanswered or not_held:
        raise typer.Exit(1)


@app.command("requeue")
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
    from adapter.store.review import PostgresDesk

    _must_name(operation_ids, all_held, kind)
    settings = desk_settings(config, data_dir)
    queue = _Requeue(decided_by(by), noted(note), without_asking)

    async def look(gateway: Gateway) -> None:
        async for portion in _chosen(PostgresDesk(gateway), operation_ids, all_held, kind):
            queue.sort(portion)

    with_database(settings, look)
    if queue.doubtful and without_asking and not yes:
        _confirm(queue.doubtful)
    if queue.doubtful and not without_asking:
        with_service(settings, queue.ask)

    async def send(gateway: Gateway) -> None:
        await queue.send(PostgresDesk(gateway))

    with_database(settings, send)
    missing = sorted(set(operation_ids or ()) - queue.known)
    left = queue.left | {one: f"there is no operation {one}" for one in missing}
    for reason in left.values():
        typer.echo(f"error: {visible(reason)}", err=True)
    if queue.found:
        say(f"{queue.found} were in the CRM and are done now")
    if queue.sent or not left:
        say(f"{queue.sent} will be sent again")
    if left:
        raise typer.Exit(1)


@dataclass
class _Requeue:
    """What is to be sent again, sorted by whether anything has to be asked before."""

    who: str
    why: str
    without_asking: bool
    known: set[int] = field(default_factory=set)
    plain: list[int] = field(default_factory=list)
    """To be sent as they are; those that are not held among them are told so by the store."""
    doubtful: list[Item] = field(default_factory=list)
    """They may have reached the CRM."""
    doubts: list[int] = field(default_factory=list)
    """Not in the CRM when it was asked; delivery looks once more, for as long as it always does."""
    left: dict[int, str] = field(default_factory=dict)
    found: int = 0
    sent: int = 0

    def sort(self, items: Sequence[Item]) -> None:
        for item in items:
            self.known.add(item.id)
            if item.state is OperationState.HELD and item.may_double:
                self.doubtful.append(item)
            else:
                self.plain.append(item.id)

    async def ask(self, service: Service) -> None:
        """Ask the CRM about each that may have reached it."""
        from adapter.delivery.recheck import Answer
        from adapter.store.review import PostgresDesk

        asking = _Asking(service, PostgresDesk(service.gateway), self.who, self.why)
        for item in self.doubtful:
            asked = await asking.ask(item)
            if asked.answer is Answer.FOUND:
                self.found += 1
            elif asked.answer is Answer.HARMLESS:
                self.plain.append(item.id)
            elif asked.answer is Answer.ABSENT:
                self.doubts.append(item.id)
            else:
                told = _sentence(item, asked)
                if asked.answer in (Answer.NOT_FOUND, Answer.CANNOT_TELL, Answer.NOBODY_TO_ASK):
                    told += "; if it is not there, requeue it --without-asking"
                self.left[item.id] = told

    async def send(self, desk: PostgresDesk) -> None:
        if self.without_asking:
            self.plain += [item.id for item in self.doubtful]
        for ids, as_doubts in ((self.plain, False), (self.doubts, True)):
            for start in range(0, len(ids), 500):
                some = sorted(ids)[start : start + 500]
                left = await desk.requeue(some, by=self.who, note=self.why, as_doubts=as_doubts)
                self.left |= left
                self.sent += len(some) - len(left)


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
    correct: Annotated[
        bool,
        typer.Option("--correct", help="Change what a person decided before; both decisions are kept."),
    ] = False,
    by: By = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """End a held, doubled or doubtful operation: you looked in the CRM and know what became of it.

    Nothing is sent. A caller who asks again gets the answer as if the CRM had given it.
    """
    from adapter.store.review import CannotDecide, PostgresDesk, Settled

    state = OperationState.REFUSED if outcome == "refused" else OperationState.DONE
    who, why, amount = decided_by(by), noted(note), _points(points)
    settings = desk_settings(config, data_dir)
    ended: list[Settled] = []

    async def work(gateway: Gateway) -> None:
        ended.append(
            await PostgresDesk(gateway).settle(
                operation_id,
                state,
                by=who,
                note=why,
                points=amount,
                customer=customer,
                occasion=_occasion(settings),
                correct=correct,
            )
        )

    try:
        with_database(settings, work)
    except CannotDecide as error:
        fail(str(error))
    say(ended[0].before or f"operation {operation_id} is {ended[0].state}")


@app.command("proof")
@plainly
def proof(
    forget: Annotated[
        OperationKind | None,
        typer.Option("--forget", help="Begin anew for this kind: the CRM is mended, or is another one."),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show whether the CRMs have proved that they find what they were given, and how soon."""
    shown: list[dict[str, Any]] = []

    async def work(service: Service) -> None:
        if forget is not None:
            known = await service.visibility.forget(forget)
            say(f"{forget}: {'has to be proved anew' if known else 'nothing was known'}")
            return
        for kind, visibility in (await service.shown()).items():
            shown.append(
                {
                    "kind": kind.value,
                    "proof": visibility.proof.value,
                    "worst_seconds": round(visibility.worst_seconds, 3),
                    "found": visibility.found,
                    "last_found": visibility.proved_at and visibility.proved_at.isoformat(timespec="seconds"),
                }
            )

    with_service(desk_settings(config, data_dir), work)
    if forget is not None:
        return
    if as_json:
        say_json(shown)
        return
    for one in shown:
        say(
            f"{one['kind']}: {one['proof'].replace('_', ' ')}, found {one['found']} times, "
            f"at worst after {one['worst_seconds']:g} s, last {one['last_found'] or 'never'}"
        )
    if not shown:
        say("no doubt is settled by looking in a CRM here, so there is nothing to prove")


def _occasion(settings: Settings) -> str | None:
    """On which a credited receipt gives coupons, where a CRM gives them."""
    return settings.coupons.receipt_occasion if settings.crm.bindings()["coupons"] is not None else None


def _must_name(operation_ids: Sequence[int] | None, all_held: bool, kind: OperationKind | None) -> None:
    if bool(operation_ids) == all_held:
        fail("name the operations, or give --all-held")
    if kind is not None and not all_held:
        fail("--kind goes with --all-held")


async def _chosen(
    desk: PostgresDesk, operation_ids: Sequence[int] | None, all_held: bool, kind: OperationKind | None
) -> AsyncIterator[list[Item]]:
    portions = desk.all_held(kind) if all_held else desk.some(operation_ids or [])
    async for portion in portions:
        yield [item for item in portion if not all_held or item.state is OperationState.HELD]


def _confirm(doubtful: Sequence[Item]) -> None:
    """Make sure the person knows what is at stake. Raises ``typer.Abort``."""
    some = ", ".join(str(item.id) for item in doubtful[:10])
    more = f" and {len(doubtful) - 10} more" if len(doubtful) > 10 else ""
    typer.echo(
        f"{len(doubtful)} may have reached the CRM already ({some}{more}); sent again, points may be "
        "credited twice. Look them up in the CRM by their reference; what is there can be settled instead.",
        err=True,
    )
    typer.confirm("Send again?", abort=True, err=True)


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
