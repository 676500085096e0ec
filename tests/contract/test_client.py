"""A client that a generator makes of the document: answers become models, and "nobody" is no error.

What stands in contracts/README.md on generated clients is run here, with openapi-python-client.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

import contracts
from contracts.loyalty_online import VERSIONS, openapi
from tests.suite.implementations.clean import LOGIN, PASSWORD, Clean, serving

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openapi_python_client") is None, reason="needs the extra `clients`"
)

README = Path(contracts.__file__).with_name("README.md").read_text(encoding="utf-8")


def generate(version: str, folder: Path) -> Path:
    """Fails where the generator warns of a piece that it leaves out."""
    settings = folder / "settings.yaml"
    settings.write_text("post_hooks: []\n")
    command = ["generate", "--path", str(openapi.file(version)), "--meta", "none", "--fail-on-warning"]
    done = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", *command, "--config", str(settings),
         "--output-path", str(folder / "loyalty_client")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "loyalty_client"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("client")
    generate("1.3.0", folder)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("loyalty_client")
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "loyalty_client"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "version", [*(pytest.param(older, marks=pytest.mark.programs) for older in VERSIONS[:-1]), VERSIONS[-1]]
)
def test_no_piece_of_a_version_is_left_out(version: str, tmp_path: Path) -> None:
    models = {file.stem for file in (generate(version, tmp_path) / "models").glob("*.py")}
    assert {"found_card", "card", "barcode", "card_info", "balance", "bonus", "purchase", "error"} <= models


def hook() -> Any:
    """``nobody`` as contracts/README.md has it."""
    (source,) = re.findall(r"```python\n(def nobody.*?)```", README, re.DOTALL)
    names: dict[str, Any] = {"httpx": httpx}
    exec(source.partition("\n\n\n")[0], names)
    return names["nobody"]


def call(name: str, *values: Any, **more: Any) -> Any:
    """One operation of the generated client."""
    return importlib.import_module(f"loyalty_client.api.{name}").sync(*values, **more)


async def test_answers_become_models(made: ModuleType) -> None:
    models = importlib.import_module("loyalty_client.models")

    def koshelek(url: str) -> None:
        token = b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
        client = made.AuthenticatedClient(
            url, token=token, prefix="Basic", httpx_args={"event_hooks": {"response": [hook()]}}
        )
        assert call("card.find_card", client=client, msisdn="79005550001") is None
        profile = models.Profile(phone="79005550001", email="client@example.com", firstname="Анна")
        issued = call("issue.issue_card", client=client, body=profile)
        number = issued.card.card_number
        found = call("card.find_card", client=client, msisdn="79005550001")
        assert isinstance(found, models.FoundCard)
        assert (found.card.card_number, found.card.card_state) == (number, models.CardCardState.ACTIVE)
        assert found.card.barcode.barcode_type is models.BarcodeBarcodeType.EAN_13
        assert call("card.update_profile", number, client=client, body=profile) is None
        shown = call("card.get_card", number, client=client)
        assert shown.card.bonus.total == "0"
        assert call("card.get_purchases", number, client=client, start_date="2026-01-01") == []
        refused = call("card.get_card", "404", client=client)
        assert isinstance(refused, models.Error)
        assert refused.code
        client.get_httpx_client().close()

    async with serving(Clean()) as url:
        await asyncio.to_thread(koshelek, url)
