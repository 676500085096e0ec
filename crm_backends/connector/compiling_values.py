"""From the nodes of an expression to functions: names, members, operators, tests.

What may not be known is refused here, when the file is read: a name that is not there, a member that a name
does not have. No Python attribute is ever looked up. Calls of functions are made in ``expressions``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar

from jinja2 import nodes

from crm_backends.connector.answer_reads import of_answer
from crm_backends.connector.constants import (
    NOT_WRITTEN,
    look_at_comparison,
    look_at_end,
    look_at_joined,
    look_at_number,
    look_at_piece,
    written,
)
from crm_backends.connector.operators import ARITHMETIC, COMPARISONS, TESTS, comparison_with
from crm_backends.connector.parsing import SYNTAX
from crm_backends.connector.problems import nearest
from crm_backends.connector.scope import Context, Run, Scope, Shape, Wrong
from crm_backends.connector.values import (
    LACKING,
    Missing,
    Unfit,
    field_of,
    kind,
    member_of,
    number,
    plain,
    text_of,
)

Maker = Callable[[Any, Any], Run]
"""Of a compiler and a node, what works out its value."""
_NOTHING = frozenset({"null", "nil", "undefined", "NULL", "Null"})
"""What other languages call what is `none` here."""


class ValueCompiler:
    """Makes functions of what Jinja's parser has read, but for calls."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._reading = scope.reads
        self.statuses: set[int] = set()

    def compiled(self, node: nodes.Node) -> Run:
        try:
            return self._compiled(node)
        except RecursionError:
            raise Wrong("the expression is nested too deep") from None

    def _compiled(self, node: nodes.Node) -> Run:
        maker = self.makers.get(type(node))
        if maker is None:
            raise Wrong(f"expressions have no {type(node).__name__}", SYNTAX)
        return maker(self, node)

    def _operand(self, node: nodes.Node) -> Run:
        """For what takes nothing as it takes other values: what the answer lacks is nothing there."""
        run = self.compiled(node)
        if not self._reading or not of_answer(node):
            return run
        return lambda context: plain(run(context))

    def _number(self, node: nodes.Node) -> Run:
        """For what cannot do without a value."""
        run = self.compiled(node)
        if not self._reading or not of_answer(node):
            return run

        def needed(context: Context) -> Any:
            value = run(context)
            if value is LACKING:
                raise Missing
            return value

        return needed

    # -- values ----------------------------------------------------------------------------------------

    def _const(self, node: nodes.Const) -> Run:
        value = node.value
        if isinstance(value, float):
            value = Decimal(repr(value))
        if isinstance(value, complex) or (isinstance(value, Decimal) and not value.is_finite()):
            raise Wrong("this is not a number that can be used")
        return lambda context: value

    def _templatedata(self, node: nodes.TemplateData) -> Run:
        return lambda context: node.data

    def _name(self, node: nodes.Name) -> Run:
        name = node.name
        if name not in self._scope.names:
            if name in self._scope.elsewhere:
                raise Wrong(f"{name} may not be used here", self._scope.elsewhere[name], name)
            remedy = "write none" if name in _NOTHING else nearest(name, self._scope.names)
            raise Wrong(f'there is no "{name}" here', remedy, name)
        if name == "body" and self._reading:
            return lambda context: LACKING if context.get(name, "") is None else context.get(name)
        if name == "content" and not self._reading:
            return lambda context: plain(context.get(name))
        return lambda context: context.get(name)

    def _getattr(self, node: nodes.Getattr) -> Run:
        return self._member(node.node, node.attr)

    def _getitem(self, node: nodes.Getitem) -> Run:
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return self._member(node.node, node.arg.value)
        if isinstance(node.arg, nodes.Slice):
            return self._part(node.node, node.arg)
        if self._shape(node.node) is not None:
            path = _path(node.node)
            raise Wrong(f"a member of {path} has to be named", f"write {path}.name", path)
        if self._reading and of_answer(node.node) and isinstance(node.arg, nodes.Const):
            rows, position = self._compiled(node.node), node.arg.value
            return lambda context: member_of(rows(context), position)
        base, item = self._operand(node.node), self._operand(node.arg)
        return lambda context: field_of(base(context), item(context))

    def _part(self, of: nodes.Node, part: nodes.Slice) -> Run:
        base = self._compiled(of)
        for end in (part.start, part.stop):
            if end is not None:
                look_at_end(end)
        start, stop = (self._compiled(end) if end is not None else None for end in (part.start, part.stop))
        if part.step is not None:
            raise Wrong("a slice has a beginning and an end, no step")

        def sliced(context: Context) -> Any:
            value = base(context)
            if value is None or value is LACKING:
                return value
            if not isinstance(value, str | list):
                raise Unfit(f"text or a list is wanted, this is {kind(value)}")
            ends = [None if end is None else int(number(end(context))) for end in (start, stop)]
            return value[slice(*ends)]

        return sliced

    def _member(self, of: nodes.Node, name: str) -> Run:
        shape = self._shape(of)
        if shape is not None and name not in shape:
            path = _path(of)
            raise Wrong(f"there is no {path}.{name}", self._near(path, name, shape), f"{path}.{name}")
        if isinstance(of, nodes.Name) and of.name == "headers" and name != name.lower():
            raise Wrong("headers go by names in small letters", f'write headers["{name.lower()}"]', name)
        base = self._compiled(of)
        lacking = self._reading and of_answer(of)
        if (way := _way(of)) is not None:
            return _along(*way, name, lacking=lacking)

        def member(context: Context) -> Any:
            value = base(context)
            return value.get(name) if type(value) is dict else field_of(value, name)

        def of_an_answer(context: Context) -> Any:
            value = base(context)
            return value.get(name, LACKING) if type(value) is dict else member_of(value, name)

        return of_an_answer if lacking else member

    def _near(self, path: str, name: str, shape: Mapping[str, Any]) -> str:
        """A remedy for a member that is not there; a secret may be looked for among the settings."""
        other = {"settings": "secrets", "secrets": "settings"}.get(path, "")
        if name in (self._scope.names.get(other) or ()):
            return f"write {other}.{name}"
        return nearest(name, shape)

    def _shape(self, node: nodes.Node) -> Shape:
        """What members the value of a node has, where that is known."""
        if isinstance(node, nodes.Name):
            return self._scope.names.get(node.name)
        if isinstance(node, nodes.Getattr):
            name = node.attr
        elif (
            isinstance(node, nodes.Getitem)
            and isinstance(node.arg, nodes.Const)
            and isinstance(node.arg.value, str)
        ):
            name = node.arg.value
        else:
            return None
        above = self._shape(node.node)
        return None if above is None else above.get(name)

    def _list(self, node: nodes.List) -> Run:
        items = [self._operand(item) for item in node.items]
        return lambda context: [item(context) for item in items]

    def _dict(self, node: nodes.Dict) -> Run:
        pairs = [(self._operand(pair.key), self._operand(pair.value)) for pair in node.items]

        def made(context: Context) -> dict[Any, Any]:
            members = [(key(context), value(context)) for key, value in pairs]
            if any(isinstance(key, list | dict) for key, _ in members):
                raise Unfit("a list or a mapping cannot be a key")
            return dict(members)

        return made

    # -- operators -------------------------------------------------------------------------------------

    def _condexpr(self, node: nodes.CondExpr) -> Run:
        test, yes = self._compiled(node.test), self._compiled(node.expr1)
        no: Run = self._compiled(node.expr2) if node.expr2 is not None else lambda context: None
        return lambda context: yes(context) if test(context) else no(context)

    def _and(self, node: nodes.And) -> Run:
        look_at_joined(node.left, node.right)
        left, right = self._compiled(node.left), self._compiled(node.right)
        return lambda context: left(context) and right(context)

    def _or(self, node: nodes.Or) -> Run:
        look_at_joined(node.left, node.right)
        left, right = self._compiled(node.left), self._compiled(node.right)
        return lambda context: left(context) or right(context)

    def _not(self, node: nodes.Not) -> Run:
        operand = self._compiled(node.node)
        return lambda context: not operand(context)

    def _compare(self, node: nodes.Compare) -> Run:
        if len(node.ops) != 1:
            raise Wrong("comparisons are not chained", "join two of them with `and`")
        (operand,) = node.ops
        look_at_comparison(node.expr, operand)
        if isinstance(node.expr, nodes.Name) and node.expr.name == "status":
            self._note_statuses(operand)
        side = self._operand if operand.op in ("eq", "ne", "in", "notin") else self._number
        left, right = side(node.expr), side(operand.expr)
        if (constant := written(operand.expr)) is not NOT_WRITTEN:
            holds = comparison_with(operand.op, constant)
            return lambda context: holds(left(context))
        how = COMPARISONS[operand.op]
        return lambda context: how(left(context), right(context))

    def _note_statuses(self, operand: nodes.Operand) -> None:
        if operand.op not in ("eq", "in"):
            return
        values = operand.expr.items if isinstance(operand.expr, nodes.List | nodes.Tuple) else [operand.expr]
        for value in values:
            if isinstance(value, nodes.Const) and type(value.value) is int:
                self.statuses.add(value.value)

    def _arithmetic(self, node: nodes.BinExpr) -> Run:
        look_at_number(node.left)
        look_at_number(node.right, divides=node.operator in ("/", "//", "%"))
        left, right = self._number(node.left), self._number(node.right)
        how = ARITHMETIC[node.operator]
        return lambda context: how(number(left(context)), number(right(context)))

    def _neg(self, node: nodes.Neg) -> Run:
        look_at_number(node.node)
        operand = self._number(node.node)
        return lambda context: -number(operand(context))

    def _concat(self, node: nodes.Concat) -> Run:
        for piece in node.nodes:
            look_at_piece(piece)
        parts = [self._number(part) for part in node.nodes]
        return lambda context: "".join(text_of(part(context)) for part in parts)

    def _test(self, node: nodes.Test) -> Run:
        test = TESTS.get(node.name)
        if test is None or node.args:
            near = difflib.get_close_matches(node.name, TESTS, n=1)
            known = f'did you mean "is {near[0]}"?' if near else f"known: {', '.join(sorted(TESTS))}"
            raise Wrong(f'there is no test "is {node.name}"', known, node.name)
        operand = self._operand(node.node)
        return lambda context: test(operand(context))

    makers: ClassVar[Mapping[type[nodes.Node], Maker]] = {
        nodes.Const: _const,
        nodes.TemplateData: _templatedata,
        nodes.Name: _name,
        nodes.Getattr: _getattr,
        nodes.Getitem: _getitem,
        nodes.List: _list,
        nodes.Tuple: _list,
        nodes.Dict: _dict,
        nodes.CondExpr: _condexpr,
        nodes.And: _and,
        nodes.Or: _or,
        nodes.Not: _not,
        nodes.Compare: _compare,
        nodes.Add: _arithmetic,
        nodes.Sub: _arithmetic,
        nodes.Mul: _arithmetic,
        nodes.Div: _arithmetic,
        nodes.FloorDiv: _arithmetic,
        nodes.Mod: _arithmetic,
        nodes.Neg: _neg,
        nodes.Concat: _concat,
        nodes.Test: _test,
    }
    """What makes a function of a node, by its kind: there are no others."""


def _way(node: nodes.Node) -> tuple[str, ...] | None:
    """A name and the members after it, of a node that is nothing else."""
    if isinstance(node, nodes.Name):
        return (node.name,)
    if isinstance(node, nodes.Getattr):
        name = node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        name = node.arg.value
    else:
        return None
    above = _way(node.node)
    return None if above is None or not isinstance(name, str) else (*above, name)


def _along(first: str, *members: str, lacking: bool) -> Run:
    """A member of a member of a name, in one go; ``lacking``: what is not there is ``LACKING``."""
    if not lacking:

        def member(context: Context) -> Any:
            value = context.get(first)
            for name in members:
                value = value.get(name) if type(value) is dict else field_of(value, name)
            return value

        return member

    def of_an_answer(context: Context) -> Any:
        value = context.get(first)
        if value is None and first == "body" and first in context:
            return LACKING
        for name in members:
            value = value.get(name, LACKING) if type(value) is dict else member_of(value, name)
        return value

    return of_an_answer


def _path(node: nodes.Node) -> str:
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{_path(node.node)}.{node.attr}"
    return "this"
