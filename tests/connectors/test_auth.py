"""Who we are, over real sockets: every way of proving it, tokens of all lives, several at once."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from crm_backends.conformance import context
from crm_backends.connector.examples import run_all
from crm_backends.connector.reading import read_text
from crm_backends.connector.spec import make_spec
from crm_backends.model import Credit
from crm_backends.ports import BackendCredentials, BackendMisconfigured, BackendUnavailable, Outcome
from tests.connectors.making import connector, loaded, soon

GET = """\
  users.get:
    steps: [{get: /c, outcomes: [{when: body.denied, is: credentials}]}]
    result: {id: body.id}
"""
KEY = "settings: {api_key: {secret: true, help: the key}}\n"


class Crm:
    """A server that answers as a test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.bodies: list[str] = []
        self.logins = 0
        self.answer: Callable[[web.Request], Any] = lambda request: {"id": 7}
        self.login: Callable[[int], Any] = lambda number: {"token": f"t{number}"}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        if request.path == "/login":
            self.logins += 1
            await asyncio.sleep(0.05)
            given = self.login(self.logins)
            self.bodies.append(body)
            return given if isinstance(given, web.StreamResponse) else web.json_response(given)
        self.asked.append(request)
        given = self.answer(request)
        return given if isinstance(given, web.StreamResponse) else web.json_response(given)


@asynccontextmanager
async def connected(more: str, operations: str = GET, **settings: Any) -> AsyncIterator[tuple[Any, Crm]]:
    crm = Crm()
    application = web.Application()
    application.router.add_route("*", "/{any:.*}", crm.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    spec = make_spec(loaded(operations, more))
    values = {"base_url": f"http://127.0.0.1:{port}", "attempts": 1, **settings}
    backend: Any = spec.build(spec.settings.model_validate(values), context())
    await backend.open()
    try:
        yield backend, crm
    finally:
        await backend.close()
        await runner.cleanup()


def header(crm: Crm, name: str) -> list[str | None]:
    return [request.headers.get(name) for request in crm.asked]


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        ("{basic: {login: me, password: '${secrets.api_key}'}}", "Authorization",
         "Basic " + base64.b64encode(b"me:s3cret").decode()),
        ("{bearer: '${secrets.api_key}'}", "Authorization", "Bearer s3cret"),
        ("{header: {X-Api-Key: '${secrets.api_key}'}}", "X-Api-Key", "s3cret"),
        ("{header: {Authorization: '${secrets.api_key}'}}", "Authorization", "s3cret"),
        ("{none: true}", "Authorization", None),
    ],
)  # fmt: skip
async def test_what_is_fixed_is_sent_with_each_call(auth: str, name: str, value: str | None) -> None:
    async with connected(f"{KEY}auth: {auth}\n", api_key="s3cret") as (backend, crm):
        await backend.get("7", deadline=soon())
        assert header(crm, name) == [value]


async def test_a_key_in_the_query_joins_what_is_asked() -> None:
    operations = GET.replace("get: /c", "get: /c, query: {a: b c}")
    more = f"{KEY}auth: {{query: {{key: '${{secrets.api_key}}'}}}}\n"
    async with connected(more, operations, api_key="s3 cret&x") as (backend, crm):
        await backend.get("7", deadline=soon())
        assert dict(crm.asked[0].query) == {"a": "b c", "key": "s3 cret&x"}


async def test_several_at_once_and_another_for_one_operation() -> None:
    more = f"""{KEY}auth:
  - {{header: {{X-Key: "${{secrets.api_key}}"}}}}
  - {{query: {{shop: "1"}}}}
other_auth: {{admin: {{bearer: "${{secrets.api_key}}"}}}}
"""
    operations = GET + (
        "  users.find:\n    steps: [{get: /f, auth: admin}, {get: /g, auth: none}]\n"
        "    rows: body.rows\n    result: {id: row.id}\n"
    )
    async with connected(more, operations, api_key="s3cret") as (backend, crm):
        await backend.get("7", deadline=soon())
        crm.answer = lambda request: {"rows": []}
        await backend.find(phone="+79161234567", email=None, birth_date=None, deadline=soon())
        assert header(crm, "X-Key") == ["s3cret", None, None]
        assert header(crm, "Authorization") == [None, "Bearer s3cret", None]
        assert [dict(request.query) for request in crm.asked] == [{"shop": "1"}, {}, {}]


async def test_a_fresh_identifier_and_time_for_each_attempt() -> None:
    more = 'headers: {X-Request-Id: "${new_id()}", X-Time: "${now | text}"}\n'
    async with connected(more, attempts=3) as (backend, crm):
        crm.answer = lambda request: {"id": 7} if len(crm.asked) == 3 else web.Response(status=503)
        await backend.get("7", deadline=soon())
        assert len(set(header(crm, "X-Request-Id"))) == 3
        assert len(set(header(crm, "X-Time"))) == 3


LOGIN = """
auth:
  login:
    post: /login
    json: {apiLogin: "${secrets.api_key}"}
    token: TOKEN
    lasts: LASTS
    send: SEND
"""


def login(token: str = "body.token", lasts: str = "body.ttl", send: str = '{bearer: "${token}"}') -> str:
    return KEY + LOGIN.replace("TOKEN", token).replace("LASTS", lasts).replace("SEND", send)


async def test_a_login_is_made_once_for_all_who_wait() -> None:
    async with connected(login(), api_key="s3cret") as (backend, crm):
        await asyncio.gather(*(backend.get("7", deadline=soon()) for _ in range(10)))
        assert crm.logins == 1
        assert json.loads(crm.bodies[0]) == {"apiLogin": "s3cret"}
        assert set(header(crm, "Authorization")) == {"Bearer t1"}


@pytest.mark.parametrize(
    ("told", "lasts", "logins"),
    [
        ({"ttl": 3600}, "body.ttl", 1),
        ({"ttl": 3600}, "body.ttl | text", 1),
        ({"ttl": 0.1}, "body.ttl | text", 2),
        ({"ttl": 0.1}, "body.ttl", 2),
        ({}, "body.ttl", 1),
        ({"ttl": -1}, "body.ttl", 1),
        ({}, "3600", 1),
        ({}, "0.1", 2),
        ({"exp": 3600}, "jwt_expiry(body.token)", 1),
        ({"exp": 0.4}, "jwt_expiry(body.token)", 2),
    ],
)
async def test_a_token_lasts_as_it_is_told(told: dict[str, float], lasts: str, logins: int) -> None:
    async with connected(login(lasts=lasts), api_key="s3cret") as (backend, crm):

        def given(number: int) -> dict[str, object]:
            token = f"t{number}"
            if "exp" in told:
                end = time.time() + told["exp"] + (1 if told["exp"] < 1 else 0)
                claims = base64.urlsafe_b64encode(json.dumps({"exp": int(end)}).encode()).decode()
                token = f"head.{claims.rstrip('=')}.{number}"
            return {"token": token, **told}

        crm.login = given
        await backend.get("7", deadline=soon())
        await asyncio.sleep(1.2 if "exp" in told and logins == 2 else 0.2)
        await backend.get("7", deadline=soon())
        assert crm.logins == logins


@pytest.mark.parametrize(
    "refusal", [web.Response(status=401), {"denied": True}], ids=["by a 401", "inside of a 200"]
)
async def test_a_refused_token_is_renewed_once(refusal: Any) -> None:
    async with connected(login(), api_key="s3cret") as (backend, crm):
        crm.answer = lambda request: (
            {"id": 7} if request.headers["Authorization"] == "Bearer t2" else _again(refusal)
        )
        assert (await backend.get("7", deadline=soon())).customer_id == "7"
        assert crm.logins == 2
        crm.answer = lambda request: _again(refusal)
        with pytest.raises(BackendCredentials):
            await backend.get("7", deadline=soon())
        assert crm.logins == 3


def _again(refusal: Any) -> Any:
    return web.Response(status=401) if isinstance(refusal, web.Response) else refusal


async def test_a_token_out_of_a_cookie_goes_into_a_cookie() -> None:
    more = login(
        token="(headers['set-cookie'] | split('=') | last) | split(';') | first",
        send='{header: {Cookie: "SESS=${token}"}}',
        lasts="600",
    )
    async with connected(more, api_key="s3cret") as (backend, crm):
        crm.login = lambda number: web.json_response({}, headers={"Set-Cookie": f"SESS=abc{number};HttpOnly"})
        await backend.get("7", deadline=soon())
        assert header(crm, "Cookie") == ["SESS=abc1"]


async def test_a_login_may_answer_in_text_and_set_several_cookies() -> None:
    more = login(
        token="headers['set-cookie'] | split('SESS=') | last | split(';') | first",
        send='{header: {Cookie: "SESS=${token}"}}',
        lasts="none",
    )
    more += "    takes_text: true\n    ok: body == 'welcome'\n"

    def answer(text: str) -> web.Response:
        reply = web.Response(text=text)
        for cookie in ("LANG=ru; Path=/", "SESS=abc; Path=/", "SEEN=1"):
            reply.headers.add("Set-Cookie", cookie)
        return reply

    async with connected(more, api_key="s3cret") as (backend, crm):
        crm.login = lambda number: answer("go away")
        with pytest.raises(BackendCredentials):
            await backend.get("7", deadline=soon())
        crm.login = lambda number: answer("welcome")
        await backend.get("7", deadline=soon())
        assert header(crm, "Cookie") == ["SESS=abc"]


async def test_a_token_in_the_query_is_renewed_too() -> None:
    async with connected(login(send='{query: {token: "${token}"}}'), api_key="s3cret") as (backend, crm):
        crm.answer = lambda request: {"id": 7} if request.query["token"] == "t2" else _again({"denied": True})
        await backend.get("7", deadline=soon())
        assert [request.query["token"] for request in crm.asked] == ["t1", "t2"]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (web.Response(status=403), BackendCredentials),
        ({"no": "token"}, BackendMisconfigured),
        ({"token": "line\nbreak"}, BackendMisconfigured),
        ({"token": 5}, BackendMisconfigured),
    ],
)
async def test_no_token_is_told_and_nothing_else_is_asked(given: Any, error: type[Exception]) -> None:
    async with connected(login(), api_key="s3cret") as (backend, crm):
        crm.login = lambda number: web.Response(status=403) if isinstance(given, web.Response) else given
        with pytest.raises(error) as caught:
            await backend.get("7", deadline=soon())
        assert "s3cret" not in str(caught.value)
        assert crm.asked == []


async def test_a_login_that_says_no_inside_of_a_200_is_a_refusal() -> None:
    more = login() + "    ok: body.success == true\n"
    async with connected(more, api_key="s3cret") as (backend, crm):
        crm.login = lambda number: {"success": False, "token": "x"}
        with pytest.raises(BackendCredentials):
            await backend.get("7", deadline=soon())


@pytest.mark.parametrize("ok", ["ok: body.success == true", "has: body.token"])
async def test_a_login_that_says_neither_yes_nor_no_is_an_outage(ok: str) -> None:
    """A proxy's answer refuses nobody's credentials."""
    async with connected(f"{login()}    {ok}\n", api_key="s3cret") as (backend, crm):
        answers: list[Any] = [{}, {"error": "x"}, []]
        crm.login = lambda number: web.json_response(answers[number - 1])
        for _ in answers:
            with pytest.raises(BackendUnavailable, match="gives no token: the login's answer lacks body"):
                await backend.get("7", deadline=soon())


async def test_a_page_in_the_place_of_a_login_in_text_is_an_outage() -> None:
    more = (
        login(token="body")
        + "    takes_text: true\n    has: not (body | starts_with('<'))\n    ok: body != 'no'\n"
    )
    async with connected(more, api_key="s3cret") as (backend, crm):
        crm.login = lambda number: web.Response(text="<html>" if number == 1 else "no")
        for error in (BackendUnavailable, BackendCredentials):
            with pytest.raises(error):
                await backend.get("7", deadline=soon())


async def test_client_credentials() -> None:
    more = f"""{KEY}auth:
  oauth: {{url: /login, client_id: me, client_secret: "${{secrets.api_key}}", extra: {{audience: loyalty}}}}
"""
    async with connected(more, api_key="s3cret") as (backend, crm):
        crm.login = lambda number: {"access_token": f"t{number}", "expires_in": 600}
        await backend.get("7", deadline=soon())
        wanted = "grant_type=client_credentials&audience=loyalty&client_id=me&client_secret=s3cret"
        assert crm.bodies == [wanted]
        assert header(crm, "Authorization") == ["Bearer t1"]


TEXT_LOGIN = """\
settings: {secret: {secret: true, help: the secret}}
auth:
  login:
    get: /auth
    query: {k: "${secrets.secret}"}
    takes_text: true
    ok: body | starts_with("T:")
    token: (body | split(";") | first)[2:]
    lasts: body | split("ttl=") | last | int
    send: {header: {X-Token: "${token}"}}
"""
BY_TEXT = """\
  points.balance:
    steps: [{get: /b}]
    result: {total: body.b}
    examples:
      - title: some
        input: {account: "1"}
        exchanges:
          - {expect: {get: /auth, query: {k: the-secret}}, answer: {text: "T:1a2b;ttl=90"}}
          - {expect: {get: /b}, answer: {json: {b: 5}}}
        result: {total: 5, available: 5}
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            '(body | split(";") | first)[2:]',
            "body.sid",
            "crm.yaml:14:12: the login's answer has no token here, th",
        ),
        ("ttl=", "tll=", "crm.yaml:15:12: a number or its text is wanted"),
        (
            "    takes_text: true\n",
            "",
            "the answer is not JSON (status 200); where a good answer is text, write takes_text",
        ),
        ('"T:"', '"X:"', "gives no token: the login's ok does not hold (crm.yaml:13:"),
    ],
)
async def test_why_a_login_fails_is_told_in_examples(old: str, new: str, says: str) -> None:
    text = connector(BY_TEXT, TEXT_LOGIN)
    assert (await run_all(read := read_text(text, "crm.yaml"), make_spec(read)))[1] == []
    changed = read_text(text.replace(old, new, 1), "crm.yaml")
    (problem,) = (await run_all(changed, make_spec(changed)))[1]
    assert says in problem.cause
    assert "the login fails" in problem.cause
    assert problem.place.line == 9


GIVE = """\
  points.credit:
    steps: [{commits: true, post: /give, json: {sum: "${input.points}", key: "${idempotency_key}"}}]
    outcomes: [OUTCOME]
    result: {id: body.id}
  points.balance: {unsupported: "not told"}
  points.entries: {unsupported: "not told"}
  points.purchases: {unsupported: "not told"}
"""


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_crm_that_turns_away_what_it_has_done_is_described(status: int) -> None:
    """Else what is turned away was not done. Named as unknown it is sent once, with no new token either."""
    outcome = "{when: 'status in [401, 403, 429]', is: unknown}"
    async with connected(login(), GIVE.replace("OUTCOME", outcome), api_key="s3cret") as (backend, crm):
        crm.answer = lambda request: web.Response(status=status)
        written = await backend.credit("7", Credit(Decimal(5), "x"), idempotency_key="KEY", deadline=soon())
        assert written.outcome is Outcome.UNKNOWN, written
        assert (len(crm.asked), crm.logins) == (1, 1)


async def test_in_a_read_a_401_gets_a_new_token_whatever_it_means_in_writes() -> None:
    more = "outcomes: [{when: 'status in [401, 403, 429]', is: unknown}]\n" + login()
    async with connected(more, api_key="s3cret") as (backend, crm):
        crm.answer = lambda request: (
            {"id": 7} if request.headers["Authorization"] == "Bearer t2" else web.Response(status=401)
        )
        assert (await backend.get("7", deadline=soon())).customer_id == "7"
        assert crm.logins == 2


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_what_nothing_names_was_not_done_where_it_was_turned_away(status: int) -> None:
    outcome = "{when: 'status == 404', is: no_such_customer}"
    async with connected(login(), GIVE.replace("OUTCOME", outcome), api_key="s3cret") as (backend, crm):
        crm.answer = lambda request: web.Response(status=status)
        with contextlib.suppress(BackendCredentials):
            written = await backend.credit(
                "7", Credit(Decimal(5), "x"), idempotency_key="KEY", deadline=soon()
            )
            assert written.outcome is Outcome.NOT_SENT
        assert len(crm.asked) == (2 if status == 401 else 1)
