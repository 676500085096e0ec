"""Builds everything from settings: puts the concrete stores behind the ports that the other rooms ask.

It may not know any driver by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import asyncpg
from aiohttp import web

from adapter import background, crms
from adapter.api.app import PublicPort
from adapter.api.auth import Authenticator, Credential, credentials_of
from adapter.crms import BoundCrms, can, unasked_points
from adapter.delivery.deliverer import Deliverer
from adapter.delivery.housekeeping import Housekeeping
from adapter.delivery.worker import Worker
from adapter.loyalty.crm_cards import CrmCards, OddNumbers
from adapter.loyalty.finding import TwoStepFinder
from adapter.loyalty.model import OperationKind
from adapter.loyalty.personal_data import PersonalData
from adapter.loyalty.ports import EmailBook, Finder, StoreBusy, StoreUnavailable, Visibility
from adapter.loyalty.programme import Programme, kinds_shown
from adapter.loyalty.untold import UntoldBalances
from adapter.ops.console.ports import Looks, Parts
from adapter.ops.crm_watch import CrmWatch
from adapter.ops.health import management_application
from adapter.ops.metrics import Metrics
from adapter.settings import Binding, Koshelek, Settings, with_overrides
from adapter.store.audit import PostgresAudit
from adapter.store.balances import PostgresBalances
from adapter.store.cards import PostgresCards
from adapter.store.consents import PostgresConsents
from adapter.store.console_people import PostgresConsolePeople
from adapter.store.contact_claims import PostgresContactClaims
from adapter.store.emails import PostgresEmails
from adapter.store.finder import JoinedCards, JoinedFinder
from adapter.store.identities import Identities
from adapter.store.migrate import latest_version, schema_version
from adapter.store.monitoring import PostgresMonitoring
from adapter.store.observed import PostgresObserved
from adapter.store.operations import PostgresLedger
from adapter.store.people import PostgresPeople
from adapter.store.pool import Gateway, open_pool
from adapter.store.pool import renew as renew_pool
from adapter.store.queue import PostgresPickedJobs
from adapter.store.review import PostgresReview
from adapter.store.stock import PostgresStock
from adapter.store.upkeep import PostgresUpkeep
from adapter.store.visibility import PostgresVisibility
from crm_backends.model import CrmCard
from crm_backends.own_database import JoinsOurTables
from crm_backends.ports import (
    Backend,
    ChecksPartnerFiles,
    Deadline,
    Finding,
    FindsByCard,
    ForgetsPeople,
    KeepsCards,
)
from crm_backends.registry import BackendContext

if TYPE_CHECKING:
    from adapter.store.pool import Pool

_WORKER_CONNECTIONS = 5
_HOUSEKEEPING_CONNECTIONS = 2
_READY_PATIENCE = 1.0  # seconds for a connection


@dataclass(slots=True)
class Service:
    """The adapter, put together. ``open`` before use, ``close`` after."""

    settings: Settings
    database_url: str
    upgrade: bool = True
    """Whether a CRM's schema that is kept for an older version may be brought up to date."""
    stopping: bool = False  # set by the process, told by readiness
    crms: BoundCrms = field(init=False)
    gateway: Gateway = field(init=False)
    cards: PostgresCards = field(init=False)
    operations: PostgresLedger = field(init=False)
    visibility: PostgresVisibility = field(init=False)
    balances: PostgresBalances | None = field(default=None, init=False)
    programme: Programme = field(init=False)
    watch: CrmWatch = field(init=False)
    metrics: Metrics = field(init=False)
    _public: PublicPort | None = None
    _pools: list[Pool] = field(default_factory=list)
    _built: list[Backend] = field(default_factory=list)
    _watch_task: asyncio.Task[None] | None = None
    _worker_pool: Pool | None = None
    _worker: Worker | None = None
    _worker_task: asyncio.Task[None] | None = None
    _housekeeping_pool: Pool | None = None
    _housekeeping: Housekeeping | None = None
    _housekeeping_task: asyncio.Task[None] | None = None

    @property
    def pool(self) -> Pool:
        """Connections for requests."""
        return self.gateway.pool

    @property
    def backends(self) -> list[Backend]:
        """The CRMs, each once however many ports it serves."""
        return self.crms.backends

    @property
    def by_port(self) -> Mapping[str, Backend | None]:
        return self.crms.by_port

    @property
    def bindings(self) -> Mapping[str, Binding | None]:
        """Per port, the driver and its settings when it was built."""
        return self.crms.bindings

    async def open(self) -> None:
        settings = self.settings
        self.gateway = gateway = Gateway(await self._open_pool(), settings.database.acquire_timeout)
        self.crms = crms.build(settings.crm, self._context())
        self.watch = CrmWatch(self.by_port, settings.management.crm_check_every)
        for backend in self.backends:
            self._built.append(backend)
            await backend.open()
        self.cards = PostgresCards(gateway, settings.cards)
        self.operations = PostgresLedger(gateway)
        self.metrics = Metrics(PostgresMonitoring(gateway), self.shown, self.crms.paused)
        shown_when_away = self.crms.points is not None and not self.crms.points_are_ours
        if shown_when_away and settings.crm.stale_after > 0:
            self.balances = PostgresBalances(gateway)
        self.programme = self._assemble()
        fingerprints = {kind: self.crms.fingerprint_of(kind) for kind in OperationKind}
        self.visibility = PostgresVisibility(gateway, fingerprints)

    async def _open_pool(self, size: int | None = None, *, durable: bool = True) -> Pool:
        pool = await open_pool(self.database_url, self.settings.database, size=size, durable=durable)
        self._pools.append(pool)
        return pool

    def _context(self) -> BackendContext:
        return BackendContext(
            database_url=self.database_url,
            database_pool=self.pool,
            timezone=self.settings.zone,
            region=self.settings.koshelek.region,
            pooler=self.settings.database.pooler,
            upgrade=self.upgrade,
        )

    def _assemble(self) -> Programme:
        bound, users, gateway = self.crms, self.crms.users, self.gateway
        emails = None if users.finds_by_email else PostgresEmails(gateway)
        return Programme(
            settings=self.settings,
            cards=self.cards,
            consents=PostgresConsents(gateway),
            emails=emails,
            contact_claims=PostgresContactClaims(gateway),
            operations=self.operations,
            balances=self.balances,
            finder=self._finder(emails),
            users=users,
            points=bound.points,
            coupons=bound.coupons,
            reconciliation=bound.reconciliation(),
            foreign_ports=bound.foreign_ports(),
            same_customer_id=bound.same_customer_id(),
            keeps_consents=can(users, "users.set_consents"),
            crm_cards=self._crm_cards(),
            keeps_cards=_told_of_cards(users) if can(users, "users.set_card") else None,
            odd_numbers=OddNumbers(self.metrics.card_number_refused),
            untold_balances=UntoldBalances(self.metrics.balance_untold),
            harmless_again=bound.harmless_again(),
            named=bound.named(),
            key_lengths=bound.key_lengths(),
            lists_users=can(users, "users.list_phones"),
            cannot=bound.cannot(),
        )

    def _finder(self, emails: EmailBook | None) -> Finder:
        users: object = self.crms.users
        if isinstance(users, JoinsOurTables) and users.finds_many:
            return JoinedFinder(users, self.settings.database.statement_timeout)
        return TwoStepFinder(self.crms.users, self.cards, emails)

    def _crm_cards(self) -> CrmCards | None:
        """How the users CRM is asked for a card number, if it can be."""
        users: object = self.crms.users
        if not isinstance(users, FindsByCard) or not can(self.crms.users, "users.find_by_card"):
            return None
        asked = users

        async def ask(number: str, deadline: Deadline) -> CrmCard | None:
            return await asked.find_by_card(number, deadline=deadline)

        joined = None
        if isinstance(users, JoinsOurTables) and users.finds_many_by_card:
            joined = JoinedCards(users, self.settings.database.statement_timeout).get
        return CrmCards(ask, lambda: asked.find_tells_card_state, joined)

    def public_application(self, *, authenticated: bool = True) -> web.Application:
        """The public port. Without authentication only for measurements."""
        authenticator = Authenticator(credentials_of(self.settings.koshelek)) if authenticated else None
        self._public = PublicPort(
            self.programme, authenticator, self.metrics.answered, PostgresObserved(self.gateway)
        )
        return self._public.application()

    def renew_credentials(self, koshelek: Koshelek) -> None:
        """Let Koshelek in with these from now on."""
        if self._public is not None:
            self._public.authenticator = Authenticator(credentials_of(koshelek))

    def renew_database(self, url: str) -> None:
        """Connect to the same database with another user or password from now on."""
        for pool in self._pools:
            renew_pool(pool, url, self.settings.database, durable=pool is not self._worker_pool)

    def trial_application(self, login: str, password: str) -> web.Application:
        """A second public port, for the contract suite to try while the first one serves.

        Nothing of it is counted. The lists of all users are left out: they may be long.
        """
        settings = with_overrides(self.settings, {"koshelek": {"get_all_users": False}})
        programme = replace(self.programme, settings=settings)
        return PublicPort(programme, Authenticator([Credential(login, password)])).application()

    async def management_application(self, looks: Looks | None = None) -> web.Application:
        """The management port; with the console where somebody may log in to it.

        ``looks``: how the console's page Check looks at everything.
        """
        needs_crm = self.settings.management.ready_needs_crm
        application = management_application(
            self.problem, self.watch.standings, lambda: self.stopping, needs_crm=needs_crm
        )
        self.metrics.add_to(application)
        if self.settings.console.people or await self._somebody_was_added():
            # Imported here: without a console nobody waits for what draws its pages.
            from adapter.ops.console.app import add_console

            add_console(application, self._console_parts(looks))
        return application

    async def _somebody_was_added(self) -> bool:
        """Whether ``koshelek-adapter people`` has let somebody in to the console.

        ``True`` as well while the database does not answer: the console lets in only people it knows.
        """
        try:
            async with asyncio.timeout(_READY_PATIENCE):
                return bool(await PostgresConsolePeople(self.gateway).people())
        except (StoreUnavailable, TimeoutError):
            return True

    def _console_parts(self, looks: Looks | None) -> Parts:
        def crm_of(kind: OperationKind) -> str:
            backend, _ = self.crms.crm_for(kind)
            return "" if backend is None else backend.name

        stock = PostgresStock(self.gateway, self.settings.cards)
        return Parts(
            programme=self.programme,
            crm_of=crm_of,
            review=PostgresReview(self.gateway, self.settings.zone),
            cards=self.cards,
            operations=self.operations,
            visibility=self.visibility,
            audit=PostgresAudit(self.gateway),
            people=PostgresConsolePeople(self.gateway),
            personal_data=self.personal_data,
            count=self.metrics.counted,
            waiting=self.metrics.monitoring.waiting,
            standings=self.watch.standings,
            shown=self.shown,
            stock=stock.stock,
            bring=stock.bring,
            observed=PostgresObserved(self.gateway).all,
            looks=looks,
            database_problem=self.problem,
        )

    async def shown(self) -> Mapping[OperationKind, Visibility]:
        """What the CRMs have shown, of each kind whose doubts are reconciled by looking."""
        known = await self.visibility.known()
        return {kind: known.get(kind, Visibility()) for kind in kinds_shown(self.programme, known)}

    async def misfits(self) -> list[Finding]:
        """What in the partner's own files can never work."""
        with_files = [one for one in self.backends if isinstance(one, ChecksPartnerFiles)]
        found = [finding for one in with_files for finding in await one.misfits()]
        return [*found, *unasked_points(self.by_port["points"], self.settings.receipts)]

    @property
    def personal_data(self) -> PersonalData:
        """What is kept of one person, to be shown or removed."""
        ours = [one for one in self.backends if isinstance(one, ForgetsPeople) and one.keeps_people]
        return PersonalData(
            users=self.programme.users,
            region=self.settings.koshelek.region,
            kept_identity=Identities(self.gateway).kept,
            book=PostgresPeople(self.gateway),
            ours=ours,
            others=[one.name for one in self.backends if one not in ours],
        )

    def start_watch(self) -> None:
        """Look at the CRMs in this process until ``close``."""
        self._watch_task = background.start(self.watch.run(), "crm_watch")

    async def problem(self) -> str | None:
        """Why the service is not ready, or ``None``."""
        try:
            async with asyncio.timeout(2), Gateway(self.pool, _READY_PATIENCE).connection() as connection:
                version = await schema_version(connection)
        except StoreBusy:
            return None  # every connection is in use: fewer replicas would have more to do each
        except (StoreUnavailable, TimeoutError):
            return "the database does not answer"
        except asyncpg.PostgresError:
            return "the database refuses"
        # A newer one does no harm: migrations leave programs running that were released before them.
        if version < latest_version():
            return f"the database has schema version {version}, this program needs {latest_version()}"
        return None

    async def start_delivery(self) -> None:
        """Deliver recorded operations in this process until ``close``."""
        if self._worker_pool is None:
            # The queue alone is moved there. Should the server forget the last moves, a job comes once more,
            # and the operation's own state tells that there is nothing left to do.
            self._worker_pool = await self._open_pool(_WORKER_CONNECTIONS, durable=False)
        pool, database = self._worker_pool, self.settings.database
        jobs, listens = PostgresPickedJobs(Gateway(pool, database.acquire_timeout)), not database.pooler
        self._worker = Worker(self.deliverer(), pool, self.settings.delivery.concurrency, jobs, listens)
        self.operations.find_place = self._worker.at_once.place
        self._worker_task = background.start(self._worker.run(), "delivery")
        if self._housekeeping_pool is None:
            self._housekeeping_pool = await self._open_pool(_HOUSEKEEPING_CONNECTIONS)
        upkeep = PostgresUpkeep(Gateway(self._housekeeping_pool, self.settings.database.acquire_timeout))
        self._housekeeping = Housekeeping(upkeep, self.settings)
        self._housekeeping_task = background.start(self._housekeeping.run(), "housekeeping")

    def deliverer(self) -> Deliverer:
        """What carries operations to the CRMs, one at a time."""
        return Deliverer(
            self.programme,
            self.operations,
            self.visibility,
            self.settings.delivery,
            self.metrics.delivered,
            self.metrics.explained,
        )

    async def stop_delivery(self) -> None:
        """Let deliveries under way finish, and take up no more."""
        tasks = []
        for running, task in (
            (self._worker, self._worker_task),
            (self._housekeeping, self._housekeeping_task),
        ):
            if running is not None and task is not None:
                running.stop()
                tasks.append(task)
        if tasks:
            await asyncio.wait(tasks, timeout=self.settings.delivery.call_timeout)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._worker is not None:
            await self._worker.deliverer.close()

    async def close(self) -> None:
        """Stop delivering, then let go of every connection."""
        if self._watch_task is not None:
            self._watch_task.cancel()
            await asyncio.gather(self._watch_task, return_exceptions=True)
        await self.stop_delivery()
        if self.balances is not None:
            await self.balances.close()
        for backend in self._built:
            await backend.close()
        for pool in reversed(self._pools):
            try:
                async with asyncio.timeout(5):
                    await pool.close()
            except TimeoutError:
                pool.terminate()


def _told_of_cards(backend: object) -> KeepsCards | None:
    return backend if isinstance(backend, KeepsCards) else None
