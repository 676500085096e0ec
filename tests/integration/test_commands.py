"""The commands, run as a person runs them: what they print, what they change, how they fail.

Every run goes through ``processes.run``, which also holds that no traceback is ever shown. Each command is
run once in a new interpreter.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NoReturn

import asyncpg
import pytest
from argon2 import PasswordHasher
from typer.testing import CliRunner

from adapter import version
from adapter.commands.app import app
from adapter.loyalty.numbers import range_number
from adapter.settings import NumberRange
from crm_backends import registry
from tests.integration.processes import PASSWORD, Ended, Running, call, free_ports, run

NOWHERE = "postgresql://operator:planted-database-Passw0rd@127.0.0.1:9/nowhere"
_RANGE = NumberRange(prefix="2900", length=13, check_digit="ean")


def number(value: int) -> str:
    return range_number(_RANGE, value)


def settings(folder: Path, text: str = "", name: str = "koshelek-adapter.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def complete(url: str, more: str = "") -> str:
    """Settings with which every check is well."""
    return (
        f'[koshelek]\npassword = "{PASSWORD}"\n[database]\nurl = "{url}"\n'
        f'[[cards.ranges]]\nprefix = "2900"\n{more}'
    )


def run_all(
    commands: Sequence[Sequence[str]], *, cwd: Path, env: Mapping[str, str] | None = None
) -> list[Ended]:
    """Run commands that do not depend on each other, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda words: run(*words, cwd=cwd, env=env), commands))


# --- help and version ----------------------------------------------------------------------------------


def test_version_is_printed(tmp_path: Path) -> None:
    done = run("version", cwd=tmp_path, anew=True)
    assert (done.status, done.out, done.err) == (0, f"koshelek-adapter {version.text()}\n", "")


_HELP: dict[tuple[str, ...], Sequence[str]] = {
    (): ("serve", "demo", "check", "healthcheck", "version", "config", "cards"),
    ("serve",): (
        "until stopped",
        *("--config", "--host", "--port", "--management-port", "--workers", "--data-dir"),
    ),
    ("demo",): ("Nothing else is needed", "--port", "--data-dir", "default: 8080"),
    ("check",): ("one line each", "exit status 1", "--config"),
    ("healthcheck",): ("ready", "exit status 0 or 1", "--port"),
    ("version",): ("Print the version",),
    ("config",): ("new", "show", "hash", "reference"),
    ("config", "new"): ("never overwrites", "PATH"),
    ("config", "show"): ("secrets masked", "--config"),
    ("config", "hash"): ("koshelek.password",),
    ("config", "reference"): ("Markdown",),
    ("receipts",): ("held", "list", "show", "requeue", "hurry", "settle", "purge"),
    ("cards",): ("import", "show", "block", "unblock", "replace"),
    ("cards", "import"): ("number, state, barcode, barcode_type, customer", "FILE", "again"),
    ("cards", "show"): ("state, barcode", "NUMBER"),
    ("cards", "block"): ("cannot get another", "NUMBER", "--file", "one number a line"),
    ("cards", "replace"): ("in the place of a card", "OLD", "NEW", "--note"),
    ("cards", "unblock"): ("state it had", "NUMBER"),
}


@pytest.mark.parametrize("words", _HELP, ids=lambda words: " ".join(words) or "no command")
def test_help_says_what_the_command_does(words: tuple[str, ...]) -> None:
    """In this process: there is nothing to it but text."""
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, [*words, "--help"])
    assert done.exit_code == 0
    text = " ".join(done.stdout.split()).lower()
    for phrase in ("usage:", *_HELP[words]):
        assert phrase.lower() in text


def test_help_of_the_whole_is_printed_by_the_real_command(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path, anew=True)
    assert (done.status, done.err) == (0, "")
    assert "healthcheck" in done.out


def test_commands_import_no_more_than_they_need(project: Path) -> None:
    """So that help comes at once, and a look at the database does not wait for the web server."""
    script = """
import sys, adapter.commands.app
print(*({"pydantic", "structlog", "urllib.request", "asyncpg", "aiohttp"} & set(sys.modules)))
import adapter.process.serving, adapter.process.workers
print(*({"prometheus_client", "aiohttp"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout.split() == []


def test_the_commands_of_drivers_are_listed_without_importing_one(project: Path) -> None:
    script = """
import sys
sys.argv[1:] = ["--help"]
from adapter.commands.app import main
try:
    main()
except SystemExit:
    print("imported:", *sorted({"pydantic", "asyncpg", "aiohttp"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, capture_output=True, text=True, check=True, timeout=100
    )
    for driver in registry.with_commands():
        assert f"Commands of the CRM driver {driver}." in done.stdout
    assert done.stdout.splitlines()[-1] == "imported:"


def test_a_drivers_commands_explain_themselves(tmp_path: Path) -> None:
    assert set(registry.with_commands()) <= set(registry.names())
    for driver in registry.with_commands():
        assert registry.load_commands(driver)(_no_settings).info.help
    done = run("pegke", "--help", cwd=tmp_path, anew=True)
    assert (done.status, done.err) == (0, "")
    assert "invalidate-token" in done.out


def test_a_driver_that_is_not_bound_has_no_settings_for_its_commands(tmp_path: Path) -> None:
    done = run("pegke", "invalidate-token", cwd=tmp_path, anew=True)
    assert done.status == 1
    assert 'crm.points.driver: is not "pegke"' in done.err


def _no_settings(config: Path | None) -> NoReturn:
    raise AssertionError("help needs no settings")


def test_an_unknown_command_is_named(tmp_path: Path) -> None:
    done = run("sevre", cwd=tmp_path)
    assert done.status == 2
    assert "sevre" in done.err


# --- config --------------------------------------------------------------------------------------------


def test_a_new_settings_file_is_private_complete_and_never_overwritten(tmp_path: Path, database: str) -> None:
    done = run("config", "new", cwd=tmp_path, anew=True)
    path = tmp_path / "koshelek-adapter.toml"
    text = path.read_text(encoding="utf-8")
    assert done.status == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    password = next(line.split('"')[1] for line in text.splitlines() if line.startswith("password = "))
    assert len(password) >= 16
    assert password not in done.text

    again = run("config", "new", cwd=tmp_path)
    assert (again.status, again.out) == (1, "")
    assert again.err == "error: koshelek-adapter.toml exists; name another file\n"
    assert path.read_text(encoding="utf-8") == text

    shown = run("config", "show", cwd=tmp_path)
    assert shown.status == 0
    assert password not in shown.text
    assert 'koshelek.password = "********"' in shown.out

    environment = {"KOSHELEK_DATABASE__URL": database}
    lacking = run("check", cwd=tmp_path, env=environment)
    assert lacking.status == 1
    assert "cards.ranges" in first_failure(lacking)
    path.write_text(text + '[[cards.ranges]]\nprefix = "2900"\n', encoding="utf-8")
    assert run("check", cwd=tmp_path, env=environment).status == 0


def test_a_settings_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    done = run("config", "new", "absent/new.toml", cwd=tmp_path)
    assert (done.status, done.err) == (1, "error: cannot write absent/new.toml: No such file or directory\n")


def test_the_effective_settings_are_shown_with_secrets_masked(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("postgresql://u:planted-1@h/d\n", encoding="utf-8")
    settings(
        tmp_path,
        f"[koshelek]\npassword = 'planted-2'\n[database]\nurl_file = '{secret}'\n[server]\nport = 8000\n"
        "[crm.points]\ndriver = 'postgres'\nurl = 'postgresql://u:planted-3@h/d'\n",
    )
    done = run("config", "show", cwd=tmp_path, env={"KOSHELEK_SERVER__PORT": "9000"}, anew=True)
    assert done.status == 0
    assert "planted" not in done.text
    for line in (
        "server.port = 9000",
        'koshelek.password = "********"',
        'database.url = "********"  # the database d on h:5432',
        'crm.points.url = "********"  # the database d on h:5432',
        'crm.users.driver = "none"',
    ):
        assert line in done.out.splitlines()


def test_the_reference_is_a_markdown_table(tmp_path: Path) -> None:
    done = run("config", "reference", cwd=tmp_path, anew=True)
    assert done.status == 0
    assert "| `koshelek.password` | secret |" in done.out


def test_a_printed_hash_serves_as_the_password(tmp_path: Path, database: str) -> None:
    hashed = run("config", "hash", cwd=tmp_path, given=f"{PASSWORD}\n", anew=True)
    assert hashed.status == 0
    assert hashed.out.startswith("$argon2id$")
    assert PASSWORD not in hashed.text
    (port,) = free_ports(1)
    settings(tmp_path, f"[koshelek]\npassword = '{hashed.out.strip()}'\n[management]\nenabled = false\n")
    with Running(
        "serve", "--port", str(port), cwd=tmp_path, env={"KOSHELEK_DATABASE__URL": database}
    ) as serving:
        serving.wait_for('"ready"')
        assert [call(port, "GET", "/v1/card").status for _ in range(3)] == [200, 200, 200]
        assert call(port, "GET", "/v1/card", password="wrong").status == 401
        assert call(port, "GET", "/v1/card", password=hashed.out.strip()).status == 401
        serving.terminate()
        assert serving.ended().status == 0


def test_an_empty_password_gets_no_hash(tmp_path: Path) -> None:
    done = run("config", "hash", cwd=tmp_path, given="\n")
    assert (done.status, done.out, done.err) == (1, "", "error: the password is empty\n")


def test_a_password_from_a_pipe_is_one_line_that_can_be_seen(tmp_path: Path) -> None:
    """A BOM is passed over, as in a file; the hash of anything else that is not seen would fit nothing."""
    hashed = run("config", "hash", cwd=tmp_path, given=f"\ufeff{PASSWORD}\r\n")
    assert PasswordHasher().verify(hashed.out.strip(), PASSWORD)
    for sent in (f"{PASSWORD}\u200b\n".encode(), PASSWORD.encode() + b"\xff\n", PASSWORD.encode("utf-16")):
        done = run("config", "hash", cwd=tmp_path, given=sent)
        assert (done.status, done.out) == (1, "")
        assert done.err.startswith("error: the password ")


# --- wrong settings ------------------------------------------------------------------------------------


def test_wrong_settings_end_every_command_with_a_line_per_problem(tmp_path: Path) -> None:
    settings(tmp_path, "[server]\nprot = 1\n[log]\nlevel = 'loud'\n")
    for done in run_all((("serve",), ("cards", "show", "1")), cwd=tmp_path):
        assert (done.status, done.out) == (1, "")
        first, second = done.err.splitlines()
        assert first == 'error: server.prot: unknown key; did you mean "port"?'
        assert second.startswith("error: log.level: ")


def test_a_secret_file_that_is_no_path_is_told_in_a_line(tmp_path: Path) -> None:
    settings(tmp_path, "[koshelek]\npassword_file = 5\n")
    done = run("config", "show", cwd=tmp_path)
    assert done.status == 1
    (line,) = done.err.splitlines()
    assert "password_file" in line


def test_a_settings_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = run("serve", "--config", "absent.toml", cwd=tmp_path)
    assert (done.status, done.err) == (
        1,
        "error: absent.toml: cannot read the settings file: No such file or directory; "
        "name it with --config, or write one: koshelek-adapter config new\n",
    )


def test_nothing_is_served_with_a_password_that_can_be_guessed(tmp_path: Path) -> None:
    settings(tmp_path, "[koshelek]\npassword = 'fifteen-letters'\n")
    done = run("serve", cwd=tmp_path)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("error: koshelek.password: shorter than 16 characters; ")
    assert "fifteen" not in done.err


def test_nothing_is_served_with_a_hash_that_was_cut_short(tmp_path: Path) -> None:
    settings(tmp_path, "[koshelek]\npassword = '$argon2id$v=19$m=65536,t=3,p=4$'\n")
    done = run("serve", cwd=tmp_path)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("error: koshelek.password: the hash is cut short; ")
    assert "argon2" not in done.err


def test_nothing_is_served_without_a_password(tmp_path: Path) -> None:
    done = run("serve", cwd=tmp_path)
    assert done.status == 1
    assert done.err.startswith("error: koshelek.password: not set; ")
    assert "config new" in done.err


def test_a_port_that_does_not_exist_is_refused(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database, "[management]\nenabled = false\n"))
    with Running("serve", "--port", "99999", cwd=tmp_path) as serving:
        while serving.process.poll() is None and '"ready"' not in serving.out:
            time.sleep(0.05)
        assert '"ready"' not in serving.out
        done = serving.ended()
    assert done.status in (1, 2)
    assert "65535" in done.err


# --- check ---------------------------------------------------------------------------------------------


def first_failure(done: Ended) -> str:
    """The first failing line with the advice that belongs to it."""
    lines = done.out.splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("FAIL"))
    advice = lines[place + 1] if len(lines) > place + 1 and "->" in lines[place + 1] else ""
    return f"{lines[place]} {advice.strip()}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[server]\nport = 18999\n[management]\nport = 18999",
            "server.port and management.port are both 18999",
        ),
        (
            "[server]\nport = 18999\n[management]\nhost = '0.0.0.0'\nport = 18999",
            "server.port and management.port are both 18999",
        ),
        ("[server]\nhost = '300.1.1.1'", "cannot listen on 300.1.1.1:8080: no such address"),
        ("[server]\nhost = 'http://127.0.0.1'", "cannot listen on http://127.0.0.1:8080: no such address"),
        ("[management]\nhost = '192.0.2.1'", "cannot listen on 192.0.2.1:8081: Cannot assign"),
    ],
)
def test_check_and_serve_tell_alike_where_nobody_can_listen(
    text: str, says: str, tmp_path: Path, database: str
) -> None:
    settings(tmp_path, f"{complete(database)}\n{text}\n")
    checked = run("check", cwd=tmp_path)
    assert checked.status == 1
    assert first_failure(checked).startswith(f"FAIL  ports          {says}"), checked.text
    assert " -> choose another" in first_failure(checked)
    served = run("serve", cwd=tmp_path)
    assert (served.status, served.out) == (1, "")
    assert served.err.startswith(f"error: {says}")


def test_check_is_well(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database))
    done = run("check", cwd=tmp_path, anew=True)
    assert done.status == 0, done.text
    assert done.err == ""
    lines = done.out.splitlines()
    # The tests' role is a superuser, which the service should not be.
    (warning,) = [line for line in lines if not line.startswith(("ok ", " "))]
    assert warning.startswith("warn  rights")
    for subject in ("settings", "password", "database", "schema", "clock", "card numbers", "crm postgres"):
        assert any(line[6:].startswith(subject) for line in lines), subject
    assert "users, points, coupons" in done.out


def test_the_first_failing_line_of_check_says_what_to_do(tmp_path: Path, database: str) -> None:
    ranges = "[[cards.ranges]]\nprefix = '29'\n"
    cases = {
        "unreachable database": (
            complete(NOWHERE),
            "FAIL  database       nothing listens on 127.0.0.1:9",
            "host and port in database.url",
        ),
        "unreachable crm": (
            complete(database, f"[crm]\nurl = '{NOWHERE}'\n"),
            "FAIL  crm postgres   database: nothing listens on 127.0.0.1:9",
            "-> start PostgreSQL there, or correct host and port in url",
        ),
        "no password": (
            f"[database]\nurl = '{database}'\n{ranges}",
            "FAIL  password",
            "koshelek-adapter config new",
        ),
        "short password": (
            complete(database).replace(PASSWORD, "planted"),
            "FAIL  password",
            "koshelek-adapter config new",
        ),
        "wrong settings": (
            "[server]\nprot = 1\n",
            "FAIL  settings       server.prot: unknown key",
            '-> did you mean "port"?',
        ),
    }
    files = [settings(tmp_path, text, f"{name}.toml") for name, (text, _, _) in cases.items()]
    ended = run_all([("check", "--config", str(file)) for file in files], cwd=tmp_path)
    for done, (_, begins, says) in zip(ended, cases.values(), strict=True):
        assert (done.status, done.err) == (1, "")
        said = first_failure(done)
        assert said.startswith(begins)
        assert says in said
        assert "planted" not in done.text


def test_check_speaks_to_scripts_too(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database).replace(PASSWORD, "planted"))
    done = run("check", "--json", cwd=tmp_path)
    assert (done.status, done.err) == (1, "")
    found = [json.loads(line) for line in done.out.splitlines()]
    assert {tuple(line) for line in found} == {("state", "subject", "detail", "remedy")}
    assert found[0]["state"] == "ok"
    (wrong,) = [line for line in found if line["state"] == "fail"]
    assert wrong["subject"] == "password"
    assert "koshelek-adapter config new" in wrong["remedy"]


def test_check_finds_a_hash_that_was_cut_short(tmp_path: Path, database: str) -> None:
    """A shell or a compose file eats what follows a dollar sign; then nobody could log in."""
    settings(tmp_path, complete(database).replace(PASSWORD, "$argon2id$v=19$m=65536,t=3,p=4$"))
    done = run("check", cwd=tmp_path)
    assert done.status == 1
    assert first_failure(done).startswith("FAIL  password")


def test_check_says_that_the_sql_folder_is_not_there(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database, f"[crm]\nsql_dir = '{tmp_path / 'absent'}'\n"))
    done = run("check", cwd=tmp_path)
    assert done.status == 1
    said = first_failure(done)
    assert said.startswith("FAIL  crm postgres")
    assert str(tmp_path / "absent") in said
    assert "correct sql_dir" in said
    assert done.out.count("FAIL") == 1  # what the statements of the schema crm would lack is not the point


_MISFITS = {
    "points_balance.sql": ("SELECT 1 AS total", "returns no column available"),
    "points_entries.sql": ("SELECT :acount", "did you mean :account?"),
    "coupons_offers.sql": ("SELEC 1", "the database refuses it"),
    "points_balnce.sql": ("SELECT 1", "did you mean points_balance.sql?"),
}


def test_check_names_every_sql_file_that_does_not_fit(tmp_path: Path, database: str) -> None:
    folder = tmp_path / "sql"
    folder.mkdir()
    for name, (sql, _) in _MISFITS.items():
        (folder / name).write_text(sql, encoding="utf-8")
    settings(tmp_path, complete(database, f"[crm]\nsql_dir = '{folder}'\nmanage_schema = true\n"))
    done = run("check", cwd=tmp_path)
    assert done.status == 1
    lines = done.out.splitlines()
    for name, (_, says) in _MISFITS.items():
        (place,) = [place for place, line in enumerate(lines) if line.startswith("FAIL") and name in line]
        assert lines[place].startswith("FAIL  crm postgres")
        assert lines[place + 1].strip().startswith("-> ")
        assert says in lines[place] + lines[place + 1]


def test_a_statement_is_printed_as_psql_takes_it(tmp_path: Path, database: str) -> None:
    folder = tmp_path / "sql"
    folder.mkdir()
    (folder / "users_get.sql").write_text("SELECT :customer AS reference, '+7' AS phone;\n", encoding="utf-8")
    (folder / "coupons_issue.sql").write_text("-- unsupported: none are given\n", encoding="utf-8")
    settings(tmp_path, complete(database, f"[crm]\nsql_dir = '{folder}'\nmanage_schema = true\n"))
    done = run("postgres", "statement", "users_get", cwd=tmp_path, anew=True)
    assert done.status == 0
    assert "PREPARE users_get (text) AS\nSELECT ($1::text) AS reference, '+7' AS phone\n;\n" in done.out
    assert "EXPLAIN EXECUTE users_get (NULL);" in done.out
    assert "-- $1 is :customer" in done.out
    for name, says in (("users_git", "there is no operation users_git"), ("coupons_issue", "none are given")):
        wrong = run("postgres", "statement", name, cwd=tmp_path)
        assert (wrong.status, wrong.out) == (1, "")
        assert says in wrong.err


def test_a_command_without_settings_or_data_makes_no_database(tmp_path: Path) -> None:
    commands = (("receipts", "held"), ("cards", "show", "1"), ("check",), ("receipts", "recheck", "1"))
    for done in run_all(commands, cwd=tmp_path):
        assert done.status == 1
        for word in (str(tmp_path / "koshelek-adapter.toml"), "--config", "KOSHELEK_CONFIG", "--data-dir"):
            assert word in done.text
    wrong = run("receipts", "held", "--data-dir", "koshelek-dmeo", cwd=tmp_path)
    assert (wrong.status, str(tmp_path / "koshelek-dmeo") in wrong.err) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_commands_work_on_the_data_of_the_demo_that_runs(tmp_path: Path) -> None:
    port, management = free_ports(2)
    words = ("demo", "--port", str(port), "--management-port", str(management))
    with Running(*words, cwd=tmp_path) as demo:
        demo.wait_for("demo is ready")
        held = run("receipts", "held", "--data-dir", "koshelek-demo", cwd=tmp_path)
        assert (held.status, held.out) == (0, "nothing waits for a person\n")
        asked = run("receipts", "recheck", "--all-held", "--data-dir", "koshelek-demo", cwd=tmp_path)
        assert (asked.status, asked.out) == (0, "nothing is held\n")


def test_check_says_that_it_made_the_tables_of_an_empty_database(tmp_path: Path, fresh_database: str) -> None:
    settings(tmp_path, complete(fresh_database))
    assert "created just now" in run("check", cwd=tmp_path).out
    assert "created just now" not in run("check", cwd=tmp_path).out


def test_check_gives_scripts_a_remedy_only_where_there_is_something_to_do(
    tmp_path: Path, database: str
) -> None:
    settings(tmp_path, complete(database))
    found = [json.loads(line) for line in run("check", "--json", cwd=tmp_path).out.splitlines()]
    assert [line for line in found if line["state"] == "ok" and line["remedy"]] == []


# --- cards ---------------------------------------------------------------------------------------------

_HEADER = ("number", "state", "barcode", "barcode_type", "customer")


def cards_file(folder: Path, *rows: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_HEADER, *rows])
    (folder / "cards.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    return "cards.csv"


def test_cards_are_imported_and_bad_lines_told_by_number(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database))
    file = cards_file(
        tmp_path,
        (number(1), "", "", "", ""),
        (number(2), "ownerless", "", "", ""),
        (number(3), "active", number(4), "EAN_13", "person-3"),
        (number(1), "", "", "", ""),  # a repetition
        ("", "", "", "", ""),
        ("no/path", "", "", "", ""),
        (number(5), "lost", "", "", ""),
        (number(6), "active", "", "", ""),  # active, but nobody's
        (number(7), "free", "", "", "person-7"),
        (number(8), "", "4006381333932", "EAN_13", ""),  # wrong check digit
        (number(9), "free"),
    )
    done = run("cards", "import", file, cwd=tmp_path, anew=True)
    assert done.status == 1
    assert done.out == "3 imported, 1 known before, 6 rejected\n"
    assert [line.partition(":")[0] for line in done.err.splitlines()] == [
        f"line {line}" for line in (7, 8, 9, 10, 11, 12)
    ]
    again = run("cards", "import", file, cwd=tmp_path)
    assert again.out == "0 imported, 4 known before, 6 rejected\n"
    shown = run("cards", "show", number(3), cwd=tmp_path, anew=True)
    assert [line.split() for line in shown.out.splitlines()] == [
        ["number", number(3)],
        ["barcode_number", number(4)],
        ["barcode_type", "EAN_13"],
        ["state", "active"],
        ["users_reference", "person-3"],
    ]


def test_a_good_file_ends_well_also_from_standard_input_with_semicolons_and_a_mark(
    tmp_path: Path, database: str
) -> None:
    settings(tmp_path, complete(database))
    text = f"\ufeffNumber;State\r\n{number(1)};\r\n{number(2)};ownerless\r\n"
    done = run("cards", "import", "-", cwd=tmp_path, given=text)
    assert (done.status, done.err, done.out) == (0, "", "2 imported, 0 known before, 0 rejected\n")


def test_a_file_that_cannot_be_imported_is_one_sentence(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database))
    contents = {
        "latin.csv": (b"number\n\xff\xfe\n", "not UTF-8"),
        "absent.csv": (None, "cannot read absent.csv: No such file"),
    }
    for name, (content, _) in contents.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    ended = run_all([("cards", "import", name) for name in contents], cwd=tmp_path)
    for done, (_, says) in zip(ended, contents.values(), strict=True):
        assert (done.status, done.out) == (1, "")
        (line,) = done.err.splitlines()
        assert says in line


def test_a_line_the_database_could_not_hold_is_rejected_and_the_others_are_imported(
    tmp_path: Path, database: str
) -> None:
    settings(tmp_path, complete(database))
    file = cards_file(tmp_path, (number(1), "active", "", "", "per\x00son"), (number(2), "", "", "", ""))
    done = run("cards", "import", file, cwd=tmp_path)
    assert (done.status, done.out) == (1, "1 imported, 0 known before, 1 rejected\n")
    assert done.err.startswith("line 2: ")


def test_two_files_make_no_two_cards_with_one_barcode(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database))
    first = cards_file(tmp_path, ("A1", "", "77", "", ""), ("A2", "", "78", "", ""))
    assert run("cards", "import", first, cwd=tmp_path).status == 0
    rows = [("A3", "", "", "", ""), ("", "x", "", "", ""), ("A4", "", "78", "", ""), ("A1", "", "77", "", "")]
    again = run("cards", "import", cards_file(tmp_path, *rows, ("no/path", "", "", "", "")), cwd=tmp_path)
    assert (again.status, again.out) == (1, "1 imported, 1 known before, 3 rejected\n")
    assert [line.partition(":")[0] for line in again.err.splitlines()] == ["line 3", "line 4", "line 6"]
    assert "line 4: a card imported before has this barcode and another number; correct the line" in again.err
    assert run("cards", "show", "A4", cwd=tmp_path).status == 1
    rows = [
        ("A5", "", "A3", "", ""),
        ("A6", "", "77", "", ""),
        ("A6", "", "79", "", ""),
        ("A1", "", "78", "", ""),
    ]
    third = run("cards", "import", cards_file(tmp_path, *rows), cwd=tmp_path)
    assert (third.status, third.out) == (1, "1 imported, 1 known before, 2 rejected\n")
    assert [line.partition(":")[0] for line in third.err.splitlines()] == ["line 2", "line 3"]


def test_a_card_is_blocked_and_gets_back_the_state_it_had(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database))
    file = cards_file(tmp_path, (number(1), "inactive", "", "", "x"), (number(2), "", "", "", ""))
    assert run("cards", "import", file, cwd=tmp_path).status == 0
    for verb, state in (("block", "blocked"), ("unblock", "inactive")):
        done = run("cards", verb, number(1), cwd=tmp_path, anew=True)
        assert done.status == 0
        assert ["state", state] in [line.split() for line in done.out.splitlines()]


def test_a_card_number_is_read_as_it_was_meant(tmp_path: Path, database: str) -> None:
    """Copied from a page or a chat it brings characters that nobody sees."""
    settings(tmp_path, complete(database))
    file = cards_file(tmp_path, (number(1), "inactive", "", "", "x"))
    assert run("cards", "import", file, cwd=tmp_path).status == 0
    for verb in ("show", "block", "unblock"):
        assert run("cards", verb, f"\u202a{number(1)}\u200b\ufeff", cwd=tmp_path).status == 0
    done = run("cards", "show", b"29\xff".decode("utf-8", "surrogateescape"), cwd=tmp_path, anew=True)
    assert done.status == 2
    assert "it is not UTF-8 text" in done.err


def test_a_card_in_nobodys_hands_is_not_said_to_be_blocked(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database))
    assert run("cards", "import", cards_file(tmp_path, (number(1), "", "", "", "")), cwd=tmp_path).status == 0
    done = run("cards", "block", number(1), cwd=tmp_path)
    assert done.status == 1
    assert "free" in done.err


def test_the_cards_of_a_file_are_blocked_and_each_bad_line_is_told(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database))
    rows = [(number(n), "active", "", "", f"person-{n}") for n in (1, 2, 3)]
    assert run("cards", "import", cards_file(tmp_path, *rows, (number(4), "", "", "", "")), cwd=tmp_path).out
    assert run("cards", "block", number(2), cwd=tmp_path).status == 0
    (tmp_path / "lost.txt").write_text(
        f"\ufeff{number(1)}\r\n\n  {number(2)}\n{number(4)}\nno\tnumber\n{number(9)}\n{number(3)}", "utf-8"
    )
    done = run("cards", "block", "--file", "lost.txt", "--by", "anna", "--note", "stolen bag", cwd=tmp_path)
    assert (done.status, done.out) == (1, "2 blocked, 1 blocked before, 3 rejected\n")
    assert done.err.splitlines() == [
        f"line 4: {number(4)}: the card is free, only one in somebody's hands can be blocked",
        "line 5: no number: there is no card with this number",
        f"line 6: {number(9)}: there is no card with this number",
    ]
    shown = run("cards", "show", number(3), cwd=tmp_path)
    assert shown.out.splitlines()[-1].endswith("blocked, by anna: stolen bag")
    again = run("cards", "block", "--file", "-", "--json", cwd=tmp_path, given=f"{number(1)}\n{number(3)}\n")
    assert again.status == 0
    assert json.loads(again.out) == {"blocked": 0, "blocked_before": 2, "rejected": 0, "lines": []}


def test_a_file_of_cards_that_cannot_be_read_is_one_sentence(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database))
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe\n")
    for words, says in (
        (("--file", "absent.txt"), "cannot read absent.txt: No such file"),
        (("--file", "latin.txt"), "not UTF-8 text"),
        ((), "name a card, or give --file"),
        ((number(1), "--file", "latin.txt"), "name a card, or give --file"),
    ):
        done = run("cards", "block", *words, cwd=tmp_path)
        assert (done.status, done.out) == (1, "")
        (line,) = done.err.splitlines()
        assert says in line


def test_a_card_is_replaced_by_another_and_what_happened_is_shown(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database))
    rows = [
        (number(1), "active", "", "", "1"),
        (number(2), "", "", "", ""),
        (number(3), "active", "", "", "3"),
    ]
    assert run("cards", "import", cards_file(tmp_path, *rows), cwd=tmp_path).status == 0
    assert run("cards", "block", number(1), cwd=tmp_path).status == 0
    for _ in range(2):  # again, it is no error
        words = (
            "cards",
            "replace",
            number(1),
            number(2),
            "--by",
            "anna",
            "--note",
            "lost",
            "--json",
            "--yes",
        )
        done = run(*words, cwd=tmp_path, anew=True)
        assert done.status == 0, done.err
        assert json.loads(done.out) == {
            "number": number(2),
            "barcode_number": number(2),
            "barcode_type": "CODE_128",
            "state": "active",
            "users_reference": "1",
            "replaces": number(1),
        }
    old = json.loads(run("cards", "show", number(1), "--json", cwd=tmp_path).out)
    assert (old["state"], old["replaced_by"]) == ("inactive", number(2))
    assert [(one["event"], one["note"]) for one in old["history"]] == [
        ("blocked", None),
        (f"replaced by {number(2)}", "lost"),
    ]
    new = run("cards", "show", number(2), cwd=tmp_path)
    assert new.out.splitlines()[-1].endswith(f"in place of {number(1)}, by anna: lost")
    for pair, says in (
        ((number(1), number(4)), f"the card was replaced by {number(2)} before"),
        ((number(8), number(4)), "there is no card with the number that is to be replaced"),
        ((number(2), number(2)), "the two numbers are the same"),
        ((number(2), number(3)), "the new number has an owner here, or a person has blocked it"),
        ((number(2), "a/b"), "the new number cannot be a card number"),
    ):
        done = run("cards", "replace", *pair, "--yes", cwd=tmp_path)
        assert (done.status, done.out) == (1, "")
        assert f"error: nothing was changed: {says}" in done.err
    # Blocking a card that is no longer good helps nobody.
    done = run("cards", "block", number(1), cwd=tmp_path)
    assert done.status == 1
    assert f"replaced by {number(2)}; block that one" in done.err


def test_a_new_number_has_to_fit_and_a_person_is_asked_before_a_card_is_replaced(
    tmp_path: Path, database: str
) -> None:
    settings(tmp_path, complete(database) + '[cards]\nbarcode_type = "EAN_13"\n')
    old, new = "2900000010017", "2900000010024"
    rows = (old, "active", "", "", "1")
    assert run("cards", "import", cards_file(tmp_path, rows), cwd=tmp_path).status == 0
    done = run("cards", "replace", old, "123", "--yes", cwd=tmp_path)
    assert (done.status, done.out) == (1, "")
    assert "cards.barcode_type is EAN_13, which cannot carry the new number" in done.err
    done = run("cards", "replace", old, new, cwd=tmp_path, given="n\n")
    assert (done.status, done.out.strip()) == (1, "")
    assert f"{new} replaces {old}" in done.err
    assert json.loads(run("cards", "show", old, "--json", cwd=tmp_path).out)["state"] == "active"
    done = run("cards", "replace", old, "123", "--yes", "--force", "--json", cwd=tmp_path)
    assert (done.status, json.loads(done.out)["barcode_type"]) == (0, "CODE_128")
    done = run("cards", "replace", "123", new, "--json", cwd=tmp_path, given="y\n")
    assert (done.status, json.loads(done.out)["barcode_type"]) == (0, "EAN_13")


def test_a_card_that_stands_so_already_is_told(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database))
    rows = (number(1), "active", "", "", "1")
    assert run("cards", "import", cards_file(tmp_path, rows), cwd=tmp_path).status == 0
    for word, says in (("block", "it was blocked already"), ("unblock", "it was not blocked")):
        assert run("cards", word, number(1), cwd=tmp_path).err == ""
        again = run("cards", word, number(1), cwd=tmp_path)
        assert (again.status, again.err) == (0, f"{says}; nothing was changed\n")


async def test_a_number_that_only_the_crm_knows_is_shown_as_the_crms(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database))
    done = run("cards", "show", "P-1", cwd=tmp_path)  # makes the CRM's schema
    assert (done.status, done.err) == (1, "error: there is no card with this number\n")
    connection = await asyncpg.connect(database)
    await connection.execute("INSERT INTO crm.cards (number, state) VALUES ('P-1', 'blocked')")
    await connection.close()
    assert "Only the CRM knows this number" in run("cards", "show", "P-1", cwd=tmp_path).out
    assert json.loads(run("cards", "show", "P-1", "--json", cwd=tmp_path).out) == {
        "number": "P-1",
        "only_in_crm": True,
        "state": "blocked",
    }


def test_a_card_that_is_another_customers_in_the_crm_is_told(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database))
    ours = (number(1), "active", "", "", "77")
    assert run("cards", "import", cards_file(tmp_path, ours), cwd=tmp_path).status == 0
    assert "other_owner" not in json.loads(run("cards", "show", number(1), "--json", cwd=tmp_path).out)

    async def given_to_another() -> str:
        connection = await asyncpg.connect(database)
        reference = await connection.fetchval(
            "INSERT INTO crm.customers (phone, card_number) VALUES ('+79161112244', $1) RETURNING id",
            number(1),
        )
        await connection.close()
        return str(reference)

    reference = asyncio.run(given_to_another())
    shown = json.loads(run("cards", "show", number(1), "--json", cwd=tmp_path).out)
    assert (shown["users_reference"], shown["other_owner"]) == ("77", reference)


def test_an_unknown_card_is_told(tmp_path: Path, database: str) -> None:
    settings(tmp_path, complete(database))
    for done in run_all([("cards", verb, number(1)) for verb in ("show", "block")], cwd=tmp_path):
        assert (done.status, done.out, done.err) == (1, "", "error: there is no card with this number\n")


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    settings(tmp_path, complete(NOWHERE, "[management]\nenabled = false\n"))
    for done in run_all([("cards", "show", number(1)), ("serve", "--port", "0")], cwd=tmp_path):
        assert (done.status, done.out) == (1, "")
        (line,) = done.err.splitlines()
        assert "database.url" in line
        assert "planted" not in line


# --- healthcheck ---------------------------------------------------------------------------------------


@contextmanager
def management(status: int, body: bytes, *, raw: bytes | None = None) -> Iterator[int]:
    """Something that answers on a management port; ``raw``: instead of HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if raw is not None:
                self.wfile.write(raw)
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_healthcheck_asks_this_machine_and_no_proxy(tmp_path: Path) -> None:
    with management(200, b'{"status": "ready"}') as port:
        proxy = {"http_proxy": "http://127.0.0.1:9"}
        done = run("healthcheck", "--port", str(port), cwd=tmp_path, env=proxy, anew=True)
    assert (done.status, done.out, done.err) == (0, "ready\n", "")


def test_healthcheck_asks_where_the_management_port_is_bound(tmp_path: Path) -> None:
    with management(200, b'{"status": "ready"}') as port:
        everywhere = {"KOSHELEK_MANAGEMENT__HOST": "0.0.0.0"}
        assert run("healthcheck", "--port", str(port), cwd=tmp_path, env=everywhere).status == 0


def test_healthcheck_tells_why_it_is_not_ready(tmp_path: Path) -> None:
    with management(503, b'{"status": "not ready", "reason": "the database does not answer"}') as port:
        done = run("healthcheck", "--port", str(port), cwd=tmp_path)
    assert (done.status, done.out) == (1, "")
    assert "the database does not answer" in done.err


def test_healthcheck_says_that_nobody_answers(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    done = run("healthcheck", "--port", str(port), cwd=tmp_path)
    assert (done.status, done.out) == (1, "")
    assert f"127.0.0.1:{port}" in done.err
    assert "does not answer: nothing listens there" in done.err


def test_healthcheck_of_something_else_on_the_port_is_one_sentence(tmp_path: Path) -> None:
    with (
        management(200, b"<html>") as page,
        management(200, b"{}") as other,
        management(502, b"<html>") as gateway,
        management(200, b"", raw=b"220 mail\r\n") as mail,
    ):
        commands = [("healthcheck", "--port", str(port)) for port in (page, other, gateway, mail)]
        for done in run_all(commands, cwd=tmp_path):
            assert (done.status, done.out) == (1, "")
            assert len(done.err.splitlines()) == 1
