"""What a monitoring system is told: calls answered, operations that wait, and CRMs that do not answer.

No label holds anything of a person. With several worker processes the calls are added up over all of them
(prometheus-client's files, switched on by ``PROMETHEUS_MULTIPROC_DIR``); what waits is asked of the database,
which is the same for all; whether a CRM answers is what this one process has seen. It may not know
SQL, nor any CRM.
"""

from __future__ import annotations

import os
from collections import Counter as TallyOf
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from adapter.errors import Code
from adapter.loyalty.crm_cards import ODD
from adapter.loyalty.model import FOR_A_PERSON, OPEN, OperationKind
from adapter.loyalty.ports import Proof, StoreBusy, StoreUnavailable, Visibility, Waiting
from adapter.loyalty.untold import UNTOLD
from adapter.ops.ports import Monitoring
from crm_backends.ports import Outcome

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 3.5, 5.0)
"""Seconds; Koshelek waits about four."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Everything counted since the start, of all worker processes."""

    statuses: Mapping[str, float]
    """Calls by HTTP status."""
    codes: Mapping[str, float]
    """Errors by code."""
    calls: Mapping[str, float]
    """Calls by name."""
    outcomes: Mapping[str, float]
    """Writes to a CRM by what they ended in."""
    untold: Mapping[str, float]
    """Card infos for which a CRM told no balance, by cause."""
    within: tuple[float, ...]
    """Calls that took at most as long as each of the bounds, and all; empty: there was none."""
    bounds: tuple[float, ...] = _BUCKETS
    """Seconds."""


@dataclass(slots=True)
class Metrics:
    monitoring: Monitoring
    shown: Callable[[], Awaitable[Mapping[OperationKind, Visibility]]]
    """How soon the CRMs show what they have done. Raises ``StoreUnavailable``."""
    away: Callable[[], Mapping[str, bool]]
    """Per port, whether its CRM is not asked for some seconds because it did not answer."""
    _registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    _seconds: Histogram = field(init=False)
    _refused: Counter = field(init=False)
    _deliveries: Counter = field(init=False)
    _reasons: Counter = field(init=False)
    _odd_numbers: Counter = field(init=False)
    _untold_balances: Counter = field(init=False)
    _known: dict[tuple[str, int], Histogram] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._seconds = Histogram(
            "koshelek_request_seconds",
            "Calls of the public port, by method and status of the answer.",
            ("call", "status"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._refused = Counter(
            "koshelek_refused",
            "Calls answered with an error, by method and code of the error.",
            ("call", "code"),
            registry=self._registry,
        )

        self._deliveries = Counter(
            "koshelek_deliveries",
            "What writes to a CRM ended in: sent, or asked for after a doubt (reconciled).",
            ("kind", "step", "outcome"),
            registry=self._registry,
        )
        self._reasons = Counter(
            "koshelek_delivery_reasons",
            "Why operations were postponed, refused by the CRM, or held for a person.",
            ("kind", "what", "reason"),
            registry=self._registry,
        )

        self._odd_numbers = Counter(
            "koshelek_card_numbers_refused",
            "Numbers of the users CRM that cannot be a card here (unfit, taken), with another barcode "
            "(barcode), or of another owner than here (other_owner).",
            ("reason",),
            registry=self._registry,
        )
        self._untold_balances = Counter(
            "koshelek_balances_not_told",
            "Card infos for which the CRM told no balance, by cause; the last one known is shown instead.",
            ("cause",),
            registry=self._registry,
        )
        # Counters that alerts use are there from the start, at 0: else the first event would be no increase.
        for reason in ODD:
            self._odd_numbers.labels(reason)
        for cause in UNTOLD:
            self._untold_balances.labels(cause)
        self._deliveries.labels(OperationKind.CARD, "sent", Outcome.REFUSED)
        for call in ("issue_card", "reserve_number"):
            self._refused.labels(call, Code.NO_NUMBERS)

    def explained(self, kind: OperationKind, what: str, reason: str) -> None:
        """An operation was postponed, refused or held for a reason of this class."""
        self._reasons.labels(kind, what, reason).inc()

    def card_number_refused(self, reason: str) -> None:
        """A number of the CRM cannot be a card here, or not as it is."""
        self._odd_numbers.labels(reason).inc()

    def balance_untold(self, cause: str) -> None:
        """The CRM told no balance for a card info."""
        self._untold_balances.labels(cause).inc()

    def delivered(self, kind: OperationKind, step: str, outcome: Outcome) -> None:
        """A write was sent, or a doubt looked up, and this came of it."""
        self._deliveries.labels(kind, step, outcome).inc()

    def answered(self, call: str, status: int, code: str | None, seconds: float) -> None:
        """One call of the public port has been answered."""
        child = self._known.get((call, status))
        if child is None:  # looking a child up by its labels costs more than the rest
            child = self._known[call, status] = self._seconds.labels(call, str(status))
        child.observe(seconds)
        if code is not None:
            self._refused.labels(call, code).inc()

    def _counters(self) -> CollectorRegistry:
        """The counters of this process, or of all where several share the work."""
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return self._registry
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return together

    def counted(self) -> Counted:
        """What was counted so far."""
        statuses, codes, calls, outcomes, untold, within = (TallyOf[str]() for _ in range(6))
        for metric in self._counters().collect():
            for sample in metric.samples:
                labels, value = sample.labels, int(sample.value)
                match sample.name:
                    case "koshelek_request_seconds_count":
                        statuses[labels["status"]] += value
                        calls[labels["call"]] += value
                    case "koshelek_request_seconds_bucket":
                        within[labels["le"]] += value
                    case "koshelek_refused_total":
                        codes[labels["code"]] += value
                    case "koshelek_balances_not_told_total":
                        untold[labels["cause"]] += value
                    case "koshelek_deliveries_total" if labels["step"] == "sent":
                        outcomes[labels["outcome"]] += value
        ordered = sorted(within.items(), key=lambda one: float(one[0]))
        return Counted(statuses, codes, calls, outcomes, untold, tuple(float(value) for _, value in ordered))

    async def exposition(self) -> bytes:
        """All of it in the text format of Prometheus."""
        counted = self._counters()
        up = True
        waiting: Sequence[Waiting] | None = None
        shown: Mapping[OperationKind, Visibility] = {}
        try:
            waiting = await self.monitoring.waiting()
            shown = await self.shown()
        except StoreBusy:
            pass  # it answers, only not us
        except StoreUnavailable:
            up = False
        now = CollectorRegistry()
        now.register(_Now(up, waiting, shown, self.away()))
        return generate_latest(counted) + generate_latest(now)

    def add_to(self, application: web.Application) -> None:
        """Serve them at ``/metrics`` of the management port."""

        async def metrics(request: web.Request) -> web.Response:
            return web.Response(body=await self.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

        application.router.add_get("/metrics", metrics)


@dataclass(frozen=True, eq=False)  # a registry keeps collectors by identity
class _Now(Collector):
    """The gauges at this moment; without a database that answers, none of waiting operations."""

    up: bool
    waiting: Sequence[Waiting] | None
    shown: Mapping[OperationKind, Visibility]
    away: Mapping[str, bool]

    def collect(self) -> Iterable[Metric]:
        database = GaugeMetricFamily("koshelek_database_up", "Whether the adapter's database answers.")
        database.add_metric((), float(self.up))
        yield database
        paused = GaugeMetricFamily(
            "koshelek_crm_away",
            "Whether the CRM of a port does not answer and is not asked for some seconds (breaker open).",
            labels=("port",),
        )
        for port, is_away in self.away.items():
            paused.add_metric((port,), float(is_away))
        yield paused
        yield from _of_visibility(self.shown)
        if self.waiting is not None:
            yield from _of_operations(self.waiting)


def _of_visibility(shown: Mapping[OperationKind, Visibility]) -> Iterable[Metric]:
    seconds = GaugeMetricFamily(
        "koshelek_crm_visibility_seconds",
        "The longest it took a CRM to show something it had confirmed; 0: it was there at the first look.",
        labels=("kind",),
    )
    proof = GaugeMetricFamily(
        "koshelek_crm_visibility",
        "Whether a CRM has proved that it finds what it was given: 1 for the state that holds.",
        labels=("kind", "state"),
    )
    for kind, visibility in shown.items():
        seconds.add_metric((kind,), visibility.worst_seconds)
        for state in Proof:
            proof.add_metric((kind, state), float(state is visibility.proof))
    yield from (seconds, proof)


def _of_operations(waiting: Sequence[Waiting]) -> Iterable[Metric]:
    found = {(one.kind, one.state): one for one in waiting}
    counts = GaugeMetricFamily(
        "koshelek_operations",
        "Operations that are not over; of each state the 10000 oldest are counted.",
        labels=("kind", "state"),
    )
    oldest = GaugeMetricFamily(
        "koshelek_oldest_waiting_seconds",
        "How long the oldest operation on its way to the CRM has been waiting; those held do not count.",
        labels=("kind",),
    )
    held = GaugeMetricFamily(
        "koshelek_oldest_held_seconds",
        "How long ago the oldest operation that waits for a person was recorded.",
        labels=("kind",),
    )
    for kind in OperationKind:
        for state in OPEN:
            one = found.get((kind, state))
            counts.add_metric((kind, state), one.count if one else 0)
        ages = {state: found[kind, state].oldest_seconds for state in OPEN if (kind, state) in found}
        held.add_metric((kind,), max(ages.pop(state, 0.0) for state in FOR_A_PERSON))
        oldest.add_metric((kind,), max(ages.values(), default=0.0))
    yield from (counts, oldest, held)
