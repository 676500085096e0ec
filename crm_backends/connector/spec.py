"""A connector as a driver: its settings, its capabilities and its class, made of the file.

It may not know the adapter.
"""

from __future__ import annotations

import functools
import re
from decimal import Decimal
from pathlib import Path as File
from typing import Annotated, Any, Literal, Optional
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr, create_model

from crm_backends.connector import port_classes
from crm_backends.connector.backend import ConnectorBackend
from crm_backends.connector.compiling import compiled
from crm_backends.connector.constants import look_at_zone
from crm_backends.connector.language import Connector, Setting
from crm_backends.connector.moments import ProgrammeDefaults
from crm_backends.connector.problems import ConnectorError, Problem
from crm_backends.connector.reading import Loaded, load, shipped
from crm_backends.connector.scope import Wrong
from crm_backends.connector.vocabulary import PORTS
from crm_backends.http import HttpSettings
from crm_backends.http.settings import checked_url
from crm_backends.ports import KEY_LENGTH, OPERATIONS, Capability, Reconciliation, Support
from crm_backends.registry import BackendSpec, names


def _a_zone(name: str) -> str:
    try:
        look_at_zone(name)
    except Wrong as wrong:
        raise ValueError(f"{wrong.cause}; {wrong.remedy}") from None
    return name


_TYPES: dict[str, Any] = {
    "text": str,
    "whole": int,
    "number": Decimal,
    "yes_no": bool,
    "zone": Annotated[str, AfterValidator(_a_zone)],
}
_ANYWHERE = ProgrammeDefaults(ZoneInfo("UTC"), "RU")
"""For reading expressions; what they give is not looked at."""


@functools.cache
def spec_of(file: File) -> BackendSpec[Any]:
    """The driver that a connector's file describes; read once.

    Raises:
        ConnectorError: the file cannot be used.
    """
    return make_spec(load(file))


def make_spec(loaded: Loaded) -> BackendSpec[Any]:
    """The same of a file that was read. Raises ``ConnectorError``."""
    _, problems = compiled(loaded, _ANYWHERE)
    problems += _settings_problems(loaded)
    if problems:
        raise ConnectorError(problems)
    model = loaded.model
    ports = frozenset(port for port in PORTS if port not in loaded.nothing)
    backend = backend_class(loaded, ports)
    return BackendSpec(
        name=model.name,
        summary=model.title,
        settings=settings_model(model),
        build=backend,
        ports=ports,
        capabilities=backend.capabilities,
        reconciliation=backend.reconciliation,
        verified_by=model.verified,
    )


def backend_class(loaded: Loaded, ports: frozenset[str]) -> type[ConnectorBackend]:
    """The class of one connector: its ports, and the protocols it has besides."""
    model = loaded.model
    bases: list[type] = []
    if model.key_length < KEY_LENGTH:
        bases.append(port_classes.ShortKeys)
    if any(operation.repeats_harmlessly for operation in model.operations.values()):
        bases.append(port_classes.HarmlessAgain)
    if "users" in ports:
        bases.append(port_classes.UsersPort)
    for name, kind in (
        ("users.find_by_card", port_classes.CardsFound),
        ("users.set_card", port_classes.CardsKept),
    ):
        if name in model.operations and model.operations[name].steps:
            bases.append(kind)
    if "points" in ports:
        derived = not model.operations["points.account"].steps
        bases.append(port_classes.NamedPoints if derived and _by_person(model) else port_classes.PointsPort)
    if "coupons" in ports:
        bases.append(port_classes.CouponsPort)
    members = {
        "loaded": loaded,
        "programs": {},
        "name": model.name,
        "capabilities": _capabilities(loaded),
        "reconciliation": Reconciliation(model.doubts),
        "finds_by_email": _asks_by_email(model),
        "__doc__": model.title,
    }
    made: type[ConnectorBackend] = type(f"{model.name.title()}Connector", tuple(bases), members)
    return made


def _by_person(model: Connector) -> bool:
    """Whether accounts are called by what may go to another person: a phone, an e-mail."""
    written = str(model.operations["points.account"].result.get("id"))
    return bool(re.search(r"\binput\.(phone|email)\b", written))


def _asks_by_email(model: Connector) -> bool:
    finding = model.operations.get("users.find")
    return finding is not None and "input.email" in str([step.model_dump() for step in finding.steps])


def _capabilities(loaded: Loaded) -> dict[str, Capability]:
    found: dict[str, Capability] = {}
    for name in OPERATIONS:
        port = name.partition(".")[0]
        operation = loaded.model.operations.get(name)
        if port in loaded.nothing:
            found[name] = Capability(Support.IMPOSSIBLE, loaded.nothing[port])
        elif operation is None:
            found[name] = Capability(Support.NOT_IMPLEMENTED, "the connector does not describe it")
        elif operation.unsupported:
            found[name] = Capability(Support.IMPOSSIBLE, operation.unsupported)
        elif operation.not_written:
            found[name] = Capability(Support.NOT_IMPLEMENTED, operation.not_written)
        elif operation.partial:
            found[name] = Capability(Support.PARTIAL, operation.partial)
        else:
            found[name] = Capability(Support.FULL)
    return found


def settings_model(model: Connector) -> type[HttpSettings]:
    """The settings below ``[crm]``: those of every CRM behind HTTP, and the connector's own."""
    fields: dict[str, Any] = {}
    if model.base_url is not None:
        info = HttpSettings.model_fields["base_url"]
        fields["base_url"] = (str, Field(default=model.base_url, description=info.description))
    for name, setting in model.settings.items():
        fields[name] = _field(setting)
    made: type[HttpSettings] = create_model(f"{model.name.title()}Settings", __base__=HttpSettings, **fields)
    return made


def _field(setting: Setting) -> tuple[Any, Any]:
    kind: Any = SecretStr if setting.secret else _TYPES[setting.type]
    if setting.choices:
        kind = Literal[tuple(setting.choices)]
    if setting.default is not None:
        return kind, Field(default=setting.default, description=setting.help)
    if setting.optional:
        return Optional[kind], Field(default=None, description=setting.help)  # noqa: UP045 - made at run time
    return kind, Field(description=setting.help)


def _settings_problems(loaded: Loaded) -> list[Problem]:
    problems: list[Problem] = []
    if loaded.model.name in _drivers():
        cause = f'there is a driver "{loaded.model.name}" already'
        problems.append(Problem(loaded.place(("name",)), cause, "give the connector a name of its own"))
    if loaded.model.base_url is not None:
        try:
            checked_url(loaded.model.base_url)
        except ValueError as error:
            problems.append(Problem(loaded.place(("base_url",)), f"base_url {error}"))
    for name, setting in loaded.model.settings.items():
        where = ("settings", name)
        if name in HttpSettings.model_fields:
            cause = f'every CRM behind HTTP has a setting "{name}" already'
            problems.append(Problem(loaded.place(where, key=True), cause, "give it another name"))
        if setting.default is None:
            continue
        place = loaded.place((*where, "default"))
        if setting.secret:
            problems.append(Problem(place, "a secret has no default"))
        elif setting.choices and setting.default not in setting.choices:
            problems.append(Problem(place, "the default is not among the choices"))
        elif not _fits(setting):
            problems.append(Problem(place, f"the default is not of type {setting.type}"))
        elif setting.type == "zone":
            try:
                look_at_zone(str(setting.default))
            except Wrong as wrong:
                problems.append(Problem(place, wrong.cause, wrong.remedy))
    return problems


def _drivers() -> frozenset[str]:
    """Names of the drivers that are written in Python; a change of a shipped connector may keep its name."""
    return frozenset(names()) - frozenset(shipped())


def _fits(setting: Setting) -> bool:
    default = setting.default
    if setting.type == "number":
        return isinstance(default, int | Decimal) and not isinstance(default, bool)
    return type(default) is (str if setting.type == "zone" else _TYPES[setting.type])
