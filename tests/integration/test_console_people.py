"""Who is let in to the console by a command, and what operators do with the personal data of a customer."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from adapter.ops.console import login

from .conftest import Adapter, StartAdapter, new_phone
from .consoles import OLGA, PASSWORDS, PEOPLE, RITA, management_port, somebody
from .processes import Ended, run

PASSWORD = "planted-password-of-ivan"


@pytest.fixture
def settings(tmp_path: Path, database: str) -> Path:
    """A folder with settings of the database of the test."""
    (tmp_path / "koshelek-adapter.toml").write_text(
        f'[koshelek]\npassword = "{PASSWORD}"\n[database]\nurl = "{database}"\n', encoding="utf-8"
    )
    return tmp_path


def people(folder: Path, *words: str, given: str = "") -> Ended:
    return run("people", *words, cwd=folder, given=given)


async def audit(adapter: Adapter) -> list[tuple[str, str, str | None]]:
    rows = await adapter.service.pool.fetch(
        "SELECT who, action, note FROM koshelek.console_audit ORDER BY id"
    )
    return [tuple(row) for row in rows]


# --- let in by a command ---------------------------------------------------------------------------------


async def test_somebody_is_let_in_with_another_role_and_no_more(
    start: StartAdapter, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "_FRESH", 0.0)
    adapter = await start()
    async with management_port(adapter.service) as base, somebody(base) as person:
        assert (await person.get("/console/login")).status == 404
    added = people(settings, "add", "ivan", "--by", "olga", given=f"{PASSWORD}\n")
    assert (added.status, added.out.splitlines()) == (
        0,
        [
            "ivan may log in as reader.",
            "This is the first person: restart serve, which has no console until then.",
        ],
    )
    async with management_port(adapter.service) as base, somebody(base) as person:
        assert (await person.log_in("ivan", "planted-password-of-olga")).status == 403
        assert urlsplit((await person.log_in("ivan", PASSWORD)).url).path == "/console/held"
        again = people(settings, "add", "ivan", "--role", "operator", "--by", "olga", given=f"{PASSWORD}2\n")
        assert again.out == "ivan has a new password, as operator.\n"
        # Who is logged in by the password before is out, and comes in by the new one.
        assert urlsplit((await person.get("/console/held")).url).path == "/console/login"
        assert (await person.log_in("ivan", PASSWORD)).status == 403
        assert "operator" in (await person.log_in("ivan", f"{PASSWORD}2")).words
        listed = people(settings, "list").out
        assert "ivan  operator" in listed
        kept = people(settings, "add", "ivan", "--by", "olga", given=f"{PASSWORD}2\n")
        assert kept.out == "ivan has a new password, as operator.\n"
        assert "let in by olga" in listed
        assert people(settings, "remove", "ivan", "--by", "olga").out == "ivan may not log in any more.\n"
        assert urlsplit((await person.get("/console/held")).url).path == "/console/login"
        assert (await person.log_in("ivan", f"{PASSWORD}2")).status == 403
    noted = [one for one in await audit(adapter) if one[1].startswith("person_")]
    assert noted == [
        ("olga", "person_added", "ivan, reader"),
        ("olga", "person_added", "ivan, operator"),
        ("olga", "person_added", "ivan, operator"),
        ("olga", "person_removed", "ivan"),
    ]
    kept = await adapter.sql("SELECT count(*) FROM koshelek.console_people")
    assert kept == 0


@pytest.mark.parametrize(
    ("words", "given", "told"),
    [
        (("add", "ivan"), "short\n", "the password is shorter than 16 characters"),
        (("add", "ivan ivanov"), f"{PASSWORD}\n", "a name is up to 60 letters"),
        (("add", "ivan", "--role", "boss"), f"{PASSWORD}\n", "--role is reader or operator"),
        (("add", "ivan", "--role", "boss"), "", "is shorter than 16 characters"),
        (("add", "ivan"), f"{PASSWORD}\n{PASSWORD}\n", "the password is one line"),
        (("remove", "ivan"), "", "ivan was not added"),
    ],
)
async def test_what_is_wrong_is_told(
    start: StartAdapter, settings: Path, words: tuple[str, ...], given: str, told: str
) -> None:
    await start()
    done = people(settings, *words, given=given)
    assert (done.status, done.out) == (1, "")
    assert told in done.err
    assert PASSWORD not in done.text
    assert "Nobody may log in" in people(settings, "list").out


# --- personal data ---------------------------------------------------------------------------------------


async def test_a_person_is_shown_and_erased_by_an_operator(start: StartAdapter) -> None:
    adapter = await start(console={"people": PEOPLE})
    phone = new_phone()
    card = await adapter.issue(phone=phone, firstname="Plantedname")
    async with management_port(adapter.service) as base:
        async with somebody(base) as rita:
            await rita.log_in(RITA)
            assert "Only an operator may do this." in (await rita.get("/console/personal")).words
            assert (await rita.post("/console/personal", {"phone": phone})).status == 403
            erase = await rita.post("/console/personal/anything/erase", {"note": "asked", "sure": "1"})
            assert erase.status == 403
        async with somebody(base) as olga:
            await olga.log_in(OLGA)
            await olga.get("/console/personal")
            nothing = await olga.post("/console/personal", {"phone": "no phone"})
            assert "This is no phone." in nothing.words
            nobody = await olga.post("/console/personal", {"phone": new_phone()})
            assert "The users CRM knows nobody with this phone." in nobody.words
            assert "Download" not in nobody.words
            found = await olga.post("/console/personal", {"phone": phone})
            assert f"ends in {phone[-4:]}" in found.words
            assert "1 customer in the users CRM" in found.words
            assert phone not in found.text
            here = urlsplit(found.url).path
            assert phone not in here
            file = await olga.post(f"{here}/export")
            assert file.headers["Content-Disposition"] == 'attachment; filename="person.json"'
            kept = json.loads(file.text)
            assert [row["number"] for row in kept["cards"]] == [card]
            assert "Plantedname" in file.text
            await olga.get(here)
            unsure = await olga.post(f"{here}/erase", {"note": "asked by the person"})
            assert "Tick that you are sure" in unsure.words
            erased = await olga.post(f"{here}/erase", {"note": "asked by the person", "sure": "1"})
            assert "The person is erased" in erased.words
            gone = await olga.post("/console/personal", {"phone": phone})
            assert "The users CRM knows nobody with this phone." in gone.words
    assert await adapter.sql("SELECT users_reference FROM koshelek.cards WHERE number = $1", card) is None
    noted = await adapter.service.pool.fetch(
        "SELECT who, action, card_number, note FROM koshelek.console_audit "
        "WHERE action LIKE '%person' ORDER BY id"
    )
    assert [tuple(row) for row in noted] == [
        (OLGA, "exported_person", card, None),
        (OLGA, "erased_person", card, "asked by the person"),
    ]


async def test_a_page_is_about_whom_it_was_opened_for_whatever_is_looked_for_elsewhere(
    start: StartAdapter,
) -> None:
    adapter = await start(console={"people": PEOPLE})
    phones = new_phone(), new_phone()
    cards = [await adapter.issue(phone=phone) for phone in phones]
    async with management_port(adapter.service) as base, somebody(base) as olga:
        await olga.log_in(OLGA)
        await olga.get("/console/personal")
        first = await olga.post("/console/personal", {"phone": phones[0]})
        await olga.post("/console/personal", {"phone": phones[1]})  # in another window
        here = urlsplit(first.url).path
        file = await olga.post(f"{here}/export")
        assert [row["number"] for row in json.loads(file.text)["cards"]] == [cards[0]]
        await olga.get(here)
        await olga.post(f"{here}/erase", {"note": "asked", "sure": "1"})
    owners = [
        await adapter.sql("SELECT users_reference FROM koshelek.cards WHERE number = $1", card)
        for card in cards
    ]
    assert [owner is None for owner in owners] == [True, False]


async def test_nothing_is_erased_while_an_operation_is_under_way(start: StartAdapter) -> None:
    adapter = await start(console={"people": PEOPLE})
    phone = new_phone()
    card = await adapter.issue(phone=phone)
    await adapter.post("/v1/promo/qrCode", {"cardNumber": card, "qrCode": adapter.qr()})
    await adapter.sql("UPDATE koshelek.operations SET state = 'held' WHERE kind = 'receipt'")
    async with management_port(adapter.service) as base, somebody(base) as olga:
        await olga.log_in(OLGA, PASSWORDS[OLGA])
        await olga.get("/console/personal")
        found = await olga.post("/console/personal", {"phone": phone})
        told = await olga.post(f"{urlsplit(found.url).path}/erase", {"note": "asked", "sure": "1"})
        assert "Nothing was erased: operations of this person are not over" in told.words
    assert await adapter.sql("SELECT users_reference FROM koshelek.cards WHERE number = $1", card) is not None
