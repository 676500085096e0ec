"""A command that needs more than the service says so in one sentence, with what to install, at its start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.markdown import ROOT


def run_without(module: str, program: str, *arguments: str) -> tuple[int, str]:
    """Exit status and standard error of a program where the module is not installed."""
    script = f"import sys; sys.modules[{module!r}] = None; from {program} import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(("module", "package"), [("jsonschema", "jsonschema"), ("barcode", "python-barcode")])
@pytest.mark.parametrize("command", [("run", "http://127.0.0.1:9"), ("sandbox", "perx"), ("docs",)])
def test_the_suite_names_the_package_and_the_extra(
    module: str, package: str, command: tuple[str, ...]
) -> None:
    status, said = run_without(module, "contracts.cli", *command)
    assert status == 1
    assert (
        said == f"error: koshelek-contract needs {package}; install it: pip install '.[suite]' in the clone\n"
    )


def test_help_needs_nothing() -> None:
    assert run_without("jsonschema", "contracts.cli", "--help")[0] == 0


def test_the_demo_names_the_module_and_the_extra() -> None:
    status, said = run_without("jsonschema", "adapter.commands.app", "demo")
    assert status == 1
    assert said == (
        "error: the demo needs jsonschema, which is not installed; install it: "
        "pip install '.[embedded]' in the clone\n"
    )
