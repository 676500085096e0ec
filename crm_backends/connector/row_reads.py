"""What filters read of rows, and who is shown it: ``watching`` tells members that no row has.

It may not know what a filter does with a row, nor how the rest of an expression runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import nodes

from crm_backends.connector.constants import written
from crm_backends.connector.scope import ROW, Context, Members, Run, Watch

BY_MEMBER = frozenset({"pick", "sort", "unfold", "unique"})
"""Functions that look at one member of each row, which is their second argument."""


def members_read(node: nodes.Node) -> list[Members]:
    """Members of ``row`` that an expression reads, but for those that it lets be missing."""
    if isinstance(node, nodes.Test) and node.name in ("none", "defined", "empty"):
        return []
    if isinstance(node, nodes.Filter) and node.name in ("default", "where") and node.node is not None:
        parts = list(node.args) if node.name == "default" else [node.node]
        return [found for part in parts for found in members_read(part)]
    if (way := _way(node)) is not None:
        return [way] if len(way) > 1 else []
    return [found for child in node.iter_child_nodes() for found in members_read(child)]


def _way(node: nodes.Node) -> Members | None:
    """The way from ``row`` to what a node reads; nothing where it reads something else."""
    if isinstance(node, nodes.Name):
        return (ROW,) if node.name == ROW else None
    if isinstance(node, nodes.Getattr):
        name: Any = node.attr
    elif isinstance(node, nodes.Getitem):
        name = written(node.arg)
    else:
        return None
    above = _way(node.node)
    return None if above is None or not isinstance(name, str) else (*above, name)


def watched_rows(rows: Run, read: Sequence[Members], watch: Watch) -> Run:
    def shown(context: Context) -> Any:
        found = rows(context)
        if isinstance(found, list):
            watch(read, found)
        return found

    return shown


def watched_row(run: Run, read: Sequence[Members], watch: Watch) -> Run:
    def shown(context: Context) -> Any:
        watch(read, [context["row"]])
        return run(context)

    return shown
