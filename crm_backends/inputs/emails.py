"""E-mails: one address is one text, however it was written.

Lower case throughout: no provider a shop's customers use tells Anna@ from anna@. The name of the host is kept
in its own script (``пример.рф``), which is what people type and what a CRM has been given so far; its other
form (``xn--…``) is the same address and is read as that.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import idna

from crm_backends.inputs.text import compatible

_LONGEST = 254
# The usual address; whatever is not exactly so takes the longer way.
_PLAIN = re.compile(
    r"[a-z0-9_+\-]+(?:\.[a-z0-9_+\-]+)*@(?:(?!xn--)[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?\.)+"
    r"(?!xn--)[a-z][a-z0-9\-]{0,61}[a-z0-9]"
)
# RFC 5322 atoms with dots between, and letters of other scripts (RFC 6531); nothing quoted.
_ATOM = r"(?:[a-z0-9!#$%&'*+/=?^_`{|}~\-]|[^\x00-\x9f\s])+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LONGEST_LOCAL = 64
_LABELS = re.compile(r"(?:[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9\-]{0,61}[a-z0-9]")


def read_email(text: str) -> str | None:
    """The e-mail in the one form, or ``None`` when ``text`` is no address.

    ``mailto:`` and brackets around the whole are taken off.
    """
    if len(text) <= _LONGEST and _PLAIN.fullmatch(text) and text.index("@") <= _LONGEST_LOCAL:
        return text
    local, at, host = _bare(compatible(text)).rpartition("@")
    local = compatible(local.lower())
    name = _host(host)
    if not at or name is None or not 1 <= len(local) <= _LONGEST_LOCAL or not _LOCAL.fullmatch(local):
        return None
    email = f"{local}@{name}"
    return email if len(email) <= _LONGEST else None


def _bare(text: str) -> str:
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1].strip()
    if text[:7].lower() == "mailto:":
        text = unquote(text[7:].partition("?")[0]).strip()
    return text


def _host(host: str) -> str | None:
    """The name of a host in lower case and in its own script, if it can be one."""
    try:
        ascii_name = host.lower() if host.isascii() else idna.encode(host, uts46=True).decode()
        if not _LABELS.fullmatch(ascii_name):
            return None
        return idna.decode(ascii_name) if "xn--" in ascii_name else ascii_name
    except (idna.IDNAError, UnicodeError):
        return None
