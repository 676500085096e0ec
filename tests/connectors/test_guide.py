"""The pieces of the guide are true of the sandbox that serves Kolibri."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from contracts.sandbox import kolibri, running
from tests.connectors.test_commands import run

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "crm_backends/connector/README.md").read_text(encoding="utf-8")


async def test_the_account_of_people_kept_elsewhere_is_found_by_their_phone(tmp_path: Path) -> None:
    text = next(
        one for one in re.findall(r"```yaml\n(.*?)```", GUIDE, re.S) if one.startswith("connector: 1")
    )
    (piece,) = re.findall(r"  ```yaml\n(  points\.account:.*?)  ```", GUIDE, re.S)
    own = "  points.account: {result: {id: input.customer}}\n"
    assert own in text
    file = tmp_path / "kolibri.yaml"
    file.write_text(text.replace(own, piece), encoding="utf-8")
    assert "well" in await asyncio.to_thread(run, "check", file)
    async with running("kolibri") as sandbox:
        settings = {"base_url": sandbox.base_url, "login": kolibri.LOGIN, "password": kolibri.PASSWORD}
        words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        asked = ("points.account", "--phone", "89990000001", "--input", "customer=of-another-system")
        assert '= "101"' in await asyncio.to_thread(run, "try", file, *asked, *words)
        nobody = ("points.account", "--phone", "89990009999")
        assert "= null" in await asyncio.to_thread(run, "try", file, *nobody, *words)
