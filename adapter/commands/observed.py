"""``koshelek-adapter observed``: what Koshelek sends that no setting names, and which would take it in.

Names alone are kept, so there is nothing to mask. It may not know how they are seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from adapter.commands.operations import AsJson
from adapter.commands.terminal import ConfigFile, DataDir, plainly, settings_of_database, with_database
from adapter.loyalty.moments import for_people, for_programs
from contracts.kit.terminal import say, say_json

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from adapter.loyalty.observed import Observed
    from adapter.store.pool import Gateway


@plainly
def observed(
    forget: Annotated[
        bool, typer.Option("--forget", help="Begin anew, after the settings were changed, say.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Show fields, parameters, headers, verbs and paths that Koshelek sends and no setting names.

    Names alone are kept, never a value, and only of callers who gave the right password.
    """
    from adapter.loyalty.observed import advice
    from adapter.store.observed import PostgresObserved

    settings = settings_of_database(config, data_dir)
    found: list[Observed] = []
    forgotten = 0

    async def work(gateway: Gateway) -> None:
        nonlocal forgotten
        book = PostgresObserved(gateway)
        if forget:
            forgotten = await book.forget()
        else:
            found.extend(await book.all())

    with_database(settings, work)
    if forget:
        say(f"{forgotten} forgotten")
        return
    told = [(one, advice(one.seen, settings.koshelek, settings.server.base_path)) for one in found]
    if as_json:
        say_json([_data(one, sentence) for one, sentence in told])
        return
    _print(told, settings.zone)


def _print(told: Sequence[tuple[Observed, str]], zone: ZoneInfo) -> None:
    if not told:
        say("Koshelek has sent nothing that no setting names")
    for one, sentence in told:
        seen = one.seen
        say(f"{seen.call}: {seen.what} {seen.name}")
        first, last = for_people(one.first_seen, zone), for_people(one.last_seen, zone)
        say(f"    {one.times} times, {first} to {last}")
        say(f"    -> {sentence}")


def _data(one: Observed, sentence: str) -> dict[str, object]:
    return {
        "call": one.seen.call,
        "what": one.seen.what,
        "name": one.seen.name,
        "times": one.times,
        "first_seen": for_programs(one.first_seen),
        "last_seen": for_programs(one.last_seen),
        "advice": sentence,
    }
