"""What is common to all methods: paths, versions, encoding, bodies that are wrong, hostile input."""

from __future__ import annotations

import asyncio
from typing import Any

from contracts.suite.answer import Answer
from contracts.suite.checking import check
from contracts.suite.crediting import wait_for_earlier_credits
from contracts.suite.reading import error_of, found_number, quoted, reserved_number
from contracts.suite.trial import Trial


def _is_422_with_error(trial: Trial, answer: Answer, what: str) -> None:
    good = answer.status == 422 and isinstance(answer.json, dict) and "code" in answer.json
    trial.that(good, f"{what} is answered 422 with {{code, description}}", answer)


def _code(answer: Answer) -> str | None:
    return answer.text_at("code")


@check("KLO-0-04")
async def methods_are_below_v1(trial: Trial) -> None:
    """The path prefix is /v1"""
    answer = await trial.find(trial.people.stranger().phone)
    unknown = await trial.unknown_path()
    trial.that(answer.ok or answer.body != unknown.body, "GET /v1/card is a method", answer)


OLD_METHODS = (
    ("GET", "/v1/card?msisdn={phone}"),
    ("GET", "/v1/card/{card}"),
    ("GET", "/v1/card/{card}/purchases?startDate=2024-01-01&endDate=2024-01-02"),
)


@check("KLO-0-05")
async def older_methods_are_kept(trial: Trial) -> None:
    """A newer version keeps the methods of the older ones"""
    trial.need(trial.options.api_version != "1.0.0", "1.0.0 is the first version")
    unknown_path = await trial.unknown_path()
    phone = trial.people.stranger().phone or ""
    number = trial.people.unknown_card()
    for verb, path in OLD_METHODS:
        answer = await trial.call(0, verb, path.format(phone=phone, card=number))
        if not answer.ok and answer.body == unknown_path.body:  # it may have one error for everything
            number = await trial.existing_number()
            answer = await trial.call(0, verb, path.format(phone=phone, card=number))
        known = answer.ok or answer.body != unknown_path.body
        trial.that(known, f"{verb} {path.partition('?')[0]} is a method", answer)


@check("KLO-0-05", writes=True)
async def reserving_is_kept(trial: Trial) -> None:
    """Versions 1.2 and newer still reserve numbers and issue them"""
    trial.need(trial.since("1.2.0"), "it is about versions 1.2.0 and newer")
    answer = await trial.reserving()
    trial.that(reserved_number(answer) is not None, "GET /v1/card/anonymous still reserves a number", answer)


@check("KLO-0-06", writes=True)
async def newer_methods_are_unknown(trial: Trial) -> None:
    """A method newer than the version agreed on is an unknown path"""
    newer = [
        (since, path)
        for since, path in (
            ("1.1.0", "/v1/promo/qrCode"),
            ("1.2.0", "/v1/card/anonymous"),
            ("1.3.0", "/v1/promo/code"),
        )
        if not trial.since(since)
    ]
    trial.need(newer, "there is no newer version")
    unknown = [
        await trial.unknown_path("POST", body={}),
        await trial.unknown_path("PUT", "/v1/card/anonymous", body={}),
    ]
    codes = {_code(answer) for answer in unknown if answer.refused}
    trial.need(codes - {None}, "unknown paths are not answered with a code")
    for _, path in newer:
        answer = await trial.unknown_path("POST", path, body={})
        trial.that(
            answer.refused and _code(answer) in codes, f"POST {path} is answered as an unknown path", answer
        )


@check("KLO-0-15", writes=True)
async def cyrillic_in_a_body(trial: Trial) -> None:
    """Cyrillic in a profile is accepted"""
    person = await trial.newcomer()
    changed = {"firstname": "Ёлка", "patronymic": "Щукинична", "surname": "Ъ-Ыйский"}
    plain = await trial.update(person.card_number or "", {"firstname": "Elka"})
    trial.need(plain.ok, "a profile in Latin letters is not accepted either")
    trial.ok(await trial.update(person.card_number or "", changed), "a profile in Cyrillic letters")


@check("KLO-0-21")
async def query_is_percent_decoded(trial: Trial) -> None:
    """Percent-encoded query values are decoded"""
    person = await trial.existing()
    trial.need(person.phone, "needs the phone of `existing`")
    trial.need(found_number(await trial.find(person.phone)), "the phone alone does not find the card")
    encoded = "".join(f"%{ord(digit):02X}" for digit in person.phone or "")
    trial.target.client.redactor.alike(encoded, person.phone, "phone")
    trial.shows(await trial.call(1, "GET", f"/v1/card?msisdn={encoded}"), person)


@check("KLO-0-25")
async def unknown_path(trial: Trial) -> None:
    """An unknown path is answered 422 with the error object"""
    for path in ("/v1/no-such-method", "/v1", "/v1/card/1/no-such-method", "/v1/promo"):
        _is_422_with_error(trial, await trial.unknown_path("GET", path), f"GET {path}")


@check("KLO-0-26")
async def wrong_verb(trial: Trial) -> None:
    """OPTIONS is answered 422 with the error object, or as HTTP wants it, with the verbs there are"""
    answer = await trial.unknown_path("OPTIONS", "/v1/card")
    tells = answer.headers.keys() & {"Allow", "Access-Control-Allow-Methods"}
    if not (answer.ok and tells):
        _is_422_with_error(trial, answer, "OPTIONS /v1/card")


@check("KLO-0-26", writes=True)
async def wrong_verb_that_may_write(trial: Trial) -> None:
    """A verb that a path does not serve is answered 422 with the error object"""
    for verb, path in (("POST", "/v1/card"), ("PUT", "/v1/card/anonymous")):
        _is_422_with_error(trial, await trial.unknown_path(verb, path, body={}), f"{verb} {path}")


async def _body_methods(trial: Trial) -> list[tuple[int, str, str]]:
    """Methods with a body, on a holder's card and a reserved number: nothing but the body can be wrong."""
    card = quoted((await trial.once("bodies", trial.newcomer)).card_number or "")
    number = quoted(reserved_number(await trial.reserve()) or trial.people.unknown_card())
    methods = [
        (2, "PUT", f"/v1/card/{card}/communication"),
        (4, "POST", f"/v1/card/{card}"),
        (6, "POST", f"/v1/card/anonymous/{number}"),
    ]
    if trial.since("1.1.0"):
        methods.append((10, "POST", "/v1/promo/qrCode"))
    if trial.since("1.2.0"):
        methods.append((11, "POST", "/v1/card/anonymous"))
    if trial.since("1.3.0"):
        methods.append((12, "POST", "/v1/promo/code"))
    return methods


async def _refuse_bodies(trial: Trial, bodies: tuple[bytes, ...], what: str) -> None:
    for method, verb, path in await _body_methods(trial):
        for body in bodies:
            answer = await trial.call(method, verb, path, body=body, probe=True)
            shown = body[:20].decode("utf-8", "backslashreplace") or "nothing"
            trial.that(answer.status == 422, f"method {method} with {what} ({shown}) is answered 422", answer)


@check("KLO-0-27", writes=True)
async def body_is_no_json(trial: Trial) -> None:
    """A body that is no JSON is answered 422"""
    bodies = (b"{", b"phone=79000000000", b'{"phone": }', b"\xff\xfe{}", b'{"firstname": "\xc3\x28"}', b"")
    await _refuse_bodies(trial, bodies, "a body that is no JSON")


@check("KLO-0-27", writes=True)
async def body_is_nested_too_deeply(trial: Trial) -> None:
    """A body nested thousands of levels deep is answered 422"""
    await _refuse_bodies(trial, (b"[" * 20_000 + b"]" * 20_000,), "20,000 nested arrays")


@check("KLO-0-28", writes=True)
async def body_is_no_object(trial: Trial) -> None:
    """A body that is JSON but no object is answered 422"""
    await _refuse_bodies(trial, (b"[]", b'"text"', b"12345", b"null", b"true"), "a body that is no object")


@check("KLO-0-68", writes=True)
async def too_large_a_body(trial: Trial) -> None:
    """A body of 4 MB is answered 422"""
    body = b'{"firstname": "' + b"x" * 4_000_000 + b'"}'
    answer = await trial.update(trial.people.unknown_card(), body, probe=True)
    trial.that(answer.status == 422, "a body of 4 MB is answered 422", answer)


@check("KLO-0-37")
async def reading_again(trial: Trial) -> None:
    """A reading call that is repeated gets the same answer"""
    person = await trial.existing()
    async with trial.alone():  # or a receipt of another check changes the balance between
        await wait_for_earlier_credits(trial)
        for _ in range(3):
            first, again = (
                await trial.card(person.card_number or ""),
                await trial.card(person.card_number or ""),
            )
            trial.need(first.ok, "the card cannot be read")
            if first.body == again.body:
                break
            await asyncio.sleep(0.5)
        trial.that(first.json == again.json, "the same answer", f"then {again.in_short()}", answer=first)


@check("KLO-0-37")
async def reading_at_once(trial: Trial) -> None:
    """Ten identical look-ups at once get one answer"""
    person = await trial.existing()
    trial.need(person.phone, "needs the phone of `existing`")
    answers = await asyncio.gather(*[trial.find(person.phone) for _ in range(10)])
    shown = {(answer.status, found_number(answer)) for answer in answers}
    trial.that(len(shown) == 1, "ten equal answers", f"{len(shown)} different ones", answer=answers[0])


@check("KLO-0-38")
async def one_card_by_either_key(trial: Trial) -> None:
    """Phone and e-mail of a holder lead to one card"""
    person = await trial.existing()
    trial.need(person.phone and person.email, "needs phone and e-mail of `existing`")
    by_phone = found_number(await trial.find(person.phone))
    answer = await trial.find(None, person.email)
    trial.need(by_phone and found_number(answer), "one of them does not find the card")
    trial.that(
        found_number(answer) == by_phone,
        f"card {by_phone} by both",
        answer,
        path="$.card.cardNumber",
    )


async def _is_no_number(trial: Trial, answer: Answer, word: str, number: Answer) -> None:
    """The clause wants a word to be no card number; ``number``: the same call with a number nobody has."""
    shows_a_card = isinstance(answer.json, dict) and answer.at("card", "bonus") is not None
    what = f"{answer.verb} /v1/card/{word} is not read as a card number"
    trial.that(not (answer.ok and (shows_a_card or found_number(answer) == word)), what, answer)
    if not answer.refused:
        return
    no_path = await trial.unknown_path(answer.verb)
    said, of_number, of_path = error_of(answer, word), error_of(number), error_of(no_path)
    trial.need(of_number != of_path, f"{word} is refused, and errors do not tell an unknown card from a path")
    same_code = _code(answer) is not None and _code(answer) == _code(number) != _code(no_path)
    if said == of_number or same_code:
        trial.breach(what, f"{answer.in_short()}, like a number that nobody has", answer=answer)


@check("KLO-0-40", writes=True)
async def anonymous_is_no_card_number(trial: Trial) -> None:
    """/v1/card/anonymous is never read as a card number"""
    unknown = trial.people.unknown_card()
    await _is_no_number(trial, await trial.reserve(), "anonymous", await trial.card(unknown))
    if trial.since("1.2.0"):
        profile = (await trial.nobody()).profile()
        number = await trial.update(unknown, profile)
        await _is_no_number(trial, await trial.issue(profile), "anonymous", number)


async def _list_is_no_card_number(trial: Trial, name: str) -> None:
    answer = await trial.call(9, "GET", f"/v1/card/{name}")
    shows_card = answer.ok and isinstance(answer.json, dict) and answer.at("card") is not None
    trial.that(not shows_card, f"/v1/card/{name} is a list, or an unknown method", answer)
    await _is_no_number(trial, answer, name, await trial.card(trial.people.unknown_card()))


@check("KLO-0-41")
async def get_all_users_is_no_card_number(trial: Trial) -> None:
    """/v1/card/getAllUsers is never read as a card number"""
    await _list_is_no_card_number(trial, "getAllUsers")


@check("KLO-0-42")
async def get_all_users_extended_is_no_card_number(trial: Trial) -> None:
    """/v1/card/getAllUsersExtended is never read as a card number"""
    await _list_is_no_card_number(trial, "getAllUsersExtended")


@check("KLO-0-49")
async def one_card_in_every_method(trial: Trial) -> None:
    """A card looks the same in methods 1 and 3"""
    person = await trial.existing()
    trial.need(person.phone, "needs the phone of `existing`")
    found, shown = await trial.find(person.phone), await trial.card(person.card_number or "")
    for path in (("cardNumber",), ("cardState",), ("barcode", "barcodeNumber"), ("barcode", "barcodeType")):
        one, other = found.text_at("card", *path), shown.text_at("card", *path)
        trial.need(one and other, f"one of them does not tell {'.'.join(path)}")
        trial.that(one == other, f"the same {path[-1]} in both", shown, path=".".join(["$.card", *path]))


HOSTILE = (
    "' OR '1'='1",
    '"; DROP TABLE cards; --',
    "$(sleep 9)",
    "{{7*7}}",
    "%00",
    "\u202e🦊",
    "<script>alert(1)</script>",
    "../../../etc/passwd",
    "9" * 4000,
)


def _documented(trial: Trial, answer: Answer, what: str, *usual: Answer) -> None:
    """``usual``: answers to proper requests of the kind, whose statuses are clauses of their own."""
    statuses = {200, 422, *(one.status for one in usual)}
    trial.that(answer.status in statuses, f"{what} is answered 200 or 422", answer)


@check("KLO-0-68")
async def hostile_look_ups(trial: Trial) -> None:
    """Hostile look-ups get a documented status and find nobody"""
    usual = await trial.find(trial.people.stranger().phone)
    for text in HOSTILE:
        for key in ("msisdn", "email", "birthDate"):
            answer = await trial.call(1, "GET", "/v1/card", query={key: text}, probe=True)
            _documented(trial, answer, f"a hostile {key}, {text[:40]},", usual)
            trial.that(found_number(answer) is None, f"a hostile {key}, {text[:40]}, finds nobody", answer)


@check("KLO-0-68")
async def hostile_card_numbers(trial: Trial) -> None:
    """Hostile card numbers in the path get a documented status"""
    usual = await trial.card(trial.people.unknown_card()), await trial.unknown_path()
    for text in (
        "%27%20OR%20%271%27=%271",
        "%00",
        "%F0%9F%98%80",
        "..%2f..%2fetc%2fpasswd",
        "%ff",
        "0" * 300,
        "-1",
    ):
        answer = await trial.call(3, "GET", f"/v1/card/{text}", probe=True)
        _documented(trial, answer, f"a hostile card number, {text[:40]},", *usual)
        trial.that(found_number(answer) is None, f"a hostile card number, {text[:40]}, shows no card", answer)


@check("KLO-0-68")
async def odd_headers(trial: Trial) -> None:
    """Odd headers do not disturb"""
    phone = trial.people.stranger().phone
    usual = await trial.find(phone)
    odd: tuple[dict[str, str], ...] = (
        {"Accept": "text/html"},
        {"Accept-Language": "xx"},
        {"X-Long": "x" * 4000},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Cookie": "session=' OR 1=1"},
    )
    for headers in odd:
        query = {"msisdn": phone or ""}
        answer = await trial.call(1, "GET", "/v1/card", query=query, headers=headers, probe=True)
        _documented(trial, answer, f"a request with {next(iter(headers))}", usual)


@check("KLO-0-68", writes=True)
async def hostile_profiles(trial: Trial) -> None:
    """Hostile texts in a profile get a documented status"""
    person = await trial.newcomer()
    usual = await trial.update(person.card_number or "", {"firstname": "Maria"})
    texts: tuple[Any, ...] = (*HOSTILE, "a\x00b", {"a": 1}, ["x"], 10**40, True, None)
    for text in texts:
        answer = await trial.update(person.card_number or "", {"firstname": text}, probe=True)
        _documented(trial, answer, f"a hostile firstname, {str(text)[:40]!r},", usual)
