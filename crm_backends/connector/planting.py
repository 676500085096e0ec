"""Answers that no CRM documents, put in place of those of a connector's examples: what is made of them?

A CRM that fails, or a proxy before it, answers 200 with nothing, with an error or with something else. A
connector that takes that for "nobody" registers people anew, shows a balance of zero, or sends a doubtful
credit again. It may not know the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crm_backends.connector.examples import WrongExample, play
from crm_backends.connector.language import Answered, Example, Exchange
from crm_backends.connector.problems import Path, Problem
from crm_backends.connector.reading import Loaded
from crm_backends.connector.values import same
from crm_backends.ports import AccountUnknown, BackendError, Outcome, Written
from crm_backends.registry import BackendSpec

PLANTED: Sequence[Answered] = (
    Answered(json={}),
    Answered(json=[]),
    Answered(text="null"),
    Answered(text=""),
    Answered(text='"error"'),
    Answered(json={"error": "x"}),
    Answered(json={"error": {"code": 5, "message": "x"}}),
    Answered(json={"errors": ["x"]}),
    Answered(text="<html><body>Service is not available</body></html>"),
)
"""What may come with a 200 and means nothing."""
PLANTED_404: Sequence[Answered] = (
    Answered(status=404, text="<html><body>Not Found</body></html>"),
    Answered(status=404, text=""),
    Answered(status=404, json={}),
    Answered(status=404, json={"message": "no Route matched with those values"}),
    Answered(status=404, json={"detail": "Not Found"}),
)
"""What a proxy, a gateway or a server with another path answers with a 404: of customers it says nothing."""
_REMEDY = (
    "say by has what a good answer has, such as has: body.id; what the CRM documents belongs into an example"
)


_REMEDY_404 = (
    'ask for what the CRM itself says, such as status == 404 and body.code == "not_found"; what it documents '
    "belongs into an example"
)


async def run_planted(
    loaded: Loaded, spec: BackendSpec[Any], planted: Sequence[Answered] = (*PLANTED, *PLANTED_404)
) -> list[Problem]:
    """Plant each of these answers at each call of each example; a problem for each call that reads one.

    Not planted: what an example documents of the same call, an empty list in the place of a list, anything
    where the connector says that any text is a good answer, and at a login again what was planted there
    before. The examples themselves have to be well.
    """
    documented = [
        exchange
        for operation in loaded.model.operations.values()
        for example in operation.examples
        for exchange in example.exchanges
    ]
    problems: list[Problem] = []
    logins: set[str] = set()
    for name, operation in loaded.model.operations.items():
        for index, example in enumerate(operation.examples):
            played = await play(loaded, spec, name, example)
            sent = played.sent
            for number, exchange in enumerate(example.exchanges):
                if number >= len(sent) or sent[number].path in logins:
                    continue
                if sent[number].path in played.logins:
                    logins.add(sent[number].path)  # the same before each call
                elif sent[number].call.liberal:
                    continue
                path: Path = ("operations", name, "examples", index, "exchanges", number)
                known = [one.answer for one in documented if _called(one) == _called(exchange)]
                tried = [one for one in planted if not any(_alike(one, answer) for answer in known)]
                problems += await _read_as_something(loaded, spec, name, example, number, tried, path)
    return problems


async def _read_as_something(
    loaded: Loaded,
    spec: BackendSpec[Any],
    name: str,
    example: Example,
    number: int,
    planted: Sequence[Answered],
    path: Path,
) -> list[Problem]:
    """One problem, that names the answers which are read as the same; none where none is."""
    taken: dict[tuple[int, str], list[str]] = {}
    for answer in planted:
        exchanges = [*example.exchanges]
        exchanges[number] = exchanges[number].model_copy(update={"answer": answer})
        try:
            played = await play(loaded, spec, name, example.model_copy(update={"exchanges": exchanges}))
        except WrongExample:
            return []
        if cause := _ends(played.result, reconciles=example.reconcile):
            taken.setdefault((answer.status, cause), []).append(_shown(answer))
    call = " ".join(_called(example.exchanges[number]))
    return [
        Problem(
            loaded.place(path),
            f"{name}: {' or '.join(answers)} in a {status} of {call} {cause}",
            _REMEDY if status == 200 else _REMEDY_404,
        )
        for (status, cause), answers in taken.items()
    ]


def _ends(result: Any, *, reconciles: bool) -> str:
    """What is made of an answer that means nothing; empty where it is told as such."""
    if isinstance(result, AccountUnknown):
        return "is read as an account that is not there"
    if isinstance(result, BackendError):
        return ""
    if not isinstance(result, Written):
        return "is read as an answer"
    if result.outcome is Outcome.UNKNOWN or (result.outcome is Outcome.NOT_SENT and not reconciles):
        return ""
    return f"ends the write as {result.outcome.value}"


def _called(exchange: Exchange) -> tuple[str, str]:
    wanted = exchange.expect
    methods = ("get", "post", "put", "patch", "delete")
    return next(((one.upper(), path) for one in methods if (path := getattr(wanted, one))), ("", ""))


def _alike(planted: Answered, answer: Answered) -> bool:
    """Whether a planted answer is one that is documented."""
    if planted.status != answer.status and not (planted.status == 200 and 200 <= answer.status < 300):
        return False
    if planted.json_ == [] and isinstance(answer.json_, list):
        return True
    empty = answer.json_ is None and not answer.text
    return empty if planted.text == "" else same(planted.json_, answer.json_) and planted.text == answer.text


def _shown(answer: Answered) -> str:
    if answer.text is None:
        return str(answer.json_).replace("'", '"')
    return "HTML" if "<html" in answer.text else answer.text or "no body"
