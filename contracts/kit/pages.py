"""What the HTML pages of both programs share: their policy, their look, and which address is this machine's.

It may not know what is on a page.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

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
