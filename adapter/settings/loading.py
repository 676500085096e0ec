"""All settings as one strict tree, read from a TOML file with the environment over it.

A key nobody knows is an error that names the nearest valid one. It may not know what settings are used for.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from adapter.settings.base import SettingsError, no_json, secret_names, shape_of
from adapter.settings.card_sections import Cards, Enrolment, Matching
from adapter.settings.console_section import Console
from adapter.settings.crm import PORTS, Crm, driver_secrets
from adapter.settings.operation_sections import CouponTriggers, Delivery, Promo, Receipts
from adapter.settings.problems import explain, instead_of, model_at
from adapter.settings.sections import Database, Koshelek, Log, ManagementPort, Retention, Server

ENV_PREFIX = "KOSHELEK_"
ENV_SETTINGS_FILE = "KOSHELEK_CONFIG"
"""The one variable with our prefix that is not a setting: the path of the settings file."""
DEFAULT_FILE = Path("koshelek-adapter.toml")


class Settings(BaseSettings):
    """All settings of the adapter."""

    model_config = ConfigDict(extra="forbid", frozen=True)  # type: ignore[assignment]

    koshelek: Koshelek = Koshelek()
    server: Server = Server()
    management: ManagementPort = ManagementPort()
    console: Console = Console()
    database: Database = Database()
    cards: Cards = Cards()
    matching: Matching = Matching()
    enrolment: Enrolment = Enrolment()
    receipts: Receipts = Receipts()
    promo: Promo = Promo()
    coupons: CouponTriggers = CouponTriggers()
    delivery: Delivery = Delivery()
    retention: Retention = Retention()
    log: Log = Log()
    crm: Crm = Crm()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The TOML file comes in as init values, so it ranks below.
        return _environment(settings_cls), init_settings

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.koshelek.timezone)


def _environment(settings: type[BaseSettings]) -> EnvSettingsSource:
    return EnvSettingsSource(
        settings, env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_ignore_empty=True
    )


_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT_[0-9]+_(TCP|UDP)")


def _is_link(name: str, value: str) -> bool:
    """Whether an orchestrator set the variable for a service that happens to be called koshelek-something."""
    return value.startswith(("tcp://", "udp://")) or _LINK.search(name) is not None


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Variables with our prefix whose first part is no section: pydantic would pass over them."""
    sections = [name.upper() for name in Settings.model_fields]
    for name, value in environment.items():
        upper = name.upper()
        if not upper.startswith(ENV_PREFIX) or upper == ENV_SETTINGS_FILE or _is_link(upper, value):
            continue
        section, _, key = upper.removeprefix(ENV_PREFIX).partition("__")
        if section not in sections or not key:
            near = instead_of(section, sections)
            yield f"{name}: unknown variable{near} (sections and keys are joined by two underscores)"


def _variables_without_json(environment: Mapping[str, str]) -> Iterator[str]:
    """Variables for a list or a table that are no JSON; pydantic would only name the section."""
    for name, value in environment.items():
        upper = name.upper()
        if not upper.startswith(ENV_PREFIX) or not value or _is_link(upper, value):
            continue
        model: type[BaseModel] | None = Settings
        *parents, last = upper.removeprefix(ENV_PREFIX).lower().split("__")
        for parent in parents:
            model = model_at(model, (parent,)) if model is not None else None
        info = model.model_fields.get(last) if model is not None else None
        if info is not None and shape_of(info) is not None:
            problem = no_json(".".join((*parents, last)), info, value)
            if problem is not None:
                yield problem


def _overruled(values: dict[str, Any], environment: Mapping[str, Any]) -> None:
    """Remove a secret from the file's values if the environment gives it under its other key (url, url_file).

    So the environment wins over the file whichever key it uses. Both keys in one place stay an error.
    """
    crms = [tree["crm"] for tree in (values, environment) if isinstance(tree.get("crm"), Mapping)]
    for section, given in environment.items():
        if section == "crm":
            secrets = driver_secrets(*crms)
            places = [(values.get(section), given)]
            places += [(_inner(values.get(section), port), _inner(given, port)) for port in PORTS]
        else:
            model = model_at(Settings, (section,))
            secrets = frozenset(secret_names(model)) if model is not None else frozenset()
            places = [(values.get(section), given)]
        for here, there in places:
            if isinstance(here, dict) and isinstance(there, Mapping):
                _without_other_spelling(here, there, secrets)


def _inner(section: object, name: str) -> object:
    return section.get(name) if isinstance(section, Mapping) else None


def _without_other_spelling(here: dict[str, Any], there: Mapping[str, Any], secrets: Set[str]) -> None:
    for name in secrets:
        for spelling, other in ((name, f"{name}_file"), (f"{name}_file", name)):
            if other in there and spelling not in there:
                here.pop(spelling, None)


def settings_path(given: Path | None) -> Path | None:
    """The settings file in force: the option, else KOSHELEK_CONFIG, else ./koshelek-adapter.toml if there."""
    if given is not None:
        return given
    if os.environ.get(ENV_SETTINGS_FILE):
        return Path(os.environ[ENV_SETTINGS_FILE])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def names_database() -> bool:
    """Whether the environment says where the adapter's database is."""
    names = {f"{ENV_PREFIX}DATABASE__{key}" for key in ("URL", "URL_FILE", "DATA_DIR")}
    return any(value and name.upper() in names for name, value in os.environ.items())


def read_settings(path: Path | None = None, *, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from the file at ``path``, the environment over it, and ``overrides`` over both.

    Raises:
        SettingsError: anything is wrong; all problems at once.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            remedy = "name it with --config, or write one: koshelek-adapter config new"
            problem = f"{path}: cannot read the settings file: {error.strerror}; {remedy}"
            raise SettingsError([problem]) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            remedy = "correct it there; config new writes a file to begin with"
            raise SettingsError([f"{path}: not a TOML file: {error}; {remedy}"]) from None
    problems = list(_unknown_variables(os.environ))
    sections = list(Settings.model_fields)
    for key in [key for key in values if key not in sections]:
        problems.append(f"{key}: unknown key{instead_of(key, sections)}")
        del values[key]
    if without_json := list(_variables_without_json(os.environ)):
        raise SettingsError(problems + without_json)
    try:
        _overruled(values, _environment(Settings)())
        settings = Settings(**values)
    except ValidationError as error:
        raise SettingsError(problems + explain(error, Settings)) from None
    except ValueError as error:  # a JSON value in the environment that cannot be parsed
        raise SettingsError([*problems, f"environment: {error}"]) from None
    if problems:
        raise SettingsError(problems)
    settings.crm.bindings()
    return with_overrides(settings, overrides or {})


def secret_files(path: Path | None) -> dict[str, Path]:
    """The files that secrets are taken from, by the settings that they hold (``database.url``).

    For a file that ``read_settings`` has read; the environment counts over it.
    """
    values = {} if path is None else tomllib.loads(path.read_text(encoding="utf-8-sig"))
    found = dict(_files_in(values, ()))
    for name, value in os.environ.items():
        upper = name.upper()
        if value and upper.startswith(ENV_PREFIX) and upper.endswith("_FILE"):
            key = upper.removeprefix(ENV_PREFIX).removesuffix("_FILE").lower().replace("__", ".")
            found[key] = Path(value)
    return found


def _files_in(values: Mapping[str, Any], place: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _files_in(value, (*place, name))
        elif name.endswith("_file") and isinstance(value, str):
            yield ".".join((*place, name.removesuffix("_file"))), Path(value)


def with_overrides(settings: Settings, overrides: Mapping[str, Any]) -> Settings:
    """A copy with ``{"section": {"key": value}}`` set, as the command line does; ``None`` leaves a key alone.

    Raises:
        SettingsError: a value does not fit.
    """
    sections: dict[str, BaseModel] = {}
    problems: list[str] = []
    for name, values in overrides.items():
        section: BaseModel = getattr(settings, name)
        given = section.model_dump() | {key: value for key, value in values.items() if value is not None}
        try:
            sections[name] = type(section).model_validate(given)
        except ValidationError as error:
            problems.extend(explain(error, type(section), name))
    if problems:
        raise SettingsError(problems)
    return settings.model_copy(update=sections)
