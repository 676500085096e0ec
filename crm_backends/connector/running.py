"""Steps, one after another: what is sent, what its answer means, what is kept of it, and when to stop.

Doubt is the default. What fails before the committing call was sent has not been done; what fails afterwards
is not known. It may not know what the port wanted, nor any CRM.

Reads and writes are in one module: a step runs alike in both, and only what its failure means differs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crm_backends.connector.plans import Paging, ResultMapping, Ruling, StepPlan
from crm_backends.connector.scope import CannotTell, Expression, Lacks
from crm_backends.connector.sending import details_of, headers_of
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
        self._content = content
        self._now = now
        self._looks_at_headers = looks_at_headers
        self._name = name
        self._client = client
        self._statics = statics
        self._renews = renews
        self._lines: dict[object, tuple[asyncio.Lock, int]] = {}

    def replace_statics(self, statics: Mapping[str, Any]) -> None:
        """Have ``settings`` and ``secrets`` be these, for operations that begin from now on."""
        self._statics = statics

    def begin(self, operation: str, deadline: Deadline, **names: Any) -> Run:
        """A run with these names in its context."""
        run = Run(operation, {**self._statics, "now": self._now(), **names}, deadline)
        run.context["steps"] = run.kept
        return run

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

    async def _asked(self, step: StepPlan, run: Run, more: More = None) -> Reply:
        path, details = self._details(step, run, more)
        return await self._client.read(step.sending.method, path, **details)

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
            raise self._by_status(step, run, reply)
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
            return self._failed(self._by_status(step, run, reply), run)
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
        reason = reason or f"{self._name}: {run.operation}: the CRM's answer means {said}"
        if said == "done":
            return Written.done(points=run.context.get("input", {}).get("points"))
        if said in _REFUSALS:
            return Written.refused(_REFUSALS[said], reason)
        if said == "unknown":
            return Written.unknown(reason)
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
        """``None``: nothing names this answer."""
        try:
            said = self._ruled(step, run, reply)
        except CannotTell:
            return None
        return None if said is None else said == "credentials"

    def _ruled(self, step: StepPlan, run: Run, reply: Reply, *, sent: bool = False) -> str | None:
        """What the first outcome that holds says, or ``ok``; nothing where neither is told.

        Raises ``CannotTell``; where the call was ``sent`` to change something, it counts as such.
        """
        context, run.excused = run.context, False
        context["body"], context["status"] = reply.body, reply.status
        if self._looks_at_headers:
            context["headers"] = headers_of(reply)
        try:
            if self._content is not None:
                context["content"] = self._content.read(context)
            ruling = decided(step.rulings, context)
            if ruling is not None:
                if ruling.decides == "ok" or ruling.decides not in UNDECIDED:
                    self._look_whether_read(step, reply)
                if ruling.decides not in UNDECIDED:
                    ruling.when.shown(context)
                run.excused = ruling.decides == "ok"
                return ruling.decides
            well = reply.ok if step.ok is None else step.ok.holds(context)
            if well:
                self._look_whether_read(step, reply)
                self._look_whether_good(step, reply, context)
        except CannotTell:
            run.committed = run.committed or sent
            raise
        return "ok" if well else None

    def _look_whether_read(self, step: StepPlan, reply: Reply) -> None:
        """Raises ``Lacks`` where the answer is a page: whatever its status is, no CRM of JSON says it."""
        if reply.is_page and not step.sending.takes_text:
            raise Lacks(f"{step.sending.where}: the answer is not JSON (status {reply.status})")

    def _look_whether_good(self, step: StepPlan, reply: Reply, context: Mapping[str, Any]) -> None:
        """Raises ``Lacks`` where the answer has not what a good one has."""
        for one in step.has:
            if not one.is_there(context):
                raise Lacks(f"{one.where}: the answer lacks {one.text}")
        if step.ok is not None:
            return
        body, where = reply.body, step.sending.where
        if isinstance(body, dict) and (body.get("error") or body.get("errors")):
            raise Lacks(
                f"{where}: the answer has an error in it (status {reply.status}), which no outcome names"
            )
        anything = step.has or step.sending.takes_text or reply.status == _NO_CONTENT
        if not anything and not isinstance(body, dict | list):
            raise Lacks(f"{where}: {_NOT_GOOD}")

    def _save(self, step: StepPlan, run: Run) -> None:
        if step.name:
            run.kept[step.name] = {name: _read_of(code, run) for name, code in step.save}

    def _error(self, said: str, run: Run, reason: str = "") -> BackendError:
        if said == "credentials":
            return BackendCredentials(f"{self._name}: refuses the credentials (its answer says so)")
        if said == "try_later":
            return BackendUnavailable(f"{self._name}: {run.operation}: the CRM cannot be asked now")
        return BackendMisconfigured(reason or f"{self._name}: {run.operation}: the CRM's answer means {said}")

    def _by_status(self, step: StepPlan, run: Run, reply: Reply) -> BackendError:
        """What an answer means that the connector does not name, by its status alone (HTTP.md)."""
        where = f"(status {reply.status})"
        if reply.status in (401, 403):
            return BackendCredentials(f"{self._name}: refuses the credentials {where}")
        if reply.status in (408, 429) or reply.status >= 500:
            return BackendUnavailable(f"{self._name}: {run.operation}: cannot be asked now {where}")
        text = "an answer that the connector does not name"
        if reply.ok and step.ok is not None:
            text += f": no outcome holds, nor ok at {step.ok.where},"
        return BackendMisconfigured(f"{self._name}: {run.operation}: {text} {where}")

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

    @contextlib.asynccontextmanager
    async def alone(self, mark: object, deadline: Deadline) -> AsyncIterator[bool]:
        """Wait until no other call with this mark is under way; false: it took until the deadline."""
        lock, waiting = self._lines.get(mark, (asyncio.Lock(), 0))
        self._lines[mark] = (lock, waiting + 1)
        got = False
        try:
            try:
                async with asyncio.timeout(deadline.remaining()):
                    got = await lock.acquire()
            except TimeoutError:
                got = False
            yield got
        finally:
            if got:
                lock.release()
            lock, waiting = self._lines[mark]
            if waiting == 1:
                del self._lines[mark]
            else:
                self._lines[mark] = (lock, waiting - 1)


def _read_of(code: Expression, run: Run) -> Any:
    """What is read of the last answer. Raises ``CannotTell``, and ``Lacks`` where that may not lack it."""
    return code.value(run.context) if run.excused else code.there(run.context)


_NO_CONTENT = 204
"""The status that says itself that there is no body (RFC 9110, 15.3.5)."""
_NOT_GOOD = "the answer is empty, or no object and no list; where a good one is like that, say so by has"


def decided(rulings: Sequence[Ruling], context: Mapping[str, Any]) -> Ruling | None:
    """The first of them that holds. Raises ``CannotTell``."""
    for ruling in rulings:
        if ruling.when.holds(context):
            return ruling
    return None
