"""The reference of the language, made from what the engine itself uses, for `connector docs`."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterator, Mapping
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from crm_backends.connector.language import (
    Connector,
    Exchange,
    Flow,
    GoOn,
    Login,
    Nothing,
    Oauth,
    Operation,
    Outcome,
    Pages,
    Reconcile,
    Request,
    Setting,
    Step,
)
from crm_backends.connector.moments import ProgrammeDefaults, functions_of
from crm_backends.connector.operators import TOLD_TESTS
from crm_backends.connector.vocabulary import DECIDES, RECONCILING, SHAPES

_PARTS: Mapping[str, type[BaseModel]] = {
    "the file": Connector,
    "a setting": Setting,
    "an operation": Operation,
    "a port that the CRM has nothing of": Nothing,
    "a call": Request,
    "a step: a call, and": Step,
    "an outcome": Outcome,
    "pages": Pages,
    "reconcile": Reconcile,
    "go_on": GoOn,
    "auth": Flow,
    "oauth": Oauth,
    "login: a call, and": Login,
    "an exchange of an example": Exchange,
}
_CONTEXT: Mapping[str, str] = {
    "input": "what the operation is asked; its members are listed below",
    "settings": "the connector's settings that are not secret",
    "secrets": "those that are; only in what is sent",
    "steps": "what earlier steps have saved: steps.name.field; of a step with pages also steps.name.rows",
    "with": "in a request of `requests:`, what the step gives it",
    "body": "the last answer: JSON as it came, fractions exact",
    "content": "what of it was asked for, where the file says so by its key `content`",
    "status": "its HTTP status",
    "headers": "its headers, by names in small letters; several of one name with a comma between",
    "page": "in what a step with pages sends: the page, the offset or the cursor; nothing before the first",
    "row": "one of the rows, in where and in result",
    "idempotency_key": "our key for this write, the same at every attempt: capital letters and digits, 26 "
    "of them or as many as `key_length` says",
    "since": "in reconcile: when the write was sent",
    "token": "in login's send: the token",
    "now": "this moment",
}


def markdown() -> str:
    """The whole reference."""
    return "\n".join([*_names(), *_operators(), *_functions(), *_operations(), *_outcomes(), *_keys()]) + "\n"


def _names() -> Iterator[str]:
    yield from ("## Names in expressions", "", "| name | what it is |", "|---|---|")
    yield from (f"| `{name}` | {text} |" for name, text in _CONTEXT.items())
    yield ""


def _operators() -> Iterator[str]:
    yield from ("## Between values", "")
    yield "Compare: `==` `!=` `<` `<=` `>` `>=` `in` `not in`. Join: `and` `or` `not`."
    yield "Choose: `a if test else b`."
    yield 'Reckon: `+` `-` `*` `/` `//` `%`, exactly. Text: `a ~ b`. Lists `[a, b]`, mappings `{"a": b}`,'
    yield 'parts `list[0]`, `text[:10]`, `{"male": "m"}[row.sex]`.'
    yield "A member that is not there is nothing, and so are its members; what `rows`, `save` and a"
    yield "needed field of a result read of an answer has to be there, unless `default` says what it is else."
    yield from ("", "| test | holds where |", "|---|---|")
    yield from (f"| `is {name}` | {text} |" for name, text in TOLD_TESTS.items())
    yield ""


def _functions() -> Iterator[str]:
    yield from ("## Functions", "", "`x | f(a)` is the same as `f(x, a)`.", "")
    yield from ("| function | gives |", "|---|---|")
    yield "| `where(list, name=value…)` | the rows that have these members |"
    yield '| `where(list, "row.amount > 0")` | the rows for which the expression about `row` is true |'
    for name, function in sorted(functions_of(ProgrammeDefaults(ZoneInfo("UTC"), "RU")).items()):
        parameters = [_parameter(one) for one in inspect.signature(function).parameters.values()]
        text = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
        yield f"| `{name}({', '.join(parameters)})` | {text.rstrip('.').replace('|', chr(92) + '|')} |"
    yield ""


def _parameter(one: inspect.Parameter) -> str:
    """A parameter as it is told: one of many with dots, one that may be left out with what it is then."""
    name = one.name.strip("_")
    if one.kind is inspect.Parameter.VAR_POSITIONAL:
        return f"{name.removesuffix('s')}, …"
    if one.default is inspect.Parameter.empty:
        return name
    told = {None: "none", False: "false", True: "true"}
    default = one.default
    return f"{name}={told[default] if default is None or isinstance(default, bool) else json.dumps(default)}"


def _operations() -> Iterator[str]:
    yield from ("## Operations", "")
    for name, shape in SHAPES.items():
        yield f"**`{name}`** {shape.does}."
        yield from _members("input", shape.asked)
        for member, inner in shape.members.items():
            yield from _members(f"input.{member}", inner)
        yield from _members("result", shape.gives)
        if name in RECONCILING:
            yield from _members("reconcile result", RECONCILING[name])
        yield ""


def _members(what: str, members: Mapping[str, str]) -> Iterator[str]:
    if members:
        told = (f"`{name}` ({text})" if text else f"`{name}`" for name, text in members.items())
        yield f"* {what}: {', '.join(told)}"


def _outcomes() -> Iterator[str]:
    yield from ("## What an answer may mean", "", "| is | means |", "|---|---|")
    yield from (f"| `{name}` | {text} |" for name, text in DECIDES.items())
    yield ""


def _keys() -> Iterator[str]:
    yield from ("## Keys", "")
    shared = set(Request.model_fields)
    for title, model in _PARTS.items():
        yield f"**{title}**"
        for name, info in model.model_fields.items():
            if model in (Step, Login) and name in shared:
                continue
            needed = ", needed" if info.is_required() else ""
            text = f": {info.description}" if info.description else ""
            yield f"* `{info.alias or name}`{needed}{_choices(info.annotation)}{text}"
        yield ""


def _choices(annotation: object) -> str:
    """What a key may be, where that is a few words."""
    if typing.get_origin(annotation) is not typing.Literal:
        return ""
    words = [f"`{word}`" for word in typing.get_args(annotation)]
    return f", {' or '.join(words)}" if len(words) < 3 else f", one of {', '.join(words)}"
