"""The version tells the commit: of a clone, of a work tree, of a built package; also without git."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from adapter import __version__, version

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def repository(folder: Path, head: str) -> Path:
    git = folder / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text(f"{head}\n", encoding="utf-8")
    return git


def test_a_clone_on_a_branch_tells_its_commit(tmp_path: Path) -> None:
    git = repository(tmp_path, "ref: refs/heads/main")
    (git / "refs" / "heads" / "main").write_text(f"{COMMIT}\n", encoding="utf-8")
    assert version.commit_of(tmp_path) == COMMIT[:12]


def test_a_clone_with_packed_branches_tells_its_commit(tmp_path: Path) -> None:
    git = repository(tmp_path, "ref: refs/heads/main")
    packed = f"# pack-refs with: peeled\n{'f' * 40} refs/heads/other\n{COMMIT} refs/heads/main\n^{'e' * 40}\n"
    (git / "packed-refs").write_text(packed, encoding="utf-8")
    assert version.commit_of(tmp_path) == COMMIT[:12]


def test_a_clone_on_no_branch_tells_its_commit(tmp_path: Path) -> None:
    repository(tmp_path, COMMIT)
    assert version.commit_of(tmp_path) == COMMIT[:12]


def test_a_work_tree_tells_its_commit(tmp_path: Path) -> None:
    git = repository(tmp_path / "clone", "ref: refs/heads/main")
    (git / "refs" / "heads" / "side").write_text(f"{COMMIT}\n", encoding="utf-8")
    own = git / "worktrees" / "side"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/side\n", encoding="utf-8")
    (own / "commondir").write_text("../..\n", encoding="utf-8")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / ".git").write_text(f"gitdir: {own}\n", encoding="utf-8")
    assert version.commit_of(tmp_path / "tree") == COMMIT[:12]


@pytest.mark.parametrize("head", ["", "nonsense", "ref: refs/heads/absent", "ref: ../../../etc/passwd"])
def test_without_a_commit_there_is_the_version_alone(
    head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path, head)
    assert version.commit_of(tmp_path) is None
    assert version.commit_of(tmp_path / "absent") is None
    monkeypatch.setattr(version, "commit", lambda: None)
    assert version.text.__wrapped__() == __version__


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git on this machine")
def test_a_real_clone_is_told_as_git_tells_it(project: Path) -> None:
    if not (project / ".git").exists():
        pytest.skip("these tests do not run in a clone")
    told = subprocess.run(
        ["git", "-c", "safe.directory=*", "rev-parse", "HEAD"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    assert version.commit_of(project) == told.stdout.strip()[:12]


def test_a_built_package_carries_its_commit(project: Path, tmp_path: Path) -> None:
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    source = tmp_path / "source"
    for name in ("adapter", "crm_backends", "contracts"):
        (source / name).mkdir(parents=True)
        (source / name / "__init__.py").write_text('__version__ = "0"\n', encoding="utf-8")
    shutil.copy(project / "adapter" / "version.py", source / "adapter")
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(project / name, source)
    repository(source, COMMIT)
    (made,) = builder.WheelBuilder(str(source)).build(directory=str(tmp_path))
    with zipfile.ZipFile(made) as wheel:
        assert wheel.read(f"adapter/{version.BAKED}").decode() == COMMIT[:12]
