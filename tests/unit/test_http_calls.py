"""What a driver gets back from a call; what goes out is in ``test_http_requests``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import respx

from crm_backends.http import Bearer, HttpClient, HttpSettings, Reply
from crm_backends.ports import BackendCredentials, BackendUnavailable, Deadline, Written

CRM = "https://crm.example/v1"
# respx intercepts httpcore unless told otherwise, and there is none under this client.
pytestmark = pytest.mark.respx(using="httpx")


@pytest.fixture
async def crm() -> AsyncIterator[HttpClient]:
    client = HttpClient("crm", HttpSettings(base_url=CRM, attempts=1), Bearer("t0ken"))
    await client.open()
    yield client
    await client.close()


def soon() -> Deadline:
    return Deadline.after(2)


@pytest.mark.parametrize(
    "path", ["/a/../b", "..", "/a/..", "/%2e%2e/b", "/a/.%2E/b", "/./b", "/a/..?x=1", "/codes/."]
)
async def test_a_path_cannot_climb(crm: HttpClient, path: str) -> None:
    """A promo code of two dots must not reach another endpoint."""
    with pytest.raises(ValueError, match="dots"):
        await crm.write("POST", path, deadline=soon())


async def test_fractions_are_decimal(crm: HttpClient, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"{CRM}/x").respond(text='\ufeff{"points": 10.10, "whole": 7, "big": 1e2}')
    reply = await crm.read("GET", "/x", deadline=soon())
    assert reply.body == {"points": Decimal("10.10"), "whole": 7, "big": Decimal("1e2")}
    assert str(reply.body["points"]) == "10.10" if isinstance(reply.body, dict) else False
    assert reply.is_json
    assert reply.ok


@pytest.mark.parametrize(
    "text",
    ["<html>", '{"a": NaN}', '{"a": Infinity}', "{'a': 1}", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"],
)
async def test_what_is_not_json_is_no_reply(crm: HttpClient, respx_mock: respx.MockRouter, text: str) -> None:
    respx_mock.route(url=f"{CRM}/x").respond(text=text)
    with pytest.raises(BackendUnavailable, match=r"^crm: the answer is not JSON \(status 200\)$"):
        await crm.read("GET", "/x", deadline=soon())
    assert await crm.write("POST", "/x", deadline=soon()) == Written.unknown()


async def test_a_driver_may_be_liberal(crm: HttpClient, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"{CRM}/report").respond(text="{'sites': [1,]}")
    reply = await crm.read("GET", "/report", liberal=True, deadline=soon())
    assert (reply.body, reply.is_json) == ("{'sites': [1,]}", False)


async def test_a_driver_reads_the_statuses_it_accepts(crm: HttpClient, respx_mock: respx.MockRouter) -> None:
    for status in (302, 401, 403, 429, 500):
        respx_mock.route(url=f"{CRM}/x").respond(status, json={"code": 99})
        assert (await crm.read("GET", "/x", accept={status}, deadline=soon())).body == {"code": 99}
        ended = await crm.write("POST", "/x", accept={status}, deadline=soon())
        assert isinstance(ended, Reply)
        assert (ended.status, ended.ok) == (status, False)


async def test_a_refusal_that_is_not_json_is_a_reply_without_a_body(
    crm: HttpClient, respx_mock: respx.MockRouter
) -> None:
    respx_mock.get(f"{CRM}/x").respond(404, text="<html>", headers={"X-Request-Id": "r1"})
    reply = await crm.read("GET", "/x", deadline=soon())
    assert (reply.status, reply.body, reply.is_json) == (404, None, False)
    assert reply.headers["x-request-id"] == "r1"
    assert "html" not in repr(reply)


async def test_an_error_says_who_what_and_which_status(crm: HttpClient, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"{CRM}/x").respond(403, json={"message": "+79990001122"})
    with pytest.raises(BackendCredentials, match=r"^crm: refuses the credentials \(status 403\)$"):
        await crm.read("GET", "/x", deadline=soon())


async def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await HttpClient("crm", HttpSettings(base_url=CRM)).read("GET", "/x", deadline=soon())
