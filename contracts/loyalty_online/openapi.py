"""The OpenAPI 3.1 document of each version, built from ``source.yaml`` and the clauses.

Pure: the same source gives the same text. The built files are kept beside the source; ``python -m
contracts.loyalty_online`` writes them. It may not know any service.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from contracts.kit import yaml_files
from contracts.loyalty_online.clauses import VERSIONS, clauses, versions_until

FOLDER = Path(__file__).parent
VERBS = ("get", "put", "post", "patch", "delete")

_HEADER = """\
# Built from source.yaml by: python -m contracts.loyalty_online
# Change the source, not this file.
"""


@dataclass(frozen=True, slots=True)
class Operation:
    """One path and verb of a document."""

    path: str
    verb: str
    """In small letters."""
    node: dict[str, Any]
    """The operation object of the document."""
    parameters: tuple[Mapping[str, Any], ...]
    """Of the path and of the operation, references followed."""

    @property
    def method(self) -> int:
        """Number of the method in the contract."""
        return int(self.node["x-method"])


@cache
def _source() -> dict[str, Any]:
    return yaml_files.read(FOLDER / "source.yaml")


def document(version: str) -> dict[str, Any]:
    """The OpenAPI document of ``version``, a new copy. ``ValueError`` if there is no such version."""
    served = versions_until(version)
    built: dict[str, Any] = _without_newer(copy.deepcopy(_source()), served)
    added = built.pop("x-versions")
    changes = "\n".join(f"* {each}: {added[each]}" for each in served)
    info = {**built["info"], "version": version}
    info["description"] += f"\nVersions up to this one:\n\n{changes}\n"
    built["info"] = info
    built["paths"] = {path: _with_more_verbs(item) for path, item in built["paths"].items() if _verbs(item)}
    for operation in operations(built):
        _complete(operation.node, operation.method, version)
    return built


@cache
def text(version: str) -> str:
    """The document of ``version`` as YAML."""
    body = yaml.dump(
        document(version), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=110, indent=2
    )
    return _HEADER + body


def file(version: str) -> Path:
    """Where the document of ``version`` is kept."""
    return FOLDER / f"openapi-{version}.yaml"


def operations(built: Mapping[str, Any]) -> Iterator[Operation]:
    """The operations of a document, in its order."""
    for path, item in built["paths"].items():
        for verb in _verbs(item):
            parameters = [*item.get("parameters", ()), *item[verb].get("parameters", ())]
            followed = tuple(follow(built, parameter) for parameter in parameters)
            yield Operation(path, verb, item[verb], followed)


def follow(built: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """``node``, or what its ``$ref`` leads to with the other keys of ``node`` laid over."""
    if "$ref" not in node:
        return node
    target: Any = built
    for step in node["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    own = {key: value for key, value in node.items() if key != "$ref"}
    return {**follow(built, target), **own}


def _verbs(item: Mapping[str, Any]) -> list[str]:
    return [key for key in item if key in VERBS]


def _without_newer(node: Any, served: tuple[str, ...]) -> Any:
    """``node`` without what only versions after ``served`` have."""
    if isinstance(node, dict):
        return {
            key: _without_newer(value, served) for key, value in node.items() if not _is_newer(value, served)
        }
    if isinstance(node, list):
        return [_without_newer(value, served) for value in node if not _is_newer(value, served)]
    return node


def _is_newer(node: Any, served: tuple[str, ...]) -> bool:
    return isinstance(node, dict) and node.get("x-since", VERSIONS[0]) not in served


def _with_more_verbs(item: dict[str, Any]) -> dict[str, Any]:
    """The path item with the verbs of ``x-also`` as operations of their own."""
    more: dict[str, Any] = {}
    for verb in _verbs(item):
        for other in item[verb].pop("x-also", ()):
            same = copy.deepcopy(item[verb])
            same["x-same-as"] = same["operationId"]
            same["operationId"] += f"By{other.capitalize()}"
            same["x-evidence"]["verb"] = "inferred"
            more[other] = same
    return item | more


def _complete(node: dict[str, Any], method: int, version: str) -> None:
    """Add what all operations have: the clauses of their method, the error answers."""
    node.setdefault("x-since", VERSIONS[0])
    node["x-clauses"] = [
        clause.id for clause in clauses().values() if clause.method == method and version in clause.versions
    ]
    node["responses"] |= {
        "401": {"$ref": "#/components/responses/Unauthorized"},
        "422": {"$ref": "#/components/responses/Refused"},
    }


class _Dumper(yaml.SafeDumper):
    """Writes what is repeated in full, texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text_node)
