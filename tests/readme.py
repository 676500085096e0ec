"""The generated parts of the documents: ``python -m tests.readme`` writes them anew; a test compares them.

A part stands between two comments, ``<!-- codes: … -->`` and ``<!-- /codes -->``, in the document it belongs
to. Everything in it is read off the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from adapter.settings import text as settings_text
from contracts.suite import reference as suite
from crm_backends import registry
from tests.markdown import ROOT, documents

PARTS: Mapping[str, Callable[[], str]] = {
    "capabilities": settings_text.capabilities,
    "codes": settings_text.codes,
    "settings": settings_text.sections,
    "settings-of-http": settings_text.settings_of_http,
    "options": suite.table,
    **{f"settings-of-{name}": partial(settings_text.settings_of, name) for name in registry.names()},
}


def _part(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}(?::[^>]*)? -->\n).*?(<!-- /{name} -->)", re.DOTALL)


def parts_in(text: str) -> list[str]:
    """Names of the generated parts that stand in this text."""
    return [name for name in PARTS if _part(name).search(text)]


def generated(text: str) -> str:
    """The text with every generated part as it should be."""
    for name in parts_in(text):
        body = PARTS[name]().strip().replace("\\", r"\\")
        text = _part(name).sub(rf"\1\n{body}\n\n\2", text)
    return text


def stale() -> dict[Path, str]:
    """Documents with a generated part that is not as the code has it, and their text as it should be."""
    texts = {path: path.read_text(encoding="utf-8") for path in documents()}
    return {path: fresh for path, text in texts.items() if (fresh := generated(text)) != text}


def main() -> None:
    for path, text in stale().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
