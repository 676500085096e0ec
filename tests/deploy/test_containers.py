"""The image and the compose file, as far as they can be judged without a container runtime."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import AsyncIterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from adapter.process.embedded import EmbeddedServer
from tests.integration.processes import run


def compose(project: Path) -> dict[str, Any]:
    text = (project / "deploy" / "compose" / "compose.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def of_ours(project: Path) -> dict[str, dict[str, Any]]:
    """The services that are made of our image."""
    services = compose(project)["services"]
    return {name: service for name, service in services.items() if "build" in service}


def _needed() -> dict[str, list[Requirement]]:
    """Packages that an installation without extras brings, with what is asked of each."""
    found: dict[str, list[Requirement]] = {}
    waiting = ["koshelek-adapter"]
    while waiting:
        for text in metadata.requires(waiting.pop()) or []:
            requirement = Requirement(text)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            name = canonicalize_name(requirement.name)
            if name not in found:
                waiting.append(name)
            found.setdefault(name, []).append(requirement)
    return found


def test_the_constraints_name_every_package_in_a_version_that_fits(project: Path) -> None:
    lines = (project / "deploy" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    needed = _needed()
    assert set(needed) <= set(pins)
    for name, requirements in needed.items():
        for requirement in requirements:
            assert requirement.specifier.contains(pins[name], prereleases=True), (name, str(requirement))


def test_the_image_is_given_every_file_that_the_build_wants(project: Path) -> None:
    text = (project / "deploy" / "Containerfile").read_text(encoding="utf-8")
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    let_in = (project / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in copied:
        assert (project / name).exists(), name
        assert f"!{name}" in let_in, name
    hatch = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]
    assert set(hatch["build"]["targets"]["wheel"]["packages"]) <= set(copied)
    assert text.count("FROM ${BASE}") == 2


def test_compose_closes_every_container_of_ours(project: Path) -> None:
    services = of_ours(project)
    assert set(services) == {"prepare", "adapter", "worker"}
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
            assert not port.endswith(":8081")


def test_only_what_prepares_has_the_owners_password(project: Path) -> None:
    holders = {name for name, service in of_ours(project).items() if "owner_url" in service["secrets"]}
    assert holders == {"prepare"}


@pytest.fixture
def made(project: Path, tmp_path: Path) -> Path:
    """A copy of the folder, with its secrets made."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl on this machine")
    folder = tmp_path / "compose"
    shutil.copytree(project / "deploy" / "compose", folder, ignore=shutil.ignore_patterns("secrets"))
    subprocess.run(["sh", "secrets.sh"], cwd=folder, check=True, timeout=60)
    return folder


def test_secrets_are_made_once(made: Path, project: Path) -> None:
    before = {file.name: file.read_text(encoding="utf-8") for file in (made / "secrets").iterdir()}
    assert {f"./secrets/{name}" for name in before} == {
        secret["file"] for secret in compose(project)["secrets"].values()
    }
    assert len(set(before.values())) == len(before)
    subprocess.run(["sh", "secrets.sh"], cwd=made, check=True, timeout=60)
    assert before == {file.name: file.read_text(encoding="utf-8") for file in (made / "secrets").iterdir()}


@pytest.fixture
async def roles(postgresql: EmbeddedServer, fresh_database: str, made: Path) -> AsyncIterator[str]:
    """A database in which the image's first start has run the script; its URL."""
    (folder,) = parse_qs(urlsplit(fresh_database).query)["host"]
    await asyncio.to_thread(
        subprocess.run,
        ["sh", str(made / "roles.sh")],
        check=True,
        timeout=60,
        env={
            "PATH": f"{postgresql.programs.folder}:{os.environ['PATH']}",
            "PGHOST": folder,
            "SECRETS": str(made / "secrets"),
            "POSTGRES_DB": urlsplit(fresh_database).path.removeprefix("/"),
        },
    )
    yield fresh_database
    connection = await asyncpg.connect(fresh_database)
    await connection.execute(
        f"ALTER DATABASE {urlsplit(fresh_database).path.removeprefix('/')} OWNER TO postgres; "
        "DROP OWNED BY koshelek_owner, koshelek_service; DROP ROLE koshelek_owner, koshelek_service"
    )
    await connection.close()


async def test_with_the_settings_of_compose_the_tables_are_made_and_check_is_content(
    roles: str, made: Path, project: Path
) -> None:
    secrets = made / "secrets"
    for role in ("owner", "service"):
        (secrets / f"{role}_url").chmod(0o600)
        (secrets / f"{role}_url").write_text(roles.replace("://postgres:", f"://koshelek_{role}:"))

    def variables(service: str) -> dict[str, str]:
        given = of_ours(project)[service]["environment"]
        return {name: str(value).replace("/run/secrets", str(secrets)) for name, value in given.items()}

    prepare = of_ours(project)["prepare"]["command"]
    done = await asyncio.to_thread(run, *prepare, cwd=made, env=variables("prepare"))
    assert done.status == 0, done.text
    for service in ("adapter", "worker"):
        done = await asyncio.to_thread(run, "check", cwd=made, env=variables(service))
        assert done.status == 0, done.text
        assert "warn" not in done.out, done.out


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool on this machine")
def test_prometheus_takes_the_configuration(made: Path, project: Path) -> None:
    shutil.copy(project / "deploy" / "alerts" / "rules.yaml", made / "rules.yaml")
    done = subprocess.run(
        ["promtool", "check", "config", "prometheus.yaml"],
        cwd=made,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
