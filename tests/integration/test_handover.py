"""The sheet for Koshelek: everything it has to know, as the settings have it, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.processes import PASSWORD, Ended, run

SETTINGS = f"""
[koshelek]
login = "shop"
password = "{PASSWORD}"
previous_login = "shop"
previous_password = "{PASSWORD}-before"
api_version = "1.1.0"
get_all_users = false
[server]
base_path = "/loyalty"
[database]
url = "postgresql://nobody:{PASSWORD}@127.0.0.1:9/none"
"""


def sheet(folder: Path, *arguments: str, text: str = SETTINGS) -> Ended:
    (folder / "koshelek-adapter.toml").write_text(text, encoding="utf-8")
    return run("handover", *arguments, cwd=folder)


@pytest.mark.parametrize("language", ["ru", "en"])
def test_the_sheet_has_what_the_settings_say_and_no_secret(tmp_path: Path, language: str) -> None:
    done = sheet(
        tmp_path,
        "--address",
        "loyalty.example.com",
        "--language",
        language,
        "--person",
        "+7 900 000-00-01: a card",
    )
    assert done.status == 0, done.text
    for told in (
        "`loyalty.example.com:443`",
        "`/loyalty`",
        "1.1.0",
        "`shop`",
        "`GET` `/loyalty/v1/card/anonymous`",
        "`POST` `/loyalty/v1/promo/qrCode`",
        "+7 900 000-00-01",
        "`qrCode`",
        "422",
        "| 904 | Сервис перегружен, повторите запрос позже |",  # as it is answered: koshelek.language
    ):
        assert told in done.out, told
    for left_out in (PASSWORD, "127.0.0.1", "/v1/promo/code", "getAllUsers`"):
        assert left_out not in done.out, left_out


def test_a_version_that_serves_more_says_so(tmp_path: Path) -> None:
    text = SETTINGS.replace("1.1.0", "1.3.0").replace("get_all_users = false", "")
    done = sheet(tmp_path, "--address", "loyalty.example.com:8443", text=text)
    for told in ("`loyalty.example.com:8443`", "/loyalty/v1/promo/code", "/loyalty/v1/card/getAllUsers`"):
        assert told in done.out
    assert "Кошелёк" in done.out  # the default language


@pytest.mark.parametrize(
    "address", [(), ("--address", "https://loyalty.example.com/x"), ("--address", ":443")]
)
def test_without_a_name_there_is_no_sheet(tmp_path: Path, address: tuple[str, ...]) -> None:
    done = sheet(tmp_path, *address)
    assert done.status == 1
    assert "--address" in done.err
    assert ("https://" in done.err) is ("https://" in "".join(address))
