"""How it goes now: calls and their answers, what waits, the CRMs, and pictures of the last hours."""

from __future__ import annotations

from aiohttp import web

from adapter import version
from adapter.errors import TEXTS, Code, CodeText
from adapter.loyalty.ports import StoreUnavailable
from adapter.ops.console.history import HELD, IN_DOUBT, ON_THEIR_WAY, History, Span, number_of
from adapter.ops.console.pages import Pages
from adapter.ops.console.pictures import bars, lines
from adapter.ops.console.ports import Parts
from contracts.kit.language import Language

_LATELY = 300.0
"""Seconds that count as now."""
_LONG = 6 * 3600.0
_CODES = frozenset(Code)
_AGAIN = 20
"""Seconds after which the page looks anew."""


def _codes(lately: Span | None, long: Span | None) -> list[tuple[str, int, int, CodeText | None]]:
    """Codes of errors, most frequent first: how often lately, and over the last hours, and what they mean."""
    if long is None:
        return []
    return [
        (code, lately.codes[code] if lately else 0, count, TEXTS[Code(code)] if code in _CODES else None)
        for code, count in long.codes.most_common()
    ]


class Now(Pages):
    def __init__(self, parts: Parts, history: History) -> None:
        super().__init__(parts)
        self._history = history

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/now", self.now)]

    async def now(self, request: web.Request) -> web.Response:
        sample = await self._history.sample()
        lately, long = self._history.since(_LATELY, sample), self._history.since(_LONG, sample)
        try:
            shown = await self.parts.shown()
        except StoreUnavailable:
            shown = {}
        return self.page(
            request,
            "now",
            again=None if "still" in request.query else _AGAIN,
            lately=lately,
            long=long,
            codes=_codes(lately, long),
            queue=number_of(sample.waiting, *ON_THEIR_WAY),
            doubts=number_of(sample.waiting, *IN_DOUBT),
            held=number_of(sample.waiting, *HELD),
            waiting=sample.waiting,
            database=await self.parts.database_problem(),
            standings=self.parts.standings(),
            shown=shown,
            version=version.text(),
            pictures=self._pictures(self.language_of(request)),
        )

    def _pictures(self, say: Language) -> dict[str, object]:
        spans, samples = self._history.spans(), list(self._history.samples)
        return {
            "drawn": bool(spans),
            "calls": bars(
                [span.rate * 60 for span in spans],
                [span.refused / span.seconds * 60 if span.seconds else 0 for span in spans],
                say("Calls a minute, and of those the ones answered with an error"),
            ),
            "seconds": lines(
                [span.quantile(0.5) for span in spans],
                [span.quantile(0.99) for span in spans],
                say("Seconds: the median, and 99 of 100"),
            ),
            "waiting": lines(
                [number_of(one.waiting, *ON_THEIR_WAY, *IN_DOUBT) for one in samples],
                [number_of(one.waiting, *HELD) for one in samples],
                say("Operations on their way, and those that wait for a person"),
            ),
            "most": max((span.rate * 60 for span in spans), default=0.0),
            "slowest": max(
                (value for span in spans if (value := span.quantile(0.99)) is not None), default=None
            ),
            "beyond": any(span.exceeds(0.99) for span in spans),
            "since": samples[0].at if samples else None,
            "until": samples[-1].at if samples else None,
            "longest": max(
                (number_of(one.waiting, *ON_THEIR_WAY, *IN_DOUBT, *HELD) or 0 for one in samples), default=0
            ),
            "minutes": round(sum(span.seconds for span in spans) / 60),
        }
