"""``check`` of the adapter's own database: rights, a standby, card numbers in each other's way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest

from adapter.checking.secret_files import open_to_others
from adapter.loyalty.numbers import range_number
from adapter.settings import NumberRange
from tests.integration.processes import PASSWORD, run

RANGE = NumberRange(prefix="2900", length=13, check_digit="ean")


def check(
    folder: Path, url: str, ranges: str = '[[cards.ranges]]\nprefix = "2900"\n'
) -> list[dict[str, str]]:
    (folder / "koshelek-adapter.toml").write_text(
        f'[koshelek]\npassword = "{PASSWORD}"\n[database]\nurl = "{url}"\n{ranges}', encoding="utf-8"
    )
    return [json.loads(line) for line in run("check", "--json", cwd=folder).out.splitlines()]


def told(found: list[dict[str, str]], subject: str) -> dict[str, str]:
    (one,) = [line for line in found if line["subject"] == subject]
    return one


async def test_a_right_that_lacks_on_our_own_tables_is_found_with_its_grant(
    tmp_path: Path, database: str
) -> None:
    check(tmp_path, database)  # makes the schema of the CRM
    connection = await asyncpg.connect(database)
    await connection.execute("DROP ROLE IF EXISTS lessee")
    await connection.execute(
        "CREATE ROLE lessee LOGIN; GRANT USAGE ON SCHEMA koshelek, crm TO lessee; "
        "GRANT ALL ON ALL TABLES IN SCHEMA koshelek, crm TO lessee; "
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA koshelek, crm TO lessee; "
        "REVOKE INSERT, UPDATE ON koshelek.operations FROM lessee"
    )
    try:
        found = check(tmp_path, database.replace("://postgres:", "://lessee:"))
        line = told(found, "rights")
        assert (line["state"], line["remedy"]) == (
            "fail",
            "GRANT INSERT, UPDATE ON TABLE koshelek.operations TO lessee;",
        )
        await connection.execute(line["remedy"])
        line = told(check(tmp_path, database.replace("://postgres:", "://lessee:")), "rights")
        assert (line["state"], line["remedy"]) == (
            "warn",
            "REVOKE DELETE ON TABLE koshelek.card_events, koshelek.console_audit, koshelek.operation_events "
            "FROM lessee;",
        )
        await connection.execute(line["remedy"])
        line = told(check(tmp_path, database.replace("://postgres:", "://lessee:")), "rights")
        assert (line["state"], line["detail"]) == (
            "ok",
            "lessee may read and write the adapter's tables",
        )
    finally:
        await connection.execute("DROP OWNED BY lessee; DROP ROLE lessee")
        await connection.close()


async def test_a_database_that_takes_no_writes_is_told(tmp_path: Path, database: str) -> None:
    connection = await asyncpg.connect(database)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await connection.close()
    line = told(check(tmp_path, database), "rights")
    assert line["state"] == "fail"
    assert "target_session_attrs=read-write" in line["remedy"]


async def test_that_nobody_delivers_is_told(tmp_path: Path, database: str) -> None:
    assert (
        told(check(tmp_path, database), "delivery")["detail"] == "nothing waits that could be delivered now"
    )
    connection = await asyncpg.connect(database)
    await connection.execute(
        "INSERT INTO koshelek.pgqueuer (priority, entrypoint, payload, execute_after, status) "
        "VALUES (0, 'deliver', '1', now() - interval '2 hours', 'queued')"
    )
    worker = "[delivery]\nin_process = false\n"
    line = told(check(tmp_path, database, worker), "delivery")
    assert line["state"] == "fail"
    assert line["detail"].startswith("1 operation could be delivered now, the oldest for 2:00:0")
    assert line["detail"].endswith(": nobody delivers")
    assert line["remedy"].startswith("start koshelek-adapter worker")
    await connection.execute(
        "INSERT INTO koshelek.pgqueuer_log (job_id, status, entrypoint, priority) "
        "VALUES (7, 'picked', 'deliver', 0)"
    )
    line = told(check(tmp_path, database, worker), "delivery")
    await connection.close()
    assert (line["state"], line["remedy"].partition(",")[0]) == ("warn", "another koshelek-adapter worker")


async def test_numbers_that_get_in_each_others_way_are_told(tmp_path: Path, database: str) -> None:
    check(tmp_path, database)
    connection = await asyncpg.connect(database)
    for value in (7, 8):
        number = range_number(RANGE, value)
        await connection.execute(
            "INSERT INTO koshelek.cards (number, barcode_number, barcode_type, state) "
            "VALUES ($1, $1, 'CODE_128', 'ownerless')",
            number,
        )
    await connection.execute(  # a person put this one in the place of another: it was not imported
        "INSERT INTO koshelek.cards (number, barcode_number, barcode_type, state, users_reference, replaces) "
        "VALUES ($1, $1, 'CODE_128', 'active', '9', 'OLD-1')",
        range_number(RANGE, 30),
    )
    await connection.execute(
        "INSERT INTO crm.customers (phone, card_number) VALUES ('+79000000009', $1)", range_number(RANGE, 2)
    )
    await connection.close()
    counting = '[[cards.ranges]]\nprefix = "2900"\norder = "counting"\n'
    found = [line for line in check(tmp_path, database, counting) if line["subject"] == "cards.ranges.0"]
    assert [line["state"] for line in found] == ["warn", "warn"]
    assert found[0]["detail"].startswith("2 numbers ahead were imported")
    assert found[1]["detail"] == "the users CRM knows 1 of the next 5 numbers as cards of its own"


async def test_a_range_that_is_used_up_is_told_and_one_that_soon_will_be(
    tmp_path: Path, database: str
) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("INSERT INTO koshelek.number_ranges VALUES ('2900', 13, 'ean', 51)")
    await connection.close()
    few = '[[cards.ranges]]\nprefix = "2900"\nlast = 60\n'
    line = told(check(tmp_path, database, few), "card numbers")
    assert (line["state"], line["detail"]) == ("warn", "0 in the pool, 1 ranges with 10 left")
    none = few.replace("60", "50")
    assert told(check(tmp_path, database, none), "card numbers")["state"] == "fail"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("", "0.05 for each rouble of a receipt, in steps of 1, rounded down: computed here"),
        (
            "[receipts]\nrate = 0.01\nrounding = 'up'\nmaximum_points = 500\n",
            "0.01 for each rouble of a receipt, in steps of 1, rounded up, at most 500 a receipt",
        ),
        ("[receipts]\npoints_by = 'crm'\n", "are computed by the CRM"),
    ],
)
async def test_who_computes_the_points_is_told_with_the_rate(
    settings: str, says: str, tmp_path: Path, database: str
) -> None:
    line = told(check(tmp_path, database, settings), "points")
    assert line["state"] == "ok"
    assert says in line["detail"]


async def test_what_was_drawn_is_not_left_and_is_no_plastic(tmp_path: Path, database: str) -> None:
    connection = await asyncpg.connect(database)
    for value, state in ((7, "ownerless"), (8, "inactive"), (9, "inactive")):
        number = range_number(RANGE, value)
        await connection.execute(
            "INSERT INTO koshelek.cards (number, barcode_number, barcode_type, state) "
            "VALUES ($1, $1, 'CODE_128', $2)",
            number,
            state,
        )
    await connection.close()
    found = check(tmp_path, database, '[[cards.ranges]]\nprefix = "2900"\nlast = 60\n')
    assert told(found, "cards.ranges.0")["detail"].startswith("1 numbers ahead were imported")
    assert told(found, "card numbers")["detail"] == "0 in the pool, 1 ranges with 57 left"


def test_secrets_that_others_may_read_are_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    paths = {}
    for key, mode in (("koshelek.password", 0o600), ("database.url", 0o644), ("crm.url", 0o440)):
        paths[key] = tmp_path / key
        paths[key].write_text("secret", encoding="utf-8")
        paths[key].chmod(mode)
    told = list(open_to_others(paths))
    reached = all(one.stat().st_mode & 0o011 for one in tmp_path.parents)
    assert len(told) == reached
    if reached:
        assert told[0].warning
        assert "database.url_file" in told[0].detail
        assert "crm.url_file" in told[0].detail
        assert "koshelek.password" not in told[0].detail
    tmp_path.chmod(0o700)
    assert list(open_to_others(paths)) == []


async def test_a_remedy_names_the_file_that_the_url_stands_in(tmp_path: Path, database: str) -> None:
    for name, url in (("own", database), ("shop", "postgresql://u:planted@127.0.0.1:1/shop")):
        (tmp_path / name).write_text(url, encoding="utf-8")
        (tmp_path / name).chmod(0o600)
    settings = (
        f'[koshelek]\npassword = "{PASSWORD}"\n[database]\nurl_file = "own"\n'
        "[crm]\ndriver = 'postgres'\nurl_file = 'shop'\nsql_dir = '.'\n"
    )
    (tmp_path / "koshelek-adapter.toml").write_text(settings, encoding="utf-8")
    done = await asyncio.to_thread(run, "check", "--json", cwd=tmp_path)
    found = list(map(json.loads, done.out.splitlines()))
    assert "correct host and port in url (in shop)" in told(found, "crm postgres")["remedy"]
    (tmp_path / "own").write_text("postgresql://u:planted@127.0.0.1:1/own", encoding="utf-8")
    done = await asyncio.to_thread(run, "check", "--json", cwd=tmp_path)
    (line,) = [line for line in map(json.loads, done.out.splitlines()) if line["state"] == "fail"]
    assert "database.url (in own)" in line["remedy"]
    assert "planted" not in done.text
