"""From a text to the nodes of Jinja's parser, and what is said of a text that it cannot read.

It may not know what the nodes mean, nor which of them are allowed.
"""

from __future__ import annotations

from functools import lru_cache

import jinja2
from jinja2 import nodes

from crm_backends.connector.scope import Wrong

SYNTAX = "see `koshelek-adapter connector docs` for how expressions are written"
"""The remedy for what cannot be read."""
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


def parsed(text: str) -> list[nodes.Expr]:
    if len(text) > _LONGEST:
        raise Wrong(f"an expression is longer than {_LONGEST} characters")
    if "\x00" in text:
        raise Wrong("there is a character here that no text has")
    try:
        body = _template(text).body
    except jinja2.TemplateSyntaxError as error:
        raise _unread(text, error.message or "") from None
    except (RecursionError, ValueError, OverflowError, MemoryError) as error:
        raise Wrong(f"the expression cannot be read ({type(error).__name__})", SYNTAX) from None
    found: list[nodes.Expr] = []
    for node in body:
        if not isinstance(node, nodes.Output):
            raise Wrong("the expression cannot be read", SYNTAX)
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
        return Wrong("a bracket or a quote is not closed, or something is missing at the end", SYNTAX)
    told = told.replace("'end of print statement'", "the end of the expression").rstrip(".")
    return Wrong(f"the expression cannot be read: {told}", SYNTAX)
