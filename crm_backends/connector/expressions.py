"""Expressions: Jinja's, read by Jinja's own parser and run by the closed list of things below.

No template is ever rendered and no Python attribute is ever looked up: an expression can reach the names it
is given, their members, and the functions of ``functions``. What it may not know is checked when it is read,
so that a wrong name is found before anything is asked. See README.md for why this language.

What is allowed, and what is said of anything else, are in one module, so that neither changes without
the other.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes

from crm_backends.connector.constants import (
    given,
    look_at_arguments,
    look_at_comparison,
    look_at_end,
    look_at_joined,
    look_at_number,
    look_at_piece,
    members_read,
    written,
)
from crm_backends.connector.functions import Function
from crm_backends.connector.operators import ARITHMETIC, COMPARISONS, TESTS
from crm_backends.connector.problems import nearest
from crm_backends.connector.scope import Context, Expression, Members, Run, Scope, Shape, Watch, Wrong
from crm_backends.connector.values import (
    LACKING,
    Missing,
    Unfit,
    field_of,
    kind,
    member_of,
    number,
    plain,
    same,
    text_of,
)

_LONGEST = 4000
"""Characters of an expression."""
_JINJA = jinja2.Environment(  # noqa: S701 - it parses, nothing is rendered
    variable_start_string="${",
    variable_end_string="}",
    # There are no statements and no comments: the file cannot have these characters.
    block_start_string="\x00\x01",
    block_end_string="\x01\x00",
    comment_start_string="\x00\x02",
    comment_end_string="\x02\x00",
    keep_trailing_newline=True,
)


def read_expression(text: object, scope: Scope, where: str = "") -> Expression:
    """Read the text of an expression. Raises ``Wrong``."""
    if isinstance(text, bool | int | Decimal):
        constant = text
        return Expression(lambda context: constant, where, gives=(constant,))
    if not isinstance(text, str) or not text.strip():
        raise Wrong("an expression is missing", "write what the value is, such as body.id")
    if "${" in text:
        raise Wrong("this is an expression already", "leave out ${ and }", "${")
    # Blanks at both ends: Jinja takes a sign there for its trimming of white space.
    pieces = _parsed("${ " + text + "\n}")
    if len(pieces) != 1 or isinstance(pieces[0], nodes.TemplateData):
        raise Wrong("this is not one expression", "put } into quotes, or leave it out", "}")
    compiler = _Compiler(scope)
    run = compiler.compiled(pieces[0])
    if scope.filters and scope.watch is not None:
        run = _watched_row(run, members_read(pieces[0]), scope.watch)
    reader = _Compiler(replace(scope.reading(), watch=None))
    looks_at = [reader.compiled(node) for node in _reads(pieces[0])]
    gives = tuple(given(pieces[0]))
    return Expression(run, where, frozenset(compiler.statuses), text.strip(), gives, looks_at)


def read_pieces(text: str, scope: Scope, where: str = "") -> list[str | Expression]:
    """The pieces of a text with ``${…}`` in it. Raises ``Wrong``."""
    if "${" not in text:
        return [text]
    for sign in ("${-", "${+", "-}", "+}"):
        if sign in text:
            raise Wrong(
                f"{sign} would be read as Jinja's trimming of white space", "write a blank there", sign
            )
    pieces: list[str | Expression] = []
    for piece in _parsed(text):
        if isinstance(piece, nodes.TemplateData):
            pieces.append(piece.data)
        else:
            pieces.append(Expression(_Compiler(scope).compiled(piece), where))
    return pieces


def _parsed(text: str) -> list[nodes.Expr]:
    if len(text) > _LONGEST:
        raise Wrong(f"an expression is longer than {_LONGEST} characters")
    if "\x00" in text:
        raise Wrong("there is a character here that no text has")
    try:
        body = _template(text).body
    except jinja2.TemplateSyntaxError as error:
        raise _unread(text, error.message or "") from None
    except (RecursionError, ValueError, OverflowError, MemoryError) as error:
        raise Wrong(f"the expression cannot be read ({type(error).__name__})", _SYNTAX) from None
    found: list[nodes.Expr] = []
    for node in body:
        if not isinstance(node, nodes.Output):
            raise Wrong("the expression cannot be read", _SYNTAX)
        found += node.nodes
    return found


@lru_cache(maxsize=2048)
def _template(text: str) -> nodes.Template:
    """What Jinja reads; most expressions of a connector stand in it several times."""
    return _JINJA.parse(text)


def _unread(text: str, told: str) -> Wrong:
    """What Jinja's parser says of a text that is no expression, in the words of this language."""
    if "&&" in text or "||" in text:
        return Wrong("expressions have no && and no ||", "write `and`, `or`", "&&" if "&&" in text else "||")
    if "got '='" in told:
        return Wrong("a single = does not compare", "write ==")
    if "got '!'" in told or "unexpected char '!'" in told:
        return Wrong("! is not read", "write `not`", "!")
    if "unexpected end of template" in told:
        return Wrong("${ is not closed", "write } after the expression", "${")
    if told.startswith(("unexpected '}'", "unexpected '${'")) or "got '}'" in told:
        return Wrong("a bracket or a quote is not closed, or something is missing at the end", _SYNTAX)
    told = told.replace("'end of print statement'", "the end of the expression").rstrip(".")
    return Wrong(f"the expression cannot be read: {told}", _SYNTAX)


_NOTHING = frozenset({"null", "nil", "undefined", "NULL", "Null"})
"""What other languages call what is `none` here."""
_SYNTAX = "see `koshelek-adapter connector docs` for how expressions are written"


class _Compiler:
    """Makes functions of what Jinja's parser has read."""

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
        maker = _MAKERS.get(type(node))
        if maker is None:
            raise Wrong(f"expressions have no {type(node).__name__}", _SYNTAX)
        return maker(self, node)

    def _operand(self, node: nodes.Node) -> Run:
        """For what takes nothing as it takes other values: what the answer lacks is nothing there."""
        run = self.compiled(node)
        if not self._reading or not _of_answer(node):
            return run
        return lambda context: plain(run(context))

    def _number(self, node: nodes.Node) -> Run:
        """For what cannot do without a value."""
        run = self.compiled(node)
        if not self._reading or not _of_answer(node):
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
        if self._reading and _of_answer(node.node) and isinstance(node.arg, nodes.Const):
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

        def member(context: Context) -> Any:
            value = base(context)
            return value.get(name) if type(value) is dict else field_of(value, name)

        def of_answer(context: Context) -> Any:
            value = base(context)
            return value.get(name, LACKING) if type(value) is dict else member_of(value, name)

        return of_answer if self._reading and _of_answer(of) else member

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

    # -- functions and tests ---------------------------------------------------------------------------

    def _call(self, node: nodes.Call) -> Run:
        if not isinstance(node.node, nodes.Name):
            raise Wrong("only functions can be called", _SYNTAX)
        return self._applied(node.node.name, [], node)

    def _filter(self, node: nodes.Filter) -> Run:
        if node.node is None:
            raise Wrong("there is nothing before the |", _SYNTAX)
        return self._applied(node.name, [node.node], node)

    def _applied(self, name: str, first: list[nodes.Expr], node: nodes.Call | nodes.Filter) -> Run:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise Wrong("arguments are written out, * and ** are not there", "", name)
        if name == "where":
            return self._where([*first, *node.args], node.kwargs)
        function = self._scope.functions.get(name)
        if function is None:
            known = [*self._scope.functions, "where"]
            raise Wrong(f'there is no function "{name}"', nearest(name, known), name)
        value = self._operand if name == "default" else self._compiled
        arguments = [value(argument) for argument in (*first, *node.args)]
        named = {str(pair.key): self._operand(pair.value) for pair in node.kwargs}
        _check_arguments(name, function, len(arguments), named)
        by_name = {str(pair.key): pair.value for pair in node.kwargs}
        look_at_arguments(name, function, [*first, *node.args], by_name)
        if self._scope.watch is not None and name in _BY_MEMBER and len(arguments) > 1:
            member = written([*first, *node.args][1])
            if isinstance(member, str):
                arguments[0] = _watched_rows(arguments[0], [(member,)], self._scope.watch)
        lacking = self._reading and name != "default" and any(_of_answer(one) for one in (*first, *node.args))
        rest = [*first, *node.args][1:]
        if arguments and not named and all(isinstance(one, nodes.Const) for one in rest):
            return _with_constants(
                function, arguments[0], [one({}) for one in arguments[1:]], lacking=lacking
            )
        if lacking:
            return _lacking_too(function, arguments, named)
        return lambda context: function(
            *[argument(context) for argument in arguments],
            **{key: value(context) for key, value in named.items()},
        )

    def _where(self, arguments: list[nodes.Expr], named: Sequence[nodes.Pair | nodes.Keyword]) -> Run:
        """Rows of a list that have these members, or for which an expression about ``row`` is true."""
        if not arguments or len(arguments) > 2:
            raise Wrong(
                "where takes a list, and members or an expression", 'list | where("row.id == …")', "where"
            )
        rows = self._compiled(arguments[0])
        wanted = [(pair.key, self._compiled(pair.value)) for pair in named]
        read: list[Members] = [(str(pair.key),) for pair in named if written(pair.value) is not None]
        condition: Run | None = None
        if len(arguments) == 2:
            text = arguments[1]
            if not isinstance(text, nodes.Const) or not isinstance(text.value, str):
                raise Wrong(
                    "the condition of where is written as a text", 'list | where("row.id == …")', "where"
                )
            scope = replace(self._scope, reads=False, filters=True).with_names(row=None)
            condition = read_expression(text.value, scope).run
        if self._scope.watch is not None:
            rows = _watched_rows(rows, read, self._scope.watch)

        def chosen(context: Context) -> Any:
            found = rows(context)
            if found is None:
                return []
            if found is LACKING:
                return found
            if not isinstance(found, list):
                raise Unfit(f"a list is wanted, this is {kind(found)}")
            for name, value in wanted:
                sought = value(context)
                found = [row for row in found if same(field_of(row, name), sought)]
            if condition is not None:
                found = [row for row in found if condition({**context, "row": row})]
            return found

        return chosen

    def _test(self, node: nodes.Test) -> Run:
        test = TESTS.get(node.name)
        if test is None or node.args:
            near = difflib.get_close_matches(node.name, TESTS, n=1)
            known = f'did you mean "is {near[0]}"?' if near else f"known: {', '.join(sorted(TESTS))}"
            raise Wrong(f'there is no test "is {node.name}"', known, node.name)
        operand = self._operand(node.node)
        return lambda context: test(operand(context))


_MAKERS: Mapping[type[nodes.Node], Callable[[_Compiler, Any], Run]] = {
    nodes.Const: _Compiler._const,
    nodes.TemplateData: _Compiler._templatedata,
    nodes.Name: _Compiler._name,
    nodes.Getattr: _Compiler._getattr,
    nodes.Getitem: _Compiler._getitem,
    nodes.List: _Compiler._list,
    nodes.Tuple: _Compiler._list,
    nodes.Dict: _Compiler._dict,
    nodes.CondExpr: _Compiler._condexpr,
    nodes.And: _Compiler._and,
    nodes.Or: _Compiler._or,
    nodes.Not: _Compiler._not,
    nodes.Compare: _Compiler._compare,
    nodes.Add: _Compiler._arithmetic,
    nodes.Sub: _Compiler._arithmetic,
    nodes.Mul: _Compiler._arithmetic,
    nodes.Div: _Compiler._arithmetic,
    nodes.FloorDiv: _Compiler._arithmetic,
    nodes.Mod: _Compiler._arithmetic,
    nodes.Neg: _Compiler._neg,
    nodes.Concat: _Compiler._concat,
    nodes.Call: _Compiler._call,
    nodes.Filter: _Compiler._filter,
    nodes.Test: _Compiler._test,
}
"""All that an expression may be made of."""


def _of_answer(node: nodes.Node) -> bool:
    """Whether a value is read of an answer, or made of what is."""
    return (isinstance(node, nodes.Name) and node.name in _ANSWER) or any(
        one.name in _ANSWER for one in node.find_all(nodes.Name)
    )


_ANSWER = frozenset({"body", "content", "headers", "row"})


def _reads(node: nodes.Node) -> list[nodes.Expr]:
    """What is read of an answer, each as far as its members are named.

    Not ``body is none``: that an answer has no body is no less plain than what a body says.
    """
    if isinstance(node, nodes.Test) and node.name == "none" and isinstance(node.node, nodes.Name):
        return []
    if isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem) and _named_members(node):
        return [node]
    return [found for child in node.iter_child_nodes() for found in _reads(child)]


_BY_MEMBER = frozenset({"pick", "sort", "unfold", "unique"})
"""Functions that look at one member of each row, which is their second argument."""


def _watched_rows(rows: Run, read: Sequence[Members], watch: Watch) -> Run:
    def shown(context: Context) -> Any:
        found = rows(context)
        if isinstance(found, list):
            watch(read, found)
        return found

    return shown


def _watched_row(run: Run, read: Sequence[Members], watch: Watch) -> Run:
    def shown(context: Context) -> Any:
        watch(read, [context["row"]])
        return run(context)

    return shown


def _named_members(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Getattr):
        return _named_members(node.node)
    if isinstance(node, nodes.Getitem):
        return isinstance(node.arg, nodes.Const) and _named_members(node.node)
    return isinstance(node, nodes.Name) and node.name in _ANSWER


def _with_constants(function: Function, first: Run, rest: Sequence[Any], *, lacking: bool) -> Run:
    """A call of which the first argument alone differs; ``lacking`` as ``_lacking_too``."""
    if lacking:

        def called(context: Context) -> Any:
            value = first(context)
            return value if value is LACKING else function(value, *rest)

        return called
    if not rest:
        return lambda context: function(first(context))
    return lambda context: function(first(context), *rest)


def _lacking_too(function: Function, arguments: Sequence[Run], named: Mapping[str, Run]) -> Run:
    """A call that gives what it is given where the answer lacks it."""

    def called(context: Context) -> Any:
        given = [argument(context) for argument in arguments]
        if any(value is LACKING for value in given):
            return LACKING
        return function(*given, **{key: value(context) for key, value in named.items()})

    return called


def _path(node: nodes.Node) -> str:
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{_path(node.node)}.{node.attr}"
    return "this"


def _check_arguments(name: str, function: Function, given: int, named: Mapping[str, object]) -> None:
    try:
        inspect.signature(function).bind(*range(given), **named)
    except TypeError as error:
        parameters = ", ".join(one.strip("_") for one in inspect.signature(function).parameters)
        raise Wrong(
            f"{name} is given the wrong arguments: {error}", f"it is {name}({parameters})", name
        ) from None
