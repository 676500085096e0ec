"""Who may send receipts in a check, so that balances can be compared.

Before anybody does, one credit has been watched: where points go astray or come twice, nothing can be said of
what came of a receipt, and the checks that compare balances are skipped.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from contracts.suite.checking import Skip
from contracts.suite.crediting import wait_for_earlier_credits
from contracts.suite.observing import Credit, credit_of_code, credit_of_receipt
from contracts.suite.people import Person
from contracts.suite.trial import Trial


async def watched(trial: Trial) -> None:
    """Wait until the credits that are watched in this run are over: another may go to whoever is watched."""
    if trial.target.watches_credits:
        for watch in (credit_of_receipt, credit_of_code):
            with contextlib.suppress(Skip):
                await watch(trial)


async def _credit(trial: Trial) -> Credit | None:
    """The credit that was watched, if one was."""
    try:
        return await credit_of_receipt(trial) if trial.target.watches_credits else None
    except Skip:
        return None


@contextlib.asynccontextmanager
async def receipt_sender(trial: Trial) -> AsyncIterator[Person]:
    """Somebody to send receipts for, whose balance is not looked at."""
    person = await trial.existing()
    await watched(trial)
    async with trial.among_others():
        yield person


@contextlib.asynccontextmanager
async def person_with_stable_balance(trial: Trial) -> AsyncIterator[Person]:
    """Somebody whose balance can be compared: no credit is under way but what the check asks for.

    Somebody new where such people may send receipts; else `existing`, alone, and once everything that
    was sent before must have been credited.
    """
    await watched(trial)
    await goes_elsewhere(trial)
    if (seen := await _credit(trial)) is not None:
        trial.need(seen.shows, seen.why_none(trial))
    if trial.options.receipt_holder == "new":
        yield await trial.newcomer()
        return
    person = await trial.existing()
    async with trial.alone():
        await wait_for_earlier_credits(trial)
        yield person
        trial.target.asked_for_points = None  # the check has seen the balance come to rest


async def goes_elsewhere(trial: Trial) -> None:
    """Skip where points go to other cards, or come twice: to whichever card that is watched."""
    seen = await _credit(trial)
    if seen is not None and seen.others:
        raise Skip("balances cannot be compared: points of receipts go to other cards (KLO-10-39)")
    if seen is not None and seen.repeated:
        raise Skip("balances cannot be compared: points of one receipt come twice (KLO-10-41)")
    if trial.target.watches_credits:
        code = None
        with contextlib.suppress(Skip):
            code = await credit_of_code(trial)
        if code is not None and code.others:
            raise Skip("balances cannot be compared: points of promo codes go to other cards (KLO-12-13)")
