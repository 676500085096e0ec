"""What a row of the benchmark comes to, and how it is compared. It may not know how it was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from tests.bench.load import Load
from tests.bench.stage import say


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its aim."""

    what: str
    """What is compared, for example ``requests per second``."""
    ours: str
    theirs: str
    """The other side, written out; empty where there is none."""
    value: float
    sign: Literal[">=", "<="]
    aim: float
    unit: str = "x"
    spread: tuple[float, float] | None = None
    """Least and greatest value of a single round."""

    @property
    def reached(self) -> bool:
        return self._fits(self.value)

    @property
    def clear(self) -> bool:
        """Whether every single round says the same; else the machine was too restless to tell."""
        return self.spread is None or all(self._fits(value) == self.reached for value in self.spread)

    def _fits(self, value: float) -> bool:
        return value >= self.aim if self.sign == ">=" else value <= self.aim


@dataclass(frozen=True, slots=True)
class Measured:
    """A row: what was done against what, and what came of it."""

    work: str
    against: str
    figures: Sequence[Figure]
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()
    """Why the figures are not to be believed; printed loudly."""


@dataclass(frozen=True, slots=True)
class Series:
    """The rounds of two sides that took turns: ours and theirs."""

    names: tuple[str, str]
    ours: Sequence[Load]
    theirs: Sequence[Load]

    def problems(self) -> list[str]:
        sides = zip(self.names, (self.ours, self.theirs), strict=True)
        return [f"{name}: {load.problem}" for name, loads in sides for load in loads if load.problem]

    def _ratio(self, of: Callable[[Load], float]) -> tuple[float, tuple[float, float]]:
        """The median of the rounds' ratios, the least and the greatest.

        A round's two turns lie next to each other, so what else the machine does for minutes falls out.
        """
        single = [of(a) / max(of(b), 1e-9) for a, b in zip(self.ours, self.theirs, strict=True)]
        return median(single), (min(single), max(single))

    def throughput(self, aim: float) -> Figure:
        """Our share of their throughput, at least ``aim``."""
        ratio, spread = self._ratio(lambda load: load.rate)
        ours, theirs = (median(load.rate for load in side) for side in (self.ours, self.theirs))
        return Figure("throughput", f"{ours:,.0f}/s", f"{theirs:,.0f}/s", ratio, ">=", aim, spread=spread)

    def costs(self) -> str:
        """What an answer costs either side in its own process, as a note."""
        ours, theirs = (median(load.cost for load in side) for side in (self.ours, self.theirs))
        ratio = median(b.cost / max(a.cost, 1e-9) for a, b in zip(self.ours, self.theirs, strict=True))
        return (
            f"processor time of the service per answer, database left out: {self.names[0]} {ours:.3f} ms, "
            f"{self.names[1]} {theirs:.3f} ms, which alone would make {ratio:.2f} x"
        )

    def cost(self, aim: float) -> Figure:
        """Our processor time for each answer as a multiple of theirs, at most ``aim``."""
        ratio, spread = self._ratio(lambda load: load.cost)
        ours, theirs = (median(load.cost for load in side) for side in (self.ours, self.theirs))
        return Figure("processor time", f"{ours:.3f} ms", f"{theirs:.3f} ms", ratio, "<=", aim, spread=spread)

    def p50(self, aim: float) -> Figure:
        """Our median latency as a multiple of theirs, at most ``aim``."""
        return self._latency("p50", lambda load: load.p50, aim)

    def p99(self, aim: float) -> Figure:
        """Our latency that one answer in a hundred exceeds, likewise."""
        return self._latency("p99", lambda load: load.p99, aim)

    def _latency(self, what: str, of: Callable[[Load], float], aim: float) -> Figure:
        ratio, spread = self._ratio(of)
        ours, theirs = (median(of(load) for load in side) for side in (self.ours, self.theirs))
        return Figure(what, f"{ours:.3f} ms", f"{theirs:.3f} ms", ratio, "<=", aim, spread=spread)


def side_by_side(
    sides: Mapping[str, Callable[[float], Load]],
    *,
    rounds: int,
    seconds: float,
    warm_up: float,
    before: Callable[[], None] = lambda: None,
) -> Series:
    """Let the two sides take turns, A B, B A, A B …; the warm-up of each does not count.

    ``before`` is called ahead of every turn.
    """
    first, second = sides
    loads: dict[str, list[Load]] = {first: [], second: []}
    for put in sides.values():
        before()
        put(warm_up)
    for number in range(1, rounds + 1):
        turns = list(sides.items())
        for name, put in turns if number % 2 else reversed(turns):
            before()
            load = put(seconds)
            loads[name].append(load)
            trouble = f"  !! {load.problem}" if load.problem else ""
            say(
                f"  round {number} {name}: {load.rate:,.0f}/s, p50 {load.p50:.2f} ms, "
                f"p99 {load.p99:.2f} ms, {load.cost:.3f} ms of processor each{trouble}"
            )
    return Series((first, second), loads[first], loads[second])
