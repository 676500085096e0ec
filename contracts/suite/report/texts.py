"""Texts from a stranger's server, made fit to be shown: visible, harmless, bounded, and still exact.

It may not know what a report is.
"""

from __future__ import annotations

import json
import re

BODY_LIMIT = 8_000
"""Characters of a body that are shown."""
LINE_LIMIT = 2_000
"""Characters of anything else: an address, a sentence."""
HEADER_LIMIT = 500
"""Characters of a header's name or value."""
MOST_HEADERS = 40

_UNSEEN = re.compile(
    # Control characters, what XML forbids, half a surrogate pair; then what is not seen but changes how a
    # text is read: soft hyphen, zero widths, directions, separators, byte order mark.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff"
    "\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_DEEPEST_INDENT = 16


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def encodable(text: str) -> str:
    """The text with half surrogate pairs written as ``\\udc80``: UTF-8 has nothing for them."""
    return _SURROGATE.sub(_escape, text)


def headers(pairs: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """The first headers, each encodable and no longer than what is shown."""
    return [
        (encodable(name[:HEADER_LIMIT]), encodable(value[:HEADER_LIMIT]))
        for name, value in pairs[:MOST_HEADERS]
    ]


def printable(text: str, limit: int = LINE_LIMIT) -> str:
    """The text with every character that cannot be seen or printed written as ``\\x1b`` or ``\\u202e``.

    Line ends and tabs stay. At most ``limit`` characters are kept; how many are left off is said.
    """
    left_off = len(text) - limit
    text = _UNSEEN.sub(_escape, text[:limit].replace("\r\n", "\n"))
    return f"{text}… ({left_off:,} more characters)" if left_off > 0 else text


def laid_out(body: str, limit: int = BODY_LIMIT) -> str:
    """A body for reading: JSON gets line ends and indents, its tokens stay to the letter; see ``printable``.

    Parsing and writing anew would hide what a check complains of: ``1.10``, a key that is there twice.
    """
    if len(body) > limit or not _is_json(body):
        return printable(body, limit)
    return printable(_indented(_JSON_TOKEN.findall(body)), 4 * limit)


def _is_json(body: str) -> bool:
    try:
        json.loads(body, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def _indented(tokens: list[str]) -> str:
    parts: list[str] = []
    depth = 0
    for each, following in zip(tokens, [*tokens[1:], ""], strict=True):
        parts.append(each)
        if each in ("{", "["):
            depth += 1
        closes = following in ("}", "]")
        if closes:
            depth -= 1
        if each == ":":
            parts.append(" ")
        elif (each in ("{", "[", ",") or closes) and each + following not in ("{}", "[]"):
            parts.append("\n" + "  " * min(depth, _DEEPEST_INDENT))
    return "".join(parts)
