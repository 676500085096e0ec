"""Shell lines that send a request again, with the bodies that they take from files.

Credentials are never in them. It may not know how requests are made.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence

from contracts.suite.address import Address

NOT_REPEATED = ("Accept", "User-Agent", "X-Request-Id")
"""Headers that curl sends by itself, and the id, which has to be a new one."""
LONGEST_IN_A_LINE = 1000
"""Characters of a body that stand in the line."""


def curl(
    verb: str,
    url: str,
    headers: Sequence[tuple[str, str]],
    body: str | None,
    *,
    agreed: bool,
    authority: str | None = None,
) -> str:
    """A line for ``curl``. ``body``: what may be shown of it, or ``@`` and the name of a file.

    ``agreed``: the agreed credentials belong there. ``authority``: file of the TLS authority.
    """
    words = ["curl", "-sS", "-i", "--path-as-is"]
    if authority is not None:
        words += ["--cacert", authority]
    if verb == "HEAD":
        words.append("-I")
    elif verb != "GET" or body is not None:
        words += ["-X", verb]
    for name, value in headers:
        if name.lower() == "authorization" and value == "Basic ***":
            words += ["-u", "LOGIN:PASSWORD" if agreed else "WRONG:PAIR"]
        elif name not in NOT_REPEATED:
            words += ["-H", f"{name}: {value}"]
    if body is not None:
        words += ["--data-binary", body[:LONGEST_IN_A_LINE]]
    return shlex.join([*words, url])


def fits_a_line(data: bytes, shown: str) -> bool:
    """Whether a body can stand in the line as it is."""
    return len(data) <= LONGEST_IN_A_LINE and shown.encode("utf-8", "replace") == data and "\x00" not in shown


def name_of(data: bytes) -> str:
    """Name of the file for a body."""
    return f"body-{hashlib.sha256(data).hexdigest()[:12]}.bin"


def bare(address: Address, text: str) -> str:
    """What a bare socket sent, as a shell line."""
    if address.tls:
        tool = f"openssl s_client -quiet -connect {address.authority}"
    else:
        tool = f"nc {address.host} {address.port}"
    escaped = text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")
    return f"printf '%b' {shlex.quote(escaped[:1000])} | {tool}"
