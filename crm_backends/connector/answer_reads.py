"""What an expression reads of an answer, told by its nodes: the answer may lack it, as nothing else does.

It may not know how an expression runs.
"""

from __future__ import annotations

from jinja2 import nodes

_ANSWER = frozenset({"body", "content", "headers", "row"})
"""Names of what was answered."""


def of_answer(node: nodes.Node) -> bool:
    """Whether a value is read of an answer, or made of what is."""
    return (isinstance(node, nodes.Name) and node.name in _ANSWER) or any(
        one.name in _ANSWER for one in node.find_all(nodes.Name)
    )


def reads(node: nodes.Node) -> list[nodes.Expr]:
    """What is read of an answer, each as far as its members are named.

    Not ``body is none``: that an answer has no body is no less plain than what a body says.
    """
    if isinstance(node, nodes.Test) and node.name == "none" and isinstance(node.node, nodes.Name):
        return []
    if isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem) and _named_members(node):
        return [node]
    return [found for child in node.iter_child_nodes() for found in reads(child)]


def _named_members(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Getattr):
        return _named_members(node.node)
    if isinstance(node, nodes.Getitem):
        return isinstance(node.arg, nodes.Const) and _named_members(node.node)
    return isinstance(node, nodes.Name) and node.name in _ANSWER
