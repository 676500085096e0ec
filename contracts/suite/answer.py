"""What came back from the service, as it is, and what may be shown of it. It judges nothing."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from multidict import CIMultiDictProxy

from contracts.suite import spotting
from contracts.suite.results import Exchange

Got = tuple[int | None, str, str, CIMultiDictProxy[str], bytes, bool]
"""Status, reason, HTTP version, headers, body, whether it is only the beginning; no status: no answer."""

MOST_REMEMBERED = 4096
"""Bytes up to which the parsed JSON of a body is kept; of longer bodies only the latest is kept parsed."""


class _NoJson:
    """Stands for the JSON of a body that is no JSON."""

    def __repr__(self) -> str:
        return "no JSON"


NO_JSON = _NoJson()


class _Latest:
    """The long body that was read last: a list of all users takes many times its length once it is read."""

    def __init__(self) -> None:
        self._answer: weakref.ref[Answer] | None = None
        self._json: Any = NO_JSON

    def json(self, answer: Answer) -> Any:
        """The JSON of this answer, which is the latest from now on."""
        if self._answer is None or self._answer() is not answer:
            self._forget()  # never two of them at once
            self._answer, self._json = weakref.ref(answer, self._forget), answer.read()
        return self._json

    def _forget(self, _: object = None) -> None:
        self._answer, self._json = None, NO_JSON


_latest = _Latest()


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    waiting = [iter([("$", value)] if value is not NO_JSON else [])]
    while waiting:
        for path, value in waiting[-1]:
            if (below := _below(path, value)) is not None:
                waiting.append(below)
                break
            yield path, value
        else:
            waiting.pop()


def _below(path: str, value: Any) -> Iterator[tuple[str, Any]] | None:
    """What an object or an array holds; ``None`` where the value is elementary."""
    if isinstance(value, dict):
        return ((f"{path}.{key}", item) for key, item in value.items())
    if isinstance(value, list):
        return ((f"{path}[{index}]", item) for index, item in enumerate(value))
    return None


@dataclass(frozen=True)
class Answer:
    """What came back, as it is. It stays in memory; the ``exchange`` is what may be shown."""

    method: int
    """Number of the method that was called; 0: none of them."""
    verb: str
    status: int | None
    headers: CIMultiDictProxy[str]
    body: bytes
    exchange: Exchange
    probe: bool = False
    """Whether Koshelek would never send such a request: a wrong verb, a body that is no JSON, no HTTP."""
    tells_credentials: bool = False
    """Whether the body holds the credentials that were sent with the request."""
    with_credentials: bool = False
    """Whether the agreed credentials were sent."""
    cut: bool = False
    """Whether there was more than is read or kept, so that ``body`` is only its beginning."""

    @property
    def json(self) -> Any:
        """The body as JSON; ``NO_JSON`` if it is empty or no JSON.

        Read leniently, whatever its encoding and whatever follows the first text: encoding and form are
        clauses of their own.
        """
        return self._short_json if len(self.body) <= MOST_REMEMBERED else _latest.json(self)

    @cached_property
    def _short_json(self) -> Any:
        return self.read()

    def read(self) -> Any:
        """``json``, read anew."""
        if self.cut:
            return NO_JSON
        try:
            text = self.body.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
            return json.JSONDecoder().raw_decode(text)[0]
        except (ValueError, RecursionError):
            return NO_JSON

    @property
    def leaves(self) -> Iterable[tuple[str, Any]]:
        """Every elementary value of the JSON with its path, in the order of the text; none without JSON."""
        return self._short_leaves if len(self.body) <= MOST_REMEMBERED else _leaves(self.json)

    @cached_property
    def _short_leaves(self) -> tuple[tuple[str, Any], ...]:
        return tuple(_leaves(self.json))

    @property
    def is_one_json_text(self) -> bool:
        """Whether the body is JSON and nothing else."""
        if self.cut:
            return False
        try:
            json.loads(self.body.decode("utf-8", errors="replace"))
        except (ValueError, RecursionError):
            return False
        return True

    @property
    def ok(self) -> bool:
        """A success of whichever status; the statuses are a clause of their own."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """An error of whichever status; the statuses are a clause of their own."""
        return self.status is not None and self.status >= 400

    @property
    def is_empty(self) -> bool:
        return not self.body.strip()

    def at(self, *keys: str | int) -> Any:
        """The value at a path, names compared without case; ``None`` where there is nothing."""
        value = self.json
        for key in keys:
            if isinstance(value, dict) and isinstance(key, str):
                value = next((item for name, item in value.items() if name.lower() == key.lower()), None)
            elif isinstance(value, list) and isinstance(key, int) and -len(value) <= key < len(value):
                value = value[key]
            else:
                return None
        return value

    def text_at(self, *keys: str | int) -> str | None:
        """The elementary value at a path as text, whatever its type: typing is a clause of its own."""
        value = self.at(*keys)
        if value is None or isinstance(value, (dict, list)):
            return None
        return str(value).lower() if isinstance(value, bool) else str(value)

    def in_short(self) -> str:
        """The answer in a few words, redacted: for the end of a sentence."""
        if self.status is None:
            return f"no answer: {self.exchange.problem}"
        body = self.exchange.response_body
        shown = body if len(body) <= 300 else f"{body[:300]}…"
        said = f"{self.status} {shown}" if body else f"{self.status} with an empty body"
        proxy = spotting.proxy(self.status, self.headers.get("Server", ""), self.body)
        return said if proxy is None else f"{said} (this comes from {proxy}, not from the service behind)"
