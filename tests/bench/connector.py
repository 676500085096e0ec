"""What a card info costs in processor time through a connector and through the driver in Python.

``python -m tests.bench.connector``: Pegke's merchant dialect, written both ways, against its stand-in in
another process; each card info is a balance and a page of movements. The aim is at most 1.25 times.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import SecretStr

from contracts.sandbox import pegke as stand_in
from contracts.sandbox import running
from crm_backends import pegke, registry
from crm_backends.conformance import context
from crm_backends.ports import Deadline

_FILE = Path(__file__).parent.parent / "connectors" / "pegke_merchant.yaml"
_ACCOUNT = "9990000001"
_ROUNDS, _CALLS, _WARM_UP = 7, 300, 50


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


async def _microseconds(backend: Any) -> float:
    """Processor time of one card info."""
    await backend.open()
    began = 0.0
    for number in range(_WARM_UP + _CALLS):
        if number == _WARM_UP:
            began = time.process_time()
        await backend.balance(_ACCOUNT, deadline=Deadline.after(10))
        await backend.entries(_ACCOUNT, limit=10, deadline=Deadline.after(10))
    took = time.process_time() - began
    await backend.close()
    return took / _CALLS * 1e6


def main() -> None:
    told: Queue[str] = multiprocessing.get_context("spawn").Queue()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(told,), daemon=True)
    server.start()
    try:
        url = told.get(timeout=60)
        makers: dict[str, Callable[[str], Any]] = {"python": _in_python, "connector": _as_connector}
        rounds = [
            {name: asyncio.run(_microseconds(make(url))) for name, make in makers.items()}
            for _ in range(_ROUNDS)
        ]
    finally:
        server.terminate()
    ratios = sorted(one["connector"] / one["python"] for one in rounds)
    for name in makers:
        print(f"{name:10} {median(one[name] for one in rounds):6.0f} µs of the processor for a card info")
    spread = f"rounds: {ratios[0]:.2f} to {ratios[-1]:.2f}; the aim is 1.25"
    print(f"ratio      {median(ratios):6.2f} ({spread})")


if __name__ == "__main__":
    main()
