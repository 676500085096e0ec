"""Another secret is taken up by a driver at work, over the stand-ins: refused before, let in afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from contracts.sandbox import iiko, pegke, perx, running, uds, xerts
from crm_backends import registry
from crm_backends.conformance import context
from crm_backends.ports import TakesNewSecrets

from .processes import PASSWORD, Running, free_ports
from .test_reloading import hang_up

WRONG = "planted-wrong-secret"
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "perx": {
        "client_id": perx.CLIENT_ID,
        "client_secret": perx.CLIENT_SECRET,
        "merchant_identifier": perx.MERCHANT_IDENTIFIER,
        "loyalty_program_id": perx.LOYALTY_PROGRAM_ID,
        "identifier": "token",
        "identifier_secret": "a secret of the test, no other",
        "find_by": "merchant_search",
        "send_phone": True,
    },
    "pegke": {
        "dialect": "merchant_v1",
        "path": pegke.MERCHANT_PATH,
        "consumer_code": pegke.CONSUMER_CODE,
        "consumer_secret": pegke.CONSUMER_SECRET,
    },
    "xerts": {"api_key": xerts.API_KEY, "site": xerts.SITE_ID},
    "uds": {"path": "/partner/v2", "company_id": uds.COMPANY, "api_key": uds.API_KEY},
    "iiko": {"api_key": iiko.API_KEY, "organization": iiko.ORGANIZATION, "wallet": iiko.WALLET},
}
"""Settings over the stand-in; ``path``: of the API below it."""
SECRET = {"perx": "client_secret", "pegke": "consumer_secret"}
"""Which of them is another at first; of the rest it is ``api_key``."""


@pytest.mark.parametrize("driver", SETTINGS)
async def test_a_driver_goes_on_with_the_secret_it_is_given(driver: str) -> None:
    secret = SECRET.get(driver, "api_key")
    async with running(driver) as sandbox:
        given = dict(SETTINGS[driver])
        given["base_url"] = sandbox.base_url + given.pop("path", "")
        spec = registry.load(driver)
        right = spec.settings.model_validate(given)
        backend: Any = spec.build(spec.settings.model_validate({**given, secret: WRONG}), context())
        taking: object = backend
        assert isinstance(taking, TakesNewSecrets)
        await backend.open()
        try:
            assert not all(found.ok for found in await backend.check())
            assert backend.renew(right)
            assert [found for found in await backend.check() if not found.ok] == []
        finally:
            await backend.close()


def test_identifiers_made_of_another_secret_would_be_other_customers() -> None:
    spec = registry.load("perx")
    given = {**SETTINGS["perx"], "base_url": "http://127.0.0.1:9"}
    backend: Any = spec.build(spec.settings.model_validate(given), context())
    other = spec.settings.model_validate(
        {**given, "identifier_secret": "another secret of the test, no other"}
    )
    assert not backend.renew(other)


async def test_the_signal_hands_a_new_secret_to_the_driver(tmp_path: Path, database: str) -> None:
    (port,) = free_ports(1)
    async with running("pegke") as sandbox:
        (tmp_path / "secret").write_text(WRONG, encoding="utf-8")
        (tmp_path / "koshelek-adapter.toml").write_text(
            f'[koshelek]\npassword = "{PASSWORD}"\n[server]\nport = {port}\n[management]\nenabled = false\n'
            f'[database]\nurl = "{database}"\n[log]\nformat = "json"\n[[cards.ranges]]\nprefix = "2900"\n'
            f'[crm.users]\ndriver = "postgres"\n[crm.points]\ndriver = "pegke"\ndialect = "merchant_v1"\n'
            f'base_url = "{sandbox.base_url}{pegke.MERCHANT_PATH}"\nconsumer_code = "{pegke.CONSUMER_CODE}"\n'
            f'consumer_secret_file = "{tmp_path / "secret"}"\n',
            encoding="utf-8",
        )
        with Running("serve", cwd=tmp_path) as serving:
            serving.wait_for('"event": ?"ready"', limit=40)
            (tmp_path / "secret").write_text(pegke.CONSUMER_SECRET, encoding="utf-8")
            (line,) = hang_up(serving, 1)
            assert (line["changed"], line["needs_restart"]) == (["crm.points"], [])
