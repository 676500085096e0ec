"""Reads the project's Markdown: which documents there are, and what links, anchors and code stand in them.

It may not know what the code in a document should mean.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
_NOT_OURS = frozenset({"node_modules", "build", "dist", "__pycache__"})
"""Folders that tools make; so are those whose name begins with a dot."""


@dataclass(frozen=True, slots=True)
class Link:
    line: int
    target: str


@dataclass(frozen=True, slots=True)
class Code:
    line: int
    text: str
    language: str | None = None
    """Of a block: what is written behind its fence, perhaps nothing. ``None``: code in a sentence."""


@functools.cache
def documents() -> tuple[Path, ...]:
    """Every Markdown file of the project."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_OURS]
        found += [Path(folder, name) for name in files if name.endswith(".md")]
    return tuple(sorted(found))


@functools.cache
def _tokens(path: Path) -> tuple[Token, ...]:
    parser = MarkdownIt("commonmark").enable("table")
    return tuple(parser.parse(path.read_text(encoding="utf-8")))


def _inline(path: Path) -> Iterator[tuple[int, Token]]:
    """Every piece of running text, with the line on which its paragraph begins."""
    for token in _tokens(path):
        for child in token.children or ():
            yield (token.map or [0])[0] + 1, child


def links(path: Path) -> list[Link]:
    """Every link and picture of the document, as it is written."""
    return [
        Link(line, str(token.attrGet("href") or token.attrGet("src")))
        for line, token in _inline(path)
        if token.type in ("link_open", "image")
    ]


def code(path: Path) -> list[Code]:
    """Every piece of code: in sentences, and in blocks."""
    in_sentences = [Code(line, token.content) for line, token in _inline(path) if token.type == "code_inline"]
    blocks = [
        Code((token.map or [0])[0] + 1, token.content, token.info.strip())
        for token in _tokens(path)
        if token.type in ("fence", "code_block")
    ]
    return in_sentences + blocks


def anchors(path: Path) -> frozenset[str]:
    """What ``#…`` may follow the document's name in a link, as GitHub makes it of the headings."""
    seen: Counter[str] = Counter()
    found = set()
    tokens = _tokens(path)
    for token, following in itertools.pairwise(tokens):
        if token.type == "heading_open":
            text = "".join(child.content for child in following.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return frozenset(found)
