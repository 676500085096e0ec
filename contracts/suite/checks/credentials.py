"""HTTP Basic: who is let in, who is not, and how that is told."""

from __future__ import annotations

from contracts.suite.address import basic
from contracts.suite.answer import Answer
from contracts.suite.checking import check
from contracts.suite.crediting import holder, receipt_body
from contracts.suite.people import qr_text
from contracts.suite.reading import found_number, quoted, reserved_number
from contracts.suite.trial import Trial

MALFORMED = (
    "Basic",
    "Basic !!!",
    "Basic bm8tY29sb24=",
    "Bearer abc",
    "abc",
    "Basic " + "x" * 3000,
    "Digest a=b",
)


def _wrong(trial: Trial) -> dict[str, str]:
    """What is wrong with it, and a header with a pair other than the agreed one."""
    login = trial.options.login or "koshelek"
    password = trial.target.password
    swapped = password.swapcase()
    return {
        "one letter more in the password": basic(login, password + "x"),
        "one letter more in the login": basic(login + "x", password),
        "no password": basic(login, ""),
        "neither login nor password": basic("", ""),
        "the password in other capitals": basic(login, swapped if swapped != password else password + "1"),
        "another login and password, in Cyrillic": basic("логин", "пароль: с двоеточием"),
    }


async def _anybody(trial: Trial, authorization: str | None) -> Answer:
    """A look-up that succeeds for whoever is let in."""
    phone = trial.people.stranger().phone or ""
    return await trial.call(1, "GET", "/v1/card", query={"msisdn": phone}, authorization=authorization)


def _not_let_in(trial: Trial, answer: Answer, what: str) -> None:
    trial.that(answer.refused, f"a request with {what} is refused", answer)


@check("KLO-0-07")
async def right_credentials(trial: Trial) -> None:
    """The agreed login and password are let in"""
    answer = await _anybody(trial, trial.target.client.authorization)
    trial.that(answer.status not in (401, 403, None), "the agreed credentials are let in", answer)


@check("KLO-0-08")
async def no_credentials(trial: Trial) -> None:
    """Every reading method refuses a request without credentials"""
    _not_let_in(trial, await _anybody(trial, None), "no Authorization header")
    for path in (
        f"/v1/card/{trial.people.unknown_card()}",
        "/v1/card/getAllUsers",
        "/v1/card/getAllUsersExtended",
    ):
        answer = await trial.call(0, "GET", path, authorization=None)
        _not_let_in(trial, answer, "no Authorization header")
    if trial.options.existing is None and not trial.full:
        return
    card = await trial.existing_number()
    purchases = f"/v1/card/{quoted(card)}/purchases?startDate=2024-01-01"
    for answer in (
        await trial.card(card, authorization=None),
        await trial.call(7, "GET", purchases, authorization=None),
        await trial.offers(card, authorization=None),
    ):
        _not_let_in(trial, answer, f"no Authorization header to method {answer.method}")


@check("KLO-0-08", writes=True)
async def no_credentials_to_write(trial: Trial) -> None:
    """Every writing method refuses a request without credentials"""
    person = await trial.newcomer()
    card = person.card_number or ""
    number = reserved_number(await trial.reserve())
    calls = [
        await trial.call(5, "GET", "/v1/card/anonymous", authorization=None),
        await trial.consents(card, {"allow": ["sms"], "deny": []}, authorization=None),
        await trial.update(card, {"firstname": "Елена"}, authorization=None),
    ]
    if number is not None:
        nobody = await trial.nobody()
        calls.append(await trial.issue_reserved(number, nobody.profile(), authorization=None))
    if trial.since("1.1.0"):
        receipt = receipt_body(trial, person, qr_text(trial.people.receipt()))
        calls.append(await trial.receipt(receipt, authorization=None))
    if trial.since("1.2.0"):
        nobody = await trial.nobody()
        calls.append(await trial.issue(nobody.profile(), authorization=None))
    if trial.since("1.3.0"):
        code = trial.options.promo_code or trial.options.refused_promo_code
        body = {trial.options.promo_field: code} | holder(trial, person)
        calls.append(await trial.promo(body, authorization=None))
    for answer in calls:
        _not_let_in(trial, answer, f"no Authorization header to method {answer.method}")


@check("KLO-0-09")
async def wrong_credentials(trial: Trial) -> None:
    """Another login or password is refused"""
    for what, header in _wrong(trial).items():
        _not_let_in(trial, await _anybody(trial, header), what)


@check("KLO-0-10")
async def malformed_credentials(trial: Trial) -> None:
    """A malformed Authorization header is refused"""
    for header in MALFORMED:
        what = f"a malformed Authorization header, `{header[:30]}`,"
        _not_let_in(trial, await _anybody(trial, header), what)


async def _refused(trial: Trial) -> Answer:
    answer = await _anybody(trial, basic("nobody", "nothing"))
    trial.need(answer.refused, "wrong credentials are not refused")
    return answer


@check("KLO-0-11")
async def refused_with_401(trial: Trial) -> None:
    """Refused credentials are answered 401, or 422"""
    answer = await _refused(trial)
    trial.that(answer.status in (401, 422), "status 401 or 422", answer)


@check("KLO-0-12")
async def challenge(trial: Trial) -> None:
    """An answer 401 carries a Basic challenge"""
    answer = await _refused(trial)
    trial.need(answer.status == 401, "refused credentials are not answered 401")
    given = answer.headers.get("WWW-Authenticate")
    good = given is not None and given.lower().startswith("basic")
    trial.that(
        good,
        "WWW-Authenticate: Basic …",
        f"WWW-Authenticate: {given}" if given else "no such header",
        answer=answer,
    )


@check("KLO-0-13")
async def refused_with_error_object(trial: Trial) -> None:
    """Refused credentials are answered with the error object"""
    answer = await _refused(trial)
    trial.that(
        isinstance(answer.json, dict) and {"code", "description"} <= answer.json.keys(),
        'an error {"code": "…", "description": "…"}',
        answer,
    )


@check("KLO-0-14", writes=True)
async def refused_changes_nothing(trial: Trial) -> None:
    """A request with refused credentials changes nothing"""
    person = await trial.newcomer()
    address = trial.people.email()
    trial.need(person.phone and found_number(await trial.find(person.phone)), "the new card is not found")
    wrong = basic("nobody", "nothing")
    await trial.update(person.card_number or "", {"email": address}, authorization=wrong)
    answer = await trial.find(None, address)
    trial.that(found_number(answer) is None, "the e-mail is not changed", answer)
    if trial.since("1.2.0"):
        nobody = await trial.nobody()
        await trial.issue(nobody.profile(), authorization=wrong)
        answer = await trial.find(nobody.phone)
        trial.that(found_number(answer) is None, "no card is issued", answer)
