"""Settings: file and environment, strictness with a hint, secrets from files, drivers bound to ports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from importlib.metadata import EntryPoint
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import certifi
import pytest
from pydantic import BaseModel, SecretStr

from adapter.api.app import ROUTES
from adapter.settings import (
    Binding,
    Settings,
    SettingsError,
    read_settings,
    settings_path,
    with_overrides,
)
from adapter.settings.base import read_secret_files
from crm_backends import registry
from crm_backends.perx.settings import PerxSettings
from crm_backends.ports import Reconciliation
from crm_backends.postgres.settings import PostgresSettings

SECRET = "sup3r-s3cret-value-of-a-test"
Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith("KOSHELEK_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a settings file."""

    def write_one(text: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_one


def problems(path: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_settings(path)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def problem(path: Path | None = None) -> str:
    (only,) = problems(path)
    return only


def postgres(binding: Binding | None) -> PostgresSettings:
    assert binding is not None
    assert isinstance(binding.settings, PostgresSettings)
    return binding.settings


# --- where settings come from --------------------------------------------------------------------------


def test_without_file_and_environment_everything_has_a_default() -> None:
    settings = read_settings()
    assert settings.koshelek.api_version == "1.3.0"
    assert settings.koshelek.password is None
    assert settings.server.port == 8080
    assert settings.zone.key == "Europe/Moscow"


def test_the_file_is_read(write: Write) -> None:
    settings = read_settings(
        write(
            """
            [koshelek]
            api_version = "1.1.0"
            language = "en"
            [server]
            base_path = "/loyalty/"
            trusted_proxies = ["10.0.0.0/8", "::1"]
            [receipts]
            rate = 0.07
            [[cards.ranges]]
            prefix = "2900"
            [[cards.ranges]]
            prefix = "3"
            length = 8
            """
        )
    )
    assert settings.koshelek.api_version == "1.1.0"
    assert settings.server.base_path == "/loyalty"
    assert settings.server.trusted_proxies == [ip_network("10.0.0.0/8"), ip_network("::1")]
    assert settings.receipts.rate == Decimal("0.07")
    assert [(one.prefix, one.length) for one in settings.cards.ranges] == [("2900", 13), ("3", 8)]


def test_the_environment_overrides_the_file_key_by_key(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSHELEK_SERVER__PORT", "9000")
    monkeypatch.setenv("KOSHELEK_CARDS__RANGES", '[{"prefix": "77"}]')
    monkeypatch.setenv("koshelek_log__level", "debug")
    path = write('[server]\nport = 8000\nhost = "0.0.0.0"\n[[cards.ranges]]\nprefix = "29"\n')
    settings = read_settings(path)
    assert (settings.server.port, settings.server.host) == (9000, "0.0.0.0")
    assert [one.prefix for one in settings.cards.ranges] == ["77"]
    assert settings.log.level == "debug"


def test_an_empty_variable_counts_as_not_set(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSHELEK_SERVER__PORT", "")
    assert read_settings(write("[server]\nport = 8000\n")).server.port == 8000


def test_the_command_line_is_over_both_and_leaves_what_it_does_not_name(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOSHELEK_SERVER__PORT", "9000")
    settings = read_settings(write('[server]\nhost = "0.0.0.0"\n'))
    changed = with_overrides(settings, {"server": {"port": 9001, "host": None}})
    assert (changed.server.port, changed.server.host) == (9001, "0.0.0.0")
    assert settings.server.port == 9000


def test_the_file_is_named_by_option_then_variable_then_habit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings_path(None) is None
    (tmp_path / "koshelek-adapter.toml").write_text("", encoding="utf-8")
    assert settings_path(None) == Path("koshelek-adapter.toml")
    monkeypatch.setenv("KOSHELEK_CONFIG", "/etc/from-variable.toml")
    assert settings_path(None) == Path("/etc/from-variable.toml")
    assert settings_path(Path("given.toml")) == Path("given.toml")


def test_a_file_that_is_not_there_or_not_toml_is_named(tmp_path: Path, write: Write) -> None:
    absent = tmp_path / "absent.toml"
    assert problem(absent).startswith(f"{absent}: cannot read the settings file: No such file or directory; ")
    broken = write("[server\nport = 1\n")
    assert problem(broken).startswith(f"{broken}: not a TOML file: ")
    broken.write_bytes(b'[koshelek]\nlogin = "\xff"\n')
    assert problem(broken).startswith(f"{broken}: not a TOML file: ")


# --- strictness ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[servr]\nport = 1", 'servr: unknown key; did you mean "server"?'),
        ("[server]\nprot = 1", 'server.prot: unknown key; did you mean "port"?'),
        (
            "[koshelek]\npasword_file = '/x'",
            'koshelek.pasword_file: unknown key; did you mean "password_file"?',
        ),
        ("[[cards.ranges]]\nprefxi = '2'", 'cards.ranges.0.prefxi: unknown key; did you mean "prefix"?'),
        ("[crm]\nsql_dri = '/x'", 'crm.sql_dri: unknown key; did you mean "sql_dir"?'),
        ("[crm.points]\npolsize = 4", 'crm.points.polsize: unknown key; did you mean "pool_size"?'),
        ("[crm]\ndrvier = 'postgres'", 'crm.drvier: unknown key; did you mean "driver"?'),
        ("[crm.user]\ndriver = 'postgres'", 'crm.user: unknown key; did you mean "users"?'),
        ("[crm.users]\ndrvier = 'postgres'", 'crm.users.drvier: unknown key; did you mean "driver"?'),
        ("port = 1", "port: unknown key"),
        ("_env_file = 'x'", "_env_file: unknown key"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(text: str, says: str, write: Write) -> None:
    assert problem(write(text)).startswith(says)


def test_a_key_that_resembles_nothing_gets_the_list_of_valid_ones(write: Write) -> None:
    assert (
        problem(write("[management]\nzzz = 1"))
        == "management.zzz: unknown key; valid here: crm_check_every, enabled, host, port, ready_needs_crm"
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("KOSHELEK_SERVER__PROT", "1", 'server.prot: unknown key; did you mean "port"?'),
        ("KOSHELEK_SEVER__PORT", "1", 'KOSHELEK_SEVER__PORT: unknown variable; did you mean "SERVER"?'),
        ("KOSHELEK_SERVER_PORT", "1", "KOSHELEK_SERVER_PORT: unknown variable"),
        ("KOSHELEK_PORT", "1", "KOSHELEK_PORT: unknown variable"),
        ("KOSHELEK_CRM__SQL_DRI", "/x", 'crm.sql_dri: unknown key; did you mean "sql_dir"?'),
        ("KOSHELEK_SERVER__PORT", "many", "server.port: "),
        (
            "KOSHELEK_CARDS__RANGES",
            "[",
            "cards.ranges: not a list; in text, as in a variable, it is ",
        ),
    ],
)
def test_a_wrong_variable_is_an_error_that_names_it(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert problem().startswith(says)


def test_variables_of_other_programs_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSHELEKOVO_HOME", "x")
    monkeypatch.setenv("SERVER__PORT", "1")
    monkeypatch.setenv("KOSHELEK_CONFIG", "elsewhere.toml")
    assert read_settings() == Settings()


def test_all_problems_are_told_at_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSHELEK_TYPO__X", "1")
    found = problems(write("[server]\nport = 70000\nhots = 'x'\n[log]\nlevel = 'loud'\n"))
    assert [line.partition(":")[0] for line in found] == [
        "KOSHELEK_TYPO__X",
        "server.port",
        "server.hots",
        "log.level",
    ]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[koshelek]\napi_version = '1.4.0'", "koshelek.api_version"),
        ("[koshelek]\ntimezone = 'Moscow'", "koshelek.timezone"),
        ("[koshelek]\nregion = 'ru'", "koshelek.region"),
        ("[koshelek]\nregion = 'XX'", "koshelek.region"),
        ("[koshelek]\nregion = 'UK'", "koshelek.region"),
        ("[koshelek]\nqr_fields = ['']", "koshelek.qr_fields"),
        ("[koshelek]\npromo_fields = ['receipt.']", "koshelek.promo_fields"),
        ("[koshelek]\nother_names = { phone = [' '] }", "koshelek.other_names.phone"),
        ("[koshelek]\nlogin = ''", "koshelek.login"),
        ("[koshelek]\noffers_path = '/v1/offers'", "koshelek.offers_path"),
        ("[koshelek]\noffers_path = 'v1/{cardNumber}'", "koshelek.offers_path"),
        ("[koshelek]\noffers_path = '/v1/{cardNumber}/{cardNumber}'", "koshelek.offers_path"),
        ("[koshelek]\noffers_path = '/v1/card/no-{cardNumber}'", "koshelek.offers_path"),
        ("[koshelek]\noffers_path = '/v1/{cardNumber}/{x}'", "koshelek.offers_path"),
        ("[koshelek]\nqr_fields = []", "koshelek.qr_fields"),
        ("[koshelek]\nprevious_login = 'old'", "koshelek"),
        ("[koshelek]\nunauthorized_status = 403", "koshelek.unauthorized_status"),
        ("[server]\nport = 65536", "server.port"),
        ("[server]\nbase_path = 'loyalty'", "server.base_path"),
        ("[server]\nbase_path = '/{x}'", "server.base_path"),
        ("[server]\nworkers = 0", "server.workers"),
        ("[server]\ndeadline = 0", "server.deadline"),
        ("[server]\ntls_certificate = 'x.pem'", "server"),
        ("[cards]\nbarcode_type = 'EAN_14'", "cards.barcode_type"),
        ("[[cards.ranges]]\nlast = 0", "cards.ranges.0"),
        ("[enrolment]\nrequired = ['shoe_size']", "enrolment.required.0"),
        ("[receipts]\nrate = -1", "receipts.rate"),
        ("[receipts]\nrate = nan", "receipts.rate"),
        ("[receipts]\nstep = 0", "receipts.step"),
        ("[receipts]\ncalculation_types = [5]", "receipts.calculation_types.0"),
        ("[receipts]\ncalculation_types = []", "receipts.calculation_types"),
        ("[receipts]\nminimum_total = 100\nmaximum_total = 99.99", "receipts.minimum_total"),
        ("[delivery]\nconcurrency = 1", "delivery.concurrency"),
        ("[crm]\npool_size = 0", "crm.pool_size"),
        ("[crm.coupons]\nstatement_timeout = 'x'", "crm.coupons.statement_timeout"),
        ("server = 1", "server"),
        ("crm = 1", "crm"),
    ],
)
def test_a_wrong_value_names_its_key(text: str, key: str, write: Write) -> None:
    assert problem(write(text)).startswith(f"{key}: ")


def test_a_network_with_host_bits_is_an_error_that_names_the_key(write: Write) -> None:
    found = problems(write("[server]\ntrusted_proxies = ['10.0.0.0/8', '10.0.0.1/8']"))
    assert all(line.startswith("server.trusted_proxies.1") for line in found)
    (named,) = problems(write("[server]\ntrusted_proxies = ['proxy.local']"))
    assert named == "server.trusted_proxies.0: write a network like 10.0.0.0/8, or a single address; no name"


@pytest.mark.parametrize("text", ['[koshelek]\npassword = ""', '[koshelek]\npassword = "   "'])
def test_an_empty_password_is_an_error(text: str, write: Write) -> None:
    assert problem(write(text)).startswith("koshelek.password: ")


def test_an_empty_password_file_is_an_error(tmp_path: Path, write: Write) -> None:
    (tmp_path / "empty").touch()
    assert problem(write(f"[koshelek]\npassword_file = '{tmp_path / 'empty'}'")).startswith("koshelek")


def test_a_login_that_basic_authentication_cannot_carry_is_an_error(write: Write) -> None:
    """RFC 7617, section 2: a user-id that contains a colon is invalid."""
    assert problem(write('[koshelek]\nlogin = "kosh:elek"')).startswith("koshelek.login: ")


# --- secrets -------------------------------------------------------------------------------------------

_SECRETS = ["koshelek.password", "database.url", "crm.url", "crm.points.url"]


def _given(key: str) -> str:
    """A value that this secret may have."""
    return f"postgresql://u:{SECRET}@h/d" if key.endswith("url") else SECRET


def _section(key: str) -> tuple[str, str]:
    section, _, name = key.rpartition(".")
    return section, name


def _secret(settings: Settings, key: str) -> str | None:
    if key.startswith("crm"):
        value: Any = postgres(settings.crm.bindings()["points"]).url
    else:
        section, name = _section(key)
        value = getattr(getattr(settings, section), name)
    return value.get_secret_value() if isinstance(value, SecretStr) else None


@pytest.mark.parametrize("key", _SECRETS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_may_stand_in_a_file_of_its_own(key: str, end: str, write: Write, tmp_path: Path) -> None:
    section, name = _section(key)
    (tmp_path / "secret").write_bytes(_given(key).encode() + end.encode())
    settings = read_settings(write(f"[{section}]\n{name}_file = '{tmp_path / 'secret'}'\n"))
    assert _secret(settings, key) == _given(key)


@pytest.mark.parametrize("key", _SECRETS)
def test_a_byte_order_mark_before_a_secret_or_the_settings_is_no_part_of_them(
    key: str, tmp_path: Path
) -> None:
    section, name = _section(key)
    (tmp_path / "secret").write_text(_given(key), encoding="utf-8-sig")
    path = tmp_path / "settings.toml"
    path.write_text(f"[{section}]\n{name}_file = '{tmp_path / 'secret'}'\n", encoding="utf-8-sig")
    assert _secret(read_settings(path), key) == _given(key)


def test_a_key_that_is_computed_with_may_be_any_text(tmp_path: Path) -> None:
    text = "\ufeffof a text editor\nand of two lines"
    (tmp_path / "key").write_text(text, encoding="utf-8")
    values = read_secret_files(PerxSettings, {"identifier_secret_file": str(tmp_path / "key")})
    assert values == {"identifier_secret": text} == read_secret_files(PerxSettings, values)


@pytest.mark.parametrize("key", _SECRETS)
@pytest.mark.parametrize("unseen", ["\nsecond line", "\u200b", "\u202c", "\x00"], ids=ascii)
def test_a_secret_with_what_nobody_sees_is_an_error(
    key: str, unseen: str, tmp_path: Path, write: Write
) -> None:
    section, name = _section(key)
    said = problem(write(f"[{section}]\n{name} = {json.dumps(_given(key) + unseen)}\n"))
    (tmp_path / "secret").write_text(_given(key) + unseen, encoding="utf-8")
    in_file = problem(write(f"[{section}]\n{name}_file = '{tmp_path / 'secret'}'\n"))
    assert said == f"{key}: it has a line break or a character that nobody sees; write one line without them"
    assert in_file.startswith(f"{key}_file: {tmp_path / 'secret'}: it has a line break")
    assert SECRET not in said + in_file


@pytest.mark.parametrize("key", _SECRETS)
def test_the_environment_names_secret_files_too(
    key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(_given(key), encoding="utf-8")
    variable = f"KOSHELEK_{key.upper().replace('.', '__')}_FILE"
    monkeypatch.setenv(variable, str(tmp_path / "secret"))
    assert _secret(read_settings(), key) == _given(key)


@pytest.mark.parametrize("key", _SECRETS)
def test_a_secret_given_in_both_ways_is_an_error(key: str, write: Write, tmp_path: Path) -> None:
    section, name = _section(key)
    (tmp_path / "secret").write_text("other", encoding="utf-8")
    path = write(f"[{section}]\n{name} = '{SECRET}'\n{name}_file = '{tmp_path / 'secret'}'\n")
    said = problem(path)
    assert said == f"{section}: both {name} and {name}_file are set; keep one of them"


@pytest.mark.parametrize("key", _SECRETS)
@pytest.mark.parametrize(("in_file", "in_environment"), [("", "_file"), ("_file", "")])
def test_the_environment_wins_over_the_file_however_a_secret_is_spelt(
    key: str,
    in_file: str,
    in_environment: str,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    section, name = _section(key)
    path = tmp_path / "secret"
    path.write_text(_given(key) if in_environment else "not that one", encoding="utf-8")
    ways = {"": _given(key) if in_file else "not that one", "_file": str(path)}
    variable = f"KOSHELEK_{key}{in_environment}".upper().replace(".", "__")
    monkeypatch.setenv(variable, ways[in_environment])
    settings = read_settings(write(f"[{section}]\n{name}{in_file} = '{ways[in_file]}'\n"))
    assert _secret(settings, key) == _given(key)


def test_a_secret_given_in_both_ways_in_the_environment_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("other", encoding="utf-8")
    monkeypatch.setenv("KOSHELEK_KOSHELEK__PASSWORD", SECRET)
    monkeypatch.setenv("KOSHELEK_KOSHELEK__PASSWORD_FILE", str(tmp_path / "secret"))
    assert "both password and password_file are set" in problem()


def test_what_is_no_secret_and_has_no_file_stays_an_unknown_key_beside_a_variable(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOSHELEK_SERVER__PORT", "8443")
    monkeypatch.setenv("KOSHELEK_CRM__POOL_SIZE", "5")
    said = problem(write("[server]\nport_file = 'port'\n"))
    assert said.startswith("server.port_file: unknown key")
    said = problem(write("[crm]\npool_size_file = 'size'\n"))
    assert said.startswith("crm.pool_size_file: unknown key")


@pytest.mark.parametrize("key", _SECRETS)
def test_a_secret_file_that_cannot_be_read_is_named(key: str, write: Write, tmp_path: Path) -> None:
    section, name = _section(key)
    said = problem(write(f"[{section}]\n{name}_file = '{tmp_path / 'absent'}'\n"))
    assert said == (
        f"{section}.{name}_file: cannot read {tmp_path / 'absent'}: No such file or directory; "
        "correct the path, or let this user read it"
    )


@pytest.mark.parametrize("section", ["crm", "crm.points"])
def test_any_file_of_a_crm_that_cannot_be_read_is_named(section: str, write: Write, tmp_path: Path) -> None:
    absent = tmp_path / "absent.yaml"
    told = f"cannot read {absent}: No such file or directory; correct the path, or let this user read it"
    assert problem(write(f"[{section}]\ndriver = '{absent}'\n")) == f"{section}.driver: {told}"
    crm = f"[{section}]\ndriver = 'uds'\ncompany_id = '1'\napi_key = 'k'\nca_file = '{absent}'\n"
    assert problem(write(crm)) == f"{section}.ca_file: {told}"
    for text in ("", "no certificate\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        absent.write_text(text, encoding="utf-8")
        assert problem(write(crm)) == (
            f"{section}.ca_file: {absent} holds no certificates in PEM form; name a file that has some "
            "(-----BEGIN CERTIFICATE-----)"
        )
    absent.write_bytes(Path(certifi.where()).read_bytes())
    read_settings(write(crm)).crm.bindings()


@pytest.mark.parametrize("value", ["5", "true", "['x']", "{ a = 1 }"])
@pytest.mark.parametrize("key", ["koshelek.password", "crm.url"])
def test_a_secret_file_that_is_no_path_is_an_error_like_others(key: str, value: str, write: Write) -> None:
    section, name = _section(key)
    assert f"{name}_file" in problem(write(f"[{section}]\n{name}_file = {value}\n"))


def test_a_file_belongs_to_secrets_only(write: Write) -> None:
    assert problem(write("[koshelek]\nlogin_file = '/x'\n")).startswith("koshelek.login_file: unknown key")


@pytest.mark.parametrize(
    "text",
    [
        f"[koshelek]\npassword = ['{SECRET}']",
        f"[koshelek]\npassword = '{SECRET}'\nlgin = 'x'",
        f"[koshelek]\npassword = '{SECRET}'\nprevious_login = 'x'",
        f"[koshelek]\npasswrd = '{SECRET}'",
        f"[database]\nurl = {{ password = '{SECRET}' }}",
        f"[crm]\nurl = 'postgresql://u:{SECRET}@h/d'\npool_size = 0",
        f"[crm]\nurrl = 'postgresql://u:{SECRET}@h/d'",
        f"[crm.points]\ndriver = 'none'\nurl = 'postgresql://u:{SECRET}@h/d'",
        f"[crm.points]\nurl = ['{SECRET}']",
        f"koshelek = '{SECRET}'",
        f"[koshelek]\npassword = '{SECRET}' 'x'",
        f"[koshelek]\npassword = {SECRET}",
        f"[koshelek]\npassword = '{SECRET}\n",
    ],
)
def test_an_error_never_repeats_a_secret(text: str, write: Write) -> None:
    assert SECRET not in "\n".join(problems(write(text)))


@pytest.mark.parametrize("name", ["KOSHELEK_KOSHELEK", "KOSHELEK_PASSWORD", "KOSHELEK_KOSHELEK__QR_FIELDS"])
def test_a_secret_in_a_wrong_variable_is_not_repeated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f'{{"password": "{SECRET}"')
    assert SECRET not in "\n".join(problems())


def test_a_secret_is_masked_where_settings_are_printed(write: Write) -> None:
    settings = read_settings(
        write(f"[koshelek]\npassword = '{SECRET}'\n[crm]\nurl = 'postgresql://u:{SECRET}@h/d'\n")
    )
    bound = settings.crm.bindings()
    assert SECRET not in f"{settings.koshelek!r} {settings.koshelek} {bound!r}"


# --- drivers and ports ---------------------------------------------------------------------------------


def test_nothing_set_binds_every_port_to_postgres_on_our_own_database() -> None:
    bound = read_settings().crm.bindings()
    assert bound == dict.fromkeys(("users", "points", "coupons"), Binding("postgres", PostgresSettings()))


def test_keys_beside_the_driver_are_shared_by_all_ports(write: Write) -> None:
    bound = read_settings(write("[crm]\ndriver = 'postgres'\npool_size = 3\n")).crm.bindings()
    assert [postgres(bound[port]).pool_size for port in ("users", "points", "coupons")] == [3, 3, 3]


def test_keys_without_a_driver_are_those_of_postgres(write: Write) -> None:
    assert postgres(read_settings(write("[crm]\npool_size = 3\n")).crm.bindings()["users"]).pool_size == 3


def test_a_ports_own_keys_override_the_shared_ones_for_that_port_only(write: Write) -> None:
    bound = read_settings(
        write(
            "[crm]\ndriver = 'postgres'\npool_size = 3\nstatement_timeout = 1.5\n"
            "[crm.points]\npool_size = 7\n"
        )
    ).crm.bindings()
    found = [(postgres(one).pool_size, postgres(one).statement_timeout) for one in bound.values()]
    assert found == [(3, 1.5), (7, 1.5), (3, 1.5)]


def test_a_ports_own_secret_overrides_the_shared_one_however_it_is_given(
    write: Write, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("postgresql://h/points", encoding="utf-8")
    bound = read_settings(
        write(f"[crm]\nurl = 'postgresql://h/shared'\n[crm.points]\nurl_file = '{tmp_path / 'secret'}'\n")
    ).crm.bindings()
    urls = [one.url.get_secret_value() for one in map(postgres, bound.values()) if one.url is not None]
    assert urls == ["postgresql://h/shared", "postgresql://h/points", "postgresql://h/shared"]


def test_a_port_may_be_left_unbound(write: Write) -> None:
    bound = read_settings(write("[crm.coupons]\ndriver = 'none'\n[crm.users]\ndriver = 'postgres'\n"))
    assert {port: one and one.driver for port, one in bound.crm.bindings().items()} == {
        "users": "postgres",
        "points": None,
        "coupons": None,
    }


def test_none_for_all_ports_binds_nothing(write: Write) -> None:
    assert set(read_settings(write("[crm]\ndriver = 'none'\n")).crm.bindings().values()) == {None}


def test_drivers_are_bound_through_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSHELEK_CRM__POINTS__DRIVER", "postgres")
    monkeypatch.setenv("KOSHELEK_CRM__POINTS__POOL_SIZE", "4")
    bound = read_settings().crm.bindings()
    assert bound["users"] is None
    assert postgres(bound["points"]).pool_size == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[crm]\ndriver = 'postgers'",
            f'crm.driver: there is no CRM driver "postgers" (installed: {", ".join(registry.names())}); '
            'did you mean "postgres"?',
        ),
        (
            "[crm.points]\ndriver = 'sap'",
            'crm.points.driver: there is no CRM driver "sap" (installed: ',
        ),
        ("[crm.points]\ndriver = 'none'\npool_size = 3", "crm.points: has settings but no driver"),
        (
            "[crm.points]\ndriver = 'postgres'\n[crm.users]\npool_size = 1",
            "crm.users: has settings but no driver",
        ),
        (
            "[crm]\npool_size = 3\n[crm.points]\ndriver = 'postgres'",
            "crm.pool_size: no driver that takes it is set",
        ),
    ],
)
def test_a_binding_that_cannot_be_names_the_key(text: str, says: str, write: Write) -> None:
    assert problem(write(text)).startswith(says)


def test_the_offers_may_not_take_the_path_of_another_method(write: Write) -> None:
    paths = {route.path for route in ROUTES if "{cardNumber}" in route.path}
    assert len(paths) == 4
    for path in paths:
        for end in ("", "/"):
            said = problem(write(f"[koshelek]\noffers_path = '{path}{end}'\n"))
            assert said == "koshelek.offers_path: this is the path of another method"


def test_the_path_of_the_offers_is_kept_without_its_last_slash(write: Write) -> None:
    settings = read_settings(write("[koshelek]\noffers_path = '/v1/card/{cardNumber}/offers/'\n"))
    assert settings.koshelek.offers_path == "/v1/card/{cardNumber}/offers"


class _StampsSettings(BaseModel, extra="forbid"):
    token: SecretStr
    region: str = "ru"
    shops: frozenset[int] = frozenset()
    prices: Mapping[str, Decimal] | None = None


@pytest.fixture
def stamps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second driver that can do points only."""
    spec = registry.BackendSpec(
        name="stamps",
        summary="",
        settings=_StampsSettings,
        build=lambda settings, context: pytest.fail("nothing is built here"),
        ports=frozenset({"points"}),
        capabilities={},
        reconciliation=Reconciliation.KEY,
        verified_by="none",
    )
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda name: spec if name == "stamps" else load(name))


@pytest.mark.usefixtures("stamps")
def test_ports_may_have_different_drivers_that_share_no_keys(write: Write) -> None:
    bound = read_settings(
        write(
            "[crm]\ndriver = 'postgres'\npool_size = 3\n"
            "[crm.points]\ndriver = 'stamps'\ntoken = 'x'\nregion = 'kz'\n"
        )
    ).crm.bindings()
    assert postgres(bound["users"]).pool_size == 3
    assert bound["points"] == Binding("stamps", _StampsSettings(token=SecretStr("x"), region="kz"))


@pytest.mark.usefixtures("stamps")
def test_a_driver_leaves_ports_it_cannot_serve_unbound_unless_it_was_asked_for_them(write: Write) -> None:
    bound = read_settings(write("[crm]\ndriver = 'stamps'\ntoken = 'x'\n")).crm.bindings()
    assert (bound["users"], bound["coupons"]) == (None, None)
    assert bound["points"] is not None
    said = problem(write("[crm.users]\ndriver = 'stamps'\ntoken = 'x'\n"))
    assert said == 'crm.users.driver: "stamps" has no users; it can serve points'


@pytest.mark.usefixtures("stamps")
def test_a_drivers_own_settings_are_checked_and_the_key_named(write: Write) -> None:
    told = problem(write("[crm.points]\ndriver = 'stamps'\n"))
    assert told.startswith("crm.points.token: it is needed and not set; write token")
    said = problem(write(f"[crm.points]\ndriver = 'stamps'\ntoken = '{SECRET}'\nregoin = 'x'\n"))
    assert said == 'crm.points.regoin: unknown key; did you mean "region"?'


@pytest.mark.usefixtures("stamps")
def test_lists_and_tables_of_a_driver_come_from_the_environment_as_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KOSHELEK_CRM__POINTS__DRIVER", "stamps")
    monkeypatch.setenv("KOSHELEK_CRM__POINTS__TOKEN", "x")
    monkeypatch.setenv("KOSHELEK_CRM__POINTS__SHOPS", "[7, 8]")
    monkeypatch.setenv("KOSHELEK_CRM__POINTS__PRICES", '{"Чай": "0.50"}')
    bound = read_settings().crm.bindings()["points"]
    assert bound is not None
    assert bound.settings == _StampsSettings(
        token=SecretStr("x"), shops=frozenset({7, 8}), prices={"Чай": Decimal("0.50")}
    )
    monkeypatch.delenv("KOSHELEK_CRM__POINTS__PRICES")
    monkeypatch.setenv("KOSHELEK_CRM__POINTS__PRICES__TEA", "0.50")
    bound = read_settings().crm.bindings()["points"]
    assert bound is not None
    assert bound.settings.model_dump()["prices"] == {"tea": Decimal("0.50")}


@pytest.mark.usefixtures("stamps")
def test_a_list_that_is_no_json_is_named_with_the_way_to_write_it(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOSHELEK_CRM__POINTS__SHOPS", "7, 8")
    monkeypatch.setenv("KOSHELEK_CRM__POINTS__PRICES", "tea")
    assert problems(write(f"[crm.points]\ndriver = 'stamps'\ntoken = '{SECRET}'\n")) == [
        'crm.points.shops: not a list; in text, as in a variable, it is written as JSON: ["a", "b"]',
        'crm.points.prices: not a table; in text, as in a variable, it is written as JSON: {"a": "b"}',
    ]
    monkeypatch.delenv("KOSHELEK_CRM__POINTS__PRICES")
    monkeypatch.setenv("KOSHELEK_CRM__POINTS__SHOPS", '{"a": 1}')
    assert problem(write("[crm.points]\ndriver = 'stamps'\ntoken = 'x'\n")).startswith(
        "crm.points.shops: not a list; "
    )


def test_a_driver_that_lacks_a_module_says_which(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lacking_driver.py").write_text("import no_such_module\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("lacking", "lacking_driver:BACKEND", registry.GROUP)
    monkeypatch.setattr(registry, "_installed", lambda: {"lacking": point})
    assert problem(write("[crm]\ndriver = 'lacking'\n")) == (
        "crm.driver: the CRM driver \"lacking\" cannot be imported: No module named 'no_such_module'"
    )


# --- settings that can never work --------------------------------------------------------------------------


@pytest.mark.parametrize("key", _SECRETS)
@pytest.mark.parametrize("content", ["", "\n", " \n"])
def test_an_empty_secret_or_the_empty_file_of_one_is_an_error(
    key: str, content: str, write: Write, tmp_path: Path
) -> None:
    """An empty URL once led to whatever PGHOST and PGDATABASE named, and got its tables there."""
    section, name = _section(key)
    file = tmp_path / "empty"
    file.write_text(content, encoding="utf-8")
    assert problem(write(f"[{section}]\n{name}_file = '{file}'\n")) == (
        f"{section}.{name}_file: {file} is empty; write the value into it, or leave the key out"
    )
    assert problem(write(f"[{section}]\n{name} = '{content.strip(chr(10))}'\n")).startswith(
        f"{section}.{name}: it is empty; "
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("KOSHELEK_SERVER__TRUSTED_PROXIES", "10.0.0.0/8", 'server.trusted_proxies: not a … ["10.0.0.0/8"]'),
        ("KOSHELEK_SERVER__TRUSTED_PROXIES", '"10.0.0.0/8"', "server.trusted_proxies: not a list"),
        ("KOSHELEK_CARDS__RANGES", "2900", 'cards.ranges: not a list; … [{"prefix": "2900", "length": 13'),
        ("KOSHELEK_RECEIPTS__CALCULATION_TYPES", "1,2", "receipts.calculation_types: not a list"),
        ("KOSHELEK_CRM__USERS", "perx", "crm.users: not a table"),
    ],
)
def test_a_variable_for_a_list_says_that_it_is_written_as_json(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    said = problem()
    assert all(part in said for part in says.split(" … "))
    assert "in a variable, it is written as JSON: " in said


_EAN = 'barcode_type = "EAN_13"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{_EAN}ranges = [{{ prefix = '29', length = 12 }}]", "cards.ranges.0.length: … set it to 13"),
        (
            f"{_EAN}barcode_rule = 'check_digit'\nranges = [{{ prefix = '29' }}]",
            "cards.ranges.0.length: … set it to 12",
        ),
        (f"{_EAN}ranges = [{{ check_digit = 'luhn' }}]", 'cards.ranges.0.check_digit: … set it to "ean"'),
        (f"{_EAN}ranges = [{{ check_digit = 'none' }}]", 'cards.ranges.0.check_digit: … set it to "ean"'),
        ("barcode_type = 'UPC_A'\nranges = [{ }]", "cards.ranges.0.length: … set it to 12"),
        ("barcode_rule = 'check_digit'\nranges = [{ }]", "cards.barcode_rule: CODE_128 has no check digit"),
        (
            "ranges = [{ prefix = '29' }, { prefix = '2900', first = 5 }]",
            "cards.ranges: entries 1 and 2 have numbers in common; … change prefix, first or last",
        ),
        (
            "ranges = [{ prefix = '29' }, { prefix = '28' }, { prefix = '290', check_digit = 'none' }]",
            "cards.ranges: entries 1 and 3 have numbers in common",
        ),
        (
            "ranges = [{ first = 1000 }, { last = 999 }]",
            "cards.ranges: entry 2 counts lower than entry 1 … put it first",
        ),
    ],
)
def test_card_numbers_that_can_never_be_issued_are_an_error(text: str, says: str, write: Write) -> None:
    said = problem(write(f"[cards]\n{text}\n"))
    assert all(part in said for part in says.split(" … ")), said


@pytest.mark.parametrize(
    "text",
    [
        f"{_EAN}ranges = [{{ prefix = '29' }}, {{ prefix = '28' }}]",
        f"{_EAN}barcode_rule = 'check_digit'\nranges = [{{ length = 12, check_digit = 'luhn' }}]",
        "ranges = [{ last = 999 }, { first = 1000 }]",
        "ranges = [{ prefix = '29' }, { prefix = '29', length = 12 }]",
        "barcode_rule = 'check_digit'",  # an imported file may name a type for each number
    ],
)
def test_card_numbers_that_can_be_issued_are_no_error(text: str, write: Write) -> None:
    assert read_settings(write(f"[cards]\n{text}\n")).cards


def test_a_relative_path_is_told_with_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "relative.toml"
    path.write_text("[koshelek]\npassword_file = 'secrets/absent'\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_settings(path)
    assert f"{tmp_path}/secrets/absent (relative paths count from the working directory)" in str(caught.value)


def test_a_value_of_another_form_is_told_without_a_pattern(write: Write) -> None:
    told = problems(write('[[cards.ranges]]\nprefix = "29-00"\n'))
    assert told == ["cards.ranges.0.prefix: is not of the right form; it is: Digits every number begins with"]
