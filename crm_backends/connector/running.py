"""Steps, one after another: what is sent, what is kept of its answer, and when to stop.

Doubt is the default. What fails before the committing call was sent has not been done; what fails afterwards
is not known. What an answer says is in ``judging``. It may not know what the port wanted, nor any CRM.

Reads and writes are in one module: a step runs alike in both, and only what its failure means differs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crm_backends.connector.judging import Judge, by_status
from crm_backends.connector.plans import Paging, ResultMapping, Ruling, StepPlan
from crm_backends.connector.scope import CannotTell, Expression, Lacks
from crm_backends.connector.sending import details_of
from crm_backends.connector.vocabulary import UNDECIDED
from crm_backends.http import Details, HttpClient, Reply
from crm_backends.ports import (
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
    Refusal,
    Written,
)

More = dict[str, dict[str, Any]] | None
"""Further fields of a call, by where they go."""
WITHOUT_ASKING = "without asking the CRM"
"""What is told of all that a connector decides at once."""
_NOT_TOLD = UNDECIDED - {"ok", "credentials"}
_REFUSALS = {refusal.value: refusal for refusal in Refusal} | {"refused": Refusal.OTHER}


@dataclass(slots=True)
class Run:
    """One operation under way."""

    operation: str
    context: dict[str, Any]
    deadline: Deadline
    committed: bool = False
    """Whether a call that changes something has been sent."""
    enough: int | None = None
    """Rows after which no further page is asked for."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What the steps have saved, by their names."""
    excused: bool = False
    """Whether an outcome has said of the last answer that it is well as it is, whatever it lacks."""
    decided_at: str = ""
    """Where the outcome is written that the last answer was judged by."""
    reconciling: bool = False
    """Whether it looks for what became of a write."""


class NothingFound(Exception):
    """A read has found that there is nothing like that; ``customer``: that there is no such customer."""

    def __init__(self, *, customer: bool = False) -> None:
        super().__init__()
        self.customer = customer


class CannotReconcile(Exception):
    """An answer does not tell what became of a write."""


class Runner:
    """Runs steps against one CRM.

    ``statics``: ``settings`` and ``secrets``. ``renews``: whether a refused token may be replaced.
    ``looks_at_headers``: whether any expression does. ``content``: what of an answer was asked for.
    ``now``: the clock of expressions.
    """

    def __init__(
        self,
        name: str,
        client: HttpClient,
        statics: Mapping[str, Any],
        *,
        renews: bool,
        looks_at_headers: bool,
        content: Expression | None,
        now: Callable[[], datetime],
    ) -> None:
        self._judge = Judge(looks_at_headers=looks_at_headers, content=content)
        self._now = now
        self._name = name
        self._client = client
        self._statics = statics
        self._renews = renews

    def replace_statics(self, statics: Mapping[str, Any]) -> None:
        """Have ``settings`` and ``secrets`` be these, for operations that begin from now on."""
        self._statics = statics

    def replace_clock(self, now: Callable[[], datetime]) -> None:
        """Have ``now`` be told by this, for operations that begin from now on."""
        self._now = now

    def begin(self, operation: str, deadline: Deadline, names: Mapping[str, Any]) -> Run:
        """A run with these names in its context."""
        kept: dict[str, Any] = {}
        context = {**self._statics, "now": self._now(), **names, "steps": kept}
        return Run(operation, context, deadline, kept=kept)

    # -- reads -----------------------------------------------------------------------------------------

    async def read(self, steps: Sequence[StepPlan], run: Run) -> None:
        """Run the steps of a read.

        Raises:
            NothingFound: an answer says so.
            CannotReconcile: the same, where the run looks for what became of a write.
            BackendError: as every read.
        """
        if not run.deadline.remaining():
            raise BackendUnavailable(f"{self._name}: no time left to ask")
        for step in steps:
            try:
                if step.when is None or step.when.holds(run.context):
                    await self._read_step(step, run)
                elif step.name:
                    run.kept[step.name] = {}
            except CannotTell as error:
                raise self.untold(error) from None

    async def _read_step(self, step: StepPlan, run: Run) -> None:
        """Raises ``CannotTell`` besides what ``read`` raises."""
        if step.paging is None:
            self._look(step, run, await self._asked(step, run))
            return
        rows: list[Any] = []
        async for page in self.pages(step, step.paging, run):
            rows += page
            if run.enough is not None and not step.paging.plan.all and len(rows) >= run.enough:
                break
        if step.name:
            run.kept.setdefault(step.name, {})["rows"] = rows
        run.context["body"] = run.context["content"] = rows

    async def pages(self, step: StepPlan, paging: Paging, run: Run) -> AsyncIterator[list[Any]]:
        """The rows of one page after another.

        Raises:
            NothingFound, BackendError, CannotTell: as a read.
            BackendMisconfigured: there are more pages than the connector allows, or the same cursor twice.
        """
        plan = paging.plan
        position: Any = {"page": plan.first, "offset": 0, "cursor": None}[plan.by]
        seen: list[Any] = []
        before: list[Any] = []
        for _ in range(plan.most):
            run.context["page"] = position
            named = plan.name is not None and position is not None
            more: More = {plan.in_: {str(plan.name): position}} if named else None
            self._look(step, run, await self._asked(step, run, more))
            rows = _read_of(paging.rows, run)
            rows = [] if rows is None else rows
            if not isinstance(rows, list):
                raise CannotTell(f"{paging.rows.where}: a list is wanted")
            if not rows or (rows == before and plan.by != "cursor"):
                return  # one that does not page gives the same list again
            over = paging.last is not None and paging.last.holds(run.context)
            seen.append(position)
            if paging.next is None:
                position += 1 if plan.by == "page" else plan.size
            else:
                position = paging.next.value(run.context)
                over = over or position in (None, "", False)
            yield rows  # whoever takes them may change the context
            if over:
                return
            if position in seen:
                raise BackendMisconfigured(f"{self._name}: {run.operation}: the same cursor came twice")
            before = rows
        if run.enough is None or plan.all:
            raise BackendMisconfigured(
                f"{self._name}: {run.operation}: there are more than {plan.most} pages"
            )

    def _asked(self, step: StepPlan, run: Run, more: More = None) -> Awaitable[Reply]:
        path, details = self._details(step, run, more)
        return self._client.read(step.sending.method, path, **details)

    def _look(self, step: StepPlan, run: Run, reply: Reply) -> None:
        """What the answer to a read says; what it saves is kept."""
        said = self._ruled(step, run, reply)
        if said == "no_such_customer" and run.reconciling and run.operation != "users.register":
            # Of somebody who was just written to: that shows no absence of what was written.
            raise CannotReconcile
        if said in ("nothing", "no_such_customer"):
            raise NothingFound(customer=said == "no_such_customer")
        if said == "unknown" and run.reconciling:
            raise CannotReconcile
        if said is None:
            raise by_status(step, reply, self._name, run.operation)
        if said != "ok":
            raise self._error(said, run)
        self._save(step, run)

    def untold(self, error: CannotTell) -> BackendError:
        """What is told of an answer that cannot be read: an outage where it lacks what it always has."""
        kind = BackendUnavailable if isinstance(error, Lacks) else BackendMisconfigured
        return kind(f"{self._name}: {error}")

    # -- writes ----------------------------------------------------------------------------------------

    async def write(self, steps: Sequence[StepPlan], run: Run, begin: int = 0) -> Written | None:
        """Run the steps of a write from number ``begin`` on; how it ended, or nothing when all went well.

        Raises:
            BackendCredentials, BackendMisconfigured: where nothing can have been done.
        """
        if not run.deadline.remaining():
            return Written.not_sent(f"{self._name}: no time left to ask")
        for step in steps[begin:]:
            try:
                if step.when is not None and not step.when.holds(run.context):
                    if step.name:
                        run.kept.setdefault(step.name, {})
                    continue
                ended = await self._write_step(step, run)
            except NothingFound:
                ended = Written.refused(reason=f"{self._name}: {run.operation}: what is needed is not there")
            except CannotTell as error:
                ended = self._failed(self.untold(error), run)
            except BackendError as error:
                ended = self._failed(error, run)
            if ended is not None:
                return ended
        return None

    def _failed(self, error: BackendError, run: Run) -> Written:
        """Raises the error where nothing has been done and time will not help."""
        if run.committed:
            return Written.unknown(str(error))
        if isinstance(error, BackendUnavailable):
            return Written.not_sent(str(error))
        raise error

    async def _write_step(self, step: StepPlan, run: Run) -> Written | None:
        if not step.commits and not step.prepares:
            if step.paging is not None:
                await self._read_step(step, run)
                return None
            reply: Reply | Written = await self._asked(step, run)
        else:
            path, details = self._details(step, run)
            reply = await self._client.write(step.sending.method, path, **details)
        if isinstance(reply, Written):
            if step.prepares and not run.committed:
                return Written.not_sent(reply.reason)
            return Written.unknown(reply.reason) if run.committed else reply
        said = self._ruled(step, run, reply, sent=step.commits)
        if said is None:
            if step.commits and reply.status not in (401, 403, 429):
                run.committed = True
                reason = (
                    f"{self._name}: {run.operation}: an answer that nothing names (status {reply.status})"
                )
                return Written.unknown(reason)
            return self._failed(by_status(step, reply, self._name, run.operation), run)
        if said == "ok":
            run.committed = run.committed or step.commits
            self._save(step, run)
            return None
        return self.ended(said, run)

    def prepared(self, steps: Sequence[StepPlan], run: Run) -> None:
        """Work out what the first call would send, and send nothing. Raises ``CannotTell``."""
        for step in steps:
            if step.when is None or step.when.holds(run.context):
                self._details(step, run)
                return

    def ended_at_once(self, ruling: Ruling, run: Run) -> Written:
        """How a write ends that the connector decides without asking. Raises as ``write``."""
        return self.ended(ruling.decides, run, self.told_at_once(ruling, run))

    def told_at_once(self, ruling: Ruling, run: Run) -> str:
        """What was decided without asking, and by which line."""
        return (
            f"{self._name}: {run.operation}: the connector says {ruling.decides} {WITHOUT_ASKING} "
            f"({ruling.when.where})"
        )

    def ended(self, said: str, run: Run, reason: str = "") -> Written:
        """How a write ends that an outcome has decided. Raises as ``write``."""
        if said == "done":
            return Written.done(points=run.context.get("input", {}).get("points"))
        if said in _REFUSALS:
            return Written.refused(_REFUSALS[said], reason or self._meant(said, run))
        if said == "unknown":
            return Written.unknown(reason or self._meant(said, run))
        return self._failed(self._error(said, run, reason), run)

    # -- both ------------------------------------------------------------------------------------------

    def _details(self, step: StepPlan, run: Run, more: More = None) -> tuple[str, Details]:
        context = run.context
        if step.given is not None:
            context = {**context, "with": step.given(context)}
        path, details = details_of(step.sending, context, run.deadline, more)
        if step.accept:
            details["accept"] = step.accept
        if self._renews and (step.turns_away or 401 in step.accept):
            details["turned_away"] = lambda reply: self._turned_away(step, run, reply)
        return path, details

    def _turned_away(self, step: StepPlan, run: Run, reply: Reply) -> bool | None:
        """``None``: nothing names this answer, so that its status says whether the token was taken.

        In a read nothing is done twice: a 401 that is to be a doubt in writes may well be an old token.
        """
        try:
            said = self._ruled(step, run, reply)
        except CannotTell:
            return None
        reads = not step.commits and not step.prepares
        if said is None or (reads and said in _NOT_TOLD):
            return None
        return said == "credentials"

    def _ruled(self, step: StepPlan, run: Run, reply: Reply, *, sent: bool = False) -> str | None:
        """What the answer says (``Judge.said``).

        Raises ``CannotTell``; where the call was ``sent`` to change something, it counts as such.
        """
        run.excused = False
        try:
            said, run.decided_at = self._judge.said(step, reply, run.context)
        except CannotTell:
            run.committed = run.committed or sent
            raise
        run.excused = said == "ok" and run.decided_at != ""
        return said

    def _save(self, step: StepPlan, run: Run) -> None:
        if step.name:
            run.kept[step.name] = {name: _read_of(code, run) for name, code in step.save}

    def _error(self, said: str, run: Run, reason: str = "") -> BackendError:
        if said == "credentials":
            return BackendCredentials(
                reason
                or f"{self._name}: refuses the credentials, or they lack a right (its answer says so, by "
                f"{run.decided_at})"
            )
        if said == "try_later":
            return BackendUnavailable(f"{self._name}: {run.operation}: the CRM cannot be asked now")
        return BackendMisconfigured(reason or self._meant(said, run))

    def _meant(self, said: str, run: Run) -> str:
        return f"{self._name}: {run.operation}: the CRM's answer means {said} ({run.decided_at})"

    def rows(self, mapping: ResultMapping, run: Run) -> list[dict[str, Any]]:
        """A context for each row that is given; of what gives no rows, the one of its run.

        Raises ``CannotTell``.
        """
        if mapping.rows is None:
            return [run.context]
        found = _read_of(mapping.rows, run)
        if found is None:
            return []
        if isinstance(found, dict):
            if mapping.where is not None:
                mapping.where.shown({**run.context, "row": found})
            found = [found]
        if not isinstance(found, list):
            raise CannotTell(f"{mapping.rows.where}: a list is wanted")
        contexts = [{**run.context, "row": row} for row in found]
        if mapping.where is None:
            return contexts
        return [context for context in contexts if mapping.where.holds(context)]


def _read_of(code: Expression, run: Run) -> Any:
    """What is read of the last answer. Raises ``CannotTell``, and ``Lacks`` where that may not lack it."""
    return code.value(run.context) if run.excused else code.there(run.context)
