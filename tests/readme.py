"""The generated parts of the README: ``python -m tests.readme`` writes them anew; a test compares them."""

from __future__ import annotations

import re
from pathlib import Path

from adapter.settings import text as settings_text
from contracts.suite import reference as suite

README = Path(__file__).resolve().parent.parent / "README.md"
PARTS = {
    "capabilities": settings_text.capabilities,
    "codes": settings_text.codes,
    "settings": settings_text.table,
    "options": suite.table,
}


def generated(text: str) -> str:
    """The README's text with every generated part as it should be."""
    for name, make in PARTS.items():
        body = make().strip()
        text, found = re.subn(
            rf"(<!-- {name}[^>]*-->\n).*?(<!-- /{name} -->)",
            "\\g<1>\n" + body.replace("\\", "\\\\") + "\n\n\\g<2>",
            text,
            flags=re.DOTALL,
        )
        if found != 1:
            raise SystemExit(f"README.md has no marks for {name}")
    return text


if __name__ == "__main__":
    README.write_text(generated(README.read_text(encoding="utf-8")), encoding="utf-8")
