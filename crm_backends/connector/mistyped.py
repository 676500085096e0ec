"""What a person most likely mistyped where YAML's reader gives up, in the words of people.

It may not know what a connector is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ODD_BLANK = re.compile("^ *([\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000])", re.MULTILINE)
_ODD_QUOTE = re.compile("(?:[:{\\[,-] *)([\u201c\u201d\u201e\u00ab\u00bb\u2018\u2019])")
_TEXT_ENDED = re.compile(r"[^\s,:\]}#]")
"""What may not follow the quote that ends a text."""
_MEMBER = re.compile(r"( *)(?:- +)?[^\s#:{\[\"'][^:]*:( +[^\s#|>].*)?$")
"""A line with a member of a mapping: its indentation, and its value if that is on the same line."""


@dataclass(frozen=True, slots=True)
class Mistyped:
    """A likely mistake: where by character, what, and what to do."""

    index: int
    cause: str
    remedy: str


def mistyped(text: str, index: int, said: str, block: int | None) -> Mistyped | None:
    """The likely mistake, if it is one of those that people make.

    Args:
        text: the whole file.
        index: the character at which YAML's reader gave up.
        said: what it says.
        block: where the block began in which it was, if it was in one.
    """
    if "could not find expected ':'" in said and block is not None:
        return Mistyped(block, "there is no colon after this", "write name: value")
    if "expected alphabetic" in said and block is not None:
        return Mistyped(block, f"no text may begin with {text[block]}", "put it into quotes")
    begin = text.rfind("\n", 0, index) + 1
    line = text[begin:].partition("\n")[0]
    if "'\\t'" in said or "\t" in line[: len(line) - len(line.lstrip())]:
        tab = text.find("\t", begin)
        return Mistyped(
            index if tab < 0 else tab, "there is a tab here", "write blanks, for YAML takes no tabs"
        )
    before = text.rfind("\n", 0, max(begin - 1, 0)) + 1  # YAML may notice a line later
    if odd := _ODD_BLANK.search(text, before, begin + len(line)):
        sign = f"U+{ord(odd[1]):04X}"
        return Mistyped(
            odd.start(1), f"here is a sign that only looks like a blank ({sign})", "write a blank"
        )
    if odd := _ODD_QUOTE.search(line):
        return Mistyped(begin + odd.start(1), f"{odd[1]} is no quote for YAML", "write \" or ' at both ends")
    ended = text[begin:index].rstrip(" ")
    if _TEXT_ENDED.match(text, index) and ended.endswith(("'", '"')):
        quote = ended[-1]
        other = "'" if quote == '"' else '"'
        opened = ended.rfind(quote, 0, -1) + 1
        cause = f"the text in quotes that begins in column {opened} ends here, and more follows"
        remedy = f"close it before, or write {other} around a text that has {quote} in it"
        return Mistyped(begin + len(ended) - 1, cause, remedy)
    if said.startswith("expected ',' or"):
        return _within_brackets(text, index, block)
    if "cannot start any token" in said:
        return Mistyped(index, f"no text may begin with {text[index]}", "put it into quotes")
    return _indented_otherwise(text, begin, line, said, block)


def _indented_otherwise(text: str, begin: int, line: str, said: str, block: int | None) -> Mistyped | None:
    blanks = len(line) - len(line.lstrip(" "))
    if "<block end>" in said and block is not None and blanks != block - (text.rfind("\n", 0, block) + 1):
        depths = [
            (number, len(one) - len(one.lstrip(" ")))
            for number, one in enumerate(text[:begin].split("\n"), 1)
            if one.strip() and not one.lstrip().startswith("#")
        ]
        at = next((at for at in reversed(range(len(depths))) if depths[at][1] < blanks), None)
        if at is not None and at + 1 < len(depths):
            over, depth = depths[at][0], depths[at + 1][1]
            cause = f"this line begins after {blanks} blanks, the block under line {over} after {depth}"
            return Mistyped(
                begin + blanks, cause, "indent all lines of a block alike, and the line over it less"
            )
    if "mapping values are not allowed" in said and (own := _MEMBER.match(line)):
        above = text[:begin].rstrip("\n").rpartition("\n")[2]
        other = _MEMBER.match(above)
        if other is not None and other[2] and len(own[1]) > len(other[1]):
            cause = "this line is indented deeper than the one above, which has a value already"
            return Mistyped(begin + blanks, cause, "indent them alike")
    return None


def _within_brackets(text: str, index: int, block: int | None) -> Mistyped | None:
    if text[index - 1 : index + 1] == "${":
        return Mistyped(index - 1, "${ has no quotes around it here", 'write "${…}"')
    if block is None:
        return None
    if not text[index:].strip():
        return Mistyped(block, f"the {text[block]} that begins here is not closed", "close it")
    if "\n" not in text[block:index]:
        return None
    number = text.count("\n", 0, block) + 1
    cause = f"a comma is missing before this, or the {text[block]} of line {number} is not closed"
    return Mistyped(index, cause, "see that each { and [ has its end")
