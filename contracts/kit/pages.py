"""What the HTML pages of both programs share: their policy, their look, and which address is this machine's.

It may not know what is on a page.
"""

from __future__ import annotations

from collections.abc import Awaitable
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent
"""Where ``pages.css`` is."""
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""On every answer of a page."""


async def with_headers(answer: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    """The answer, or the refusal that is raised, with ``HEADERS`` where it has none of its own.

    Raises ``web.HTTPException`` as ``answer`` does.
    """
    try:
        response = await answer
    except web.HTTPException as error:
        response = error
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if isinstance(response, web.HTTPException):
        raise response
    return response


def is_local(host: str) -> bool:
    """Whether an address to listen on, or a name to be asked by, leads to this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def base_style() -> str:
    """Colours for light and dark, letters, tables and forms; each page adds its own."""
    return (FOLDER / "pages.css").read_text(encoding="utf-8")
