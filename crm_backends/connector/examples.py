"""The examples of a connector, run: the same driver and client, prepared answers instead of the network.

It may not know the command line.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from crm_backends.connector.language import Example, Exchange, SeenRequest
from crm_backends.connector.problems import Path, Problem
from crm_backends.connector.reading import Loaded
from crm_backends.connector.recorded import Replay, Sent, answer_of, read_form
from crm_backends.connector.values import sendable
from crm_backends.connector.vocabulary import ACCOUNTS, RECEIPT, SHAPES
from crm_backends.model import ChannelConsents, Credit, FiscalReceipt, Holder, Profile
from crm_backends.ports import BackendError, Deadline, Outcome, Written
from crm_backends.registry import BackendContext, BackendSpec

ZONE = ZoneInfo("Europe/Moscow")
"""The zone in which examples are told."""
REGION = "RU"
_PATIENCE = 5.0
_NOT_MADE = "this request is not made"
_KEY = "KEY0000000000000000000001"
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
"""What examples have for ``since`` and ``now``."""


class UnfitInput(ValueError):
    """An operation cannot be asked like that; the message names the input, and no value."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation with what it is asked. Its members raise ``UnfitInput``."""

    asked: Mapping[str, Any]
    key: str
    deadline: Deadline
    since: datetime = SINCE
    """When the write was sent that is looked for."""

    def text(self, name: str) -> Any:
        return self.asked.get(name)

    @property
    def profile(self) -> Profile:
        given = {name: self.asked.get(name) for name in Profile.__dataclass_fields__}
        if given["birth_date"] is not None:
            given["birth_date"] = self.day("birth_date")
        return Profile(**given)

    @property
    def holder(self) -> Holder:
        return Holder(self.asked.get("card_number") or "", self.asked.get("customer") or "", self.profile)

    @property
    def credit(self) -> Credit:
        points = self.asked.get("points")
        receipt = self.asked.get("receipt")
        return Credit(
            points=None if points is None else _read("points", points, _amount),
            description=self.asked.get("description") or "Purchase",
            receipt=None if receipt is None else _receipt(receipt),
        )

    @property
    def consents(self) -> ChannelConsents:
        told = {
            name: _read(name, value, _yes_or_no)
            for name in ("sms", "email", "call", "push")
            if (value := self.asked.get(name)) is not None
        }
        allow = frozenset(name for name, value in told.items() if value)
        return ChannelConsents(allow, frozenset(told) - allow)  # type: ignore[arg-type]

    def day(self, name: str) -> date:
        return _read(name, self.asked.get(name), _day)

    @property
    def limit(self) -> int:
        return _read("limit", self.asked.get("limit") or 10, _whole)


def fit(operation: str, asked: Mapping[str, Any]) -> None:
    """See that an operation can be asked like that: the names are known, and those it needs are there.

    Raises ``UnfitInput``.
    """
    shape = SHAPES[operation]
    unknown = sorted(set(asked) - set(shape.asked))
    for name, inner in asked.items():
        if name in shape.members and isinstance(inner, Mapping):
            unknown += sorted(f"{name}.{one}" for one in set(inner) - set(shape.members[name]))
        elif name in shape.members:
            raise UnfitInput(f"input {name}: it has members: {', '.join(shape.members[name])}")
        elif isinstance(inner, Mapping) and name in shape.asked:
            unknown += sorted(f"{name}.{one}" for one in inner)
    if unknown:
        members = [f"{name}.{one}" for name, inner in shape.members.items() for one in inner]
        known = sorted([*(set(shape.asked) - set(shape.members)), *members])
        raise UnfitInput(
            f'{operation} is not asked by "{unknown[0]}", but by: {", ".join(known) or "nothing"}'
        )
    if operation == "users.find" and asked.get("phone") is None and asked.get("email") is None:
        raise UnfitInput("users.find needs the input phone or email")
    for name, text in shape.asked.items():
        if name in _NEEDED and operation not in ACCOUNTS and asked.get(name) is None:
            raise UnfitInput(f"{operation} needs the input {name}" + (f" ({text})" if text else ""))


def key_for(loaded: Loaded, given: str | None, otherwise: str) -> str:
    """The key of a write, as ``serve`` would make it: no longer than the CRM takes.

    Raises ``UnfitInput``: the given one is no such key.
    """
    most = loaded.model.key_length
    if given is not None and not re.fullmatch(f"[A-Z0-9]{{1,{most}}}", given):
        raise UnfitInput(f"a key of this connector has at most {most} capital letters and digits")
    return given or otherwise[:most]


_NEEDED = frozenset({"customer", "account", "number", "code", "occasion", "since", "until"})
"""Inputs without which no operation is asked, but that for an account."""
Read = TypeVar("Read")


def _read(name: str, value: Any, read: Callable[[str], Read]) -> Read:
    try:
        return read(str(value))
    except (ValueError, ArithmeticError, KeyError):
        raise UnfitInput(f"input {name}: {_WANTED[read]}") from None


def _amount(text: str) -> Decimal:
    amount = Decimal(text)
    if not amount.is_finite():
        raise ValueError
    return amount


def _whole(text: str) -> int:
    return int(text)


def _day(text: str) -> date:
    return date.fromisoformat(text)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _yes_or_no(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_WANTED: Mapping[Callable[[str], Any], str] = {
    _amount: "a number is wanted, such as 12.50",
    _whole: "a whole number is wanted",
    _day: "a day is wanted, such as 2026-01-31",
    _moment: "a moment is wanted, such as 2026-01-31T12:00:00+03:00",
    _yes_or_no: "true or false is wanted",
}


def _receipt(told: Mapping[str, Any]) -> FiscalReceipt:
    values = {**dict.fromkeys(RECEIPT), **told}
    issued = str(values["issued_at"] or "2026-01-01T12:00:00+03:00")
    return FiscalReceipt(
        fiscal_drive=str(values["fiscal_drive"] or "8710000101125654"),
        document=str(values["document"] or "1"),
        sign=str(values["sign"] or "1"),
        total_kopecks=_read("receipt.total_kopecks", values["total_kopecks"] or 0, _whole),
        issued_at=_read("receipt.issued_at", issued, _moment),
        calculation_type=_read("receipt.calculation_type", values["calculation_type"] or 1, _whole),
    )


Make = Callable[[Any, Call], Awaitable[Any]]


async def _listed(backend: Any) -> list[Any]:
    return [one async for batch in backend.list_users() for one in batch]


CALLS: Mapping[str, Make] = {
    "users.find": lambda b, c: b.find(
        phone=c.text("phone"), email=c.text("email"), birth_date=c.profile.birth_date, deadline=c.deadline
    ),
    "users.get": lambda b, c: b.get(c.text("customer"), deadline=c.deadline),
    "users.register": lambda b, c: b.register(c.profile, idempotency_key=c.key, deadline=c.deadline),
    "users.update": lambda b, c: b.update(c.text("customer"), c.profile, deadline=c.deadline),
    "users.set_consents": lambda b, c: b.set_consents(c.text("customer"), c.consents, deadline=c.deadline),
    "users.list_phones": lambda b, c: _listed(b),
    "users.find_by_card": lambda b, c: b.find_by_card(c.text("number"), deadline=c.deadline),
    "users.set_card": lambda b, c: b.set_card(
        c.text("customer"),
        c.text("number"),
        c.text("barcode") or c.text("number"),
        c.text("barcode_type") or "EAN_13",
        replaces=c.text("replaces"),
        idempotency_key=c.key,
        deadline=c.deadline,
    ),
    "points.account": lambda b, c: b.points_account(c.holder, deadline=c.deadline),
    "points.balance": lambda b, c: b.balance(c.text("account"), deadline=c.deadline),
    "points.entries": lambda b, c: b.entries(c.text("account"), limit=c.limit, deadline=c.deadline),
    "points.purchases": lambda b, c: b.purchases(
        c.text("account"), since=c.day("since"), until=c.day("until"), deadline=c.deadline
    ),
    "points.credit": lambda b, c: b.credit(
        c.text("account"), c.credit, idempotency_key=c.key, deadline=c.deadline
    ),
    "coupons.account": lambda b, c: b.coupons_account(c.holder, deadline=c.deadline),
    "coupons.offers": lambda b, c: b.offers(c.text("account"), deadline=c.deadline),
    "coupons.issue": lambda b, c: b.issue(
        c.text("account"), c.text("occasion"), idempotency_key=c.key, deadline=c.deadline
    ),
    "coupons.redeem": lambda b, c: b.redeem(
        c.text("account"), c.text("code"), idempotency_key=c.key, deadline=c.deadline
    ),
}
"""Operation -> a call of the driver, with what an example or ``try`` gives."""

RECONCILE: Mapping[str, Make] = {
    "users.register": lambda b, c: b.reconcile_register(
        c.profile, idempotency_key=c.key, deadline=c.deadline
    ),
    "points.credit": lambda b, c: b.reconcile_credit(
        c.text("account"), c.credit, idempotency_key=c.key, since=c.since, before=None, deadline=c.deadline
    ),
    "coupons.redeem": lambda b, c: b.reconcile_redeem(
        c.text("account"), c.text("code"), idempotency_key=c.key, since=c.since, deadline=c.deadline
    ),
}


def plain(value: Any) -> Any:
    """A result as JSON has it, without what is nothing, for examples and for ``try``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        members.pop("reason", None)
        return {
            name: shown
            for name, member in members.items()
            if (shown := plain(member)) not in (None, [], {}, "")
        }
    if isinstance(value, Mapping):
        return {str(name): plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return value.astimezone(ZONE).isoformat()
    return sendable(value)


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
            made[name] = f"the-{name}" if setting.type == "text" else 1
            if setting.choices:
                made[name] = setting.choices[0]
            if setting.type == "yes_no":
                made[name] = True
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
