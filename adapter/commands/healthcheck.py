"""``koshelek-adapter healthcheck``: asks a running adapter whether it is ready, for containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapter.commands.terminal import ConfigFile, plainly, settings_for
from contracts.kit.listening import base_url
from contracts.kit.terminal import fail

if TYPE_CHECKING:
    import urllib.error


_ITS_PORT = "start serve, or name the port it has for management (--port, management.port)"


@plainly
def healthcheck(
    config: ConfigFile = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Management port; overrides management.port.")
    ] = None,
) -> None:
    """Ask a running adapter on this machine whether it is ready; exit status 0 or 1 (for containers)."""
    import http.client
    import json
    import urllib.error
    import urllib.request

    management = settings_for(config, {"management": {"port": port}}).management
    url = f"{base_url(management.host, management.port)}/health/ready"
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with directly.open(url, timeout=3) as answer:
            status = json.load(answer)["status"]
    except urllib.error.HTTPError as error:
        fail(f"{url}: {_reason(error) or f'answers {error.code}'}")
    except (OSError, http.client.HTTPException) as error:
        fail(f"{url} does not answer: {_in_words(getattr(error, 'reason', None) or error)}; {_ITS_PORT}")
    except (ValueError, KeyError, TypeError):
        fail(f"{url}: something else answers there; {_ITS_PORT}")
    typer.echo(status)


def _in_words(error: object) -> str:
    """Why there was no answer."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, TimeoutError):
        return "no answer came in time"
    return getattr(error, "strerror", None) or type(error).__name__


def _reason(answer: urllib.error.HTTPError) -> str | None:
    """Why an adapter is not ready, in its own words; ``None`` when something else answers."""
    import http.client
    import json

    try:
        return str(json.load(answer)["reason"])
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return None
