"""A failure can be repeated as it stands, tells which variant failed, and shows nobody else's values."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import certifi
import pytest

from contracts.suite import repeating, runner, summary
from contracts.suite.address import Address
from contracts.suite.client import Client
from contracts.suite.config import Options
from contracts.suite.redaction import Redactor
from contracts.suite.report import write_reports
from contracts.suite.results import Exchange, Failure, Run
from tests.suite.implementations.clean import LOGIN, PASSWORD, Call, Clean, serving
from tests.suite.implementations.mutants import LastKeyCounts
from tests.suite.implementations.shop import ANNA, BLOCKED, OPTIONS, PLASTIC, Refusal, Shop


class Service(Clean):
    shop_class = LastKeyCounts


class TellsEverything(Clean):
    """Shows a card's owner wherever it shows a card, and numbers as numbers."""

    def card_object(self, card: Any) -> dict[str, Any]:
        owner = card.owner.phone if card.owner else ""
        return super().card_object(card) | {"owner": owner, "level": 7}

    def strings(self, value: Any) -> Any:
        return value


async def run(service: Clean, url: str = "", **given: Any) -> Run:
    options = {"login": LOGIN, "receipt_wait": 1.0, "strict": True, "profile": "full", **OPTIONS, **given}
    if url:
        return await runner.run(Options(urls=[url], **options), PASSWORD)
    async with serving(service) as served:
        return await runner.run(Options(urls=[served], **options), PASSWORD)


def failures(found: Run) -> list[tuple[Failure, Exchange]]:
    return [(failure, one) for _, failure, one in found.targets[0].failed if one is not None]


async def test_a_failure_names_the_variant_that_failed() -> None:
    ((failure, _),) = failures(await run(Service(), only=["KLO-10-31"]))
    assert failure.expected.startswith("a QR text with s twice: t=")
    assert "&s=1 is refused (422)" in failure.expected


async def test_the_line_of_a_failure_repeats_it_as_it_stands(tmp_path: Path) -> None:
    """Made-up values are there, so that curl gets the same answer; only the credentials have to be put in."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    async with serving(Service()) as url:
        ((_, shown),) = failures(await run(Service(), url, only=["KLO-10-31"], existing=None))
        done = await _shell(shown.curl, tmp_path)
    assert done.split()[1] == str(shown.status) == "200", shown.curl


async def _shell(line: str, folder: Path) -> str:
    line = line.replace("LOGIN:PASSWORD", shlex.quote(f"{LOGIN}:{PASSWORD}"))
    done = await asyncio.to_thread(
        subprocess.run, line, shell=True, cwd=folder, capture_output=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().replace("\r\n", "\n").strip()


async def test_a_long_body_lies_beside_the_report_where_its_line_finds_it(tmp_path: Path) -> None:
    class Swallows(Clean):
        async def update(self, call: Call) -> Any:
            if call.body.startswith(b"[["):
                return {"swallowed": len(call.body)}
            return await super().update(call)

    async with serving(Swallows()) as url:
        found = await run(Swallows(), url, only=["common.body_is_nested_too_deeply"])
        write_reports(found, tmp_path)
        ((_, shown),) = failures(found)
        assert "--data-binary @body-" in shown.curl
        assert '{"swallowed": "40000"}' in await _shell(shown.curl, tmp_path)


def test_the_line_names_the_authority_that_was_given() -> None:
    authority = Path(certifi.where())
    client = Client(
        Address.parse("https://127.0.0.1"), "", "", redactor=Redactor(), timeout=1.0, ca_file=authority
    )
    assert client._authority == str(authority)
    line = repeating.curl("GET", "https://127.0.0.1/v1/card", (), None, agreed=True, authority="a.pem")
    assert "--cacert a.pem" in line


async def test_every_request_has_an_id_that_is_told(tmp_path: Path) -> None:
    asked: list[str] = []

    class Listening(Service):
        async def handle(self, request: Any) -> Any:
            asked.append(request.headers.get("X-Request-Id", ""))
            return await super().handle(request)

    found = await run(Listening(), only=["KLO-10-31"])
    ((_, shown),) = failures(found)
    assert shown.request_id in asked
    assert len(set(asked)) == len(asked)
    assert f"Request   {shown.request_id}" in summary.text(found)
    write_reports(found, tmp_path)
    assert shown.request_id in (tmp_path / "report.html").read_text(encoding="utf-8")


async def test_junit_carries_the_request_and_the_line_that_repeats_it(tmp_path: Path) -> None:
    found = await run(Service(), only=["KLO-10-31"])
    ((_, shown),) = failures(found)
    write_reports(found, tmp_path)
    (failure,) = Xml.parse(tmp_path / "junit.xml").iter("failure")
    text = failure.text or ""
    assert f"Request: POST {shown.url}" in text
    assert f"Request id: {shown.request_id}" in text
    assert f"Repeat: {shown.curl}" in text
    assert "\n" not in failure.attrib["message"]


def texts_of(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.suffix != ".bin"}


def planted() -> list[str]:
    values = [str(value) for person in (ANNA, BLOCKED) for value in person.values()]
    return [*values, str(ANNA["phone"])[-7:], PASSWORD, PLASTIC, OPTIONS["promo_code"]]


async def test_made_up_values_are_shown_and_those_of_others_are_not(tmp_path: Path) -> None:
    found = await run(TellsEverything())
    write_reports(found, tmp_path)
    texts = texts_of(tmp_path)
    assert set(texts) == {"report.html", "junit.xml", "results.json", "exchange.har"}
    for name, text in texts.items():
        assert [value for value in planted() if value in text] == [], name
    assert "@example.com" in texts["results.json"]
    assert '\\"owner\\": \\"7900000' in texts["results.json"], "made up, also where the service shows it"
    assert '\\"owner\\": \\"<phone>\\"' not in texts["results.json"]


async def test_values_of_others_are_written_into_a_file_of_this_machine_alone(tmp_path: Path) -> None:
    class TellsOfAnna(TellsEverything):
        shop_class = Shop

    found = await run(TellsOfAnna(), profile="read", show_values=True, only=["KLO-0-34"])
    write_reports(found, tmp_path)
    texts = texts_of(tmp_path)
    values = texts.pop("values.txt")
    assert stat.S_IMODE(os.stat(tmp_path / "values.txt").st_mode) == 0o600
    assert f"msisdn={ANNA['phone']}" in values
    assert PASSWORD not in values
    assert [name for name, text in texts.items() if str(ANNA["phone"]) in text] == []


async def test_an_error_with_somebodys_values_is_shown_without_them() -> None:
    class Echoes(Clean):
        def error(self, refusal: Refusal, call: Call) -> Any:
            return super().error(Refusal("", f"{refusal}: {call.query} of Иванов +79161112233"), call)

    found = await run(Echoes(), profile="read", only=["KLO-1-14", "KLO-0-30"])
    (failure, shown), *_ = failures(found)
    assert "<phone>" in shown.response_body
    assert "79161112233" not in shown.response_body
    assert str(BLOCKED["phone"]) not in shown.response_body + failure.actual
