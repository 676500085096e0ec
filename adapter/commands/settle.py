"""``koshelek-adapter receipts settle | proof``: what a person saw in the CRM, what the CRM has shown.

Every decision is kept with who, when and why. It may not ask a CRM.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from adapter.commands.operations import AsJson
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
from adapter.loyalty.moments import for_people, for_programs
from contracts.kit.terminal import fail, say, say_json

if TYPE_CHECKING:
    from adapter.bootstrap import Service
    from adapter.store.pool import Gateway

By = Annotated[str | None, typer.Option("--by", help="Who decides; default: your name on this machine.")]
Note = Annotated[
    str, typer.Option("--note", help="Why, for those who look later; kept for good, so no personal data.")
]


@plainly
def settle(
    operation_id: Annotated[int, typer.Argument(metavar="ID", max=MOST, help="Number of the operation.")],
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
        typer.Option("--customer", help="The CRM's id of the person, for a registration that is done."),
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
    from adapter.delivery.decisions import occasion_of
    from adapter.loyalty.review import CannotDecide, Settled
    from adapter.store.review import PostgresReview

    state = OperationState.REFUSED if outcome == "refused" else OperationState.DONE
    who, why, amount = decided_by(by), noted(note), _points(points)
    settings = settings_of_database(config, data_dir)
    ended: list[Settled] = []

    async def work(gateway: Gateway) -> None:
        ended.append(
            await PostgresReview(gateway, settings.zone).settle(
                operation_id,
                state,
                by=who,
                note=why,
                points=amount,
                customer=customer,
                occasion=occasion_of(settings),
                correct=correct,
            )
        )

    try:
        with_database(settings, work)
    except CannotDecide as error:
        fail(f"{error}{_NEEDED[error.needs]}" if error.needs else str(error))
    say(ended[0].before or f"operation {operation_id} is {ended[0].state}")


_NEEDED = {
    "correction": "; --correct changes what a person decided",
    "customer": ": say with --customer how the CRM calls the person it has registered",
}


def _points(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        points = Decimal(text)
    except InvalidOperation:
        fail("--points is a number, as in 62 or 62.50")
    if not points.is_finite() or points < 0 or points >= 10**12:
        fail("--points is a number from 0")
    if points != round(points, 2):
        fail("--points has more than two decimals, which no CRM keeps; write what the CRM shows, as in 62.50")
    return points


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
    settings = settings_of_database(config, data_dir)
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
                    "since": visibility.changed_at,
                    "worst_seconds": round(visibility.worst_seconds, 3),
                    "found": visibility.found,
                    "last_found": visibility.proved_at,
                }
            )

    with_service(settings, work)
    if forget is not None:
        return
    if as_json:
        moments = ("since", "last_found")
        say_json([one | {name: one[name] and for_programs(one[name]) for name in moments} for one in shown])
        return
    for one in shown:
        last = for_people(one["last_found"], settings.zone) if one["last_found"] else "never"
        since = f" since {for_people(one['since'], settings.zone)}" if one["since"] else ""
        say(
            f"{one['kind']}: {one['proof'].replace('_', ' ')}{since}, found {one['found']} times, "
            f"at worst after {one['worst_seconds']:g} s, last {last}"
        )
    if not shown:
        say("no doubt is reconciled by looking in a CRM here, so there is nothing to prove")
