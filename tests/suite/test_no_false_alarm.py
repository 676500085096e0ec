"""The suite blames nobody for what the contract leaves open, nor for a slip in the configuration.

Freedoms that a whole run has to leave alone are in ``implementations.mutants``, under "No defects".
"""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from contracts.suite import runner, summary
from contracts.suite.config import Options
from contracts.suite.results import Result, Run, State
from tests.suite.implementations.clean import LOGIN, NOTHING, PASSWORD, Call, Clean, serving
from tests.suite.implementations.runs import breaches
from tests.suite.implementations.shop import ANNA, BLOCKED, BORIS, OPTIONS, Card, Shop

NOBODY = {"phone": "79991119999", "email": "nobody-there@example.org"}


async def run(service: Clean, **given: Any) -> Run:
    async with serving(service) as url:
        options = Options(
            **{"urls": [url], "login": LOGIN, "receipt_wait": 2.0, "strict": True, **OPTIONS, **given}
        )
        return await runner.run(options, PASSWORD)


def by_name(found: Run) -> dict[str, Result]:
    return {result.check: result for result in found.targets[0].results}


async def test_the_read_profile_never_sends_what_could_reserve_or_issue() -> None:
    asked: set[tuple[str, str]] = set()

    class Listening(Clean):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            asked.add((request.method, request.path))
            return await super().handle(request)

    await run(Listening())
    assert {verb for verb, _ in asked} == {"GET", "OPTIONS"}
    assert not {path for _, path in asked if "anonymous" in path or path == "/v1"} - {"/v1"}


async def test_bare_sockets_send_the_usual_headers() -> None:
    found = await run(Clean(), only=["transport"])
    sent = [
        one.request_body or ""
        for name in ("transport.one_connection", "transport.no_http")
        for one in by_name(found)[name].exchanges
        if "/v1/card" in (one.request_body or "") and "Host\r" not in (one.request_body or "")
    ]
    assert len(sent) >= 4
    for text in sent:
        assert all(f"\n{name}: " in text for name in ("Host", "Accept", "User-Agent")), text


# --- people of the configuration ---------------------------------------------------------------------


def notes(found: Run) -> str:
    return " ".join(found.notes)


@pytest.mark.parametrize("profile", ["read", "full"])
async def test_a_person_whom_nobody_knows_is_told_as_such(profile: str) -> None:
    found = await run(Clean(), profile=profile, existing=NOBODY, only=["find", "card", "KLO-0-37"])
    assert breaches(found.targets[0]) == {}
    assert "`existing` in the configuration: its phone and e-mail lead to no card" in notes(found)
    assert notes(found) in " ".join(summary.text(found).splitlines())
    state = State.PASS if profile == "full" else State.SKIP
    assert by_name(found)["find.by_phone"].state is state
    assert by_name(found)["card.known_card"].state is state


@pytest.mark.parametrize(
    ("changed", "told", "skipped"),
    [
        ({"phone": NOBODY["phone"]}, "its phone leads to no card", "find.by_phone"),
        ({"email": NOBODY["email"]}, "its e-mail leads to no card", "find.by_email"),
        ({"email": BORIS["email"]}, "its e-mail leads to another card", "find.by_email"),
        ({"card_number": "290000000000"}, "its card number leads to no card", None),
    ],
)
@pytest.mark.parametrize("profile", ["read", "full"])
async def test_a_wrong_key_of_a_person_is_told_as_such(
    changed: dict[str, str], told: str, skipped: str | None, profile: str
) -> None:
    person = OPTIONS["existing"] | changed
    found = await run(Clean(), profile=profile, existing=person, only=["find", "card", "KLO-0-38"])
    assert breaches(found.targets[0]) == {}
    assert told in notes(found)
    assert ("or the service does not find by it" in notes(found)) is (profile == "read")
    if skipped:
        assert by_name(found)[skipped].state is State.SKIP
    assert by_name(found)["card.known_card"].state is State.PASS


class FindsByPhoneAlone(Shop):
    def by_email(self, email: str | None) -> Any:
        return None


async def test_a_key_that_the_service_does_not_find_by_is_the_services_fault() -> None:
    class Service(Clean):
        shop_class = FindsByPhoneAlone

    found = await run(Service(), profile="full", only=["find.by_email", "find.by_phone"])
    assert set(breaches(found.targets[0])) == {"KLO-1-02"}
    assert found.notes == ()


@pytest.mark.parametrize(
    ("given", "told", "check"),
    [
        (
            {"blocked": OPTIONS["existing"]},
            "`blocked` in the configuration has an active card",
            "find.blocked",
        ),
        ({"blocked": NOBODY}, "`blocked` in the configuration: the phone finds nobody", "find.blocked"),
        (
            {"ambiguous": {"phone": ANNA["phone"], "email": ANNA["email"]}},
            "`ambiguous` in the configuration: phone and e-mail lead to one card",
            "find.several_match",
        ),
        (
            {"ambiguous": {"phone": ANNA["phone"], "email": NOBODY["email"]}},
            "`ambiguous` in the configuration: its e-mail alone leads to no card",
            "find.several_match",
        ),
        (
            {"unknown": {"phone": BORIS["phone"]}},
            "`unknown` in the configuration: its phone finds",
            None,
        ),
    ],
)
@pytest.mark.parametrize("profile", ["read", "full"])
async def test_other_people_who_are_not_as_configured_are_told_as_such(
    given: dict[str, Any], told: str, check: str | None, profile: str
) -> None:
    found = await run(Clean(), profile=profile, only=["find"], **given)
    assert breaches(found.targets[0]) == {}
    assert told in notes(found)
    if check == "find.blocked" or (check and profile == "read"):
        assert by_name(found)[check].state is State.SKIP
    assert by_name(found)["find.nobody_is_200"].state is State.PASS


async def test_a_number_that_is_no_plastic_card_there_is_told_as_such() -> None:
    found = await run(Clean(), profile="full", plastic="2999999999999", only=["KLO-6-10", "KLO-S-05"])
    assert breaches(found.targets[0]) == {}
    assert "`plastic` in the configuration is a number that is not known there." in found.notes


@pytest.mark.parametrize("code", ["NO-SUCH-CODE", "OVER"])
async def test_a_promo_code_that_is_not_accepted_is_told_as_such(code: str) -> None:
    found = await run(Clean(), profile="full", promo_code=code, only=["KLO-12", "KLO-S-08"])
    assert breaches(found.targets[0]) == {}
    assert "`promo_code` in the configuration is refused: it is wrong, or over." in found.notes


async def test_a_blocked_card_that_is_shown_by_one_key_is_found_out_by_that_key() -> None:
    class ShownByEmail(Shop):
        def find(self, msisdn: str | None, email: str | None, birth_date: str | None) -> Card | None:
            if email == BLOCKED["email"] and not msisdn:
                person = self.by_email(email)
                return person.card if person else None
            return super().find(msisdn, email, birth_date)

    class Service(Clean):
        shop_class = ShownByEmail

        def card_object(self, card: Card) -> dict[str, Any]:
            return super().card_object(card) | {"cardState": "active"}

    found = await run(Service(), only=["KLO-1-14"])
    assert "by the e-mail is refused" in breaches(found.targets[0])["KLO-1-14"]


async def test_a_service_with_one_error_for_everything_is_not_blamed_for_a_refused_receipt() -> None:
    class OneErrorForAll(Clean):
        def envelope(self, refusal: Any) -> Any:
            return {"code": "1", "description": "Ошибка"}

        async def receipt(self, call: Call) -> Any:
            raise self.unknown_path()

    found = await run(OneErrorForAll(), profile="full", only=["KLO-10-01"])
    assert breaches(found.targets[0]) == {}
    assert by_name(found)["receipts.accepts"].state is State.SKIP


async def test_a_service_without_the_method_is_blamed_for_a_refused_receipt() -> None:
    class NoReceipts(Clean):
        async def receipt(self, call: Call) -> Any:
            raise self.unknown_path()

    found = await run(NoReceipts(), profile="full", only=["KLO-10-01"])
    assert set(breaches(found.targets[0])) == {"KLO-10-01"}


async def test_whoever_answers_options_without_saying_which_verbs_there_are_breaks_the_clause() -> None:
    class Silent(Clean):
        async def process(self, call: Call) -> Any:
            return NOTHING if call.verb == "OPTIONS" else await super().process(call)

    assert "KLO-0-26" in breaches((await run(Silent(), only=["KLO-0-26"])).targets[0])
