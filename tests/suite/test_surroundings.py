"""What is between the suite and a service: limits of rate, lock-outs, proxies, answers without end."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiohttp import web
from pydantic import ValidationError

from contracts.suite import baseline, runner, spotting, summary
from contracts.suite.config import Options
from contracts.suite.report import write_reports
from contracts.suite.results import Outcome, Result, Run, State, Weight
from tests.suite.implementations.clean import LOGIN, PASSWORD, Clean, serving
from tests.suite.implementations.runs import breaches
from tests.suite.implementations.shop import OPTIONS


async def run(service: Clean, **given: Any) -> Run:
    async with serving(service) as url:
        chosen = {"urls": [url], "login": LOGIN, "receipt_wait": 1.0, "strict": True, **OPTIONS, **given}
        return await runner.run(Options(**chosen), PASSWORD)


def in_state(found: Run, state: State) -> list[Result]:
    return [result for result in found.targets[0].results if result.state is state]


async def test_a_rate_is_kept() -> None:
    asked: list[float] = []

    class Listening(Clean):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            asked.append(time.monotonic())
            return await super().handle(request)

    await run(Listening(), rate=50, only=["KLO-1-20", "KLO-1-21"])
    assert len(asked) > 25
    assert asked[-1] - asked[0] >= (len(asked) - 2) / 50


class Throttles(Clean):
    """Turns every third request away."""

    retry_after = "0"
    asked = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.asked % 3 == 0:
            return web.Response(status=429, text="slow down", headers={"Retry-After": self.retry_after})
        return await super().handle(request)


async def test_what_is_turned_away_for_its_rate_is_sent_again_and_told_once() -> None:
    found = await run(Throttles(), only=["find", "KLO-0-24"])
    assert breaches(found.targets[0]) == {}
    assert in_state(found, State.ERROR) == []
    (note,) = found.notes
    assert note.endswith("requests were turned away for their rate, and sent again: see --rate.")


async def test_a_service_that_wants_an_hour_of_peace_gets_it() -> None:
    class WantsPeace(Throttles):
        retry_after = "3600"

    service = WantsPeace()
    found = await run(service)
    (told,) = in_state(found, State.ERROR)
    assert told.reason == (
        "stopped early: the service turns requests away for their rate (429, Retry-After: 3600): "
        "ask more slowly with --rate"
    )
    assert breaches(found.targets[0]) == {}
    assert found.outcome is Outcome.UNKNOWN
    assert service.asked < 10


class LocksOut(Clean):
    """Lets nobody in after three wrong logins."""

    status = 401
    wrong = 0

    def is_let_in(self, header: str) -> bool:
        well = super().is_let_in(header)
        self.wrong += bool(header) and not well
        return well and self.wrong < 3

    def unauthorized(self) -> web.Response:
        answer = super().unauthorized()
        answer.set_status(self.status)
        return answer


@pytest.mark.parametrize("status", [401, 422])
async def test_a_login_that_was_locked_out_is_told_once(status: int) -> None:
    service = LocksOut()
    service.status = status
    found = await run(service, parallel=1)
    (told,) = in_state(found, State.ERROR)
    assert "it seems to be locked out" in told.reason
    assert told.reason in summary.text(found)
    assert found.outcome is not Outcome.KEEPS
    assert len(breaches(found.targets[0])) <= 3


async def test_wrong_logins_can_be_left_out() -> None:
    service = LocksOut()
    found = await run(service, without=["credentials."])
    assert (service.wrong, found.outcome) == (0, Outcome.KEEPS)


PAGES = {
    "nginx": "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway"
    "</h1></center>\r\n<hr><center>nginx/1.25.3</center>\r\n</body>\r\n</html>",
    "haproxy": "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request."
    "\n</body></html>",
    "envoy": "upstream connect error or disconnect/reset before headers. reset reason: connection failure",
    "Apache": "<!DOCTYPE HTML><html><h1>Not Found</h1><address>Apache/2.4.57 Server at a Port 80</address>",
    "a gateway like Traefik": "Bad Gateway",
    "a proxy or a web server in front": "<html><h1>Request blocked</h1></html>",
}


@pytest.mark.parametrize(("who", "page"), PAGES.items())
async def test_the_page_of_a_proxy_is_named_as_such(who: str, page: str) -> None:
    class Behind(Clean):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            if request.path.endswith("/offers"):
                return web.Response(status=502, text=page, content_type="text/html")
            return await super().handle(request)

    found = await run(Behind(), only=["KLO-0-20"])
    (told,) = [failure.actual for result in found.targets[0].results for failure in result.failures] or [""]
    assert who in told or spotting.proxy(502, "", page.encode()) == who


def test_an_error_of_the_service_itself_is_nobody_elses() -> None:
    assert spotting.proxy(422, "nginx", b'{"code": "1", "description": "<html> is not allowed"}') is None
    assert spotting.proxy(200, "nginx", b"<html>") is None
    assert spotting.proxy(500, "nginx", b"oops") is None


async def test_a_service_that_is_away_behind_its_proxy_is_not_judged() -> None:
    class Away(Clean):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            return web.Response(status=502, text=PAGES["nginx"], content_type="text/html")

    with pytest.raises(
        runner.CannotRun, match=r"(?s)is not there: 502 .*this comes from nginx, not from the service"
    ):
        await run(Away())


async def test_a_body_that_is_not_in_its_encoding_is_no_answer() -> None:
    class Broken(Clean):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            answer = await super().handle(request)
            if request.path.endswith("/offers"):
                answer.headers["Content-Encoding"] = "gzip"
            return answer

    found = await run(Broken(), only=["KLO-8-02"])
    assert "its body is not in the encoding" in breaches(found.targets[0])["KLO-8-02"]


async def test_compressed_answers_are_read() -> None:
    class Compresses(Clean):
        used: ClassVar[set[web.ContentCoding]] = set()
        asked = 0

        async def handle(self, request: web.Request) -> web.StreamResponse:
            answer = await super().handle(request)
            assert isinstance(answer, web.Response)
            coding = (web.ContentCoding.gzip, web.ContentCoding.deflate)[self.asked % 2]
            self.asked += 1
            self.used.add(coding)
            answer.enable_compression(coding)
            return answer

    found = await run(Compresses(), profile="full")
    assert breaches(found.targets[0]) == {}
    assert found.outcome is Outcome.KEEPS
    assert len(Compresses.used) == 2


LIMIT = 512 * 1024 * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux tells it")
@pytest.mark.parametrize("kind", ["endless", "unfolding", "many small values"])
async def test_answers_without_end_take_bounded_memory(kind: str) -> None:
    bomb = gzip.compress(b"[" + b"{}," * 20_000_000 + b"{}]") if kind == "unfolding" else b""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.query_string.startswith("msisdn=7900000"):  # or nothing would be tested
            return web.Response(body=b"", headers={"Content-Type": "application/json; charset=utf-8"})
        if kind == "unfolding":
            return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})
        answer = web.StreamResponse()
        await answer.prepare(request)
        piece = b"x" * 2**16 if kind == "endless" else b"[" + b'"1",' * 16000
        for _ in range(20_000 if kind == "endless" else 200):
            await answer.write(piece)
        return answer

    application = web.Application(client_max_size=2**30)
    application.router.add_route("*", "/{path:.*}", handle)
    served = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await served.setup()
    await web.TCPSite(served, "127.0.0.1", 0).start()
    program = (
        "import resource, sys; from contracts.cli import app\n"
        "try: app()\n"
        "finally: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    words = ["run", f"http://127.0.0.1:{served.addresses[0][1]}", "--only", "KLO-9", "--only", "KLO-8",
             "--only", "KLO-3", "--only", "KLO-7", "--timeout", "1"]  # fmt: skip
    variables = os.environ | {"KLO_EXISTING__CARD_NUMBER": "290000000001", "KLO_LIST_TIMEOUT": "2"}
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, *words, env=variables,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, err = await asyncio.wait_for(process.communicate(), 100)
    finally:
        await served.cleanup()
    peak = int(err.decode().rpartition("peak ")[2])
    assert peak * 1024 < LIMIT, err.decode()[-2000:]
    assert "Traceback" not in err.decode()


# --- breaches that are accepted, and services with a login of their own -------------------------------


class TwoDefects(Clean):
    """No answer within the contract for offers and for a birth date alone."""

    async def offers(self, call: Any) -> Any:
        return {"offers": []}

    async def find(self, call: Any) -> Any:
        if set(call.query) == {"birthDate"}:
            return {"card": self.card_object(next(iter(self.shop.cards.values())))}
        return await super().find(call)


def written(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def accepted(tmp_path: Path) -> Path:
    return tmp_path / "accepted.yaml"


async def test_accepted_breaches_are_warnings_and_new_ones_fail(accepted: Path) -> None:
    given = {"only": ["KLO-1-16", "KLO-8-02"], "baseline": accepted}
    written(accepted, "offers_and_lists.offers_are_an_array: agreed with the partner\n")
    found = await run(TwoDefects(), **given)
    weights = {result.check: result.weight for result in in_state(found, State.FAIL)}
    assert weights == {
        "offers_and_lists.offers_are_an_array": Weight.WARN,
        "find.birth_date_alone": Weight.FAIL,
    }
    assert found.outcome is Outcome.BREAKS
    written(accepted, "KLO-8-02: agreed\nKLO-1-16: agreed\nKLO-1-17: agreed\n")
    found = await run(TwoDefects(), **given)
    assert found.outcome is Outcome.KEEPS
    assert found.notes == ("baseline: nothing breaks KLO-1-17 any more.",)
    assert "accepted: agreed" in summary.text(found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("KLO-77: because", "KLO-77 is no check and no clause"),
        ("KLO-1-16:", "KLO-1-16 has no reason"),
        ("[a]", "holds no mapping"),
        ("a: [", "is no YAML file"),
    ],
)
async def test_a_baseline_that_cannot_be_used_is_told_in_a_sentence(
    text: str, told: str, accepted: Path
) -> None:
    written(accepted, text)
    with pytest.raises(runner.CannotRun, match=told):
        await run(Clean(), baseline=accepted)


async def test_a_baseline_can_be_begun_from_a_run(accepted: Path) -> None:
    found = await run(TwoDefects(), only=["KLO-8-02"])
    text = baseline.text(result for target in found.targets for result in target.results)
    assert "offers_and_lists.offers_are_an_array:  # Offers are answered 200 with an array of objects" in text
    written(accepted, text)
    with pytest.raises(baseline.BadBaseline, match="has no reason"):
        baseline.read(accepted, ["offers_and_lists.offers_are_an_array"])


class OtherLogin(Clean):
    def is_right(self, pair: bytes) -> bool:
        return pair == b"other:its own password"


async def test_services_may_have_a_login_and_people_of_their_own() -> None:
    other = {
        "login": "other",
        "password": "its own password",
        "existing": OPTIONS["ambiguous"] | {"email": None},
    }
    async with serving(Clean()) as one, serving(OtherLogin()) as two:
        targets = {"theirs": {"url": two, **other}}
        options = Options(
            urls=[f"ours={one}"], login=LOGIN, only=["KLO-1-01", "KLO-1-02"], targets=targets, **OPTIONS
        )
        found = await runner.run(options, PASSWORD)
    ours, theirs = found.targets
    assert (ours.name, theirs.name) == ("ours", "theirs")
    assert ours.counts["pass"] == 2
    assert (theirs.counts["pass"], theirs.counts["skip"]) == (1, 1), "there is no e-mail to look up"


def test_what_is_said_of_one_service_has_to_be_about_one() -> None:
    with pytest.raises(ValidationError, match=r"old\.profile is no option of one service"):
        Options(targets={"old": {"url": "http://a.example", "profile": "full"}})
    with pytest.raises(ValidationError, match="old needs url"):
        Options(targets={"old": {"login": "a"}})


# --- runs that end early ------------------------------------------------------------------------------


async def test_a_run_that_ended_early_is_taken_up(tmp_path: Path) -> None:
    class WantsPeaceInBetween(TwoDefects):
        asked = 0
        most = 150

        async def handle(self, request: web.Request) -> web.StreamResponse:
            self.asked += 1
            if self.asked > self.most:
                return web.Response(status=429, headers={"Retry-After": "3600"})
            return await super().handle(request)

    service = WantsPeaceInBetween()
    async with serving(service) as url:
        options = Options(urls=[url], login=LOGIN, strict=True, parallel=1, **OPTIONS)
        first = await runner.run(options, PASSWORD)
        write_reports(first, tmp_path)
        assert any("stopped early" in result.reason for result in first.targets[0].results)
        judged = {one.check for one in [*in_state(first, State.PASS), *in_state(first, State.FAIL)]}
        assert len(judged) > 10
        service.asked, service.most = 0, 10_000
        second = await runner.run(options.model_copy(update={"resume": tmp_path}), PASSWORD)
        alone = service.asked
        service.asked = 0
        whole = await runner.run(options, PASSWORD)
    assert alone < service.asked
    assert breaches(second.targets[0]) == breaches(whole.targets[0])
    assert second.targets[0].counts == whole.targets[0].counts


async def test_only_a_run_of_the_same_kind_is_taken_up(tmp_path: Path) -> None:
    with pytest.raises(runner.CannotRun, match=r"--resume: cannot read .*results\.json"):
        await run(Clean(), resume=tmp_path)
    write_reports(await run(Clean(), only=["KLO-1-04"]), tmp_path)
    with pytest.raises(runner.CannotRun, match="is of profile read, this run of full"):
        await run(Clean(), resume=tmp_path, profile="full")
    kind = '"format": 1, "api_version": "1.3.0", "profile": "read"'
    for damaged in ("[]", "null", f"{{{kind}}}", f'{{{kind}, "targets": [{{"url": "a"}}]}}'):
        (tmp_path / "results.json").write_text(damaged, encoding="utf-8")
        with pytest.raises(runner.CannotRun, match=r"results\.json is no report of a run"):
            await run(Clean(), resume=tmp_path)


async def test_an_interrupted_run_tells_what_it_found() -> None:
    class Interrupts(Clean):
        asked = 0

        async def handle(self, request: web.Request) -> web.StreamResponse:
            self.asked += 1
            if self.asked == 40:
                os.kill(os.getpid(), signal.SIGINT)
            return await super().handle(request)

    async with serving(Interrupts()) as url:
        options = Options(urls=[url], login=LOGIN, **OPTIONS)
        found = await runner.run(options, PASSWORD, interruptible=True)
    (told,) = in_state(found, State.ERROR)
    assert told.reason == "stopped early: it was interrupted; --resume takes it up"
    assert len(in_state(found, State.PASS)) > 5
