"""What became of a write that nobody answered: looked up under our key, and compared with what was asked.

What comes back under a key is believed only where it is the same person, account and amount. It may not know
how anything is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from crm_backends.connector.plans import Plan, ReconcilePlan
from crm_backends.connector.results import Reader, amount, identifier, text_or_nothing, whole
from crm_backends.connector.running import CannotReconcile, NothingFound, Run, Runner
from crm_backends.connector.scope import CannotTell
from crm_backends.connector.values import same
from crm_backends.ports import Refusal, Written

Finish = Callable[[Plan, Run, int], Awaitable[Written]]


async def reconciled(plan: Plan, run: Run, runner: Runner, reader: Reader, finish: Finish) -> Written:
    """How the write of ``plan`` ended.

    Raises:
        BackendError: the CRM cannot be asked now.
    """
    how = plan.reconciling
    if how is None:
        return Written.unknown(f"{plan.name}: the connector does not say how to find out")
    run.reconciling = True
    try:
        await runner.read(how.steps, run)
        for condition, number in how.go_on:
            if condition.holds(run.context):
                condition.shown(run.context)
                run.committed = True  # a part of it is there
                return await finish(plan, run, number)
        contexts = runner.rows(how.mapping, run)
        found = _each_once(contexts, [_compared(plan, how, run, context, reader) for context in contexts])
    except NothingFound:
        return Written.not_sent()
    except CannotReconcile:
        return Written.unknown(f"{plan.name}: what the CRM answers does not tell")
    except CannotTell as error:
        raise runner.untold(error) from None
    if not found:
        return Written.not_sent()
    first = found[0]
    if len(found) == 1 or first.outcome is not found[-1].outcome:
        return first
    if plan.name == "users.register":
        return Written.unknown(f"{plan.name}: several customers are found")
    names = tuple(one.crm_reference or "an entry without a name" for one in found)
    return replace(first, entries=names)


def _each_once(contexts: Sequence[dict[str, Any]], told: Sequence[Written]) -> list[Written]:
    """What the rows say, without those that the CRM has shown twice: while a list is read page by page, rows
    move on to the next page.

    A row is the same one where it has an id and is the same in every member. Two entries of the CRM have ids
    of their own; where the id is our key, as both might have it, they count as two.
    """
    kept: list[Written] = []
    seen: list[Any] = []
    for context, written in zip(contexts, told, strict=True):
        row, made = context.get("row"), written.crm_reference
        if made is not None and context["idempotency_key"] not in made:
            if any(same(row, other) for other in seen):
                continue
            seen.append(row)
        kept.append(written)
    return kept


def _compared(plan: Plan, how: ReconcilePlan, run: Run, context: dict[str, Any], reader: Reader) -> Written:
    """What one row says. Raises ``CannotTell``."""
    result, asked = how.mapping.result, run.context["input"]

    def told(name: str, read: Any) -> Any:
        return reader.field(result, name, context, read)

    made = told("id", identifier)
    points = told("points", amount)
    for name, read in (("phone", reader.phone), ("account", text_or_nothing), ("code", text_or_nothing)):
        value = told(name, read)
        if value is not None and name in asked and value != asked[name]:
            return Written.refused(Refusal.KEY_TAKEN, f"{plan.name}: our key is known with another {name}")
    if plan.name == "points.credit":
        total, receipt = told("total_kopecks", whole), asked["receipt"]
        if None not in (total, receipt) and total != receipt["total_kopecks"]:
            return Written.refused(Refusal.KEY_TAKEN, f"{plan.name}: our key is known with another receipt")
        if points is None:
            return Written.unknown(f"{plan.name}: what is found under our key does not tell its points")
        if asked["points"] is not None and points != asked["points"]:
            return Written.refused(Refusal.KEY_TAKEN, f"{plan.name}: our key is known with other points")
    if plan.name == "users.register" and made is None:
        return Written.unknown(f"{plan.name}: what is found does not tell its id")
    return Written.done(made, points, told("message", text_or_nothing))
