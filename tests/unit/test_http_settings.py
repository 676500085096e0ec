"""What the settings of a CRM behind HTTP accept."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from crm_backends.http import HttpSettings


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://api.perxtech.io", "https://api.perxtech.io"),
        ("https://dashboard.pegke.com/apiv1/", "https://dashboard.pegke.com/apiv1"),
        ("https://crm.example:8443/v1//", "https://crm.example:8443/v1"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.2/", "http://127.0.0.2"),
        ("http://[::1]:8000/api", "http://[::1]:8000/api"),
    ],
)
def test_a_base_url_is_kept_without_its_last_slash(given: str, kept: str) -> None:
    assert HttpSettings(base_url=given).base_url == kept


@pytest.mark.parametrize(
    "url",
    [
        "http://crm.example",
        "http://10.0.0.1",
        "http://localhost.example",
        "ftp://localhost",
        "crm.example",
        "https://",
        "https://[::1",
        "https://crm.example:port",
        "https://login:s3cret@crm.example",
        "https://crm.example/?key=s3cret",
        "https://crm.example/#s3cret",
        "https://crm.example/a b\n",
        "https://срм.рф",
    ],
)
def test_what_is_not_a_safe_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        HttpSettings(base_url=url)
    assert "s3cret" not in caught.value.errors()[0]["msg"]


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="verify"):
        HttpSettings.model_validate({"base_url": "https://crm.example", "verify": False})


def test_every_setting_is_described() -> None:
    assert all(field.description for field in HttpSettings.model_fields.values())
