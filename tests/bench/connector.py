"""What a card info costs in processor time through a connector and through the driver in Python.

``python -m tests.bench.connector``: Pegke's merchant dialect, written both ways, against its stand-in in
another process; each card info is a balance and a page of movements. The aim is at most 1.25 times.

What else the machine does makes a processor slower for seconds. So rounds are short, both ways are measured
in each, and the ratio is the median of those of the rounds.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from multiprocessing.queues import Queue
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from pydantic import SecretStr

from contracts.sandbox import pegke as stand_in
from contracts.sandbox import running
from crm_backends import pegke, registry
from crm_backends.conformance import context
from crm_backends.ports import Deadline

_FILE = Path(__file__).parent.parent / "connectors" / "pegke_merchant.yaml"
_ACCOUNT = "9990000001"
_ROUNDS, _CALLS, _WARM_UP = 200, 20, 100


def _serve(told: Queue[str]) -> None:
    async def main() -> None:
        async with running("pegke") as sandbox:
            told.put(sandbox.base_url)
            await asyncio.sleep(3600)

    asyncio.run(main())


def _in_python(url: str) -> Any:
    settings = pegke.PegkeSettings(
        dialect="merchant_v1",
        base_url=f"{url}/apiv1",
        consumer_code=stand_in.CONSUMER_CODE,
        consumer_secret=SecretStr(stand_in.CONSUMER_SECRET),
        country_prefix="+7",
        history_timezone="UTC",
    )
    return pegke.PegkeBackend(settings, context())


def _as_connector(url: str) -> Any:
    spec = registry.load(str(_FILE))
    given = {
        "base_url": f"{url}/apiv1",
        "consumer_code": stand_in.CONSUMER_CODE,
        "consumer_secret": stand_in.CONSUMER_SECRET,
    }
    return spec.build(spec.settings.model_validate(given), context())


async def _card_infos(backend: Any, number: int) -> float:
    """Microseconds of processor time that a card info took, of so many."""
    began = time.process_time()
    for _ in range(number):
        await backend.balance(_ACCOUNT, deadline=Deadline.after(10))
        await backend.entries(_ACCOUNT, limit=10, deadline=Deadline.after(10))
    return (time.process_time() - began) / number * 1e6


async def _measured(url: str) -> list[dict[str, float]]:
    """The rounds, each with what a card info took by name."""
    backends: dict[str, Any] = {"python": _in_python(url), "connector": _as_connector(url)}
    for backend in backends.values():
        await backend.open()
        await _card_infos(backend, _WARM_UP)
    rounds = []
    for number in range(_ROUNDS):
        # Who is second finds the processor's caches as the first left them: they take turns.
        names = list(backends) if number % 2 else list(reversed(backends))
        rounds.append({name: await _card_infos(backends[name], _CALLS) for name in names})
    for backend in backends.values():
        await backend.close()
    return rounds


def main() -> None:
    told: Queue[str] = multiprocessing.get_context("spawn").Queue()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(told,), daemon=True)
    server.start()
    try:
        rounds = asyncio.run(_measured(told.get(timeout=60)))
    finally:
        server.terminate()
    for name in ("python", "connector"):
        print(f"{name:10} {median(one[name] for one in rounds):6.0f} µs of the processor for a card info")
    low, middle, high = quantiles((one["connector"] / one["python"] for one in rounds), n=4)
    print(f"ratio      {middle:6.2f} (half of {_ROUNDS} rounds: {low:.2f} to {high:.2f}; the aim is 1.25)")


if __name__ == "__main__":
    main()
