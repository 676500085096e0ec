"""The systemd units: understood by systemd, as closed as they promise, and enough for the adapter to run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.processes import PASSWORD, command, environment

UNITS = ("koshelek-adapter.service", "koshelek-adapter-worker@.service")
MOST_EXPOSED = 3.0
PROGRAM = "/opt/koshelek/bin/koshelek-adapter"

with_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on this machine"
)


def text_of(project: Path, unit: str) -> str:
    return (project / "deploy" / "systemd" / unit).read_text(encoding="utf-8")


def installed(project: Path, unit: str, folder: Path) -> Path:
    """The unit in ``folder``, with the program where it is on this machine; a template as one instance."""
    program = folder / "koshelek-adapter"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    file = folder / unit.replace("@.", "@8082.")
    text = text_of(project, unit)
    assert text.count(f"ExecStart={PROGRAM} ") == 1
    file.write_text(text.replace(PROGRAM, str(program)), encoding="utf-8")
    return file


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@with_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_to_say(project: Path, tmp_path: Path, unit: str) -> None:
    done = analyze("verify", "--man=no", str(installed(project, unit, tmp_path)))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@with_systemd
def test_a_slip_in_a_unit_would_be_found(project: Path, tmp_path: Path) -> None:
    file = installed(project, UNITS[0], tmp_path)
    file.write_text(file.read_text(encoding="utf-8").replace("PrivateTmp=", "PrivateTemp="), encoding="utf-8")
    assert "PrivateTemp" in analyze("verify", "--man=no", str(file)).stderr


@with_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_little_exposed(project: Path, tmp_path: Path, unit: str) -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(installed(project, unit, tmp_path)))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) < MOST_EXPOSED, done.stdout


@pytest.mark.parametrize("unit", UNITS)
def test_a_database_that_comes_up_later_is_waited_for(project: Path, unit: str) -> None:
    """A start without a database ends with status 1; systemd has to try for ever."""
    text = text_of(project, unit)
    for line in ("Restart=always", "StartLimitIntervalSec=0"):
        assert f"\n{line}\n" in text
    assert not re.search(r"^(Requires|BindsTo|Requisite)=", text, re.MULTILINE)


@pytest.mark.parametrize("unit", UNITS)
def test_what_the_unit_starts_is_a_command_with_these_options(project: Path, unit: str) -> None:
    line = re.search(rf"^ExecStart={PROGRAM} (\w+) (.*)$", text_of(project, unit), re.MULTILINE)
    assert line is not None
    told = subprocess.run(
        command(line[1], "--help"), capture_output=True, text=True, check=True, env=environment(), timeout=60
    )
    for option in re.findall(r"--[a-z-]+", line[2]):
        assert option in told.stdout


_DENY_WRITE_EXECUTE = """
import ctypes, os, sys
prctl = ctypes.CDLL(None, use_errno=True).prctl
if prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE: what MemoryDenyWriteExecute=yes asks for, handed on to programs
    sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_no_memory_has_to_be_written_and_run(tmp_path: Path) -> None:
    """Hashing and a check load all of the adapter's binary modules."""
    (tmp_path / "koshelek-adapter.toml").write_text(
        f'[koshelek]\npassword = "{PASSWORD}"\n[database]\nurl = "postgresql://nobody@127.0.0.1:9/none"\n',
        encoding="utf-8",
    )
    for words, status in (("config", "hash"), 0), (("check",), 1):
        done = subprocess.run(
            [sys.executable, "-c", _DENY_WRITE_EXECUTE, *command(*words)],
            cwd=tmp_path,
            env=environment(),
            input="a long enough password",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode == 77:
            pytest.skip("this kernel does not know PR_SET_MDWE")
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert "nothing listens on 127.0.0.1:9" in done.stdout
