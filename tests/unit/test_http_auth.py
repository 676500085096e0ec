"""Tokens: fetched once, kept per scope, renewed in time, never shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
import respx

from crm_backends.http import (
    Auth,
    Both,
    ClientCredentials,
    HeaderKey,
    HttpClient,
    HttpSettings,
    Reply,
    SessionLogin,
    TokenRefused,
)
from crm_backends.ports import BackendMisconfigured, BackendUnavailable, Deadline, Written

CRM = "https://crm.example"
# respx intercepts httpcore unless told otherwise, and there is none under this client.
pytestmark = pytest.mark.respx(using="httpx", assert_all_called=False)


@asynccontextmanager
async def client(auth: Auth, **settings: int) -> AsyncIterator[HttpClient]:
    crm = HttpClient("crm", HttpSettings(base_url=CRM, **settings), auth)
    await crm.open()
    try:
        yield crm
    finally:
        await crm.close()


def credentials(**others: object) -> ClientCredentials:
    return ClientCredentials("/oauth/token", "id", "s3cret", **others)  # type: ignore[arg-type]


async def balance(crm: HttpClient, scope: str | None = None) -> Reply:
    if scope is None:
        return await crm.read("GET", "/balance", deadline=Deadline.after(2))
    return await crm.read("GET", "/balance", scope=scope, deadline=Deadline.after(2))


class Tokens:
    """A CRM that gives t1, t2, ... and notes what it was asked for."""

    def __init__(self, mock: respx.MockRouter, **reply: object) -> None:
        self.reply: dict[str, object] = {"expires_in": 3600} | reply
        self.given = 0
        self.token = mock.post(f"{CRM}/oauth/token", name="token").mock(side_effect=self._token)
        self.balance = mock.get(f"{CRM}/balance", name="balance").respond(json={"points": 1})

    async def _token(self, request: httpx.Request) -> httpx.Response:
        self.given += 1
        number = self.given
        await asyncio.sleep(0.01)
        return httpx.Response(200, json={"access_token": f"t{number}"} | self.reply)

    def used(self) -> list[str]:
        return [call.request.headers["authorization"] for call in self.balance.calls]


async def test_fifty_calls_at_once_fetch_one_token(respx_mock: respx.MockRouter) -> None:
    crm_side = Tokens(respx_mock)
    async with client(credentials(), concurrency=50) as crm:
        await asyncio.gather(*(balance(crm) for _ in range(50)))
    assert (crm_side.given, set(crm_side.used())) == (1, {"Bearer t1"})


async def test_of_too_many_tokens_the_longest_unused_goes(respx_mock: respx.MockRouter) -> None:
    crm_side = Tokens(respx_mock)
    async with client(credentials(most=2)) as crm:
        for scope in ("a", "b", "a", "c", "a", "b"):
            await balance(crm, scope)
    assert crm_side.used() == [f"Bearer t{n}" for n in (1, 2, 1, 3, 1, 4)]


@pytest.mark.parametrize(
    ("reply", "fetched"),
    [
        ({"expires_in": "0.001"}, 3),
        ({"expires_in": 40}, 1),
        ({"expires_in": "3600"}, 1),
        ({"expires_in": "soon"}, 1),
        ({"expires_in": None}, 1),
        ({"expires_in": True}, 1),
    ],
)
async def test_a_token_is_used_until_shortly_before_its_end(
    respx_mock: respx.MockRouter, reply: dict[str, object], fetched: int
) -> None:
    crm_side = Tokens(respx_mock, **reply)
    async with client(credentials()) as crm:
        for _ in range(3):
            await balance(crm)
            await asyncio.sleep(0.002)
    assert crm_side.given == fetched


@pytest.mark.parametrize("life", [0, -1, -5, "0", "-1", 0.0, "nan", "NaN", "-inf", "inf", 1e308])
async def test_a_token_without_an_end_is_kept_until_it_is_refused(
    respx_mock: respx.MockRouter, life: object
) -> None:
    crm_side = Tokens(respx_mock, expires_in=life)
    refused: set[str] = set()

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401 if request.headers["authorization"] in refused else 200, json={})

    crm_side.balance.mock(side_effect=answer)
    async with client(credentials()) as crm:
        for _ in range(5):
            await balance(crm)
        assert crm_side.given == 1
        refused.add("Bearer t1")
        for _ in range(5):
            await balance(crm)
    assert crm_side.given == 2


async def test_a_session_that_never_ends_is_one_log_in(respx_mock: respx.MockRouter) -> None:
    login = respx_mock.post(f"{CRM}/login").respond(json={"id": "s1", "ttl": -1})
    respx_mock.get(f"{CRM}/balance").respond(json={})
    async with client(SessionLogin("/login", {"username": "u", "password": "p"})) as crm:
        for _ in range(5):
            await balance(crm)
    assert login.call_count == 1


async def test_calls_refused_together_renew_once(respx_mock: respx.MockRouter) -> None:
    crm_side = Tokens(respx_mock)

    async def old_is_refused(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.01)
        return httpx.Response(401 if request.headers["authorization"] == "Bearer t1" else 200, json={})

    crm_side.balance.mock(side_effect=old_is_refused)
    async with client(credentials()) as crm:
        await asyncio.gather(*(balance(crm) for _ in range(20)))
    assert crm_side.given == 2


async def test_a_caller_that_gives_up_leaves_the_token_to_the_others(respx_mock: respx.MockRouter) -> None:
    crm_side = Tokens(respx_mock)
    async with client(credentials()) as crm:
        first = asyncio.create_task(balance(crm))
        await asyncio.sleep(0)
        second = asyncio.create_task(balance(crm))
        await asyncio.sleep(0.002)
        first.cancel()
        assert (await second).ok
    assert crm_side.given == 1


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_refused_scope_is_told_by_a_class_of_its_own(
    respx_mock: respx.MockRouter, status: int
) -> None:
    respx_mock.post(f"{CRM}/oauth/token").respond(status, json={"error_description": "no anna, s3cret"})
    async with client(credentials()) as crm:
        with pytest.raises(TokenRefused) as caught:
            await balance(crm, "anna")
        assert caught.value.status == status
        assert str(caught.value) == f"crm: gives no token (status {status})"
        with pytest.raises(TokenRefused):
            await crm.write("POST", "/points", scope="anna", deadline=Deadline.after(2))


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(404, json={}),
        httpx.Response(200, json={"token": "t"}),
        httpx.Response(200, json={"access_token": 7}),
        httpx.Response(200, json={"access_token": ""}),
        httpx.Response(200, json={"access_token": "s3cret\r\nX-Other: 1"}),
        httpx.Response(200, json={"access_token": "s3cret-ё"}),
        httpx.Response(200, json=["s3cret"]),
        httpx.Response(302, headers={"Location": "https://elsewhere.example"}),
    ],
)
async def test_a_token_endpoint_that_is_none_is_a_matter_of_settings(
    respx_mock: respx.MockRouter, reply: httpx.Response
) -> None:
    respx_mock.post(f"{CRM}/oauth/token").mock(return_value=reply)
    async with client(credentials()) as crm:
        with pytest.raises(BackendMisconfigured) as caught:
            await balance(crm)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "reply",
    [httpx.Response(500), httpx.Response(429), httpx.Response(200, text="<html>"), httpx.ReadTimeout("")],
)
async def test_without_a_token_a_write_is_not_sent(
    respx_mock: respx.MockRouter, reply: httpx.Response | Exception
) -> None:
    respx_mock.post(f"{CRM}/oauth/token").mock(side_effect=[reply] * 9)
    points = respx_mock.post(f"{CRM}/points").respond(200)
    async with client(credentials(), attempts=1) as crm:
        assert await crm.write("POST", "/points", deadline=Deadline.after(2)) == Written.not_sent()
        with pytest.raises(BackendUnavailable, match="no token"):
            await balance(crm)
    assert not points.called


def pegke_back_off(seconds: float) -> Callable[[Reply], float]:
    """Pegke answers 403 with the code 99 when it is asked for tokens too often."""

    def back_off(reply: Reply) -> float:
        asked_too_often = isinstance(reply.body, dict) and reply.body.get("code") == 99
        return seconds if reply.status == 403 and asked_too_often else 0.0

    return back_off


async def test_a_token_endpoint_that_was_asked_too_often_is_left_alone(respx_mock: respx.MockRouter) -> None:
    crm_side = Tokens(respx_mock)
    crm_side.token.respond(403, json={"code": 99})
    async with client(credentials(back_off=pegke_back_off(0.1)), attempts=1) as crm:
        for scope in ("anna", "boris"):
            with pytest.raises(BackendUnavailable, match="too often"):
                await balance(crm, scope)
        assert crm_side.token.call_count == 1
        await asyncio.sleep(0.11)
        crm_side.token.mock(side_effect=crm_side._token)
        assert (await balance(crm, "anna")).ok


async def test_a_read_waits_for_its_token_where_there_is_time(respx_mock: respx.MockRouter) -> None:
    crm_side = Tokens(respx_mock)
    crm_side.token.mock(
        side_effect=[
            httpx.Response(403, json={"code": 99}),
            httpx.Response(200, json={"access_token": "t1"}),
        ]
    )
    async with client(credentials(back_off=pegke_back_off(0.05))) as crm:
        assert (await balance(crm)).ok


async def test_a_token_may_come_from_another_host(respx_mock: respx.MockRouter) -> None:
    token = respx_mock.post("https://login.example/token").respond(json={"access_token": "t"})
    respx_mock.get(f"{CRM}/balance").respond(json={})
    async with client(ClientCredentials("https://login.example/token", "id", "s3cret")) as crm:
        assert (await balance(crm)).ok
    assert token.called
    with pytest.raises(ValueError, match="https"):
        ClientCredentials("http://login.example/token", "id", "s3cret")


async def test_closing_ends_a_token_request_that_is_under_way(respx_mock: respx.MockRouter) -> None:
    async def never(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError("was not ended")

    respx_mock.post(f"{CRM}/oauth/token").mock(side_effect=never)
    async with client(credentials()) as crm:
        waiting = asyncio.create_task(balance(crm))
        await asyncio.sleep(0.01)
    with pytest.raises(BackendUnavailable):
        await waiting


def test_no_secret_is_in_a_repr() -> None:
    session = SessionLogin("/login", {"password": "s3cret"})
    for auth in (credentials(), session, HeaderKey("API-Key", "s3cret"), Both(session)):
        assert "s3cret" not in repr(auth)
