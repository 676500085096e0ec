"""What is no mistake for certain, and most likely one: told by ``connector check``, refused by nothing.

It may not know what an expression means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from crm_backends.connector.problems import Path, Problem
from crm_backends.connector.reading import Loaded

_FORGOTTEN = re.compile(
    r"(?:(?<!\$)\{|\$\()(\s*(?:(?:input|settings|secrets|steps|with)\.[a-z_]"
    r"|(?:idempotency_key|token|page)\b)[^{}()]*)[})]"
)
"""What would be an expression, were it written ``${…}``."""
_TOLD = frozenset({"title", "help", "unsupported", "not_written", "partial", "examples"})
"""Keys whose texts people read."""


def notes(loaded: Loaded) -> list[Problem]:
    """Texts that look as if ``$`` was forgotten, and settings that nothing uses."""
    found = [
        Problem(
            loaded.place(path, text),
            f"{text} is sent as it is written",
            f"write ${{{expression}}} for its value",
        )
        for path, text, expression in _forgotten(loaded.sources[0].values, ())
    ]
    texts = "\n".join(one.text for one in loaded.sources)
    for name, setting in loaded.model.settings.items():
        kind = "secrets" if setting.secret else "settings"
        if not re.search(rf"\b{kind}(\.{name}\b|\[)", texts):
            place = loaded.place(("settings", name), key=True)
            found.append(Problem(place, f"nothing uses {kind}.{name}", "leave it out, or use it"))
    return found


def _forgotten(value: Any, path: Path) -> Iterator[tuple[Path, str, str]]:
    if isinstance(value, str):
        for match in _FORGOTTEN.finditer(value):
            if value.rfind("${", 0, match.start()) <= value.rfind("}", 0, match.start()):
                yield path, match[0], match[1]  # and no mapping within an expression
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _forgotten(one, (*path, index))
    elif isinstance(value, dict):
        for name, one in value.items():
            if name not in _TOLD:
                yield from _forgotten(one, (*path, name))
