"""One call, filled with what it is about; an answer's headers. It may not know what an answer means."""

from __future__ import annotations

import re
from typing import Any

from crm_backends.connector.plans import Sending
from crm_backends.connector.scope import CannotTell, Context
from crm_backends.connector.templates import flat
from crm_backends.http import Details, Reply
from crm_backends.ports import Deadline

_BREAKS_A_FORM = re.compile('["\n]')


def details_of(
    sending: Sending, context: Context, deadline: Deadline, more: dict[str, dict[str, Any]] | None = None
) -> tuple[str, Details]:
    """Path and details of a call.

    ``more``: further fields by where they go, ``query``, ``json`` or ``form``.

    Raises:
        CannotTell: something of it has no value.
    """
    more = more or {}
    details = Details(deadline=deadline)
    query = _fields(sending.query(context) if sending.query else {}, more.get("query"))
    if query:
        details["params"] = flat(query, where=sending.where)
    if sending.headers is not None:
        details["headers"] = flat(sending.headers(context), where=sending.where)
    if sending.json is not None:
        body = sending.json(context)
        details["json"] = _fields(body, more.get("json")) if isinstance(body, dict) else body
    if sending.form is not None:
        details["form"] = flat(_fields(sending.form(context), more.get("form")), where=sending.where)
        details["multipart"] = sending.multipart
        if sending.multipart and _BREAKS_A_FORM.search("".join(details["form"])):
            raise CannotTell(f"{sending.where}: a field's name has a character that a form does not take")
    if sending.auth is not None:
        details["scope"] = sending.auth
    if sending.takes_text:
        details["liberal"] = True
    return sending.path(context), details


def headers_of(reply: Reply) -> dict[str, str]:
    """Headers as expressions see them: names in small letters, several of one name in one text."""
    found: dict[str, str] = {}
    for name, text in reply.headers.items():
        lowered = name.lower()
        found[lowered] = f"{found[lowered]}, {text}" if lowered in found else text
    return found


def _fields(made: dict[str, Any], more: dict[str, Any] | None) -> dict[str, Any]:
    return {**made, **more} if more else made
