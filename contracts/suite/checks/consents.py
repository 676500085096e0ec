"""Method 2: consents by channel."""

from __future__ import annotations

import json

from contracts.suite.checking import check
from contracts.suite.people import Person
from contracts.suite.trial import Trial

BOTH = {"allow": ["sms", "email"], "deny": ["call"]}


async def _holder(trial: Trial) -> Person:
    """Somebody made up whose consents may be changed; one for all these checks."""
    return await trial.once("consents", trial.newcomer)


async def _accepted(trial: Trial, *bodies: object, what: str) -> None:
    number = (await _holder(trial)).card_number or ""
    for body in bodies:
        trial.ok(await trial.consents(number, body), f"{what}: {json.dumps(body)}")


@check("KLO-2-01", writes=True)
async def both_lists(trial: Trial) -> None:
    """PUT with allow and deny is answered 200"""
    await _accepted(trial, BOTH, what="consents with both lists")


@check("KLO-2-02", writes=True)
async def empty_answer(trial: Trial) -> None:
    """The answer has an empty body"""
    answer = await trial.consents((await _holder(trial)).card_number or "", BOTH)
    trial.need(answer.ok, "consents are not accepted")
    trial.that(not answer.body, "an empty body", answer)


@check("KLO-2-03", writes=True)
async def official_channels(trial: Trial) -> None:
    """sms, email and call are understood, each in either list"""
    bodies = [
        {"allow": [channel] if allowed else [], "deny": [] if allowed else [channel]}
        for channel in ("sms", "email", "call")
        for allowed in (True, False)
    ]
    await _accepted(trial, *bodies, what="each official channel")


async def _plain_accepted(trial: Trial) -> None:
    answer = await trial.consents((await _holder(trial)).card_number or "", BOTH)
    trial.need(answer.ok, "not even sms, email and call are accepted")


@check("KLO-2-04", writes=True)
async def push(trial: Trial) -> None:
    """push is understood"""
    await _plain_accepted(trial)
    await _accepted(trial, {"allow": ["push"], "deny": []}, {"allow": ["sms"], "deny": ["push"]}, what="push")


@check("KLO-2-05", writes=True)
async def unknown_channels(trial: Trial) -> None:
    """Unknown channels are ignored"""
    await _plain_accepted(trial)
    bodies = ({"allow": ["sms", "pigeon"], "deny": []}, {"allow": [], "deny": ["pigeon", "call"]})
    await _accepted(trial, *bodies, what="an unknown channel beside known ones")


@check("KLO-2-07", writes=True)
async def one_list(trial: Trial) -> None:
    """Either list may be missing"""
    await _plain_accepted(trial)
    await _accepted(trial, {"allow": ["sms"]}, {"deny": ["call"]}, what="one list alone")


@check("KLO-2-08", writes=True)
async def unknown_card(trial: Trial) -> None:
    """Consents for an unknown card are refused"""
    trial.refused(await trial.consents(trial.people.unknown_card(), BOTH), "an unknown card number")


@check("KLO-2-09", writes=True)
async def once_more(trial: Trial) -> None:
    """The same consents once more are answered 200"""
    await _plain_accepted(trial)
    await _accepted(trial, BOTH, BOTH, what="the same consents once more")
