"""The exact versions the tests ran with: ``python -m tests.constraints`` writes ``deploy/constraints.txt``.

Made from what is installed here, for the package with all its extras; ``--check`` says what is installed in
another version than the file has. The file names no place to get anything from.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement

FILE = Path(__file__).resolve().parent.parent / "deploy" / "constraints.txt"
PACKAGE = "koshelek-adapter"
_HEAD = f"""\
# The versions that the tests ran with, of {PACKAGE} with all its extras.
# Install with them:  pip install -c deploy/constraints.txt .
# Written by:  python -m tests.constraints
"""


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, str]:
    """Name -> version of everything that the package needs, extras included, as it is installed here."""
    found: dict[str, str] = {}
    extras = distribution(PACKAGE).metadata.get_all("Provides-Extra") or []
    waiting = [(PACKAGE, extra) for extra in ["", *extras]]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:  # of another platform or Python, or optional
            continue
        if normal(name) != PACKAGE:
            found[normal(name)] = version(name)
        for text in requirements:
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                new = {(wanted.name, one) for one in ["", *wanted.extras]} - seen
                seen |= new
                waiting.extend(new)
    return found


def written() -> dict[str, str]:
    """Name -> version as the file has them."""
    lines = (line.strip() for line in FILE.read_text(encoding="utf-8").splitlines())
    found: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, _, pinned = line.partition("==")
            found[name] = pinned
    return found


def main() -> int:
    """Write the file, or with ``--check`` compare; returns the exit status."""
    here = installed()
    if "--check" in sys.argv[1:]:
        there = written()
        other = {name: found for name, found in here.items() if there.get(name) != found}
        for name, found in sorted(other.items()):
            print(f"{name} {found} is installed, {FILE.name} has {there.get(name, 'nothing of it')}")
        return 1 if other else 0
    text = _HEAD + "".join(f"{name}=={found}\n" for name, found in sorted(here.items()))
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
