"""Breaches that are known and accepted: a file of them, so that a run fails for new ones alone.

A YAML mapping of a check's name, or a clause, to the reason. It may not know how breaches are found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from contracts.suite.results import Result, State, Weight


class BadBaseline(Exception):
    """The file cannot be used; the message is one sentence."""


def read(path: Path, known: Iterable[str]) -> dict[str, str]:
    """Check or clause to the reason. Raises ``BadBaseline``, also for a name that is neither."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise BadBaseline(f"--baseline: cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise BadBaseline(f"--baseline: {path} is no YAML file") from None
    if not isinstance(content, dict):
        raise BadBaseline(f"--baseline: {path} holds no mapping of a check or clause to a reason")
    accepted = {str(name): str(reason or "") for name, reason in content.items()}
    names = set(known)
    for name, reason in accepted.items():
        if name not in names:
            raise BadBaseline(f"--baseline: {name} is no check and no clause; see --list")
        if not reason.strip():
            raise BadBaseline(f"--baseline: {name} has no reason; write why it is accepted")
    return accepted


def apply(results: Sequence[Result], accepted: Mapping[str, str]) -> tuple[list[Result], list[str]]:
    """The results with accepted breaches as warnings, and the entries that nothing breaks any more."""
    made, used = [], set()
    for result in results:
        named = [result.check, *[failure.clause for failure in result.failures]]
        found = next((name for name in named if name in accepted), None)
        if result.state is State.FAIL and found is not None:
            used.add(found)
            reason = "; ".join(filter(None, (result.reason, f"accepted: {accepted[found]}")))
            result = dataclasses.replace(result, weight=Weight.WARN, reason=reason)
        made.append(result)
    return made, [name for name in accepted if name not in used]


def text(results: Iterable[Result]) -> str:
    """A file that accepts what these results break, each with a reason to be written."""
    names = {result.check: result.title for result in results if result.state is State.FAIL}
    lines = ["# Breaches that are accepted. Write the reason of each; take out what is mended."]
    lines += [f"{name}:  # {title}" for name, title in sorted(names.items())]
    return "\n".join([*lines, ""])
