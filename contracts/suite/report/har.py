"""``exchange.har``: every exchange of the run in the HTTP Archive format, version 1.2.

Where no answer came the format has no word for it: status 0, and the reason in the custom field ``_error``.
"""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from contracts.suite.report.texts import BODY_LIMIT, LINE_LIMIT, encodable, headers
from contracts.suite.results import Exchange, Run

_UNKNOWN = -1
"""The format's value for a size that was not measured."""


def render(run: Run) -> str:
    """The file's text."""
    told: dict[int, tuple[Exchange, list[str]]] = {}
    for target in run.targets:
        for result in target.results:
            for exchange in result.exchanges:  # one of a rule is one of a check too
                told.setdefault(id(exchange), (exchange, []))[1].append(f"{target.name}: {result.check}")
    ordered = sorted(told.values(), key=lambda one: one[0].started_at)
    log = {
        "version": "1.2",
        "creator": {"name": "koshelek-contract", "version": encodable(run.suite_version)},
        "entries": [_entry(exchange, "; ".join(names)) for exchange, names in ordered],
    }
    return json.dumps({"log": log}, ensure_ascii=False, indent=1) + "\n"


def _entry(exchange: Exchange, comment: str) -> dict[str, Any]:
    milliseconds = round(exchange.seconds * 1000, 3)
    entry = {
        "startedDateTime": exchange.started_at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "time": milliseconds,
        "request": _request(exchange),
        "response": _response(exchange),
        "cache": {},
        "timings": {"send": 0, "wait": milliseconds, "receive": 0},
        "comment": encodable(comment),
    }
    if exchange.problem is not None:
        entry["_error"] = _short(exchange.problem)
    return entry


def _request(exchange: Exchange) -> dict[str, Any]:
    request: dict[str, Any] = {
        "method": _short(exchange.verb),
        "url": _short(exchange.url),
        "httpVersion": exchange.http_version,
        "cookies": [],
        "headers": _headers(exchange.request_headers),
        "queryString": _query(exchange.url),
        "headersSize": _UNKNOWN,
        "bodySize": 0 if exchange.request_body is None else _octets(exchange.request_body),
    }
    if exchange.request_body is not None:
        request["postData"] = {
            "mimeType": _media_type(exchange.request_headers),
            "params": [],
            "text": encodable(exchange.request_body[:BODY_LIMIT]),
        }
    return request


def _response(exchange: Exchange) -> dict[str, Any]:
    return {
        "status": exchange.status or 0,
        "statusText": _short(exchange.reason),
        "httpVersion": exchange.http_version,
        "cookies": [],
        "headers": _headers(exchange.response_headers),
        "content": {
            "size": _octets(exchange.response_body),
            "mimeType": _media_type(exchange.response_headers),
            "text": encodable(exchange.response_body[:BODY_LIMIT]),
        },
        "redirectURL": _header(exchange.response_headers, "location"),
        "headersSize": _UNKNOWN,
        "bodySize": _UNKNOWN,
    }


def _query(url: str) -> list[dict[str, str]]:
    try:
        pairs = parse_qsl(urlsplit(url[:LINE_LIMIT]).query, keep_blank_values=True)
    except ValueError:  # urlsplit refuses what is no address
        return []
    return [{"name": _short(name), "value": _short(value)} for name, value in pairs]


def _headers(pairs: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers(pairs)]


def _header(pairs: tuple[tuple[str, str], ...], wanted: str) -> str:
    return next((value for name, value in headers(pairs) if name.lower() == wanted), "")


def _media_type(pairs: tuple[tuple[str, str], ...]) -> str:
    return _header(pairs, "content-type") or "x-unknown"


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _short(text: str) -> str:
    return encodable(text[:LINE_LIMIT])
