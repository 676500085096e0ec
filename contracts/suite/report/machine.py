"""``results.json``: the whole run for programs, as ``results.schema.json`` describes it.

Keys and results are sorted, so that two runs can be compared line by line. A field that goes away or changes
its meaning raises ``FORMAT``; a new field does not.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from contracts.suite.report.findings import Label, clause_states, label, official, verdict
from contracts.suite.report.texts import BODY_LIMIT, LINE_LIMIT, encodable, headers
from contracts.suite.results import Exchange, Result, Run, State, TargetRun

FORMAT = 1


def render(run: Run) -> str:
    """The file's text."""
    content = {
        "format": FORMAT,
        "suite_version": run.suite_version,
        "api_version": run.api_version,
        "profile": run.profile,
        "strict": run.strict,
        "selection": run.selection,
        "started_at": run.started_at.isoformat(),
        "seconds": round(run.seconds, 6),
        "notes": list(run.notes),
        "clauses": {
            clause.id: {
                "method": clause.method,
                "text": clause.text,
                "level": clause.level,
                "evidence": clause.evidence.value,
                "versions": list(clause.versions),
                "source": clause.source,
            }
            for clause in run.clauses
        },
        "targets": [_target(run, target) for target in run.targets],
    }
    return json.dumps(_fit(content), ensure_ascii=False, sort_keys=True, indent=2) + "\n"


def _target(run: Run, target: TargetRun) -> dict[str, Any]:
    states = clause_states(target.results)
    counts = target.counts
    return {
        "url": target.url,
        "name": target.name,
        "keeps_the_contract": target.keeps_the_contract,
        "outcome": target.outcome.value,
        "verdict": verdict(target),
        "official": official(run, target),
        "counts": {each: counts[each] for each in [*(state.value for state in State), Label.WARN.value]},
        "clauses": {clause.id: states.get(clause.id, Label.NONE).value for clause in run.clauses},
        "results": [
            _result(result) for result in sorted(target.results, key=lambda each: (each.method, each.check))
        ],
        "latencies": [
            dataclasses.asdict(each) for each in sorted(target.latencies, key=lambda each: each.method)
        ],
        "created": [dataclasses.asdict(each) for each in target.created],
    }


def _result(result: Result) -> dict[str, Any]:
    return {
        "check": result.check,
        "title": result.title,
        "method": result.method,
        "clauses": list(result.clauses),
        "state": label(result).value,
        "weight": result.weight.value,
        "reason": result.reason,
        "failures": [dataclasses.asdict(failure) for failure in result.failures],
        "exchanges": [_exchange(exchange) for exchange in result.exchanges],
        "seconds": round(result.seconds, 6),
    }


def _exchange(exchange: Exchange) -> dict[str, Any]:
    return {
        "started_at": exchange.started_at.isoformat(),
        "seconds": round(exchange.seconds, 6),
        "http_version": exchange.http_version,
        "request": {
            "verb": exchange.verb,
            "url": exchange.url,
            "headers": [list(pair) for pair in headers(exchange.request_headers)],
            "body": exchange.request_body,
        },
        "response": None
        if exchange.status is None
        else {
            "status": exchange.status,
            "reason": exchange.reason,
            "headers": [list(pair) for pair in headers(exchange.response_headers)],
            "body": exchange.response_body,
            "body_characters": len(exchange.response_body),
        },
        "problem": exchange.problem,
        "curl": exchange.curl,
    }


def _fit(value: Any, limit: int = LINE_LIMIT) -> Any:
    """The same with every text encodable and no longer than what any report shows."""
    match value:
        case str():
            return encodable(value[:limit])
        case dict():
            return {
                _fit(key): _fit(each, BODY_LIMIT if key in ("body", "curl") else LINE_LIMIT)
                for key, each in value.items()
            }
        case list():
            return [_fit(each) for each in value]
        case _:
            return value
