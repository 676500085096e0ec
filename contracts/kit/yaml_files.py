"""The YAML files that come with this package, read in a tenth of the time where libyaml is there.

For what somebody else has written there are readers that say where a mistake is. It may not know what is in
the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(file: Path) -> dict[str, Any]:
    """The mapping in a file."""
    content: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), _LOADER)  # noqa: S506 - a safe one
    return content
