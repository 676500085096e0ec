"""What must hold for every commit, apart from the tests: ``python -m tests.check``.

``--fix`` mends what the tools can mend. Nothing is installed. The pre-commit hook and the continuous
integration call this very command.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"


@dataclass(frozen=True)
class Step:
    """One thing to check; ``fix``: arguments with which the same tool mends it."""

    name: str
    tool: str
    check: tuple[str, ...]
    fix: tuple[str, ...] | None = None


STEPS = (
    Step("lint", "ruff", ("-m", "ruff", "check", "."), ("-m", "ruff", "check", "--fix", ".")),
    Step("format", "ruff", ("-m", "ruff", "format", "--check", "."), ("-m", "ruff", "format", ".")),
    Step("types", "mypy", ("-m", "mypy")),
    Step("imports", "importlinter", ("-c", _LINT_IMPORTS)),
)


def run(step: Step, *, fix: bool) -> bool:
    """Whether it is well now. What the tool says is shown where it is not."""
    if find_spec(step.tool) is None:
        print(f"{step.tool} is not installed in {sys.prefix}: pip install -e '.[test]'")
        return False
    arguments = step.fix if fix and step.fix is not None else step.check
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print((done.stdout + done.stderr).rstrip())
    return done.returncode == 0


def documents(*, fix: bool) -> bool:
    """Whether the generated parts of the documents are as the code has them."""
    try:
        from tests import readme
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed in {sys.prefix}: pip install -e '.[test]'")
        return False
    if fix:
        readme.main()
        return True
    stale = readme.stale()
    for path in stale:
        print(f"{path.relative_to(ROOT)}: a generated part is not as the code has it")
    return not stale


def main(arguments: list[str] | None = None) -> int:
    """Run every step, also after one that failed; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.check", description=__doc__)
    parser.add_argument("--fix", action="store_true", help="mend what the tools can mend")
    fix: bool = parser.parse_args(arguments).fix
    failed = []
    steps: list[tuple[str, Callable[[], bool]]] = [(one.name, partial(run, one, fix=fix)) for one in STEPS]
    steps.append(("documents", partial(documents, fix=fix)))
    for name, work in steps:
        started = time.monotonic()
        well = work()
        print(f"{'ok    ' if well else 'FAILED'} {name} ({time.monotonic() - started:.1f} s)", flush=True)
        if not well:
            failed.append(name)
    if failed:
        print(f"not as it should be: {', '.join(failed)}" + ("" if fix else "; try --fix"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
