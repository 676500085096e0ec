"""Exchanges that are replayed or shown instead of only sent: what examples and ``try`` put below the client.

It may not know a connector's file. Secrets are masked by their values wherever they appear.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

from crm_backends.http.messages import Fault, HttpCall, Reached
from crm_backends.http.wire import Answer, Exchanger, body_of

MASK = "•••"


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it goes out."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By names in small letters; those that every call has are left out."""
    body: bytes
    call: HttpCall = field(repr=False)

    @classmethod
    def of(cls, call: HttpCall, proof: Mapping[str, str]) -> Sent:
        body, described = body_of(call)
        headers = {**proof, **described, **call.headers}
        query = {name: str(value) for name, value in (call.params or {}).items()}
        query |= {name[1:]: value for name, value in headers.items() if name.startswith("?")}
        path = call.path if "://" in call.path[:8] else "/" + call.path.removeprefix("/")
        told = {name.lower(): value for name, value in headers.items() if not name.startswith("?")}
        return cls(call.method, path, query, told, body or b"", call)


class Replay:
    """Answers each call with the next of prepared answers; what was asked is kept."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = list(answers)
        self.sent: list[Sent] = []

    async def exchange(self, call: HttpCall, proof: Mapping[str, str], seconds: float) -> Answer | Fault:
        self.sent.append(Sent.of(call, proof))
        if not self._answers:
            return Fault("the example has no further answer", reached=Reached.NOTHING)
        return self._answers.pop(0)

    async def close(self) -> None:
        """There is nothing to close."""


class ShowsCalls:
    """Shows each request and each answer; ``dry`` sends what only reads and stops at what changes something.

    Args:
        inner: what sends the calls.
        say: takes a line.
        secrets: texts that are masked.
        logins: paths whose answers carry a token: of those no text is shown.
    """

    def __init__(
        self,
        inner: Exchanger,
        say: Callable[[str], None],
        secrets: Iterable[str],
        logins: Container[str],
        *,
        dry: bool,
    ) -> None:
        self._inner = inner
        self._logins = logins
        self._say = say
        self._secrets = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
        self._dry = dry
        self.stopped = False
        """Whether a call was not sent because nothing is to be changed."""

    async def exchange(self, call: HttpCall, proof: Mapping[str, str], seconds: float) -> Answer | Fault:
        self._show(Sent.of(call, proof), _hidden(proof))
        if self._dry and call.changes:
            self._say("  (not sent: this is a dry run)")
            self.stopped = True
            return Fault("not sent: this is a dry run", reached=Reached.NOTHING)
        answer = await self._inner.exchange(call, proof, seconds)
        if isinstance(answer, Fault):
            self._say(f"< no answer: {answer.text} ({answer.reason})")
        else:
            self._say(f"< {answer.status}")
            told = answer.content.decode(errors="replace")
            self._lines("  ", _without_texts(told) if call.path in self._logins else self.masked(told))
        return answer

    async def close(self) -> None:
        await self._inner.close()

    def masked(self, text: str) -> str:
        """A text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def _show(self, sent: Sent, hidden: frozenset[str]) -> None:
        shown = {name: MASK if f"?{name}" in hidden else value for name, value in sent.query.items()}
        query = "?" + urlencode(shown, safe=MASK) if shown else ""
        self._say(self.masked(f"> {sent.method} {sent.path}{query}"))
        for name, value in sent.headers.items():
            self._say(self.masked(f"  {name}: {MASK if name in hidden else value}"))
        if sent.body:
            self._lines("  ", self.masked(sent.body.decode(errors="replace")))

    def _lines(self, indent: str, text: str) -> None:
        with contextlib.suppress(ValueError, RecursionError):
            text = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
        for line in text[:4000].splitlines():
            self._say(indent + line)


def _without_texts(told: str) -> str:
    """JSON with each text in it masked; what is no JSON is masked as a whole, and its length told."""
    try:
        return json.dumps(_masked(json.loads(told)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return f"{MASK} (text of {len(told)} characters)" if told else ""


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_masked(member) for member in value]
    return MASK if isinstance(value, str) else value


def _hidden(proof: Mapping[str, str]) -> frozenset[str]:
    """Names whose values prove who we are: those of the auth, but not the fresh ones everybody may see."""
    return frozenset(name if name.startswith("?") else name.lower() for name in proof)


def _forms(secret: str) -> Iterable[str]:
    """A secret as it may appear in what is sent."""
    if len(secret) < 4:
        return ()
    return (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])


def read_form(body: bytes) -> dict[str, str]:
    """The fields of an urlencoded body."""
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


def answer_of(status: int, value: Any, text: str | None, headers: Mapping[str, str]) -> Answer:
    """A prepared answer: JSON, or a text, or no body."""
    if text is not None:
        return Answer(status, text.encode(), dict(headers))
    content = b"" if value is None else json.dumps(value, ensure_ascii=False).encode()
    return Answer(status, content, {"Content-Type": "application/json", **headers})
