"""What was counted over the last hours, sampled each minute and kept in memory: pictures without Prometheus.

It knows how to count and to compare; it may not know how that is drawn.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from adapter.loyalty.model import FOR_A_PERSON, OperationState
from adapter.loyalty.ports import StoreUnavailable, Waiting
from adapter.ops.metrics import Counted

log = structlog.get_logger("console")

EVERY = 60.0
"""Seconds between two samples."""
KEPT = 361
"""Samples: six hours."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything counted since the start, at one moment, and what waited then."""

    at: datetime
    counted: Counted
    waiting: Sequence[Waiting] | None
    """``None``: the database did not answer."""


@dataclass(frozen=True, slots=True)
class Span:
    """What was counted between two samples."""

    seconds: float
    statuses: Counter[int]
    codes: Counter[str]
    calls: Counter[str]
    outcomes: Counter[str]
    untold: Counter[str]
    """Card infos for which a CRM told no balance, by cause."""
    within: tuple[float, ...]
    """Calls in each bucket of response times, not added up."""
    bounds: tuple[float, ...]
    """Upper ends of the buckets in seconds; the last bucket has no upper end."""

    @property
    def total(self) -> int:
        return self.statuses.total()

    @property
    def refused(self) -> int:
        return self.total - self.statuses[200]

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.total / self.seconds if self.seconds else 0.0

    def exceeds(self, share: float) -> bool:
        """Whether the quantile lies beyond the last bound, so that only "more than that" is known."""
        return sum(self.within[:-1]) < share * sum(self.within)

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share of the calls was answered, as far as the buckets tell."""
        wanted, seen, low = share * sum(self.within), 0.0, 0.0
        if not wanted:
            return None
        for bound, count in zip((*self.bounds, float("inf")), self.within, strict=True):
            if count and seen + count >= wanted:
                return low if bound == float("inf") else low + (bound - low) * (wanted - seen) / count
            seen, low = seen + count, bound
        return low


def span(before: Sample, after: Sample) -> Span:
    """What was counted from one sample to a later one."""

    def more(name: str) -> Counter[str]:
        earlier, later = getattr(before.counted, name), getattr(after.counted, name)
        return Counter({key: int(value - earlier.get(key, 0)) for key, value in later.items()})

    earlier, later = before.counted.within, after.counted.within
    earlier = earlier or (0.0,) * len(later)
    alone = [now - then for now, then in zip(later, earlier, strict=True)]
    each = tuple(max(0.0, value - (alone[place - 1] if place else 0.0)) for place, value in enumerate(alone))
    return Span(
        seconds=(after.at - before.at).total_seconds(),
        statuses=Counter({int(status): count for status, count in more("statuses").items() if count > 0}),
        codes=+more("codes"),
        calls=+more("calls"),
        outcomes=+more("outcomes"),
        untold=+more("untold"),
        within=each or (0.0,) * (len(after.counted.bounds) + 1),
        bounds=after.counted.bounds,
    )


def number_of(waiting: Sequence[Waiting] | None, *states: OperationState) -> int | None:
    """Operations in any of these states."""
    return None if waiting is None else sum(one.count for one in waiting if one.state in states)


ON_THEIR_WAY = (OperationState.RECORDED, OperationState.SENT)
IN_DOUBT = (OperationState.UNKNOWN,)
HELD = tuple(FOR_A_PERSON)


@dataclass
class History:
    """Samples of the last hours."""

    count: Callable[[], Counted]
    waiting: Callable[[], Awaitable[Sequence[Waiting]]]
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=KEPT))

    async def run(self) -> None:
        """Sample each minute, until cancelled."""
        while True:
            try:
                self.samples.append(await self.sample())
            except Exception as error:  # one picture the less
                log.exception("sampling_failed", reason=type(error).__name__)
            await asyncio.sleep(EVERY)

    async def sample(self) -> Sample:
        """How it is now."""
        try:
            waiting: Sequence[Waiting] | None = await self.waiting()
        except StoreUnavailable:
            waiting = None
        return Sample(datetime.now(UTC), self.count(), waiting)

    def spans(self) -> list[Span]:
        """What was counted from each sample to the next."""
        samples = list(self.samples)
        return [span(before, after) for before, after in itertools.pairwise(samples)]

    def since(self, seconds: float, now: Sample) -> Span | None:
        """What was counted over about so many of the last seconds; ``None``: nothing was sampled yet."""
        if not self.samples:
            return None
        edge = now.at.timestamp() - seconds
        begin = next((one for one in self.samples if one.at.timestamp() >= edge), self.samples[-1])
        earlier = [one for one in self.samples if one.at.timestamp() < edge]
        return span(earlier[-1] if earlier else begin, now)
