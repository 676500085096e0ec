"""From the file's shape to something that runs: every expression read, every name looked up, once.

What is wrong is collected, so that one run tells all of it. It may not send anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from crm_backends.connector.compiling_auth import AuthCompiler, WatchAt
from crm_backends.connector.language import (
    Check,
    Operation,
    Outcome,
    Pages,
    Reconcile,
    Request,
    Step,
)
from crm_backends.connector.moments import ProgrammeDefaults
from crm_backends.connector.plans import (
    AuthPart,
    Paging,
    Plan,
    Program,
    ReconcilePlan,
    ResultMapping,
    Ruling,
    StepPlan,
)
from crm_backends.connector.problems import Path, Problem, nearest
from crm_backends.connector.reading import Loaded
from crm_backends.connector.results import look_at_constant
from crm_backends.connector.scope import Expression, Scope
from crm_backends.connector.templates import Fill
from crm_backends.connector.values import Unfit
from crm_backends.connector.vocabulary import (
    ACCOUNTS,
    DECIDES,
    OF_ACCOUNTS,
    OF_READS,
    OF_RECONCILE,
    OF_WRITES,
    RECONCILED,
    RECONCILING,
    SHAPES,
    Shape,
)
from crm_backends.model import CRM_CARD_STATES


def compiled(
    loaded: Loaded, programme: ProgrammeDefaults, watch_at: WatchAt | None = None
) -> tuple[Program, list[Problem]]:
    """The program, and what is wrong with it: nothing is to be run where something is.

    ``watch_at``: what is shown the rows that an expression at a place filters.
    """
    compiler = _Compiler(loaded, programme, watch_at)
    return compiler.program(), compiler.problems


class _Compiler(AuthCompiler):
    # -- the whole -------------------------------------------------------------------------------------

    def program(self) -> Program:
        model = self._model
        flows: dict[str | None, Sequence[AuthPart]] = {
            name: self._flows(parts, ("other_auth", name)) for name, parts in model.other_auth.items()
        }
        flows[None] = self._flows(model.auth or [], ("auth",))
        self._look_at_headers(model.headers, ("headers",))
        headers = self._templates.value(model.headers, self._sent(self._base), ("headers",))
        return Program(
            model=model,
            plans={
                name: self._operation(name, operation)
                for name, operation in model.operations.items()
                if (name in SHAPES and operation.steps) or name in ACCOUNTS
            },
            check=self._check(model.check),
            flows=flows,
            headers=headers if model.headers else None,
            content=self._maybe(model.content, self._as_it_came(self._base).reading(), ("content",)),
            looks_at_headers=any(_HEADERS.search(source.text) for source in self._loaded.sources),
        )

    def _check(self, check: Check) -> Sequence[StepPlan]:
        scope = self._base.with_names(steps={})
        return self._steps(check.steps, scope, ("check",), check.outcomes, OF_READS)

    # -- operations ------------------------------------------------------------------------------------

    def _operation(self, name: str, operation: Operation) -> Plan:
        shape, path = SHAPES[name], ("operations", name)
        asked: dict[str, Any] = dict.fromkeys(shape.asked)
        asked |= {member: dict.fromkeys(names) for member, names in shape.members.items()}
        scope = self._base.with_names(input=asked, steps={})
        if shape.keyed:
            scope = scope.with_names(idempotency_key=None)
        allowed = OF_WRITES if shape.writes else OF_READS
        before = self._decided(self._sent(scope))
        steps = self._steps(operation.steps, scope, path, operation.outcomes, allowed)
        self._look_at_commits(shape, operation, path)
        saved = self._saved(operation.steps)
        mapping = self._mapping(operation, scope, saved, path, shape.gives, shape.rows)
        for missing in sorted(shape.needed - set(operation.result)):
            self._wrong(
                (*path, "result"), f'{name} has to give "{missing}"', f"write result: {{{missing}: …}}"
            )
        return Plan(
            name=name,
            shape=shape,
            at_once=self._rulings(
                operation.at_once, before, (*path, "at_once"), OF_ACCOUNTS if name in ACCOUNTS else allowed
            ),
            alone=self._maybe(operation.one_at_a_time, before, (*path, "one_at_a_time")),
            steps=steps,
            mapping=mapping,
            reconciling=self._reconciling(name, operation, scope, saved, steps, path),
        )

    def _look_at_commits(self, shape: Shape, operation: Operation, path: Path) -> None:
        commits = [index for index, step in enumerate(operation.steps) if step.commits]
        if shape.writes and operation.steps and not commits:
            self._wrong(
                path, "no step commits", "write commits: true at the call that the operation is about"
            )
        for index, step in enumerate(operation.steps):
            if not shape.writes and (step.commits or step.prepares):
                self._wrong(
                    (*path, "steps", index), "this operation reads: its steps neither commit nor prepare"
                )

    def _reconciling(
        self,
        name: str,
        operation: Operation,
        scope: Scope,
        saved: Mapping[str, Any],
        steps: Sequence[StepPlan],
        path: Path,
    ) -> ReconcilePlan | None:
        reconcile = operation.reconcile
        wanted = name in RECONCILED and self._model.doubts == "probe" and bool(operation.steps)
        wanted = wanted or (
            name == "users.register" and self._model.doubts == "compare" and bool(operation.steps)
        )
        if reconcile is None:
            if wanted:
                self._wrong(
                    path,
                    f"doubts: {self._model.doubts} needs a way to find out what became of this write",
                    "write reconcile:",
                )
            return None
        path = (*path, "reconcile")
        if name not in RECONCILED:
            self._wrong(path, f"{name} is not reconciled", f"only {', '.join(RECONCILED)} are")
            return None
        scope = scope.with_names(since=None)
        looking = self._steps(reconcile.steps, scope, path, reconcile.outcomes, OF_RECONCILE)
        found = self._saved(reconcile.steps)
        for index, step in enumerate(reconcile.steps):
            if step.commits or step.prepares:
                self._wrong((*path, "steps", index), "reconciling a doubt only reads", "go_on: does the rest")
        names = {step.name: number for number, step in enumerate(operation.steps) if step.name}
        go_on = []
        for index, one in enumerate(reconcile.go_on):
            when = self._expression(
                one.when, self._answered(scope.with_names(steps=found)), (*path, "go_on", index, "when")
            )
            if one.at not in names:
                self._wrong(
                    (*path, "go_on", index, "at"), f'there is no step "{one.at}"', nearest(one.at, names)
                )
                continue
            go_on.append((when, names[one.at]))
        for missing in sorted(
            {"points.credit": {"points"}, "users.register": {"id"}}.get(name, set()) - set(reconcile.result)
        ):
            self._wrong((*path, "result"), f'what is found has to be compared: "{missing}" is missing')
        mapping = self._mapping(reconcile, scope, found, path, RECONCILING[name], True)
        return ReconcilePlan(looking, go_on, mapping)

    def _mapping(
        self,
        part: Operation | Reconcile,
        scope: Scope,
        saved: Mapping[str, Any],
        path: Path,
        gives: Mapping[str, str],
        several: bool,
    ) -> ResultMapping:
        answered = self._answered(scope.with_names(steps=saved)).reading()
        each = answered.with_names(row=None) if part.rows is not None else answered
        if part.where is not None and part.rows is None:
            self._wrong((*path, "where"), "where goes with rows")
        if several and part.rows is None and (part.result or getattr(part, "steps", None)):
            self._wrong(path, "this gives several: rows is missing", "write rows: body.items")
        for name in part.result:
            if name not in gives:
                cause = f'"{name}" is not among what this gives'
                self._wrong((*path, "result", name), cause, nearest(name, gives), key=True)
        result = {
            name: self._expression(code, each, (*path, "result", name)) for name, code in part.result.items()
        }
        for name, code in result.items():
            self._look_at_constants(name, code, path)
        return ResultMapping(
            rows=self._maybe(part.rows, answered, (*path, "rows")),
            where=self._maybe(part.where, replace(each, reads=False, filters=True), (*path, "where")),
            result=result,
        )

    def _look_at_constants(self, name: str, code: Expression, path: Path) -> None:
        """What an expression gives as it is written has to be of the field's kind."""
        for value in code.gives:
            try:
                look_at_constant(self._region, str(path[1]), name, value)
            except (Unfit, ValueError) as error:
                remedy = nearest(str(value), CRM_CARD_STATES) if name in ("state", "card_state") else ""
                fragment = value if isinstance(value, str) else ""
                self._wrong((*path, "result", name), f"{name}: {error}", remedy, fragment)

    def _saved(self, steps: Sequence[Step]) -> dict[str, Any]:
        """Names under ``steps`` when all of these have run."""
        return {step.name: _saves(step) for step in steps if step.name is not None}

    # -- steps -----------------------------------------------------------------------------------------

    def _steps(
        self,
        steps: Sequence[Step],
        scope: Scope,
        path: Path,
        shared: Sequence[Outcome],
        allowed: frozenset[str],
    ) -> list[StepPlan]:
        made: list[StepPlan] = []
        known: dict[str, Any] = {}
        for index, step in enumerate(steps):
            here = (*path, "steps", index)
            made.append(self._step(step, scope.with_names(steps=dict(known)), here, (path, shared), allowed))
            if step.name is not None:
                if step.name in known:
                    self._wrong((*here, "name"), f'there is a step "{step.name}" already')
                known[step.name] = _saves(step)
            elif step.save:
                self._wrong((*here, "save"), "what is saved needs the step's name", "write name: …")
        return made

    def _step(
        self,
        step: Step,
        scope: Scope,
        path: Path,
        shared: tuple[Path, Sequence[Outcome]],
        allowed: frozenset[str],
    ) -> StepPlan:
        sent, answered = self._sent(scope), self._answered(scope)
        if step.pages is not None:
            sent = sent.with_names(page=None)
        request: Request = step
        at: Path = path
        given: Fill | None = None
        inner = sent
        if step.use is not None:
            base = self._model.requests.get(step.use)
            if base is None:
                self._wrong(
                    (*path, "use"),
                    f'there is no request "{step.use}"',
                    nearest(step.use, self._model.requests),
                )
            else:
                given = self._templates.value(step.with_ or {}, sent, (*path, "with"))
                inner = sent.with_names(**{"with": dict.fromkeys(step.with_ or {})})
                request, at = _joined(base, step), ("requests", step.use)
        if step.pages is not None and step.pages.name is None and not _says_which_page(step, request):
            self._wrong(
                (*path, "pages"), "nothing says which page is wanted", "write name: …, or send ${page}"
            )
        rulings = [
            *self._rulings(step.outcomes, answered, (*path, "outcomes"), allowed),
            *self._rulings(shared[1], answered.with_names(steps=None), (*shared[0], "outcomes"), allowed),
            *self._rulings(self._model.outcomes, self._everywhere(), ("outcomes",), OF_WRITES | OF_READS),
        ]
        ok = self._maybe(step.ok, answered, (*path, "ok"))
        if ok is None:
            ok = self._maybe(self._model.ok, self._everywhere(), ("ok",))
        has = self._has(request, answered, path if step.has else at)
        return StepPlan(
            name=step.name or "",
            sending=self._sending(request, inner, at),
            when=self._maybe(step.when, self._decided(sent), (*path, "when")),
            given=given,
            commits=step.commits,
            prepares=step.prepares,
            rulings=rulings,
            turns_away=any(ruling.decides == "credentials" for ruling in rulings),
            ok=ok,
            has=has,
            accept=_named_statuses(rulings),
            save=[
                (name, self._expression(code, answered.reading(), (*path, "save", name)))
                for name, code in step.save.items()
            ],
            paging=self._paging(step.pages, answered, (*path, "pages")),
        )

    def _rulings(
        self, outcomes: Sequence[Outcome], scope: Scope, path: Path, allowed: frozenset[str]
    ) -> list[Ruling]:
        made = []
        for index, outcome in enumerate(outcomes):
            here = (*path, index)
            if outcome.is_ not in DECIDES:
                self._wrong(
                    (*here, "is"), f'an answer cannot be "{outcome.is_}"', nearest(outcome.is_, allowed)
                )
            elif outcome.is_ not in allowed:
                self._wrong(
                    (*here, "is"), f'"{outcome.is_}" is not for this operation', nearest(outcome.is_, allowed)
                )
            made.append(Ruling(self._expression(outcome.when, scope, (*here, "when")), outcome.is_))
        return made

    def _paging(self, pages: Pages | None, scope: Scope, path: Path) -> Paging | None:
        if pages is None:
            return None
        if (pages.by == "cursor") != (pages.next is not None):
            self._wrong(path, "next goes with by: cursor, and only with it")
        return Paging(
            plan=pages,
            rows=self._expression(pages.rows, scope.reading(), (*path, "rows")),
            next=self._maybe(pages.next, scope, (*path, "next")),
            last=self._maybe(pages.last, scope, (*path, "last")),
        )


_HEADERS = re.compile(r"\bheaders\s*[\[.|]")
"""How an expression looks at an answer's headers."""


def _says_which_page(*requests: Request) -> bool:
    return any("page" in str(one.model_dump(exclude={"pages", "save", "ok"})) for one in requests)


def _saves(step: Step) -> dict[str, Any]:
    """Members of ``steps.<name>``."""
    return dict.fromkeys(step.save) | ({"rows": None} if step.pages is not None else {})


def _joined(base: Request, step: Step) -> Request:
    """A request with the step's own fields over it."""
    fields = base.model_dump(by_alias=True, exclude_none=True)
    own = step.model_dump(by_alias=True, exclude_none=True)
    for name in ("query", "headers"):
        if name in own and name in fields:
            fields[name] = {**fields[name], **own[name]}
        elif name in own:
            fields[name] = own[name]
    for name in ("auth", "takes_text", "has"):
        if name in own:
            fields[name] = own[name]
    return Request.model_validate(fields)


def _named_statuses(rulings: Sequence[Ruling]) -> frozenset[int]:
    """Statuses that a condition names, for the connector to read what the client would have judged."""
    return frozenset(number for ruling in rulings for number in ruling.when.statuses if 300 <= number <= 599)
