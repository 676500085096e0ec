"""Takes up a run that ended early: what was judged is read from its ``results.json``, and not asked again.

What was skipped or could not be made is made anew. It may not know how checks are made.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from contracts.suite.results import Created, Exchange, Failure, Result, State, Weight

JUDGED = {"pass": State.PASS, "fail": State.FAIL, "warn": State.FAIL}


class CannotResume(Exception):
    """There is nothing to take up; the message is one sentence."""


class Earlier:
    """What an earlier run found at one service."""

    def __init__(self, results: dict[str, Result], created: tuple[Created, ...]) -> None:
        self.results = results
        self.created = created


def read(folder: Path, api_version: str, profile: str) -> dict[str, Earlier]:
    """By the address of the service. Raises ``CannotResume``."""
    path = folder / "results.json"
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CannotResume(f"--resume: cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise CannotResume(f"--resume: {path} is no JSON") from None
    try:
        return _earlier(run, path, api_version, profile)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CannotResume(f"--resume: {path} is no report of a run; name the folder of one") from None


def _earlier(run: Any, path: Path, api_version: str, profile: str) -> dict[str, Earlier]:
    same = {"format": 1, "api_version": api_version, "profile": profile}
    for key, value in same.items():
        if run.get(key) != value:
            raise CannotResume(f"--resume: {path} is of {key} {run.get(key)}, this run of {value}")
    return {
        target["url"]: Earlier(
            {
                one["check"]: _result(one)
                for one in target["results"]
                if one["state"] in JUDGED and not one["check"].startswith("run.")
            },
            tuple(Created(**each) for each in target["created"]),
        )
        for target in run["targets"]
    }


def _result(one: dict[str, Any]) -> Result:
    return Result(
        check=one["check"],
        title=one["title"],
        method=one["method"],
        clauses=tuple(one["clauses"]),
        state=JUDGED[one["state"]],
        weight=Weight(one["weight"]),
        reason=one["reason"],
        failures=tuple(Failure(**each) for each in one["failures"]),
        exchanges=tuple(_exchange(each) for each in one["exchanges"]),
        seconds=one["seconds"],
    )


def _exchange(one: dict[str, Any]) -> Exchange:
    request, response = one["request"], one["response"]
    came = response or {"status": None, "reason": "", "headers": [], "body": ""}
    return Exchange(
        verb=request["verb"],
        url=request["url"],
        request_headers=tuple((name, value) for name, value in request["headers"]),
        request_body=request["body"],
        status=came["status"],
        reason=came["reason"],
        http_version=one["http_version"],
        response_headers=tuple((name, value) for name, value in came["headers"]),
        response_body=came["body"],
        started_at=datetime.fromisoformat(one["started_at"]),
        seconds=one["seconds"],
        curl=one["curl"],
        problem=one["problem"],
    )
