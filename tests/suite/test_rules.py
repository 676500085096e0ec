"""What the rules judge, and what a check may conclude where it could not look. See also ``test_mutants``."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.loyalty_online import clauses
from contracts.suite import runner, spotting
from contracts.suite.address import Address
from contracts.suite.answer import MOST_REMEMBERED, Answer
from contracts.suite.checking import RULES, Skip
from contracts.suite.checks import transport
from contracts.suite.client import NO_HEADERS, Client
from contracts.suite.config import Options
from contracts.suite.judging import Judge
from contracts.suite.people import People
from contracts.suite.redaction import Redactor
from contracts.suite.results import Exchange, State, TargetRun
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


@pytest.mark.parametrize("sign", spotting._SIGNS)
@settings(max_examples=25)  # a sign has a handful of forms
@given(data=st.data())
def test_a_text_is_searched_for_every_sign_that_stands_in_it(sign: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(sign, fullmatch=True))
    assert any(word in text for word in spotting._SIGNS[sign])
    assert spotting.inside(f" {text} ", error=False) is not None


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


def answer(body: bytes) -> Answer:
    shown = Exchange(
        "GET", "http://a.example/v1/card/getAllUsers", (), None, 200, "OK", "HTTP/1.1", (), "",
        datetime.now(UTC), 0.1, "",
    )  # fmt: skip
    return Answer(9, "GET", 200, NO_HEADERS, body, shown, with_credentials=True)


def test_every_value_is_told_with_its_place_however_deep() -> None:
    value = {"a": [{"b": "1"}, [], "2", [{"c": {"d": None}}]], "e": "", "f": {}}
    places = [("$.a[0].b", "1"), ("$.a[2]", "2"), ("$.a[3][0].c.d", None), ("$.e", "")]
    assert list(answer(json.dumps(value).encode()).leaves) == places
    assert list(answer(b"no JSON").leaves) == []
    assert list(answer(json.dumps("x" * MOST_REMEMBERED).encode()).leaves) == [("$", "x" * MOST_REMEMBERED)]


def test_a_long_list_is_read_once_for_all_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = Answer.read

    def counted(one: Answer) -> Any:
        read.append(len(one.body))
        return whole(one)

    monkeypatch.setattr(Answer, "read", counted)
    lists = [answer(json.dumps([f"7900000{n:04}" for n in range(most)]).encode()) for most in (900, 1000)]
    found = {one.check: one for one in Judge(Options(), clauses()).rules(lists, Redactor())}
    assert found["every_answer.strings_only"].state is State.PASS
    assert read == [len(one.body) for one in lists]
