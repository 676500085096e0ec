"""What goes over the wire for a call, and what a driver gets back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal

import httpx
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


async def test_a_call_is_put_together_from_base_path_and_parameters(
    crm: HttpClient, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.get(url__startswith=CRM).respond(json={})
    params: dict[str, str | int] = {"phone": "+79990001122", "q": "a b&c", "page": 1}
    for path in ("/users/search", "users/search"):
        await crm.read("get", path, params=params, headers={"X-Request": "7"}, deadline=soon())
    for call in route.calls:
        assert call.request.method == "GET"
        assert call.request.url.path == "/v1/users/search"
        assert dict(call.request.url.params) == {"phone": "+79990001122", "q": "a b&c", "page": "1"}
        assert b"%2B7999" in call.request.url.raw_path
        headers = call.request.headers
        assert headers["authorization"] == "Bearer t0ken"
        assert headers["accept"] == "application/json"
        assert headers["accept-encoding"] == "identity"
        assert headers["user-agent"] == "koshelek-adapter"
        assert headers["x-request"] == "7"


async def test_a_query_in_the_path_is_kept(crm: HttpClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(url__startswith=CRM).respond(json={})
    await crm.read("GET", "/?q=check_points", params={"phone": "1"}, deadline=soon())
    assert str(route.calls.last.request.url) == f"{CRM}/?q=check_points&phone=1"


async def test_bodies_go_as_json_form_or_multipart(crm: HttpClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{CRM}/points").respond(json={})
    await crm.write("POST", "/points", json={"имя": "Анна", "points": 10}, deadline=soon())
    await crm.write("POST", "/points", form={"phone": "+7", "имя": "Анна"}, deadline=soon())
    await crm.write("POST", "/points", form={"phone": "+7"}, multipart=True, deadline=soon())
    as_json, as_form, as_multipart = (call.request for call in route.calls)
    assert as_json.headers["content-type"] == "application/json"
    assert json.loads(as_json.content) == {"имя": "Анна", "points": 10}
    assert as_form.headers["content-type"] == "application/x-www-form-urlencoded"
    assert dict(httpx.QueryParams(as_form.content.decode())) == {"phone": "+7", "имя": "Анна"}
    assert as_multipart.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="phone"\r\n\r\n+7\r\n' in as_multipart.content
    assert as_multipart.headers["content-length"] == str(len(as_multipart.content))


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


async def test_cookies_are_not_kept(crm: HttpClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(f"{CRM}/x").respond(json={}, headers={"Set-Cookie": "session=anna; Path=/"})
    for _ in range(2):
        await crm.read("GET", "/x", deadline=soon())
    assert "cookie" not in route.calls.last.request.headers


async def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await HttpClient("crm", HttpSettings(base_url=CRM)).read("GET", "/x", deadline=soon())
