"""Which driver serves each of the three ports, and that driver's own settings.

It may not know any driver; each brings the model that its settings are validated against.
"""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapter.settings.base import SettingsError, from_json, read_secret_files, secret_names
from adapter.settings.problems import explain, instead_of, placed
from crm_backends import registry
from crm_backends.paths import cannot_read, no_certificates

PORTS = ("users", "points", "coupons")


class Binding(typing.NamedTuple):
    """A port's driver and that driver's validated settings."""

    driver: str
    settings: BaseModel


class CrmPort(BaseModel):
    """One port; the keys beside ``driver`` belong to that driver."""

    model_config = ConfigDict(extra="allow", frozen=True)

    driver: str | None = Field(None, description='Driver of this port; "none" leaves it unbound.')


class Crm(BaseModel):
    """The CRM. Keys here are for all three ports; a section of a port overrides them for that port."""

    model_config = ConfigDict(extra="allow", frozen=True)

    driver: str | None = Field(
        None,
        description="Driver of every port without one of its own. Nothing set at all: `postgres` on the "
        "adapter's own database.",
    )
    stale_after: Annotated[float, Field(ge=0)] = Field(
        86_400.0,
        description="While a CRM tells no balance (it does not answer, refuses the adapter's credentials, "
        "answers oddly, or has lost the account), the last one it told is shown if it is at most so many "
        "seconds old; 0: never.",
    )
    users: CrmPort = CrmPort()
    points: CrmPort = CrmPort()
    coupons: CrmPort = CrmPort()

    def bindings(self) -> dict[str, Binding | None]:
        """Driver and its settings per port; ``None`` where the port is unbound.

        Raises:
            SettingsError: no such driver, a driver without that port, or settings it does not take.
        """
        bound: dict[str, Binding | None] = {}
        problems: list[str] = []
        shared = dict(self.model_extra or {})
        default = self.driver
        if default is None and not any(getattr(self, port).driver for port in PORTS):
            default = "postgres"
        for port in PORTS:
            try:
                bound[port] = _bind(port, getattr(self, port), default, shared)
            except SettingsError as error:
                problems.extend(error.problems)
        if default is None and shared:
            key = sorted(shared)[0]
            near = instead_of(key, [*Crm.model_fields])
            problems.append(f"crm.{key}: no driver that takes it is set{near}; set crm.driver")
        if problems:
            raise SettingsError(sorted(set(problems), key=problems.index))
        return bound


def _gives(values: Mapping[str, Any], secret: str) -> bool:
    return secret in values or f"{secret}_file" in values


def _bind(port: str, section: CrmPort, default: str | None, shared: Mapping[str, Any]) -> Binding | None:
    """The driver of one port, its settings validated; ``None``: the port stays unbound.

    ``default`` is the driver of every port without one of its own, ``shared`` the keys for it. Raises
    ``SettingsError``.
    """
    own = dict(section.model_extra or {})
    name = section.driver or default
    if name is None or name == "none":
        if own:
            raise SettingsError([f"crm.{port}: has settings but no driver; set crm.{port}.driver"])
        return None
    try:
        spec = registry.load(name)
    except (registry.UnknownDriver, registry.DriverNotUsable) as error:
        raise SettingsError([f"crm.{f'{port}.' if section.driver else ''}driver: {error}"]) from None
    if port not in spec.ports:
        if section.driver:
            can = ", ".join(sorted(spec.ports))
            raise SettingsError([f'crm.{port}.driver: "{name}" has no {port}; it can serve {can}'])
        return None
    where = f"crm.{port}" if own or section.driver else "crm"
    given = own
    if name == default:
        secrets = secret_names(spec.settings)
        either = {f"{key}{end}" for key in secrets for end in ("", "_file") if _gives(own, key)}
        given = {key: value for key, value in shared.items() if key not in either} | own
    try:
        given = from_json(spec.settings, read_secret_files(spec.settings, given), where)
        binding = Binding(name, spec.settings.model_validate(given))
    except ValidationError as error:
        here = CrmPort if where != "crm" else Crm
        raise SettingsError(explain(error, spec.settings, where, more=list(here.model_fields))) from None
    except ValueError as error:
        raise SettingsError([placed(where, str(error), spec.settings)]) from None
    if problems := list(_unreadable(binding.settings, where)):
        raise SettingsError(problems)
    return binding


def _unreadable(settings: BaseModel, where: str) -> Iterator[str]:
    """A line for each file that the settings name and that cannot be used."""
    for name in type(settings).model_fields:
        path = getattr(settings, name)
        if not isinstance(path, Path) or not name.endswith("_file"):
            continue
        problem = cannot_read(path)
        if problem is None and name == "ca_file":
            problem = no_certificates(path)
        if problem is not None:
            yield f"{where}.{name}: {problem}"


def driver_secrets(*sections: Mapping[str, Any]) -> frozenset[str]:
    """Keys that hold a secret of any of the drivers that these ``crm`` sections name."""
    parts = [part for section in sections for part in (section, *(section.get(port) for port in PORTS))]
    named = {part.get("driver") for part in parts if isinstance(part, Mapping)} - {None, "none"}
    found: set[str] = set()
    for driver in named or {"postgres"}:
        with contextlib.suppress(registry.UnknownDriver, registry.DriverNotUsable):
            found.update(secret_names(registry.load(str(driver)).settings))
    return frozenset(found)
