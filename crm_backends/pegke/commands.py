"""The command of Pegke: give up the token of the application.

It may not know the adapter: whoever mounts it brings the settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import typer

from crm_backends.command_line import ConfigFile, fail, group
from crm_backends.pegke.driver import PegkeBackend
from crm_backends.pegke.settings import PegkeSettings
from crm_backends.ports import BackendError, Deadline, Outcome
from crm_backends.registry import BackendContext

LoadSettings = Callable[[Path | None], tuple[PegkeSettings, ZoneInfo]]

_PATIENCE = 30.0  # seconds
_WRONG = {
    Outcome.REFUSED: "pegke: refuses to give the token up",
    Outcome.NOT_SENT: "pegke: does not answer; the token was not given up",
    Outcome.UNKNOWN: "pegke: it is not known whether the token was given up; do it again",
}


def make_app(load_settings: LoadSettings) -> typer.Typer:
    """The commands.

    Args:
        load_settings: gives the driver's settings and the programme's zone, for the file named by
            ``--config`` (``None``: not named), or ends the command.
    """
    app = group("Commands for Pegke.")

    @app.command("invalidate-token")
    def invalidate_token(config: ConfigFile = None) -> None:
        """Give up the application's token, as after a leak. Running processes take a new one."""
        settings, zone = load_settings(config)
        nowhere = BackendContext(database_url="", database_pool=None, timezone=zone, region="")
        try:
            backend = PegkeBackend(settings, nowhere)
            written = asyncio.run(backend.invalidate_token(deadline=Deadline.after(_PATIENCE)))
            problem = _WRONG.get(written.outcome)
        except BackendError as error:
            problem = str(error)
        if problem is not None:
            fail(problem)
        typer.echo("The token is given up.")

    return app
