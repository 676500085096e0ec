"""The settings that a driver's page shows by example can be read, and bind what they show."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from adapter.settings import Crm

DRIVERS = Path(__file__).resolve().parents[2] / "crm_backends"
BOUND = {
    "perx": [{"users", "points", "coupons"}],
    "pegke": [{"points"}, {"points"}],
    "xerts": [{"coupons"}],
}
"""Driver -> the ports that each of its examples binds."""


def examples(driver: str) -> list[dict[str, Any]]:
    text = (DRIVERS / driver / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    # A placeholder becomes something that is long enough, and an id where one is wanted.
    return [tomllib.loads(re.sub('"[^"]*…"', '"00000000-0000-4000-8000-000000000000"', b)) for b in blocks]


@pytest.mark.parametrize("driver", BOUND)
def test_an_example_binds_the_ports_it_is_for(driver: str) -> None:
    bound = [
        {port for port, found in Crm.model_validate(example["crm"]).bindings().items() if found is not None}
        for example in examples(driver)
    ]
    assert bound == BOUND[driver]
