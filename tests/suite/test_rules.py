"""What the rules judge, and what a check may conclude where it could not look. See also ``test_mutants``."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest

from contracts.suite import runner
from contracts.suite.address import Address
from contracts.suite.checking import RULES, Skip
from contracts.suite.checks import transport
from contracts.suite.client import Client
from contracts.suite.config import Options
from contracts.suite.people import People
from contracts.suite.redaction import Redactor
from contracts.suite.results import State, TargetRun
from contracts.suite.trial import Target, Trial
from tests.suite.implementations.clean import LOGIN, PASSWORD, Clean, serving


async def judged(service: Clean, **given: Any) -> TargetRun:
    async with serving(service) as url:
        (target,) = (await runner.run(Options(urls=[url], login=LOGIN, **given), PASSWORD)).targets
    return target


async def test_a_rule_that_saw_nothing_of_its_kind_has_no_verdict() -> None:
    target = await judged(Clean())  # nobody is configured, so that no card is shown
    reasons = {
        result.check.removeprefix("every_answer."): result.reason
        for result in target.results
        if result.state is State.SKIP and result.check.startswith("every_answer.")
    }
    cards = ("one_card", "card_number", "card_state", "barcode_number", "barcode_type")
    assert reasons == dict.fromkeys(cards, "there was no answer with a card to judge") | {
        "barcode_can_be_drawn": "there was no answer with a barcode to judge"
    }


async def test_only_leaks_are_judged_where_koshelek_would_not_ask() -> None:
    assert [rule.name for rule in RULES if rule.probes] == [
        "every_answer.nothing_of_the_inside",
        "every_answer.nothing_of_the_inside_in_a_success",
    ]


@pytest.mark.parametrize(
    ("resolved", "public"),
    [(["10.0.0.7"], False), (["10.0.0.7", "8.8.8.8"], True), (["fd00::1"], False), ([], False)],
)
async def test_a_name_is_inside_if_what_it_stands_for_is(
    resolved: list[str], public: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        if not resolved:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in resolved]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    assert await transport._is_public(Address.parse("http://loyalty.corp.example")) is public


@pytest.mark.parametrize(
    ("spoken", "reason"),
    [(True, "no handshake can be tried: ConnectionRefusedError"), (False, "OpenSSL does not speak TLSv1")],
)
async def test_a_tls_version_that_cannot_be_tried_is_not_refused(
    spoken: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl, "HAS_TLSv1", spoken)
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        address, options = Address.parse(f"https://127.0.0.1:{closed.getsockname()[1]}"), Options()
        client = Client(address, "", "", redactor=Redactor(), timeout=1)
        trial = Trial(Target(address, options, client, People(options, client.redactor), ""))
        with pytest.raises(Skip, match=reason):
            await transport._accepted(trial, ssl.TLSVersion.TLSv1)
