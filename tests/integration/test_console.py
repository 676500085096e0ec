"""The console over real sockets: who gets in, what is decided, what is shown to whom, what is kept of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from adapter.loyalty.model import OperationKind
from adapter.ops.console.app import HISTORY
from adapter.ops.console.sessions import Sessions
from adapter.store.observed import PostgresObserved
from contracts.sandbox import Sandbox, perx
from contracts.sandbox import running as sandbox_running
from crm_backends.ports import AccountUnknown

from .conftest import Adapter, StartAdapter, new_phone
from .consoles import OLGA, PASSWORDS, PEOPLE, RITA, Page, Person, management_port, somebody
from .held_receipts import held, over_perx

PHONE, NAME, SURNAME = "+79165550142", "Plantedname", "Plantedsurname"


@pytest.fixture
async def crm() -> AsyncIterator[Sandbox]:
    async with sandbox_running("perx") as sandbox:
        yield sandbox


@pytest.fixture
async def adapter(start: StartAdapter, crm: Sandbox) -> Adapter:
    return await start(**over_perx(crm), console={"people": PEOPLE})


@pytest.fixture
async def base(adapter: Adapter) -> AsyncIterator[str]:
    async with management_port(adapter.service) as address:
        yield address


@pytest.fixture
async def olga(base: str) -> AsyncIterator[Person]:
    """An operator who has logged in."""
    async with somebody(base) as person:
        assert (await person.log_in(OLGA)).status == 200
        yield person


@pytest.fixture
async def rita(base: str) -> AsyncIterator[Person]:
    """A reader who has logged in."""
    async with somebody(base) as person:
        assert (await person.log_in(RITA)).status == 200
        yield person


async def audit(adapter: Adapter) -> list[tuple[str, str]]:
    rows = await adapter.service.pool.fetch("SELECT who, action FROM koshelek.console_audit ORDER BY id")
    return [(row["who"], row["action"]) for row in rows]


async def state_of(adapter: Adapter, operation_id: int) -> str:
    return str(await adapter.sql("SELECT state FROM koshelek.operations WHERE id = $1", operation_id))


# --- getting in ------------------------------------------------------------------------------------------


async def test_there_is_no_console_without_somebody_who_may_log_in(start: StartAdapter) -> None:
    adapter = await start()
    async with management_port(adapter.service) as address, somebody(address) as person:
        for path in ("/", "/console/", "/console/login", "/console/static/console.css"):
            assert (await person.get(path)).status == 404
        assert (await person.get("/health/live")).status == 200


async def test_only_the_right_password_opens_it_and_every_try_is_kept(adapter: Adapter, base: str) -> None:
    async with somebody(base) as person:
        start = await person.get("/")
        assert urlsplit(start.url).path == "/console/login"
        wrong = await person.log_in(OLGA, "not hers")
        assert (wrong.status, "Name or password is wrong." in wrong.words) == (403, True)
        assert (await person.log_in("nobody", "nothing")).status == 403
        # Whoever types a password into the field for the name: it is kept nowhere.
        assert (await person.log_in(PASSWORDS[OLGA], "x")).status == 403
        inside = await person.log_in(OLGA)
        assert urlsplit(inside.url).path == "/console/held"
        assert (await person.get("/console/audit")).status == 200
        left = await person.post("/console/logout")
        assert urlsplit(left.url).path == "/console/login"
        assert urlsplit((await person.get("/console/held")).url).path == "/console/login"
    assert await audit(adapter) == [
        (OLGA, "login_failed"),
        ("somebody unknown", "login_failed"),
        ("somebody unknown", "login_failed"),
        (OLGA, "logged_in"),
        (OLGA, "logged_out"),
    ]


async def test_whoever_fails_too_often_has_to_wait(base: str) -> None:
    async with somebody(base) as person:
        for _ in range(10):
            assert (await person.log_in(RITA, "wrong")).status == 403
        told = await person.log_in(RITA)
        assert (told.status, "Too many failed attempts" in told.words) == (429, True)
        assert (await person.log_in(OLGA)).status == 200  # another name is no worse off


async def test_the_cookie_and_the_headers_keep_others_out(base: str) -> None:
    async with somebody(base) as person:
        page = await person.get("/console/login")
        cookie = page.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Path=/console" in cookie
        before = re.search("koshelek-console=([^;]+)", cookie)
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["Cache-Control"] == "no-store"
        async with person.session.post(
            f"{base}/console/login",
            data={"csrf": person.csrf, "name": OLGA, "password": PASSWORDS[OLGA]},
            allow_redirects=False,
        ) as response:
            after = re.search("koshelek-console=([^;]+)", response.headers["Set-Cookie"])
        assert before is not None
        assert after is not None
        assert before[1] != after[1]  # a cookie that was planted before is worth nothing


async def test_a_name_of_somebody_elses_that_leads_here_is_refused(base: str) -> None:
    async with somebody(base) as person:
        refused = await person.get("/console/login", headers={"Host": "evil.example"})
        assert (refused.status, "console.hosts" in refused.text) == (403, True)
        assert (await person.get("/health/live", headers={"Host": "10.1.2.3"})).status == 200


async def test_names_of_the_settings_open_it(start: StartAdapter) -> None:
    adapter = await start(console={"people": PEOPLE, "hosts": ["console.shop.example"], "https": True})
    async with management_port(adapter.service) as address, somebody(address) as person:
        page = await person.get("/console/login", headers={"Host": "Console.Shop.example:8443"})
        assert page.status == 200
        assert "Secure" in page.headers["Set-Cookie"]


async def test_forms_of_other_sites_do_nothing(adapter: Adapter, olga: Person) -> None:
    operation = await held(adapter, times=0)
    fields = {"id": operation.id, "note": "x", "do": "settle", "outcome": "done"}
    await olga.get("/console/held")
    for token in ("", "guessed", olga.csrf[:-1]):
        olga.csrf, kept = token, olga.csrf
        assert (await olga.post("/console/held", fields)).status == 403
        olga.csrf = kept
    refused = await olga.post("/console/held", fields, headers={"Sec-Fetch-Site": "cross-site"})
    assert refused.status == 403
    assert await state_of(adapter, operation.id) == "held"


async def test_a_reader_looks_and_does_not_decide(adapter: Adapter, rita: Person) -> None:
    operation = await held(adapter, times=1)
    page = await rita.get("/console/held")
    assert "An operator decides." in page.words
    assert 'name="do"' not in page.text
    assert 'name="do" value="settle"' not in (await rita.get(f"/console/operations/{operation.id}")).text
    for do in ("recheck", "requeue", "settle"):
        fields = {"id": operation.id, "note": "x", "do": do, "outcome": "done"}
        assert (await rita.post("/console/held", fields)).status == 403
    assert await state_of(adapter, operation.id) == "held"


# --- held ------------------------------------------------------------------------------------------------


async def test_what_is_found_is_settled_and_several_are_decided_at_once(
    adapter: Adapter, crm: Sandbox, olga: Person
) -> None:
    there, missing = await held(adapter, times=1), await held(adapter, times=0)
    page = await olga.get("/console/held")
    assert there.idempotency_key in page.text
    assert "outcome unknown" in page.words
    fields = [("id", there.id), ("id", missing.id), ("note", "the CRM is back"), ("do", "recheck")]
    told = await olga.post("/console/held", fields)
    assert f"Operation {there.id} : found in the CRM; it is done now, nothing was sent" in told.words
    assert f"Operation {missing.id} : not found, but this CRM has not proved" in told.words
    assert (await state_of(adapter, there.id), await state_of(adapter, missing.id)) == ("done", "held")
    again = await olga.get("/console/held")
    assert "found in the CRM; it is done now" not in again.words  # it was said once
    assert "the CRM is back; found in the CRM" in again.words  # among the decisions
    assert len(crm.ledger().select("points_credited")) == 1


async def test_sent_again_is_only_what_the_crm_does_not_have(
    adapter: Adapter, crm: Sandbox, olga: Person
) -> None:
    there, missing = await held(adapter, times=1), await held(adapter, times=0)
    await adapter.service.visibility.found(OperationKind.RECEIPT, 0.0)
    await olga.get("/console/held")
    fields = [("id", there.id), ("id", missing.id), ("note", "the CRM is back"), ("do", "requeue")]
    told = await olga.post("/console/held", fields)
    assert "In the CRM already, and done now: 1" in told.words
    assert "Will be sent again: 1" in told.words
    assert (await state_of(adapter, there.id), await state_of(adapter, missing.id)) == ("done", "unknown")
    assert (OLGA, "requeued") in await audit(adapter)


async def test_without_asking_needs_the_word_of_the_person(adapter: Adapter, olga: Person) -> None:
    operation = await held(adapter, times=0)
    await olga.get("/console/held")
    fields = {"id": operation.id, "note": "not there", "do": "requeue"}
    assert "has not proved" in (await olga.post("/console/held", fields)).words
    assert await state_of(adapter, operation.id) == "held"
    assert "Will be sent again: 1" in (await olga.post("/console/held", fields | {"looked": "yes"})).words
    assert await state_of(adapter, operation.id) == "recorded"


async def test_a_person_settles_and_corrects(adapter: Adapter, olga: Person) -> None:
    operation = await held(adapter, times=0)
    path = f"/console/operations/{operation.id}"
    await olga.get(path)
    fields = {"id": operation.id, "only": operation.id, "do": "settle", "note": "seen", "outcome": "done"}
    for points in ("-1", "62.505", "many", "NaN", "1e999999"):
        told = await olga.post("/console/held", fields | {"points": points})
        assert "Points are a number from 0" in told.words
    assert "Write why" in (await olga.post("/console/held", fields | {"note": "  "})).words
    settled = await olga.post("/console/held", fields | {"points": "60,5"})
    assert urlsplit(settled.url).path == path
    assert "it is done now" in settled.words
    assert "60.5" in settled.words
    other = fields | {"outcome": "refused", "note": "looked again"}
    assert "Tick the correction" in (await olga.post("/console/held", other)).words
    assert "it is refused now" in (await olga.post("/console/held", other | {"correct": "yes"})).words
    shown = await olga.get(path)
    assert "held → done , olga: seen" in shown.words
    assert "done → refused , olga: looked again" in shown.words
    assert "422 code 308" in shown.words


async def test_the_list_goes_on_on_the_next_page(adapter: Adapter, olga: Person) -> None:
    await adapter.service.pool.execute(
        """
        INSERT INTO koshelek.operations (kind, identity, card_number, fingerprint, request, state, reason)
        SELECT 'promo_code', 'p' || n, '29', '', '{"code": "PLANTEDCODE"}', 'held', 'outcome unknown'
          FROM generate_series(1, 55) AS n
        """
    )
    first = await olga.get("/console/held")
    assert first.text.count('type="checkbox" name="id"') == 50
    assert "PLANTEDCODE" not in first.text
    (following,) = re.findall(r"/console/held\?after=\d+", first.text)
    assert (await olga.get(following)).text.count('type="checkbox" name="id"') == 5
    assert 'type="checkbox" name="id"' not in (await olga.get("/console/held?kind=registration")).text
    assert (await olga.get("/console/held?kind=nonsense&after=x")).status == 200


# --- a customer's question -------------------------------------------------------------------------------


async def test_a_receipt_is_found_by_its_qr_and_by_its_numbers(adapter: Adapter, rita: Person) -> None:
    qr = adapter.qr(document=77001)
    operation = await held(adapter, times=0, qr=qr)
    await rita.get("/console/find")
    for text in (qr, "8710000101125654 77001 1250448795", "8710000101125654, 77001, 1250448795"):
        found = await rita.post("/console/find", {"text": text})
        assert f"/console/operations/{operation.id}" in found.text, text
        assert "77001" not in found.text
    missing = await rita.post("/console/find", {"text": "8710000101125654 5 6"})
    assert "This receipt has not come to us" in missing.words
    story = await rita.get(f"/console/operations/{operation.id}")
    assert "sent to the CRM" in story.words
    assert "unknown → held : outcome unknown" in story.words
    assert "200 accepted" in story.words


async def test_a_card_tells_of_more_operations_and_what_a_receipt_was_once_it_is_shown(
    start: StartAdapter,
) -> None:
    adapter = await start(console={"people": PEOPLE}, receipts={"wait": 5.0})
    card = await adapter.issue(phone=PHONE)
    await adapter.service.pool.execute(
        """
        INSERT INTO koshelek.operations
               (kind, identity, card_number, fingerprint, request, state, finished_at)
        SELECT 'promo_code', 'p' || n, $1, '', '{"code": "X"}', 'done', now()
          FROM generate_series(1, 55) AS n
        """,
        card,
    )
    await adapter.post("/v1/promo/qrCode", {"qrCode": adapter.qr("1234.50"), "cardNumber": card})
    async with management_port(adapter.service) as address, somebody(address) as rita:
        await rita.log_in(RITA)
        await rita.get("/console/find")
        found = await rita.post("/console/find", {"text": card})
        (path,) = set(re.findall(r"/console/cards/[\w-]+", found.text))
        page = await rita.get(path)
        assert "The newest 50 are shown; there are more" in page.words
        assert page.text.count("/console/operations/") == 50
        assert "1234.50" not in page.words
        assert "1234.50 ₽, 20" in (await rita.post(path, {"do": "show"})).words


async def test_after_a_replacement_the_search_names_the_card_before(start: StartAdapter) -> None:
    adapter = await start(console={"people": PEOPLE}, receipts={"wait": 5.0})
    old = await adapter.issue(phone=PHONE)
    await adapter.post("/v1/promo/qrCode", {"qrCode": adapter.qr(), "cardNumber": old})
    async with management_port(adapter.service) as address, somebody(address) as olga:
        await olga.log_in()
        await olga.get("/console/find")
        found = await olga.post("/console/find", {"text": old})
        (path,) = set(re.findall(r"/console/cards/([\w-]+)", found.text))
        await olga.get(f"/console/cards/{path}")
        fields = {"card": path, "note": "lost", "new": "2999999999990", "do": "replace"}
        await olga.post("/console/pool/card", fields)
        found = await olga.post("/console/find", {"text": PHONE})
        assert f"In place of Card …{old[-4:]}" in found.words
        new = await olga.get(re.findall(r'class="hit"><a href="([^"]+)"', found.text)[0])
        assert f"is on the page of the card that it replaced: Card …{old[-4:]}" in new.words


async def test_what_is_no_page_is_told_on_a_page(rita: Person) -> None:
    page = await rita.get("/console/nope")
    assert page.status == 404
    assert "There is no page with this address." in page.words
    assert "A customer's question" in page.words  # with the way back
    await rita.get("/console/find")
    nothing = await rita.post("/console/find", {"text": "8710000101125654 5 6"})
    assert "Nothing found This receipt has not come to us" in nothing.words


async def test_a_person_is_found_by_phone_and_shown_by_a_click_that_is_kept(start: StartAdapter) -> None:
    adapter = await start(console={"people": PEOPLE})  # over our own CRM, which keeps names and phones
    card = await adapter.issue(phone=PHONE, firstName=NAME, surname=SURNAME)
    async with management_port(adapter.service) as address, somebody(address) as rita:
        await rita.log_in(RITA)
        with capture_logs() as logs:
            await _look_up(adapter, rita, card)
        assert all(word not in str(logs) for word in (card, PHONE, NAME, SURNAME))
    notes = await adapter.service.pool.fetch("SELECT note FROM koshelek.console_audit WHERE note IS NOT NULL")
    assert {row["note"] for row in notes} == {"phone", "card"}


async def _look_up(adapter: Adapter, rita: Person, card: str) -> None:
    await rita.get("/console/find")
    found = await rita.post("/console/find", {"text": "8 916 555-01-42"})
    (path,) = set(re.findall(r"/console/cards/[\w-]+", found.text))
    by_number = await rita.post("/console/find", {"text": f"{card[:4]} {card[4:]}"})
    assert path in by_number.text
    for page in (found, by_number, await rita.get(path)):
        assert all(word not in page.text for word in (card, PHONE, NAME, SURNAME))
        assert card not in page.url
    assert (RITA, "shown_card") not in await audit(adapter)
    shown = await rita.post(path, {"do": "show"})
    assert all(word in shown.words for word in (card, PHONE, NAME, SURNAME))
    assert (await audit(adapter)).count((RITA, "shown_card")) == 1
    kept = await adapter.sql("SELECT card_number FROM koshelek.console_audit WHERE action = 'shown_card'")
    assert kept == card
    hidden = await rita.post(path, {"do": "hide"})
    assert NAME not in hidden.text


async def test_the_card_says_what_koshelek_would_be_shown_and_its_operations(
    adapter: Adapter, rita: Person
) -> None:
    operation = await held(adapter, times=1, phone=PHONE)
    await rita.get("/console/find")
    found = await rita.post("/console/find", {"text": PHONE})
    (path,) = set(re.findall(r"/console/cards/[\w-]+", found.text))
    page = await rita.get(f"{path}?now=1")
    assert f"/console/operations/{operation.id}" in page.text
    assert "Points in all 62" in page.words
    nobody = await rita.post("/console/find", {"text": new_phone()})
    assert "No card is found by this phone." in nobody.words
    nonsense = await rita.post("/console/find", {"text": "nonsense & <b>"})
    assert "There is no card with this number" in nonsense.words
    assert urlsplit((await rita.get("/console/cards/nosuchname")).url).path == "/console/find"
    assert (await rita.get("/console/operations/999999")).status == 404


async def test_what_a_receipt_holds_is_shown_by_a_click_that_is_kept(adapter: Adapter, rita: Person) -> None:
    operation = await held(adapter, times=0, qr=adapter.qr(document=77002))
    path = f"/console/operations/{operation.id}"
    assert "77002" not in (await rita.get(path)).words
    shown = await rita.post(path, {"do": "show"})
    assert "77002" in shown.words
    assert "1250.00" in shown.words
    assert (RITA, "shown_operation") in await audit(adapter)


async def test_both_languages(olga: Person) -> None:
    russian = await olga.get("/console/language/ru?back=/console/held")
    assert 'lang="ru"' in russian.text
    assert "Что ждёт решения человека" in russian.words
    away = await olga.get("/console/language/en?back=//evil.example/")
    assert urlsplit(away.url).netloc == urlsplit(olga.base).netloc


# --- now -------------------------------------------------------------------------------------------------


async def test_now_tells_of_calls_crms_and_what_waits(adapter: Adapter) -> None:
    runner = web.AppRunner(await adapter.service.management_application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    history = runner.app[HISTORY]
    try:
        async with somebody(f"http://127.0.0.1:{runner.addresses[0][1]}") as person:
            await person.log_in(RITA)
            await held(adapter, times=0)
            for _ in range(20):
                await adapter.get("/v1/card", msisdn=new_phone())
                assert (await adapter.get("/v1/card/nosuchcard")).code == "201"
            assert "told no balance" not in (await person.get("/console/now")).words
            adapter.service.programme.untold_balances.note(AccountUnknown("gone"), shown=True)
            page = await person.get("/console/now")
            assert "Cards for which a CRM told no balance" in page.words
            assert "account unknown 1 1" in page.words
            assert "perx" in page.words
            assert "Held 1" in page.words
            assert re.search(r"Answered with an error 2\d", page.words)
            assert re.search(r"p99, ms [1-9]\d*", page.words)
            assert "201 20 20" in page.words
            assert "not proved" in page.words
            history.samples.append(await history.sample())
            await adapter.get("/v1/card/nosuchcard")
            history.samples.append(await history.sample())
            drawn = await person.get("/console/now")
            assert drawn.text.count("<svg") == 3
            assert drawn.text.count('class="ends"') == 3
            assert "<rect" in drawn.text
            assert 'http-equiv="refresh"' in drawn.text
            assert 'http-equiv="refresh"' not in (await person.get("/console/now?still=1")).text
    finally:
        await runner.cleanup()


async def test_a_page_that_looks_anew_by_itself_keeps_nobody_logged_in() -> None:
    now = [0.0]
    sessions = Sessions(60.0, lambda: now[0])
    session = sessions.new()
    for _ in range(4):
        now[0] += 20
        found = sessions.get(session.id, used=False)
    assert found is None
    session = sessions.new()
    for _ in range(4):
        now[0] += 20
        assert sessions.get(session.id) is session


# --- cards -----------------------------------------------------------------------------------------------


async def upload(person: Person, content: bytes, csrf: str | None = None) -> Page:
    form = aiohttp.FormData()
    form.add_field("csrf", person.csrf if csrf is None else csrf)
    form.add_field("file", content, filename="numbers.csv", content_type="text/csv")
    async with person.session.post(f"{person.base}/console/pool/import", data=form) as response:
        return Page(response.status, await response.text(), str(response.url), response.headers)


async def over(person: Person) -> Page:
    """The page once the import is over."""
    async with asyncio.timeout(20):
        while True:
            page = await person.get("/console/pool")
            if "The file that was imported last" in page.words:
                return page
            await asyncio.sleep(0.05)


async def test_numbers_are_imported_and_the_rejected_lines_downloaded(adapter: Adapter, olga: Person) -> None:
    before = await olga.get("/console/pool")
    assert "the range 2900… of 13 digits" in before.words
    lines = ["number", *(f"77{value:06}" for value in range(5000)), "7.7E+06", "", "77000001", "ab cd\x07"]
    await upload(olga, "\n".join(lines).encode())
    page = await over(olga)
    assert "numbers.csv, olga" in page.words
    assert "Imported 5000 Known before, left as they were 1 Rejected" in page.words
    report = await olga.get("/console/pool/rejected.csv")
    assert report.headers["Content-Disposition"] == 'attachment; filename="rejected.csv"'
    rows = report.text.splitlines()
    assert rows[0] == "line,reason"
    assert rows[1].startswith("5002,")
    assert await adapter.sql("SELECT count(*) FROM koshelek.cards WHERE state = 'free'") == 5000
    assert (OLGA, "imported") in await audit(adapter)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"nummer\n1\n", "name the columns"),
        (b"number\n\xff\xfe1\n", "the file is not UTF-8 text"),
        (b"", "name the columns"),
    ],
)
async def test_a_file_that_is_none_is_told(olga: Person, content: bytes, told: str) -> None:
    await olga.get("/console/pool")
    await upload(olga, content)
    assert told in (await over(olga)).words


async def test_a_file_of_another_site_or_a_reader_is_not_taken(
    adapter: Adapter, olga: Person, rita: Person
) -> None:
    await olga.get("/console/pool")
    await rita.get("/console/pool")
    assert (await upload(olga, b"number\n77000001\n", csrf="guessed")).status == 403
    assert (await upload(rita, b"number\n77000001\n")).status == 403
    assert await adapter.sql("SELECT count(*) FROM koshelek.cards") == 0


async def test_a_card_is_blocked_unblocked_and_replaced(start: StartAdapter) -> None:
    adapter = await start(console={"people": PEOPLE})
    number, new = await adapter.issue(phone=new_phone()), "29000012345674"
    async with management_port(adapter.service) as address, somebody(address) as olga:
        await olga.log_in()
        await olga.get("/console/pool")
        fields = {"number": number, "note": "stolen"}
        blocked = await olga.post("/console/pool/card", fields | {"do": "block"})
        assert "The card is blocked now." in blocked.words
        assert "blocked , olga: stolen" in blocked.words
        (card,) = set(re.findall(r'name="card" value="([^"]+)"', blocked.text))
        unblocked = await olga.post("/console/pool/card", {"card": card, "note": "found", "do": "unblock"})
        assert "The card is active now." in unblocked.words
        told = await olga.post("/console/pool/card", fields | {"do": "replace", "new": number})
        assert "Nothing was changed: the two numbers are the same" in told.words
        replaced = await olga.post("/console/pool/card", fields | {"do": "replace", "new": new})
        assert "Replaced by" in replaced.words
        assert number not in replaced.url
        missing = await olga.post("/console/pool/card", {"number": "1", "note": "x", "do": "block"})
        assert "There is no card with this number." in missing.words
        assert "Write why" in (await olga.post("/console/pool/card", fields | {"note": ""})).words
    state = "SELECT state FROM koshelek.cards WHERE number = $1"
    assert (await adapter.sql(state, number), await adapter.sql(state, new)) == ("inactive", "active")
    actions = [action for _, action in await audit(adapter)]
    assert [one for one in actions if one in ("blocked", "unblocked", "replaced")] == [
        "blocked",
        "unblocked",
        "replaced",
        "replaced",
    ]


async def test_what_koshelek_sends_is_shown_with_its_setting(adapter: Adapter, rita: Person) -> None:
    assert "Nothing yet that no setting names." in (await rita.get("/console/sends")).words
    await adapter.get("/v1/card", msisdn=new_phone(), phone_number="79161234567")
    public = adapter.service._public
    assert public is not None
    await public.observed_names.keep(PostgresObserved(adapter.service.gateway))
    page = await rita.get("/console/sends")
    assert "parameter phone_number 1" in page.words
    assert "koshelek.other_names" in page.words
    assert "79161234567" not in page.text


async def test_a_click_checks_and_the_settings_in_force_are_masked(
    adapter: Adapter, crm: Sandbox, rita: Person
) -> None:
    shown = await rita.get("/console/check")
    assert "crm.users.client_secret" in shown.words
    assert "console.people" in shown.words
    for secret in (perx.CLIENT_SECRET, PASSWORDS[RITA], *(person["password"] for person in PEOPLE)):
        assert secret not in shown.text
    well = await rita.post("/console/check")
    assert "ok database reached" in well.words
    assert "ok crm perx" in well.words
    assert "wrong" not in well.words.partition("Settings in force")[0]
    async with aiohttp.ClientSession() as control:
        body = {"operation": "*", "fault": "error_before", "status": 503, "times": None}
        async with control.post(f"{crm.base_url}/_sandbox/faults", json=body) as response:
            assert response.status < 300
    assert "wrong crm perx" in (await rita.post("/console/check")).words


async def test_what_a_check_finds_is_told_in_russian(start: StartAdapter) -> None:
    adapter = await start(console={"people": PEOPLE})
    async with management_port(adapter.service) as address, somebody(address) as rita:
        await rita.log_in(RITA)
        await rita.get("/console/language/ru?back=/console/check")
        page = await rita.post("/console/check")
    cells = re.findall(r'<td data-head="(?:Что|Найдено)">(.*?)</td>', page.text, re.DOTALL)
    assert len(cells) > 12
    assert [cell for cell in cells if not re.search("[а-яё]", cell) and cell != "CRM postgres"] == []


async def test_the_adapters_own_answers_are_tried_by_a_click_and_counted_nowhere(
    adapter: Adapter, rita: Person
) -> None:
    await rita.get("/console/check")
    before = adapter.service.metrics.counted()
    page = await rita.post("/console/check", {"do": "contract"})
    kept = re.search(r"contract 1\.3\.0: (\d+) of (\d+) checks kept", page.words)
    assert kept is not None, page.words
    assert kept[1] == kept[2] != "0"
    assert adapter.service.metrics.counted() == before


@pytest.mark.parametrize(
    "text",
    ["\x00", "a\x00b", "%", "=" * 900, "fn=1&fn=2", "9" * 900, "\u202e\u200b", "' OR 1=1 --", "<script>"],
)
async def test_odd_texts_find_nothing_and_break_nothing(rita: Person, text: str) -> None:
    await rita.get("/console/find")
    found = await rita.post("/console/find", {"text": text})
    assert found.status == 200
    assert "<script" not in found.text


async def test_odd_forms_break_nothing(olga: Person, adapter: Adapter) -> None:
    operation = await held(adapter, times=0)
    await olga.get("/console/held")
    odd = "a\x00b"
    for fields in (
        [("id", "9" * 30), ("note", "x"), ("do", "recheck")],
        [("id", operation.id), ("note", odd), ("do", "settle"), ("outcome", "done")],
        [("id", operation.id), ("note", "x"), ("do", "settle"), ("outcome", "done"), ("customer", odd)],
        [("id", operation.id), ("id", operation.id), ("note", "x"), ("do", "recheck")],
        [("only", "9" * 30), ("note", "x"), ("do", "recheck")],
    ):
        assert (await olga.post("/console/held", fields)).status in (200, 404), fields
    assert (await olga.post("/console/held", {"id": operation.id, "note": "x", "do": "no"})).status == 400
    for form in ({"number": odd, "note": "x", "do": "block"}, {"card": odd, "note": "x", "do": "block"}):
        assert (await olga.post("/console/pool/card", form)).status == 200
    assert (await olga.get("/console/audit?before=99999999999999999999")).status == 200
    assert (await olga.get("/console/operations/999999999999999999")).status == 404
