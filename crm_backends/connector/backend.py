"""What all connectors' drivers share: life, check, and the course of a read and of a write.

It may not know the adapter, any CRM, nor what a port wants of an operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel

from crm_backends.connector.compiling import compiled
from crm_backends.connector.judging import decided
from crm_backends.connector.moments import ProgrammeDefaults
from crm_backends.connector.plans import Plan, Program, Ruling
from crm_backends.connector.proving import auth_of, can_renew, logins_of
from crm_backends.connector.reading import Loaded
from crm_backends.connector.reconciling import reconciled
from crm_backends.connector.results import Reader, amount, identifier, text_or_nothing
from crm_backends.connector.running import NothingFound, Run, Runner
from crm_backends.connector.scope import CannotTell
from crm_backends.connector.turns import Turns
from crm_backends.http import Auth, HttpClient, HttpSettings
from crm_backends.http.driver import HttpDriver, Probe, ProbeFailed
from crm_backends.http.wire import Exchanger
from crm_backends.model import Holder, Profile
from crm_backends.ports import (
    BackendMisconfigured,
    Capability,
    Deadline,
    HolderUnnamed,
    NotSupported,
    Reconciliation,
    Written,
)
from crm_backends.registry import BackendContext

T = TypeVar("T")
WireOf = Callable[[HttpSettings], Exchanger] | None
"""Makes what sends the calls; nothing: the network."""


class ConnectorBackend(HttpDriver):
    """What all connectors have. Reads raise a ``BackendError``, writes return a ``Written``."""

    loaded: Loaded
    """Set on the class that is made for a connector."""
    programs: dict[ProgrammeDefaults, Program]
    """The same: what was compiled of it, which takes longer than everything else of a driver's beginning."""
    name: str
    capabilities: Mapping[str, Capability]
    reconciliation: Reconciliation

    def __init__(self, settings: HttpSettings, context: BackendContext) -> None:
        """Raises ``BackendMisconfigured`` where a credential cannot be sent."""
        self._settings = settings
        programme = ProgrammeDefaults(context.timezone, context.region)
        self._zone = context.timezone
        if programme not in self.programs:
            self.programs[programme], _ = compiled(self.loaded, programme)
        self._program = self.programs[programme]
        self._statics = statics_of(self._program, settings)
        self._reader = Reader(programme)
        self._turns = Turns()
        self._wire: WireOf = None
        self._now: Callable[[], datetime] = partial(datetime.now, UTC)
        client, self._runner = self._connected()
        super().__init__(client)

    def _connected(self) -> tuple[HttpClient, Runner]:
        """A client of its own, and what runs steps over it."""
        auth = auth_of(self._program, self._statics)
        client = HttpClient(self.name, self._settings, auth, self._wire)
        renews = can_renew(self._program)
        runner = Runner(
            self.name,
            client,
            self._statics,
            renews=renews,
            looks_at_headers=self._program.looks_at_headers,
            content=self._program.content,
            now=self._now,
        )
        return client, runner

    def proof_of(self, settings: BaseModel) -> Auth | None:
        """See ``HttpDriver``; secrets may stand in any part of a call."""
        if not isinstance(settings, type(self._settings)):
            return None
        statics = statics_of(self._program, settings)
        proof = auth_of(self._program, statics)
        self._settings, self._statics = settings, statics
        self._runner.replace_statics(statics)
        return proof

    @property
    def logins(self) -> frozenset[str]:
        """Paths that are asked for tokens."""
        return logins_of(self._program, self._statics)

    def replace_wire(self, wire: WireOf) -> None:
        """Send calls by something else, before ``open``: to replay or to show them."""
        self._wire = wire
        self._http, self._runner = self._connected()

    def replace_clock(self, now: Callable[[], datetime]) -> None:
        """Have expressions take ``now`` from something else, so that what is sent can be compared."""
        self._now = now
        self._runner.replace_clock(now)

    # -- life ------------------------------------------------------------------------------------------

    def probes(self) -> Iterable[Probe]:
        """The call of the connector's ``check``."""
        yield Probe(
            subject="check",
            ask=self._ask_check,
            well="the CRM answers, and takes the credentials",
            credentials="correct the credentials in the settings, or their rights",
            settings=_MISFIT,
        )

    async def _ask_check(self, deadline: Deadline) -> None:
        try:
            await self._runner.read(self._program.check, self._runner.begin("check", deadline, {}))
        except NothingFound:
            raise ProbeFailed(f"{self.name}: finds nothing where check asks", _MISFIT) from None

    # -- parts of every operation ----------------------------------------------------------------------

    def _plan(self, operation: str) -> Plan:
        plan = self._program.plans.get(operation)
        if plan is None:
            raise NotSupported(f"{operation}: {self.capabilities[operation].note}")
        return plan

    def _begin(self, operation: str, deadline: Deadline, asked: dict[str, Any], **names: Any) -> Run:
        return self._runner.begin(operation, deadline, {"input": asked, **names})

    async def _read(self, plan: Plan, run: Run) -> list[dict[str, Any]]:
        """The contexts of what a read gives; raises ``NothingFound``."""
        ruling = self._at_once(plan, run) if plan.at_once else None
        said = None if ruling is None else ruling.decides
        if said in ("nothing", "no_such_customer"):
            raise NothingFound(customer=said == "no_such_customer")
        if said == "holder_unnamed":
            raise HolderUnnamed(_UNNAMED.format(self.name))
        if ruling is not None:
            raise BackendMisconfigured(self._runner.told_at_once(ruling, run))
        await self._runner.read(plan.steps, run)
        try:
            return self._runner.rows(plan.mapping, run)
        except CannotTell as error:
            raise self._runner.untold(error) from None

    def _at_once(self, plan: Plan, run: Run) -> Ruling | None:
        return self.worked_out(lambda: decided(plan.at_once, run.context))

    def worked_out(self, tell: Callable[[], T]) -> T:
        """What expressions give. Raises ``BackendMisconfigured`` where they cannot tell."""
        try:
            return tell()
        except CannotTell as error:
            raise self._runner.untold(error) from None

    async def _write(
        self, operation: str, deadline: Deadline, asked: dict[str, Any], key: str | None = None
    ) -> Written:
        plan = self._plan(operation)
        names = {} if key is None else {"idempotency_key": key}
        run = self._begin(operation, deadline, asked, **names)
        if not deadline.remaining():
            return Written.not_sent(f"{self.name}: no time left to ask")
        ruling = self._at_once(plan, run)
        if ruling is not None:
            return self._runner.ended_at_once(ruling, run)
        if plan.alone is None:
            return await self.finish(plan, run)
        mark = self.worked_out(lambda: plan.alone.value(run.context) if plan.alone else None)
        async with self._turns.alone((operation, str(mark)), deadline) as got:
            if not got:
                return Written.not_sent(f"{self.name}: another call about the same is under way")
            return await self.finish(plan, run)

    async def finish(self, plan: Plan, run: Run, begin: int = 0) -> Written:
        """Run the steps of a write from number ``begin`` on, and say how it ended."""
        ended = await self._runner.write(plan.steps, run, begin)
        if ended is not None:
            return ended
        result = plan.mapping.result
        tell = self._reader.field if run.excused else self._reader.told
        try:
            made = tell(result, "id", run.context, identifier)
            points = tell(result, "points", run.context, amount)
            message = self._reader.field(result, "message", run.context, text_or_nothing)
        except CannotTell as error:
            return Written.unknown(f"{self.name}: {error}")
        if made is None and ("id" in plan.shape.needed or ("id" in result and not run.excused)):
            return Written.unknown(f"{self.name}: {plan.name}: the answer has no id")
        asked = run.context["input"].get("points")
        return Written.done(made, asked if points is None else points, message)

    async def _reconcile(
        self, operation: str, deadline: Deadline, asked: dict[str, Any], key: str, since: datetime | None
    ) -> Written:
        run = self._begin(operation, deadline, asked, idempotency_key=key, since=since)
        return await reconciled(self._plan(operation), run, self._runner, self._reader, self.finish)

    async def _account(self, operation: str, holder: Holder, deadline: Deadline) -> str | None:
        plan = self._plan(operation)
        if not plan.steps:
            return self._named(operation, holder)
        run = self._begin(operation, deadline, _holder(holder))
        try:
            contexts = await self._read(plan, run)
        except NothingFound:
            return None
        if not contexts:
            return None
        if len(contexts) > 1:
            raise BackendMisconfigured(f"{self.name}: {operation}: several accounts of one holder")
        found: str | None = self.worked_out(
            lambda: self._reader.told(plan.mapping.result, "id", contexts[0], identifier)
        )
        return found

    def _named(self, operation: str, holder: Holder) -> str | None:
        """An account that is derived, without asking. Raises ``HolderUnnamed`` where it lacks a field."""
        plan = self._plan(operation)
        run = self._begin(operation, Deadline.after(0), _holder(holder))
        found: str | None = self.worked_out(
            lambda: self._reader.field(plan.mapping.result, "id", run.context, identifier)
        )
        if found is None and self._at_once(plan, run) is None:
            raise HolderUnnamed(_UNNAMED.format(self.name))
        return found


def person_of(profile: Profile) -> dict[str, Any]:
    return {name: getattr(profile, name) for name in Profile.__dataclass_fields__}


def _holder(holder: Holder) -> dict[str, Any]:
    own = {"customer": holder.users_reference, "card_number": holder.card_number}
    return {**own, **person_of(holder.profile)}


def statics_of(program: Program, settings: HttpSettings) -> dict[str, Any]:
    """``settings`` and ``secrets`` as expressions see them."""
    plain: dict[str, Any] = {}
    secret: dict[str, Any] = {}
    for name, setting in program.model.settings.items():
        value = getattr(settings, name)
        if setting.secret:
            secret[name] = None if value is None else value.get_secret_value()
        else:
            plain[name] = value
    return {"settings": plain, "secrets": secret}


_UNNAMED = "{}: the holder's profile lacks what accounts are found by"
_MISFIT = "compare base_url and the connector's settings with what the vendor says; see its README"
