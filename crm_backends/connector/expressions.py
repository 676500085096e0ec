"""Expressions: Jinja's, read by Jinja's own parser and run by a closed list of things.

No template is ever rendered and no Python attribute is ever looked up: an expression can reach the names it
is given, their members, and the functions of ``functions``. What it may not know is checked when it is read,
so that a wrong name is found before anything is asked. See README.md for why this language.

Here are the ways in, and what calls something: functions, filters, ``where``. The rest of the language is in
``compiling_values``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

from jinja2 import nodes

from crm_backends.connector.answer_reads import of_answer, reads
from crm_backends.connector.compiling_values import Maker, ValueCompiler
from crm_backends.connector.constants import given, look_at_arguments, written
from crm_backends.connector.functions import Function
from crm_backends.connector.parsing import SYNTAX, parsed
from crm_backends.connector.problems import nearest
from crm_backends.connector.row_reads import BY_MEMBER, members_read, watched_row, watched_rows
from crm_backends.connector.scope import Context, Expression, Members, Run, Scope, Wrong
from crm_backends.connector.values import LACKING, Unfit, field_of, kind, same


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
    pieces = parsed("${ " + text + "\n}")
    if len(pieces) != 1 or isinstance(pieces[0], nodes.TemplateData):
        raise Wrong("this is not one expression", "put } into quotes, or leave it out", "}")
    compiler = _Compiler(scope)
    run = compiler.compiled(pieces[0])
    if scope.filters and scope.watch is not None:
        run = watched_row(run, members_read(pieces[0]), scope.watch)
    reader = _Compiler(replace(scope.reading(), watch=None))
    looks_at = [reader.compiled(node) for node in reads(pieces[0])]
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
    for piece in parsed(text):
        if isinstance(piece, nodes.TemplateData):
            pieces.append(piece.data)
        else:
            pieces.append(Expression(_Compiler(scope).compiled(piece), where))
    return pieces


class _Compiler(ValueCompiler):
    """The whole language."""

    def _call(self, node: nodes.Call) -> Run:
        if not isinstance(node.node, nodes.Name):
            raise Wrong("only functions can be called", SYNTAX)
        return self._applied(node.node.name, [], node)

    def _filter(self, node: nodes.Filter) -> Run:
        if node.node is None:
            raise Wrong("there is nothing before the |", SYNTAX)
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
        if self._scope.watch is not None and name in BY_MEMBER and len(arguments) > 1:
            member = written([*first, *node.args][1])
            if isinstance(member, str):
                arguments[0] = watched_rows(arguments[0], [(member,)], self._scope.watch)
        lacking = self._reading and name != "default" and any(of_answer(one) for one in (*first, *node.args))
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
            rows = watched_rows(rows, read, self._scope.watch)

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

    makers: ClassVar[Mapping[type[nodes.Node], Maker]] = {
        **ValueCompiler.makers,
        nodes.Call: _call,
        nodes.Filter: _filter,
    }
    """All that an expression may be made of."""


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


def _check_arguments(name: str, function: Function, given: int, named: Mapping[str, object]) -> None:
    try:
        inspect.signature(function).bind(*range(given), **named)
    except TypeError as error:
        parameters = ", ".join(one.strip("_") for one in inspect.signature(function).parameters)
        raise Wrong(
            f"{name} is given the wrong arguments: {error}", f"it is {name}({parameters})", name
        ) from None
