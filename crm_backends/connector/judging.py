"""What an answer says: the first outcome that holds, or that it is a good one, or nothing that is named.

An answer that has not what a good one has is no answer (``Lacks``). It may not know what an operation does
with what was said, nor whether it reads or writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crm_backends.connector.plans import Ruling, StepPlan
from crm_backends.connector.scope import Context, Expression, Lacks
from crm_backends.connector.sending import headers_of
from crm_backends.connector.vocabulary import UNDECIDED
from crm_backends.http import Reply
from crm_backends.ports import BackendCredentials, BackendError, BackendMisconfigured, BackendUnavailable

_NO_CONTENT = 204
"""The status that says itself that there is no body (RFC 9110, 15.3.5)."""
_NOT_GOOD = "the answer is empty, or no object and no list; where a good one is like that, say so by has"


class Judge:
    """Says what the answers of one CRM mean.

    ``looks_at_headers``: whether any expression does. ``content``: what of an answer was asked for.
    """

    def __init__(self, *, looks_at_headers: bool, content: Expression | None) -> None:
        self._looks_at_headers = looks_at_headers
        self._content = content

    def said(self, step: StepPlan, reply: Reply, context: dict[str, Any]) -> tuple[str | None, str]:
        """What the first outcome that holds says, or ``ok``; nothing where neither is told.

        The answer's parts are put into ``context``. And where that outcome is written: nothing where none
        holds. Raises ``CannotTell``.
        """
        context["body"], context["status"] = reply.body, reply.status
        if self._looks_at_headers:
            context["headers"] = headers_of(reply)
        if self._content is not None:
            context["content"] = self._content.read(context)
        ruling = decided(step.rulings, context)
        if ruling is not None:
            said = ruling.decides
            if said == "ok" or said not in UNDECIDED:
                _look_whether_read(step, reply)
            if said not in UNDECIDED:
                ruling.when.shown(context)
            return said, ruling.when.where
        if not (reply.ok if step.ok is None else step.ok.holds(context)):
            return None, ""
        _look_whether_read(step, reply)
        _look_whether_good(step, reply, context)
        return "ok", ""


def decided(rulings: Sequence[Ruling], context: Context) -> Ruling | None:
    """The first of them that holds. Raises ``CannotTell``."""
    for ruling in rulings:
        if ruling.when.holds(context):
            return ruling
    return None


def by_status(step: StepPlan, reply: Reply, name: str, operation: str) -> BackendError:
    """What an answer means that the connector does not name, by its status alone (HTTP.md).

    ``name``: of the connector.
    """
    where = f"(status {reply.status})"
    if reply.status in (401, 403):
        return BackendCredentials(f"{name}: refuses the credentials {where}")
    if reply.status in (408, 429) or reply.status >= 500:
        return BackendUnavailable(f"{name}: {operation}: cannot be asked now {where}")
    text = "an answer that the connector does not name"
    if reply.ok and step.ok is not None:
        text += f": no outcome holds, nor ok at {step.ok.where}"
    return BackendMisconfigured(f"{name}: {operation}: {text} {where}")


def _look_whether_read(step: StepPlan, reply: Reply) -> None:
    """Raises ``Lacks`` where the answer is a page: whatever its status is, no CRM of JSON says it."""
    if reply.is_page and not step.sending.takes_text:
        raise Lacks(f"{step.sending.where}: the answer is not JSON (status {reply.status})")


def _look_whether_good(step: StepPlan, reply: Reply, context: Mapping[str, Any]) -> None:
    """Raises ``Lacks`` where the answer has not what a good one has."""
    for one in step.has:
        if not one.is_there(context):
            raise Lacks(f"{one.where}: the answer lacks {one.text}")
    if step.ok is not None:
        return
    body, where = reply.body, step.sending.where
    if isinstance(body, dict) and (body.get("error") or body.get("errors")):
        raise Lacks(f"{where}: the answer has an error in it (status {reply.status}), which no outcome names")
    anything = step.has or step.sending.takes_text or reply.status == _NO_CONTENT
    if not anything and not isinstance(body, dict | list):
        raise Lacks(f"{where}: {_NOT_GOOD}")
