"""``koshelek-adapter receipts hurry``: what was put off is tried now, once a CRM answers again.

It may not know how anything is delivered, nor what is in doubt: it only moves the time of the next look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapter.commands.operations import Kind
from adapter.commands.terminal import ConfigFile, DataDir, plainly, settings_of_database, with_database
from contracts.kit.terminal import say

if TYPE_CHECKING:
    from adapter.store.pool import Gateway


@plainly
def hurry(kind: Kind = None, config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Try now what was put off, instead of after its pause: when the CRM answers again, say.

    Nothing is sent that would not be sent anyway; a doubt still waits until it can be told. A running `serve`
    or `worker` does it, at most delivery.retries_per_second at a time.
    """
    from adapter.store import queue

    moved, due = 0, queue.Due(0, 0.0, taken=False)

    async def work(gateway: Gateway) -> None:
        nonlocal moved, due
        async with gateway.connection() as connection:
            due = await queue.due(connection)
            moved = await queue.hurry(connection, kind)

    with_database(settings_of_database(config, data_dir), work)
    if due.nobody_delivers:
        say(f"{due.count} could be tried already, and nobody delivers; koshelek-adapter check says more")
    say(
        f"{moved} will be looked at now; a doubt goes on waiting until the CRM can be believed"
        if moved
        else "nothing was put off"
    )
