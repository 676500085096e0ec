"""An error inside a 200 is never taken for "nobody" or "nothing": planted at each call of each example.

Nobody known would be registered anew, a doubt settled as "not there" would be sent again, and a balance that
is not told would be shown as zero.
"""

from __future__ import annotations

from typing import Any

import pytest

from crm_backends.connector import shipped
from crm_backends.connector.examples import play
from crm_backends.connector.language import Answered
from crm_backends.connector.reading import load
from crm_backends.connector.spec import make_spec
from crm_backends.ports import BackendError, Outcome, Written

ODOO = {"code": 200, "message": "Odoo Server Error", "data": {"name": "builtins.ValueError", "message": "x"}}
# CRMs that tell errors inside a 200, and how.
ERRORS: dict[str, list[Any]] = {
    "mindbox": [{"status": "InternalServerError", "errorMessage": "x"}, {"status": "ProtocolError"}],
    "odoo": [{"jsonrpc": "2.0", "id": 1, "error": ODOO}],
    "premiumbonus": [{"success": False, "error_description": "x"}, {"success": False}],
    "retailcrm": [{"success": False, "errorMsg": "x"}],
}
EVERYWHERE: list[Any] = [{}, None]
"""Answers that say neither."""


def judged(result: Any, reconcile: bool) -> str:
    if isinstance(result, BackendError):
        return ""
    if not isinstance(result, Written):
        return f"gives {result!r}"
    if result.outcome is Outcome.UNKNOWN or (result.outcome is Outcome.NOT_SENT and not reconcile):
        return ""
    return f"ends as {result.outcome.value} ({result.refusal})"


@pytest.mark.parametrize("all_of_them", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_in_a_200_is_nothing_else(name: str, all_of_them: bool) -> None:
    """By default the first kind of error alone, at each call."""
    errors = [*ERRORS[name], *EVERYWHERE] if all_of_them else ERRORS[name][:1]
    loaded = load(shipped()[name])
    spec = make_spec(loaded)
    found = []
    for operation, described in loaded.model.operations.items():
        for example in described.examples:
            for index, exchange in enumerate(example.exchanges):
                for error in errors:
                    answered = exchange.model_copy(update={"answer": Answered(json=error)})
                    exchanges = [*example.exchanges]
                    exchanges[index] = answered
                    planted = example.model_copy(update={"exchanges": exchanges})
                    result = (await play(loaded, spec, operation, planted)).result
                    if cause := judged(result, example.reconcile):
                        found.append(f'{operation} "{example.title}" {index} {error}: {cause}')
    assert not found, "\n".join(found)
