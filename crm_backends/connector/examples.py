"""The examples of a connector, run: the same driver and client, prepared answers instead of the network.

It may not know the command line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from crm_backends.connector.calls import (
    CALLS,
    NOW,
    RECONCILE,
    REGION,
    ZONE,
    Call,
    UnfitInput,
    fit,
    key_for,
    plain,
)
from crm_backends.connector.language import Example, Exchange, SeenRequest
from crm_backends.connector.problems import Path, Problem
from crm_backends.connector.reading import Loaded
from crm_backends.connector.recorded import Replay, Sent, answer_of, read_form
from crm_backends.connector.values import sendable
from crm_backends.ports import BackendError, Deadline, Outcome, Written
from crm_backends.registry import BackendContext, BackendSpec

_PATIENCE = 5.0
_NOT_MADE = "this request is not made"
_KEY = "KEY0000000000000000000001"


async def run_all(loaded: Loaded, spec: BackendSpec[Any]) -> tuple[int, list[Problem]]:
    """How many examples there are, and what is wrong with them."""
    problems: list[Problem] = []
    count = 0
    for name, operation in loaded.model.operations.items():
        for index, example in enumerate(operation.examples):
            count += 1
            path: Path = ("operations", name, "examples", index)
            problems += await _run(loaded, spec, name, example, path)
    return count, problems


def without_examples(loaded: Loaded) -> list[str]:
    """Operations that do something and have no example."""
    return [name for name, one in loaded.model.operations.items() if one.steps and not one.examples]


async def _run(
    loaded: Loaded, spec: BackendSpec[Any], name: str, example: Example, path: Path
) -> list[Problem]:
    def problem(cause: str, *inner: str | int) -> Problem:
        return Problem(loaded.place((*path, *inner)), f'example "{example.title}" of {name}: {cause}')

    try:
        played = await play(loaded, spec, name, example)
    except WrongExample as error:
        return [problem(str(error), *error.at)]
    found = []
    for index, cause in _compared(example.exchanges, played.sent):
        if cause != _NOT_MADE or (why := _ended_early(played.result)) is None:
            found.append(problem(cause, "exchanges", index))
        elif played.sent and played.sent[-1].path in played.logins:
            told = f'example "{example.title}" of {name}: the login fails: {why}'
            found.append(Problem(loaded.place(("auth",)), told))
        else:
            found.append(problem(f"{cause}: {why}", "exchanges", index))
    return found or _judged(example, played.result, problem)


class WrongExample(ValueError):
    """An example cannot be run; ``at`` leads to the part of it that is wrong."""

    def __init__(self, cause: str, *at: str | int) -> None:
        super().__init__(cause)
        self.at = at


@dataclass(frozen=True, slots=True)
class Played:
    """What became of an example: what the port gives, or the error of a read, and the requests made."""

    result: Any
    sent: Sequence[Sent]
    logins: frozenset[str] = frozenset()
    """Paths that are asked for tokens."""


def with_hint(text: str) -> str:
    """What an error says, with what may be written in the connector against it."""
    hint = "; where a good answer is text, write takes_text: true at that call"
    return text + hint if "the answer is not JSON" in text else text


def _ended_early(result: Any) -> str | None:
    """Why no further request was made."""
    if isinstance(result, BackendError):
        return with_hint(f"it ends with {type(result).__name__}: {result}")
    if isinstance(result, Written) and result.reason:
        return with_hint(f"it ends as {result.outcome.value}: {result.reason}")
    return None


async def play(loaded: Loaded, spec: BackendSpec[Any], name: str, example: Example) -> Played:
    """Call the operation over the example's answers. Raises ``WrongExample``."""
    try:
        fit(name, example.input)
    except UnfitInput as error:
        raise WrongExample(str(error), "input") from None
    try:
        key = key_for(loaded, example.key, _KEY)
    except UnfitInput as error:
        raise WrongExample(str(error), "key") from None
    calls = RECONCILE if example.reconcile else CALLS
    if name not in calls:
        raise WrongExample("it cannot be reconciled")
    try:
        settings = spec.settings.model_validate(_settings(loaded, example))
    except ValidationError as error:
        where = ".".join(str(step) for step in error.errors()[0]["loc"])
        raise WrongExample(f"settings.{where}: {error.errors()[0]['msg']}") from None
    replay = Replay([_answer(one) for one in example.exchanges])
    context = BackendContext(database_url="", database_pool=None, timezone=ZONE, region=REGION)
    backend: Any = spec.build(settings, context)
    backend.replace_wire(lambda settings: replay)
    backend.replace_clock(lambda: NOW)
    await backend.open()
    try:
        call = Call(example.input, key, Deadline.after(_PATIENCE))
        return Played(await calls[name](backend, call), replay.sent, backend.logins)
    except BackendError as error:
        return Played(error, replay.sent, backend.logins)
    except UnfitInput as error:
        raise WrongExample(str(error), "input") from None
    finally:
        await backend.close()


def _judged(example: Example, result: Any, problem: Callable[..., Problem]) -> list[Problem]:
    """Whether a call ended as the example says."""
    if isinstance(result, BackendError):
        if example.outcome == type(result).__name__:
            return []
        return [problem(f"it ends with {type(result).__name__}: {result}", "outcome")]
    if isinstance(result, Written):
        return _judged_write(example, result, problem)
    if example.outcome is not None:
        return [problem(f"it gives a result, not {example.outcome}", "outcome")]
    told, wanted = plain(result), plain(example.result)
    if told != wanted:
        return [problem(f"the result is {_short(told)}, not {_short(wanted)}", "result")]
    return []


def _judged_write(example: Example, written: Written, problem: Callable[..., Problem]) -> list[Problem]:
    ended = written.outcome.value if written.refusal is None else written.refusal.value
    if written.outcome is Outcome.REFUSED and example.outcome == "refused":
        ended = "refused" if written.refusal is not None and written.refusal.value == "other" else ended
    if ended != (example.outcome or "done"):
        return [problem(f"it ends as {ended}, not {example.outcome or 'done'} ({written.reason})", "outcome")]
    told = {
        name: value
        for name, value in (("id", written.crm_reference), ("points", plain(written.points)))
        if value is not None
    }
    if written.message is not None:
        told["message"] = written.message
    if written.entries:
        told["entries"] = list(written.entries)
    if example.result is not None and told != plain(example.result):
        return [problem(f"the result is {_short(told)}, not {_short(plain(example.result))}", "result")]
    return []


def _settings(loaded: Loaded, example: Example) -> dict[str, Any]:
    """The example's settings, and something for each other one that has to be set."""
    made: dict[str, Any] = {"base_url": "https://crm.example", "attempts": 1}
    for name, setting in loaded.model.settings.items():
        if setting.default is None and not setting.optional:
            of_type = {"text": f"the-{name}", "yes_no": True, "zone": "UTC"}
            made[name] = setting.choices[0] if setting.choices else of_type.get(setting.type, 1)
    return {**made, **example.settings}


def _answer(exchange: Exchange) -> Any:
    answer = exchange.answer
    return answer_of(answer.status, sendable(answer.json_), answer.text, answer.headers)


def _compared(wanted: Sequence[Exchange], sent: Sequence[Sent]) -> list[tuple[int, str]]:
    """What differs between the requests expected and those made, with the number of each."""
    found: list[tuple[int, str]] = []
    for index, exchange in enumerate(wanted):
        if index >= len(sent):
            found.append((index, _NOT_MADE))
            break
        found += [(index, cause) for cause in _differences(exchange.expect, sent[index])]
    if len(sent) > len(wanted):
        extra = sent[len(wanted)]
        found.append((max(len(wanted) - 1, 0), f"a further request is made: {extra.method} {extra.path}"))
    return found


def _differences(wanted: SeenRequest, sent: Sent) -> list[str]:
    method = next((name for name in ("get", "post", "put", "patch", "delete") if getattr(wanted, name)), None)
    path = getattr(wanted, method) if method else None
    causes = []
    if method is None or (method.upper(), path) != (sent.method, sent.path):
        causes.append(f"the request is {sent.method} {sent.path}, not {(method or 'none').upper()} {path}")
    if dict(sent.query) != wanted.query:
        causes.append(f"the query is {_short(dict(sent.query))}, not {_short(wanted.query)}")
    for name, value in wanted.headers.items():
        if sent.headers.get(name.lower()) != value:
            causes.append(
                f"the header {name} is {_short(sent.headers.get(name.lower()))}, not {_short(value)}"
            )
    if wanted.json_ is not None:
        body = json.loads(sent.body, parse_float=Decimal) if sent.body else None
        if plain(body) != plain(wanted.json_):
            causes.append(f"the body is {_short(plain(body))}, not {_short(plain(wanted.json_))}")
    if wanted.form is not None:
        made = dict(sent.call.form or {}) if sent.call.multipart else read_form(sent.body)
        if made != wanted.form:
            causes.append(f"the form is {_short(made)}, not {_short(wanted.form)}")
    if wanted.json_ is None and wanted.form is None and sent.body:
        causes.append(f"there is a body: {sent.body[:200].decode(errors='replace')}")
    return causes


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 600 else text[:600] + "…"
