"""What the client puts on the wire for a call and for a token, byte for byte."""

from __future__ import annotations

import base64
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import pytest

from crm_backends.http import (
    Auth,
    Bearer,
    Both,
    ClientCredentials,
    HeaderKey,
    HttpClient,
    HttpSettings,
    Reply,
    SessionLogin,
)
from crm_backends.ports import Deadline
from tests.support.recording import Recorded, Recorder, Route, Told, recording


@pytest.fixture
async def crm() -> AsyncIterator[Recorder]:
    async with recording() as recorder:
        yield recorder


@asynccontextmanager
async def client(crm: Recorder, auth: Auth) -> AsyncIterator[HttpClient]:
    opened = HttpClient("crm", HttpSettings(base_url=f"{crm.url}/v1", attempts=1), auth)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


def soon() -> Deadline:
    return Deadline.after(5)


async def balance(opened: HttpClient, scope: str | None = None) -> Reply:
    if scope is None:
        return await opened.read("GET", "/balance", deadline=soon())
    return await opened.read("GET", "/balance", scope=scope, deadline=soon())


async def test_a_call_is_put_together_from_base_path_and_parameters(crm: Recorder) -> None:
    route = crm.get("/v1/users/search").respond(json={})
    params: dict[str, str | int] = {"phone": "+79990001122", "q": "a b&c", "page": 1}
    async with client(crm, Bearer("t0ken")) as opened:
        for path in ("/users/search", "users/search"):
            await opened.read("get", path, params=params, headers={"X-Request": "7"}, deadline=soon())
    assert route.call_count == 2
    for request in route.requests:
        assert request.query == {"phone": "+79990001122", "q": "a b&c", "page": "1"}
        assert "phone=%2B79990001122" in request.target
        assert request.content == b""
        assert "content-type" not in request.headers
        assert request.headers["authorization"] == "Bearer t0ken"
        assert request.headers["accept"] == "application/json"
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["user-agent"] == "koshelek-adapter"
        assert request.headers["x-request"] == "7"


async def test_a_query_in_the_path_is_kept(crm: Recorder) -> None:
    route = crm.get("/v1/").respond(json={})
    async with client(crm, Bearer("t")) as opened:
        await opened.read("GET", "/?q=check_points", params={"phone": "1"}, deadline=soon())
    assert route.only.target == "/v1/?q=check_points&phone=1"


async def test_bodies_go_as_json_form_or_multipart(crm: Recorder) -> None:
    route = crm.post("/v1/points").respond(json={})
    async with client(crm, Bearer("t")) as opened:
        await opened.write("POST", "/points", json={"имя": "Анна", "points": 10}, deadline=soon())
        await opened.write("POST", "/points", form={"phone": "+7", "имя": "Анна"}, deadline=soon())
        await opened.write("POST", "/points", form={"phone": "+7"}, multipart=True, deadline=soon())
    as_json, as_form, as_multipart = route.requests
    assert as_json.headers["content-type"] == "application/json"
    assert as_json.content == '{"имя":"Анна","points":10}'.encode()
    assert as_form.headers["content-type"] == "application/x-www-form-urlencoded"
    assert dict(parse_qsl(as_form.content.decode())) == {"phone": "+7", "имя": "Анна"}
    assert as_multipart.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert as_multipart.form == {"phone": "+7"}
    assert as_multipart.headers["content-length"] == str(len(as_multipart.content))


async def test_a_write_without_a_body_has_none(crm: Recorder) -> None:
    route = crm.put("/v1/triggers/x").respond(json={})
    async with client(crm, Bearer("t")) as opened:
        await opened.write("PUT", "/triggers/x", deadline=soon())
    assert route.only.content == b""
    assert "content-type" not in route.only.headers
    assert route.only.headers.get("content-length", "0") == "0"


async def test_cookies_are_not_kept(crm: Recorder) -> None:
    """One would be another customer's."""
    route = crm.get("/v1/x").respond_in_turn(Told(200, b"{}", {"Set-Cookie": "session=anna"}))
    async with client(crm, Bearer("t")) as opened:
        for _ in range(2):
            await opened.read("GET", "/x", deadline=soon())
    assert all("cookie" not in request.headers for request in route.requests)


# -- tokens --------------------------------------------------------------------------------------------


def tokens(crm: Recorder) -> tuple[Route, Route]:
    """An endpoint that gives t1, t2, …, and what they are used for."""
    numbers = itertools.count(1)

    def give(request: Recorded) -> Told:
        return Told.of(json={"access_token": f"t{next(numbers)}", "expires_in": 3600})

    return crm.post("/v1/oauth/token").answered_by(give), crm.get("/v1/balance").respond(json={})


async def test_each_scope_has_a_token_of_its_own(crm: Recorder) -> None:
    token, used = tokens(crm)
    auth = ClientCredentials(
        "/oauth/token",
        "id",
        "s3cret",
        body="json",
        extra={"audience": "crm"},
        scope_fields=lambda scope: {"scope": f"user_account(identifier:{scope})"},
    )
    async with client(crm, auth) as opened:
        for scope in ("anna", "boris", "anna", None, "boris"):
            await balance(opened, scope)
    sent = [request.headers["authorization"] for request in used.requests]
    assert sent == ["Bearer t1", "Bearer t2", "Bearer t1", "Bearer t3", "Bearer t2"]
    common: dict[str, Any] = {
        "grant_type": "client_credentials",
        "client_id": "id",
        "client_secret": "s3cret",
        "audience": "crm",
    }
    assert [request.json for request in token.requests] == [
        common | {"scope": "user_account(identifier:anna)"},
        common | {"scope": "user_account(identifier:boris)"},
        common,
    ]


@pytest.mark.parametrize("credentials_in", ["body", "basic"])
async def test_the_token_request_is_that_of_rfc_6749(crm: Recorder, credentials_in: Any) -> None:
    token, _ = tokens(crm)
    async with client(
        crm, ClientCredentials("/oauth/token", "id", "s3cret", credentials_in=credentials_in)
    ) as opened:
        await balance(opened, "read")
    sent = dict(parse_qsl(token.only.content.decode()))
    if credentials_in == "basic":
        assert sent == {"grant_type": "client_credentials", "scope": "read"}
        basic = base64.b64encode(b"id:s3cret").decode()
        assert token.only.headers["authorization"] == f"Basic {basic}"
    else:
        assert sent["client_secret"] == "s3cret"
        assert "authorization" not in token.only.headers


async def test_a_session_token_goes_raw_and_the_key_goes_everywhere(crm: Recorder) -> None:
    login = crm.post("/v1/api/members/login").respond(json={"id": "raw-token", "ttl": 1209600, "userId": 7})
    coupons = crm.get("/v1/balance").respond(json={})
    session = SessionLogin("/api/members/login", {"email": "a@b.example", "password": "s3cret"})
    async with client(crm, Both(HeaderKey("API-Key", "k3y"), session)) as opened:
        for scope in (None, "device-1", "device-2"):
            await balance(opened, scope)
    assert login.only.json == {"email": "a@b.example", "password": "s3cret"}
    assert login.only.headers["api-key"] == "k3y"
    proofs = {(one.headers["authorization"], one.headers["api-key"]) for one in coupons.requests}
    assert proofs == {("raw-token", "k3y")}


async def test_a_session_that_ended_is_begun_again(crm: Recorder) -> None:
    login = crm.post("/v1/login").respond_in_turn(*(Told.of(json={"token": f"t{n}"}) for n in (1, 2)))
    points = crm.post("/v1/points").respond_in_turn(Told.of(401), Told.of(201))
    session = SessionLogin(
        "/login", {}, token_field="token", header="X-Session", prefix="Token ", body="form"
    )
    async with client(crm, Both(HeaderKey("API-Key", "k3y"), session)) as opened:
        ended = await opened.write("POST", "/points", deadline=soon())
    assert isinstance(ended, Reply)
    assert ended.status == 201
    assert login.call_count == 2
    assert [request.headers["x-session"] for request in points.requests] == ["Token t1", "Token t2"]
