"""Parts of strict settings: the key that was probably meant, a secret in a file, a table of all keys.

It may not know which settings there are.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo


def nearest(key: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that was probably meant by ``key``; ``None``: nothing is like it."""
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return near[0] if near else None


def is_secret(info: FieldInfo) -> bool:
    """Whether a setting is a secret, which is masked wherever settings are shown."""
    return SecretStr in (info.annotation, *typing.get_args(info.annotation))


def read_secret(path: Path) -> str:
    """The text of a file without its last line break.

    Raises:
        ValueError: it cannot be read; the message is the reason alone, as the caller names the setting.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(error.strerror if isinstance(error, OSError) else "it is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; ``|`` in a cell is escaped, unless it is escaped already."""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells = (cell.replace("\\|", "|").replace("|", "\\|") for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    return lines
