"""Settings in words: the sample file is accepted, the table is whole, secrets are masked."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from adapter.settings import PORTS, Cards, NumberRange, Person, Settings, read_settings
from adapter.settings import text as settings_text
from crm_backends import registry
from crm_backends.ports import Support

_COMMENTED = re.compile(r"# ([a-z_]+ = (?!\.\.\.$).+|\[\[(?:cards\.ranges|console\.people)\]\])")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith("KOSHELEK_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def sections() -> dict[str, type[BaseModel]]:
    found = {}
    for name, info in Settings.model_fields.items():
        assert isinstance(info.annotation, type)
        found[name] = info.annotation
    return found


def read(text: str, tmp_path: Path) -> Settings:
    path = tmp_path / "sample.toml"
    path.write_text(text, encoding="utf-8")
    return read_settings(path)


def without_password(settings: Settings) -> Settings:
    return settings.model_copy(update={"koshelek": settings.koshelek.model_copy(update={"password": None})})


def test_the_sample_is_accepted_and_changes_nothing_but_the_password(tmp_path: Path) -> None:
    settings = read(settings_text.sample(), tmp_path)
    assert settings.koshelek.password is not None
    assert len(settings.koshelek.password.get_secret_value()) >= 16
    assert without_password(settings) == Settings()


def test_every_sample_has_a_password_of_its_own(tmp_path: Path) -> None:
    one, other = (read(settings_text.sample(), tmp_path).koshelek.password for _ in range(2))
    assert one != other


def test_every_commented_line_of_the_sample_is_valid_and_shows_the_default(tmp_path: Path) -> None:
    lines = settings_text.sample().splitlines()
    # The lists of ranges and people are written in two ways; a file can have one of them.
    twice = ("# ranges = []", "# people = []")
    uncommented = [_COMMENTED.sub(r"\1", line) for line in lines if line not in twice]
    assert sum(a != b for a, b in zip(lines, uncommented, strict=False)) > 40
    settings = read("\n".join(uncommented), tmp_path)
    assert settings.cards.ranges == [NumberRange()]
    (person,) = settings.console.people
    assert (person.name, person.role) == ("olga", "reader")
    with_default_ranges = settings.model_copy(
        update={
            "cards": settings.cards.model_copy(update={"ranges": []}),
            "console": settings.console.model_copy(update={"people": []}),
        }
    )
    # crm.driver is shown with the driver that is the default.
    assert without_password(with_default_ranges).model_copy(update={"crm": Settings().crm}) == Settings()
    assert settings.crm.bindings() == Settings().crm.bindings()


def test_the_sample_explains_every_key() -> None:
    text = settings_text.sample()
    for section, model in sections().items():
        assert f"\n[{section}]\n" in text
        for key, info in model.model_fields.items():
            if info.description is not None:
                assert re.search(rf"^# {re.escape(info.description)}\n(# )?{key} = ", text, re.MULTILINE), key


def test_the_sample_says_where_the_keys_of_a_driver_come_and_what_paths_count_from() -> None:
    _, _, crm = settings_text.sample().partition("\n[crm]\n")
    assert "url_file and sql_dir of postgres" in crm.partition("\n\n")[0]
    assert "Relative paths count from the folder in which the command runs" in settings_text.sample()


def test_the_table_holds_every_key_with_its_meaning() -> None:
    rows = settings_text.table().splitlines()
    keys = [
        (f"{section}.{key}", info)
        for section, model in sections().items()
        for key, info in model.model_fields.items()
        if section != "crm" or key not in ("users", "points", "coupons")
    ]
    keys += [(f"cards.ranges.{key}", info) for key, info in NumberRange.model_fields.items()]
    keys += [(f"console.people.{key}", info) for key, info in Person.model_fields.items()]
    for name in registry.names():
        keys += [(f"crm.{key}", info) for key, info in registry.load(name).settings.model_fields.items()]
    assert all(any(row.startswith(f"| `crm.{port}.driver` |") for row in rows) for port in PORTS)
    for key, info in keys:
        text = (info.description or "").replace("|", "\\|")
        found = {row for row in rows if row.startswith(f"| `{key}` |") and f" {text} |" in row}
        assert found, key
        for row in found:  # several drivers may have a key with one meaning and defaults of their own
            cells = re.split(r"(?<!\\)\|", row)
            assert len(cells) == 6, row
            assert cells[2].strip(), row
            assert cells[4].strip(), row
            if info.description is not None and info.annotation == (SecretStr | None):
                assert cells[2].strip() == "secret"


def test_every_setting_has_a_meaning_written_down() -> None:
    models: dict[str, type[BaseModel]] = {
        **sections(),
        "cards.ranges": NumberRange,
        "console.people": Person,
    }
    for section, model in models.items():
        for key, info in model.model_fields.items():
            assert info.description or section == "crm", f"{section}.{key}"


def test_lists_and_tables_are_called_so() -> None:
    rows = [row.split(" | ") for row in settings_text.table().splitlines() if row.startswith("| `crm.")]
    kinds = {row[0].removeprefix("| "): row[1] for row in rows}
    for key in ("occasions", "properties", "promo_codes"):
        assert kinds[f"`crm.{key}`"] == "table"
    for key in ("login_for", "success_values", "absent_statuses"):
        assert kinds[f"`crm.{key}`"] == "list"


def test_the_keys_of_a_table_are_quoted_where_toml_wants_it() -> None:
    table = {"plain-key_1": 1, "Кофе": "a", "with blank": {'"': True}, "": 0.5}
    assert tomllib.loads(f"shown = {settings_text.toml_value(table)}")["shown"] == table
    assert settings_text.toml_value({"plain-key_1": 1}) == "{ plain-key_1 = 1 }"


def test_settings_in_force_mask_every_secret(tmp_path: Path) -> None:
    settings = read(
        "[koshelek]\npassword = 'planted-1'\nprevious_login = 'old'\nprevious_password = 'planted-2'\n"
        "[database]\nurl = 'postgresql://planted-user:planted-3@db.example:5433/koshelek?password=planted-6'\n"
        "[crm]\nurl = 'postgresql://u:planted-4@h/d'\n[crm.points]\nurl = 'postgresql://u:planted-5@h/d'\n",
        tmp_path,
    )
    text = settings_text.in_force(settings)
    assert "planted" not in text
    assert f'koshelek.password = "{settings_text.MASK}"' in text
    assert f'database.url = "{settings_text.MASK}"  # the database koshelek on db.example:5433\n' in text
    assert f'crm.points.url = "{settings_text.MASK}"  # the database d on h:5432\n' in text
    assert 'koshelek.previous_login = "old"' in text


def test_settings_in_force_are_toml_apart_from_what_is_unset(tmp_path: Path) -> None:
    settings = read(
        "[cards]\nranges = [{ prefix = '29', last = 7 }, { length = 12 }]\n[receipts]\nrate = 0.07\n"
        "[server]\ntrusted_proxies = ['10.0.0.0/8']\n"
        "[crm.points]\ndriver = 'postgres'\nsql_dir = '/srv/\"sql\"'\n",
        tmp_path,
    )
    lines = settings_text.in_force(settings).splitlines()
    shown = tomllib.loads("\n".join(line for line in lines if not line.endswith(" = unset")))
    assert Cards(**shown["cards"]) == settings.cards
    assert shown["receipts"]["rate"] == 0.07
    assert shown["server"]["trusted_proxies"] == ["10.0.0.0/8"]
    assert shown["crm"]["points"]["sql_dir"] == '/srv/"sql"'
    assert shown["crm"]["users"] == {"driver": "none"}
    assert "koshelek.password = unset" in lines


def test_every_capability_of_every_driver_is_told_with_its_note() -> None:
    text = settings_text.capabilities()
    tables = dict(zip(PORTS, re.split(r"\*\*(?:users|points|coupons)\*\*\n", text)[1:], strict=True))
    for name in registry.names():
        spec = registry.load(name)
        for operation, capability in spec.capabilities.items():
            port, _, said = operation.partition(".")
            assert capability.note in tables[port]
            if port in spec.ports:
                head, _, *rows = (line.split(" | ") for line in tables[port].splitlines() if line[:1] == "|")
                (row,) = [row for row in rows if row[0] == f"| `{name}`"]
                cell = row[[*(cell.strip(" |") for cell in head)].index(said.replace("_", " "))]
                assert (cell.strip(" |") == "yes") == (capability.support is Support.FULL)
