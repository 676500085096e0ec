"""Builds everything from settings: the only module that knows the concrete classes."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from aiohttp import web
from pydantic import SecretStr

from adapter.api.app import PublicPort
from adapter.api.auth import Authenticator, credentials_of
from adapter.delivery.deliverer import Deliverer
from adapter.delivery.housekeeping import Housekeeping
from adapter.delivery.worker import Worker
from adapter.loyalty.crm_cards import CrmCards, OddNumbers
from adapter.loyalty.finding import TwoStepFinder
from adapter.loyalty.model import OperationKind
from adapter.loyalty.ports import Finder, Port, StoreBusy, StoreUnavailable, Visibility
from adapter.loyalty.programme import Programme, kinds_looked_for
from adapter.ops.crm_watch import CrmWatch
from adapter.ops.health import management_application
from adapter.ops.metrics import Metrics
from adapter.settings import Binding, Koshelek, Settings
from adapter.store.balances import PostgresBalances
from adapter.store.cards import PostgresCards
from adapter.store.consents import PostgresConsents
from adapter.store.emails import PostgresEmails
from adapter.store.finder import JoinedCards, JoinedFinder
from adapter.store.migrate import latest_version, schema_version
from adapter.store.monitoring import PostgresMonitoring
from adapter.store.operations import PostgresOperations
from adapter.store.pool import Gateway, open_pool
from adapter.store.pool import renew as renew_pool
from adapter.store.upkeep import PostgresUpkeep
from adapter.store.visibility import PostgresVisibility
from crm_backends import registry
from crm_backends.database import place_of
from crm_backends.model import CrmCard
from crm_backends.ports import (
    KEY_LENGTH,
    Backend,
    Deadline,
    Finding,
    LimitsKeys,
    NamesAccounts,
    NoticesAbsence,
    ProvesFit,
    Reconciliation,
    RepeatsHarmlessly,
    Support,
)
from crm_backends.postgres.driver import PostgresBackend

_WORKER_CONNECTIONS = 5
_HOUSEKEEPING_CONNECTIONS = 2
_READY_PATIENCE = 1.0  # seconds for a connection
FOREIGN: tuple[Port, ...] = ("points", "coupons")
"""Ports whose CRM may be another than that of the users."""


_WRITES = (
    (OperationKind.REGISTRATION, "users", "users.register"),
    (OperationKind.RECEIPT, "points", "points.credit"),
    (OperationKind.PROMO_CODE, "coupons", "coupons.redeem"),
    (OperationKind.COUPONS, "coupons", "coupons.issue"),
    (OperationKind.CARD, "users", "users.set_card"),
)
"""Each kind of operation, the port that performs it, and as what."""


@dataclass(slots=True)
class Service:
    """The adapter, put together. ``open`` before use, ``close`` after."""

    settings: Settings
    database_url: str
    upgrade: bool = True
    """Whether a CRM's schema that is kept for an older version may be brought up to date."""
    pool: Any = None
    backends: list[Backend] = field(default_factory=list)
    bindings: Mapping[str, Binding | None] = field(default_factory=dict)
    """Per port, the driver and its settings when it was built: secrets are read from their files then."""
    by_port: dict[str, Backend | None] = field(default_factory=dict)
    gateway: Gateway = field(init=False)
    cards: PostgresCards = field(init=False)
    operations: PostgresOperations = field(init=False)
    visibility: PostgresVisibility = field(init=False)
    balances: PostgresBalances | None = field(default=None, init=False)
    programme: Programme = field(init=False)
    _fingerprints: dict[str, str] = field(default_factory=dict)
    """Per port, which CRM it is."""
    _public: PublicPort | None = None
    watch: CrmWatch = field(init=False)
    _watch_task: asyncio.Task[None] | None = None
    _worker_pool: Any = None
    _worker: Worker | None = None
    _worker_task: asyncio.Task[None] | None = None
    metrics: Metrics = field(init=False)
    _housekeeping_pool: Any = None
    _housekeeping: Housekeeping | None = None
    _housekeeping_task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        settings = self.settings
        self.pool = await open_pool(self.database_url, settings.database)
        self.gateway = gateway = Gateway(self.pool, settings.database.acquire_timeout)
        self.by_port = self._build_backends()
        self.watch = CrmWatch(self.by_port, settings.management.crm_check_every)
        for backend in self.backends:
            await backend.open()
        self.cards = PostgresCards(gateway, settings.cards)
        self.operations = PostgresOperations(gateway)
        self.metrics = Metrics(PostgresMonitoring(gateway).waiting, self.shown, self.left_alone)
        users: Any = self.by_port["users"]
        points: Any = self.by_port["points"]
        coupons: Any = self.by_port["coupons"]
        in_own_database = isinstance(points, PostgresBackend) and points.in_adapters_database
        wanted = points is not None and not in_own_database and settings.crm.stale_after > 0
        self.balances = PostgresBalances(gateway) if wanted else None
        emails = None if users.finds_by_email else PostgresEmails(gateway)
        finder: Finder = TwoStepFinder(users, self.cards, emails)
        if isinstance(users, PostgresBackend) and users.finds_many:
            finder = JoinedFinder(users, settings.database.statement_timeout)
        told_of_cards = _can(users, "users.set_card")
        self.programme = Programme(
            settings=settings,
            cards=self.cards,
            consents=PostgresConsents(gateway),
            emails=emails,
            operations=self.operations,
            balances=self.balances,
            finder=finder,
            users=users,
            points=points,
            coupons=coupons,
            reconciliation={
                OperationKind.REGISTRATION: users.reconciliation,
                OperationKind.RECEIPT: points.reconciliation if points else Reconciliation.MANUAL,
                OperationKind.PROMO_CODE: coupons.reconciliation if coupons else Reconciliation.MANUAL,
                OperationKind.COUPONS: _reconciliation_of_issues(coupons),
                # The same card told again changes nothing, whatever else the CRM honours.
                OperationKind.CARD: Reconciliation.KEY if told_of_cards else Reconciliation.MANUAL,
            },
            foreign_ports=tuple(
                port for port in FOREIGN if self.by_port[port] not in (None, self.by_port["users"])
            ),
            same_customer_id=tuple(port for port in FOREIGN if self._keeps_users_by_one_reference(port)),
            keeps_consents=_can(users, "users.set_consents"),
            crm_cards=self._crm_cards(users),
            keeps_cards=users if told_of_cards else None,
            odd_numbers=OddNumbers(self.metrics.card_number_refused),
            harmless_again=frozenset(
                kind for kind, port, operation in _WRITES if operation in _harmless_again(self.by_port[port])
            ),
            named=self._named(),
            key_lengths={kind: _key_length(self.by_port[port]) for kind, port, _ in _WRITES},
            lists_users=_can(users, "users.list_phones"),
            cannot=frozenset(
                kind
                for kind, port, operation in _WRITES
                if (crm := self.by_port[port]) is not None and not _can(crm, operation)
            ),
        )
        self.visibility = PostgresVisibility(
            gateway, {kind: self._fingerprints.get(port, "") for kind, port, _ in _WRITES}
        )

    def _crm_cards(self, users: Any) -> CrmCards | None:
        """How the users CRM is asked for a card number, if it can be."""
        if not _can(users, "users.find_by_card"):
            return None

        async def ask(number: str, deadline: Deadline) -> CrmCard | None:
            told: CrmCard | None = await users.find_by_card(number, deadline=deadline)
            return told

        joined = None
        if isinstance(users, PostgresBackend) and users.finds_many_by_card:
            joined = JoinedCards(users, self.settings.database.statement_timeout).get
        return CrmCards(ask, lambda: users.find_tells_card_state, joined)

    def _named(self) -> dict[Port, NamesAccounts]:
        """The ports whose CRM calls accounts by a phone or an e-mail."""
        bound: Mapping[str, object] = self.by_port
        return {port: crm for port in FOREIGN if isinstance(crm := bound[port], NamesAccounts)}

    def _keeps_users_by_one_reference(self, port: Port) -> bool:
        backend = self.by_port[port]
        return (
            backend is self.by_port["users"]
            and isinstance(backend, PostgresBackend)
            and backend.accounts_are_customers
        )

    def _build_backends(self) -> dict[str, Backend | None]:
        """One backend for all ports that share a driver and its settings."""
        self.bindings = self.settings.crm.bindings()
        bindings = dict(self.bindings)
        if bindings["users"] is None:
            # Without a users CRM the adapter's own database keeps the people.
            spec = registry.load("postgres")
            bindings["users"] = Binding("postgres", spec.settings())
        context = registry.BackendContext(
            database_url=self.database_url,
            database_pool=self.pool,
            timezone=self.settings.zone,
            region=self.settings.koshelek.region,
            pooler=self.settings.database.pooler,
            upgrade=self.upgrade,
        )

        def build(binding: Binding) -> Backend:
            ports = frozenset(port for port, other in bindings.items() if other == binding)
            spec = registry.load(binding.driver)
            return spec.build(binding.settings, dataclasses.replace(context, ports=ports))

        built: list[tuple[Binding, Backend]] = []
        by_port: dict[str, Backend | None] = {}
        for port, binding in bindings.items():
            if binding is None:
                by_port[port] = None
                continue
            backend = next((known for other, known in built if other == binding), None)
            if backend is None:
                backend = build(binding)
                built.append((binding, backend))
            by_port[port] = backend
            self._fingerprints[port] = _fingerprint(binding)
        self.backends = [backend for _, backend in built]
        return by_port

    def public_application(self, *, authenticated: bool = True) -> web.Application:
        """The public port. Without authentication only for measurements."""
        authenticator = Authenticator(credentials_of(self.settings.koshelek)) if authenticated else None
        self._public = PublicPort(self.programme, authenticator, self.metrics.answered)
        return self._public.application()

    def renew_credentials(self, koshelek: Koshelek) -> None:
        """Let Koshelek in with these from now on."""
        if self._public is not None:
            self._public.authenticator = Authenticator(credentials_of(koshelek))

    def renew_database(self, url: str) -> None:
        """Connect to the same database with another user or password from now on."""
        for pool in (self.pool, self._worker_pool, self._housekeeping_pool):
            if pool is not None:
                renew_pool(pool, url, self.settings.database)

    def management_application(self) -> web.Application:
        application = management_application(
            self.problem, self.watch.standings, needs_crm=self.settings.management.ready_needs_crm
        )
        self.metrics.add_to(application)
        return application

    async def shown(self) -> Mapping[OperationKind, Visibility]:
        """What the CRMs have shown, of each kind that is settled by looking."""
        known = await self.visibility.known()
        return {kind: known.get(kind, Visibility()) for kind in kinds_looked_for(self.programme)}

    async def misfits(self) -> list[Finding]:
        """What in the partner's own files can never work."""
        speaking = [backend for backend in self.backends if isinstance(backend, ProvesFit)]
        return [finding for backend in speaking for finding in await backend.misfits()]

    def start_watch(self) -> None:
        """Look at the CRMs in this process until ``close``."""
        self._watch_task = asyncio.create_task(self.watch.run())

    def left_alone(self) -> dict[str, bool]:
        """Per port with a CRM that can be away: whether it is left alone because it did not answer."""
        bound: Mapping[str, object] = self.by_port
        return {port: crm.left_alone for port, crm in bound.items() if isinstance(crm, NoticesAbsence)}

    async def problem(self) -> str | None:
        """Why the service is not ready, or ``None``."""
        try:
            async with asyncio.timeout(2), Gateway(self.pool, _READY_PATIENCE).connection() as connection:
                version = await schema_version(connection)
        except StoreBusy:
            return None  # it answers others; to leave this replica alone would only burden them more
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
            self._worker_pool = await open_pool(
                self.database_url, self.settings.database, size=_WORKER_CONNECTIONS
            )
        delivery = self.settings.delivery
        self._worker = Worker(
            self.deliverer(),
            self._worker_pool,
            delivery.concurrency,
            listens=not self.settings.database.pooler,
        )
        self._worker_task = asyncio.create_task(self._worker.run())
        if self._housekeeping_pool is None:
            self._housekeeping_pool = await open_pool(
                self.database_url, self.settings.database, size=_HOUSEKEEPING_CONNECTIONS
            )
        upkeep = PostgresUpkeep(Gateway(self._housekeeping_pool, self.settings.database.acquire_timeout))
        self._housekeeping = Housekeeping(upkeep, self.settings)
        self._housekeeping_task = asyncio.create_task(self._housekeeping.run())

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
        for backend in self.backends:
            await backend.close()
        for pool in (self._housekeeping_pool, self._worker_pool, self.pool):
            if pool is not None:
                try:
                    async with asyncio.timeout(5):
                        await pool.close()
                except TimeoutError:
                    pool.terminate()


def ports_of(service: Service, backend: Backend) -> Sequence[str]:
    """Which ports this backend is bound to."""
    return [port for port, bound in service.by_port.items() if bound is backend]


def _fingerprint(binding: Binding) -> str:
    """Tells one CRM from another: the driver and where it is. It does not tell where that is."""
    where = getattr(binding.settings, "base_url", None)
    url = getattr(binding.settings, "url", None)
    if isinstance(url, SecretStr):
        where = place_of(url.get_secret_value())  # a new password makes no new CRM
    return hashlib.sha256(f"{binding.driver} {where}".encode()).hexdigest()[:16]


def _harmless_again(backend: object) -> frozenset[str]:
    """Operations that may be sent to this CRM again whenever they are not found there."""
    return backend.harmless_again if isinstance(backend, RepeatsHarmlessly) else frozenset()


def _key_length(backend: object) -> int:
    """Characters of the references that this CRM takes."""
    return backend.key_length if isinstance(backend, LimitsKeys) else KEY_LENGTH


def _can(backend: Backend, operation: str) -> bool:
    """Whether the driver declares that it can do this, wholly or in part; an older one says nothing of it."""
    capability = backend.capabilities.get(operation)
    return capability is not None and capability.support in (Support.FULL, Support.PARTIAL)


def _reconciliation_of_issues(coupons: Any) -> Reconciliation:
    """No driver can look an issue of coupons up; it may be sent again where our key is honoured."""
    by_key = coupons is not None and coupons.reconciliation is Reconciliation.KEY
    return Reconciliation.KEY if by_key else Reconciliation.MANUAL
