"""Whether the adapter's own answers keep the contract: the suite's read profile on people nobody knows.

It may not know which checks the suite has.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from aiohttp import web

from adapter.api.server import PublicRunner
from contracts.suite import runner
from contracts.suite.config import Options
from contracts.suite.results import State, Weight
from crm_backends.ports import Finding

if TYPE_CHECKING:
    from adapter.bootstrap import Service


async def contract(service: Service) -> Finding:
    """Answer on a free port of the loopback under a password of its own, and let the suite judge."""
    koshelek, password = service.settings.koshelek, secrets.token_urlsafe(24)
    application = PublicRunner(
        service.trial_application(koshelek.login, password), language=koshelek.language, shutdown_timeout=1.0
    )
    try:
        await application.setup()
        await web.TCPSite(application, "127.0.0.1", 0).start()
        port = application.addresses[0][1]
        options = Options(
            urls=[f"http://127.0.0.1:{port}{service.settings.server.base_path}"],
            login=koshelek.login,
            api_version=koshelek.api_version,
        )
        (target,) = (await runner.run(options, password)).targets
    except (runner.CannotRun, OSError) as error:
        return Finding("contract", False, f"its own answers cannot be tested: {error}", "see the lines above")
    finally:
        await application.cleanup()
    broken = [result for result in target.results if result.state in (State.FAIL, State.ERROR)]
    grave = [result for result in broken if result.weight is Weight.FAIL or result.state is State.ERROR]
    tried = sum(result.state is State.PASS for result in target.results) + len(broken)
    detail = f"{koshelek.api_version}: {tried - len(broken)} of {tried} checks kept"
    if broken:
        detail += f"; not {', '.join(result.check for result in broken)}"
    return Finding(
        "contract", not grave, detail, "koshelek-contract run URL --login … says more of a running adapter"
    )
