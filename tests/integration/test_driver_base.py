"""What the base gives every driver behind HTTP, over a real client and a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping

import pytest

from crm_backends.http import HttpClient, HttpDriver, HttpSettings, Probe, ProbeFailed, port_write
from crm_backends.ports import (
    BackendCredentials,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
    HolderUnnamed,
    Outcome,
    Written,
)
from tests.integration.raw_server import RawServer, Visit, unused_port

STATUS: Mapping[str, int] = {"/down": 503, "/refused": 401, "/no": 422, "/odd": 302}


async def by_path(visit: Visit) -> None:
    """Answers with the status of the path, or well."""
    while seen := await visit.request():
        await visit.json(STATUS.get(seen.target, 200), {"ok": True})


class Driver(HttpDriver):
    """Writes to one path, reads from another afterwards."""

    def __init__(self, url: str, asked: Iterable[Probe] = ()) -> None:
        super().__init__(HttpClient("some", HttpSettings(base_url=url, attempts=1)))
        self.asked = asked

    def probes(self) -> Iterable[Probe]:
        return self.asked

    @port_write
    async def change(self, *paths: str, deadline: Deadline) -> Written:
        for path in paths:
            method, _, rest = path.partition(" ")
            if method == "READ":
                await self._http.read("GET", rest, deadline=deadline)
            else:
                answer = await self._http.write("POST", rest, deadline=deadline)
                if isinstance(answer, Written):
                    return answer
        return Written.done()

    @port_write
    async def misfit(self, path: str, *, deadline: Deadline) -> Written:
        await self._http.write("POST", path, deadline=deadline)
        raise BackendMisconfigured("some: nothing like the settings say")


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with RawServer(by_path).running() as running:
        yield running


@pytest.fixture
async def driver(server: RawServer) -> AsyncIterator[Driver]:
    driver = Driver(server.url)
    await driver.open()
    yield driver
    await driver.close()


def soon() -> Deadline:
    return Deadline.after(5)


async def test_a_deadline_that_has_passed_sends_nothing(server: RawServer, driver: Driver) -> None:
    written = await driver.change("WRITE /well", deadline=Deadline.after(0))
    assert written == Written.not_sent()
    assert written.reason == "some: no time left to ask"
    assert server.seen == []


@pytest.mark.parametrize(
    ("steps", "outcome"),
    [
        (["WRITE /well"], Outcome.DONE),
        (["WRITE /refused"], Outcome.NOT_SENT),
        (["WRITE /down"], Outcome.UNKNOWN),
        (["READ /down", "WRITE /well"], Outcome.NOT_SENT),
        (["READ /refused", "WRITE /well"], Outcome.NOT_SENT),
        (["WRITE /no", "READ /down"], Outcome.NOT_SENT),
        (["WRITE /well", "READ /down"], Outcome.UNKNOWN),
        (["WRITE /well", "READ /refused"], Outcome.UNKNOWN),
        (["WRITE /well", "READ /odd"], Outcome.UNKNOWN),
        (["WRITE /well", "WRITE /no", "READ /down"], Outcome.UNKNOWN),
    ],
)
async def test_what_fails_after_a_write_that_was_taken_leaves_it_in_doubt(
    driver: Driver, steps: list[str], outcome: Outcome
) -> None:
    written = await driver.change(*steps, deadline=soon())
    assert written.outcome is outcome
    assert outcome is Outcome.DONE or written.reason


async def test_a_misfit_is_told_only_where_nothing_can_have_been_done(driver: Driver) -> None:
    with pytest.raises(BackendMisconfigured):
        await driver.misfit("/no", deadline=soon())
    assert (await driver.misfit("/well", deadline=soon())).outcome is Outcome.UNKNOWN
    # And one call's doubt is not another's.
    with pytest.raises(BackendMisconfigured):
        await driver.misfit("/no", deadline=soon())


def probe(
    subject: str, error: Exception | None = None, told: str | None = None, decides: bool = False
) -> Probe:
    async def ask(deadline: Deadline) -> str | None:
        if error is not None:
            raise error
        return told

    return Probe(subject, ask, "well", "correct the key", "correct the settings", decides)


async def test_check_tells_each_probe_with_its_remedy(server: RawServer) -> None:
    asked = [
        probe("one"),
        probe("two", told="better than well"),
        probe("key", BackendCredentials("refused")),
        probe("shape", BackendMisconfigured("no number")),
        probe("own", BackendMisconfigured("no number; name the field")),
        probe("own too", ProbeFailed("nobody there", "name somebody")),
        probe("away", BackendUnavailable("no answer"), decides=True),
        probe("not asked"),
    ]
    findings = await Driver(server.url, asked).check()
    assert [(found.subject, found.ok, found.detail, found.remedy) for found in findings[:-1]] == [
        ("one", True, "well", ""),
        ("two", True, "better than well", ""),
        ("key", False, "refused", "correct the key"),
        ("shape", False, "no number", "correct the settings"),
        ("own", False, "no number", "name the field"),
        ("own too", False, "nobody there", "name somebody"),
    ]
    assert (findings[-1].subject, findings[-1].ok) == ("connection", False)
    assert "base_url" in findings[-1].remedy


async def test_check_works_before_open_and_leaves_the_driver_as_it_was(server: RawServer) -> None:
    driver = Driver(server.url)

    async def ask(deadline: Deadline) -> None:
        await driver._http.read("GET", "/well", deadline=deadline)

    driver.asked = [Probe("reached", ask, "well", "", "")]
    for _ in range(2):
        (finding,) = await driver.check()
        assert finding.ok
    with pytest.raises(BackendUnavailable):
        await ask(soon())
    await driver.open()
    (finding,) = await driver.check()
    assert finding.ok
    await ask(soon())
    await driver.close()


async def test_check_tells_a_connection_that_cannot_be_prepared(tmp_path: object) -> None:
    settings = HttpSettings.model_validate(
        {"base_url": f"http://127.0.0.1:{unused_port()}", "ca_file": f"{tmp_path}/none.pem"}
    )
    driver = Driver(settings.base_url, [probe("one")])
    driver._http = HttpClient("some", settings)
    (finding,) = await driver.check()
    assert (finding.subject, finding.ok) == ("connection", False)
    assert "ca_file" in finding.detail


def test_what_the_users_crm_does_not_tell_is_no_absence() -> None:
    driver = Driver("http://127.0.0.1:1")
    assert driver.required_from_users_crm("+79990000001", "phone") == "+79990000001"
    with pytest.raises(HolderUnnamed, match="identifies people by phone"):
        driver.required_from_users_crm(None, "phone")
