"""How SQL files become statements: what is a parameter, what only looks like one. No database here."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest

from crm_backends.ports import BackendCredentials, BackendMisconfigured, BackendUnavailable, Outcome, Refusal
from crm_backends.postgres import errors
from crm_backends.postgres.binding import BindError, bind
from crm_backends.postgres.driver import version_text
from crm_backends.postgres.operations import RENAMED, SQL_OPERATIONS
from crm_backends.postgres.statements import OWN_SQL, Statement, load

TYPES = {"phone": "text", "points": "numeric", "until_at": "timestamptz"}


def test_parameters_get_numbers_and_types_and_a_repeated_one_keeps_its_number() -> None:
    text, names = bind("SELECT :phone, :points WHERE x = :phone", TYPES)
    assert text == "SELECT ($1::text), ($2::numeric) WHERE x = ($1::text)"
    assert names == ("phone", "points")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a::phone",
        "SELECT ':phone', 'it''s :phone'",
        r"SELECT E'it\'s :phone'",
        'SELECT ":phone", "a "" :phone"',
        "SELECT $$ :phone ' $$, $body$ $$ :phone $body$",
        "SELECT 1 -- :phone don't\n",
        "SELECT /* :phone /* :phone */ :phone */ 1",
        "SELECT f(a := 1)",
        "SELECT a[1 : 2]",
        "SELECT a$b$ FROM t",
        "SELECT /* never closed :phone",
        "SELECT $$ never closed :phone",
    ],
)
def test_what_is_no_parameter_is_left_alone(sql: str) -> None:
    assert bind(sql, TYPES) == (sql, ())


@pytest.mark.parametrize(
    ("sql", "bound"),
    [
        ("SELECT :phone::bigint", "SELECT ($1::text)::bigint"),
        ("SELECT LIKE'a\\':phone", "SELECT LIKE'a\\'($1::text)"),
        ("SELECT -:points", "SELECT -($1::numeric)"),
        ("SELECT a::text=:phone", "SELECT a::text=($1::text)"),
        ("SELECT $$x$$||:phone", "SELECT $$x$$||($1::text)"),
        ("SELECT a/:points -- x", "SELECT a/($1::numeric) -- x"),
        ("SELECT 'ё' || :phone", "SELECT 'ё' || ($1::text)"),
    ],
)
def test_a_parameter_is_found_next_to_what_looks_alike(sql: str, bound: str) -> None:
    assert bind(sql, TYPES)[0] == bound


def test_an_unknown_parameter_is_named_with_the_nearest_one() -> None:
    with pytest.raises(BindError, match=r"uses :fone, .* did you mean :phone\?"):
        bind("SELECT :fone", TYPES)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_the_old_name_of_a_parameter_is_answered_with_the_new_one(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "points_credit.sql").write_text(f"SELECT :{old} AS points", encoding="utf-8")
    misfit = load(tmp_path)[0]["points_credit"].misfit
    assert misfit is not None
    assert misfit.problem == f"uses :{old}, which is called :{new} now"


def test_an_old_name_where_nothing_of_the_kind_is_supplied_is_just_unknown() -> None:
    with pytest.raises(BindError, match=r"uses :settlement, which this operation does not supply"):
        bind("SELECT :settlement", TYPES)


def test_a_bare_number_is_refused() -> None:
    with pytest.raises(BindError, match=r"uses \$1"):
        bind("SELECT $1", TYPES)


def test_every_operation_has_a_file_and_every_file_is_an_operation() -> None:
    assert {path.stem for path in OWN_SQL.glob("*.sql")} == set(SQL_OPERATIONS)


@pytest.mark.parametrize("name", SQL_OPERATIONS)
def test_the_comment_of_each_file_names_its_parameters_and_columns(name: str) -> None:
    text = (OWN_SQL / f"{name}.sql").read_text(encoding="utf-8")
    comment = "\n".join(line for line in text.splitlines() if line.startswith("--"))
    assert "Parameters:" in comment
    operation = SQL_OPERATIONS[name]
    if "the columns of users_find" not in comment:
        for column in (*operation.required, *operation.optional):
            assert re.search(rf"\b{column}\b", comment), column
    assert set(re.findall(r":(\w+)", comment)) == set(operation.parameters)


def test_replaced_files_take_the_place_of_ours_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "users_get.sql").write_text("\ufeffSELECT 1 WHERE :customer = ''", encoding="utf-8")
    found, misfits = load(tmp_path)
    assert not misfits
    assert found["users_get"].text == "SELECT 1 WHERE ($1::text) = ''"
    assert found["users_find"] == load(None)[0]["users_find"]


def test_a_file_that_is_no_operation_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "user_find.sql").write_text("SELECT 1", encoding="utf-8")
    _, (misfit,) = load(tmp_path)
    assert misfit.file.endswith("user_find.sql")
    assert misfit.remedy == "did you mean users_find.sql?"


def test_a_missing_folder_and_an_unreadable_file_are_said(tmp_path: Path) -> None:
    assert load(tmp_path / "nowhere")[1][0].problem == "there is no such folder"
    (tmp_path / "users_get.sql").write_bytes(b"SELECT '\xff'")
    misfit = load(tmp_path)[0]["users_get"].misfit
    assert misfit is not None
    assert "UnicodeDecodeError" in misfit.problem


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("-- unsupported: the till does it", "the till does it"),
        ("-- Unsupported : no", "no"),
        ("--unsupported:", "declined by its file, which gives no reason"),
        ("-- unsupported", "declined by its file, which gives no reason"),
    ],
)
def test_an_operation_is_declined_by_a_line(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "coupons_issue.sql").write_text(f"-- Coupons.\n{line}\n", encoding="utf-8")
    known, _ = load(tmp_path)
    assert (known["coupons_issue"].unsupported, known["coupons_issue"].misfit) == (reason, None)


def test_a_comment_about_what_is_unsupported_declines_nothing(tmp_path: Path) -> None:
    sql = "-- unsupported phones are left out\nSELECT 1 AS phone"
    (tmp_path / "users_list_phones.sql").write_text(sql, encoding="utf-8")
    known, _ = load(tmp_path)
    assert not known["users_list_phones"].unsupported


@pytest.mark.parametrize("text", ["", "\n", ";", "-- to be written\n", "/* later\n */ ;\n"])
def test_a_file_without_sql_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "points_entries.sql").write_text(text, encoding="utf-8")
    misfit = load(tmp_path)[0]["points_entries"].misfit
    assert misfit is not None
    assert misfit.problem == "there is no SQL in it"
    assert "-- unsupported: why" in misfit.remedy


def test_a_file_that_is_not_read_for_its_ending_is_named(tmp_path: Path) -> None:
    (tmp_path / "points_entries.SQL").write_text("SELECT 1", encoding="utf-8")
    (tmp_path / "users_find.sql.bak").write_text("SELECT 1", encoding="utf-8")
    (misfit,) = load(tmp_path)[1]
    assert misfit.file.endswith("points_entries.SQL")
    assert misfit.remedy == "call it points_entries.sql, in small letters"


def test_columns_are_compared_by_name_and_type() -> None:
    statement = Statement("points_balance", "points_balance.sql", "", ("account",))
    assert statement.compare([("total", "numeric"), ("available", "int8")]) is None
    missing = statement.compare([("total", "numeric"), ("availabel", "numeric")])
    assert missing is not None
    assert missing.problem == "returns no column available"
    assert "is it the column availabel?" in missing.remedy
    wrong = statement.compare([("total", "numeric"), ("available", "text")])
    assert wrong is not None
    assert wrong.problem == "returns the column available as text"
    everybodys = Statement("points_balance", "points_balance.sql", "", ("today",))
    mixed_up = everybodys.compare([("total", "numeric"), ("available", "int8")])
    assert mixed_up is not None
    assert mixed_up.problem == "does not use :account: everybody would have the same balance"
    assert mixed_up.remedy == "use :account in it"


def _server_error(state: str) -> Exception:
    error = asyncpg.PostgresError.new(
        {"C": state, "M": 'value "+79001234567"', "D": "Key (phone)=(+79001234567)"}
    )
    assert isinstance(error, asyncpg.PostgresError)
    return error


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("40001", Outcome.NOT_SENT),
        ("40P01", Outcome.NOT_SENT),
        ("40003", Outcome.UNKNOWN),
        ("25006", Outcome.NOT_SENT),
        ("53300", Outcome.NOT_SENT),
        ("55P03", Outcome.NOT_SENT),
        ("57014", Outcome.NOT_SENT),
        ("57P01", Outcome.UNKNOWN),
        ("57P02", Outcome.UNKNOWN),
        ("57P03", Outcome.UNKNOWN),
        ("22003", Outcome.REFUSED),
        ("23514", Outcome.REFUSED),
        ("P0001", Outcome.REFUSED),
        ("08006", Outcome.UNKNOWN),
        ("58030", Outcome.UNKNOWN),
        ("XX000", Outcome.UNKNOWN),
    ],
)
def test_outcome_of_a_write_by_sqlstate(state: str, outcome: Outcome) -> None:
    assert errors.after_write("f.sql", _server_error(state), unique_is_conflict=True).outcome is outcome


def test_a_unique_violation_is_a_conflict_of_people_but_a_doubt_about_values() -> None:
    error = _server_error("23505")
    assert errors.after_write("f.sql", error, unique_is_conflict=True).refusal is Refusal.CONFLICT
    assert errors.after_write("f.sql", error, unique_is_conflict=False).outcome is Outcome.UNKNOWN


URL = "postgresql://shop:79001234567@db.local/shop"


@pytest.mark.parametrize("state", ["23505", "23514", "P0001", "40001", "57014", "08006"])
@pytest.mark.parametrize("unique_is_conflict", [True, False])
def test_every_end_of_a_write_says_file_and_sqlstate(state: str, unique_is_conflict: bool) -> None:
    """An operation that was put off or refused once stood on the list without a word of why."""
    error = _server_error(state)
    written = errors.after_write("points_credit.sql", error, unique_is_conflict=unique_is_conflict)
    assert written.reason is not None
    assert written.reason.startswith("points_credit.sql: ")
    assert f"SQLSTATE {state}" in written.reason
    assert "79001234567" not in written.reason


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("permission denied for table bonus", "SQLSTATE 42501: permission denied for table bonus"),
        (
            "permission denied for materialized view shop_all",
            "permission denied for materialized view shop_all",
        ),
        ("permission denied for Anna +79001234567", "SQLSTATE 42501"),
        ("no rights for +79001234567", "SQLSTATE 42501"),
    ],
)
def test_a_right_that_lacks_is_told_with_what_it_lacks_on(message: str, said: str) -> None:
    error = asyncpg.PostgresError.new({"C": "42501", "M": message})
    assert isinstance(error, asyncpg.PostgresError)
    told = errors.brief(error)
    assert said in told
    assert "79001234567" not in told


def test_no_message_carries_what_the_server_wrote() -> None:
    for state in ("42703", "22P02", "53300", "28P01", "3D000"):
        for error in (
            errors.on_read("f.sql", _server_error(state)),
            errors.on_connect(_server_error(state), URL, "url"),
        ):
            assert "79001234567" not in str(error)
    with pytest.raises(BackendMisconfigured, match="42703") as caught:
        errors.after_write("f.sql", _server_error("42703"), unique_is_conflict=False)
    assert "79001234567" not in str(caught.value)


def test_errors_of_a_connection_by_kind() -> None:
    assert isinstance(errors.on_connect(_server_error("28P01"), URL, "url"), BackendCredentials)
    assert isinstance(errors.on_connect(_server_error("3D000"), URL, "url"), BackendMisconfigured)
    assert isinstance(errors.on_connect(ValueError("secret"), URL, "url"), BackendMisconfigured)
    assert isinstance(errors.on_connect(ConnectionRefusedError(), URL, "url"), BackendUnavailable)


@pytest.mark.parametrize(
    ("numbers", "text"), [((15, 0, 18), "PostgreSQL 15.18"), ((18, 0, 0), "PostgreSQL 18.0")]
)
def test_a_server_is_called_as_it_calls_itself(numbers: tuple[int, int, int], text: str) -> None:
    assert version_text(*numbers) == text
