"""SIGHUP: settings are read again, and what may change under way is, without dropping a connection.

That are Koshelek's passwords, the certificate, and users and passwords in the URLs of databases. Anything
else that differs is named in the log and needs a restart; settings that cannot be used change nothing.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from adapter.api import tls
from adapter.api.auth import unusable
from adapter.settings import (
    Binding,
    CannotRun,
    Settings,
    SettingsError,
    read_settings,
    secret_names,
    with_overrides,
)
from crm_backends.database import same_database
from crm_backends.ports import TakesNewSecrets

if TYPE_CHECKING:
    from adapter.bootstrap import Service

log = structlog.get_logger("reloading")

Bindings = Mapping[str, Binding | None]
_CREDENTIALS = ("login", "password", "previous_login", "previous_password")


@dataclass(frozen=True)
class Source:
    """Where the settings came from, so that they can be read again."""

    path: Path | None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> Settings:
        """Raises ``SettingsError``."""
        return with_overrides(read_settings(self.path), self.overrides)


@contextmanager
def held_back() -> Iterator[None]:
    """Let a SIGHUP wait, here and in processes started meanwhile, until ``heeded`` lets it through."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heeded(source: Source, service: Service, context: ssl.SSLContext | None) -> None:
    """From now on a SIGHUP of this process reloads."""
    settings, bound = service.settings, service.bindings

    def reload() -> None:
        nonlocal settings, bound
        found = changed(source, settings)
        if found is not None and _taken_up((settings, bound), found, service, context):
            settings, bound = found, found.crm.bindings()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])


def changed(source: Source, before: Settings) -> Settings | None:
    """The settings as they are now; ``None``, and a line in the log, when they cannot be used.

    A password that nobody may serve with is one of those; a worker, which serves nobody, has none.
    """
    try:
        found = source.read()
        problem = unusable(found.koshelek)
        if problem is not None and unusable(before.koshelek) is None:
            raise SettingsError([problem])
        return found
    except CannotRun as error:
        log.error("reload_refused", problems=str(error).splitlines())
        return None


def for_new_processes(before: Settings, after: Settings) -> Settings:
    """The settings for a worker process that is started after a reload.

    It gets only those new values that the running processes have taken up as well, so that all agree.
    """
    paths = {name: getattr(after.server, name) for name in ("tls_certificate", "tls_key")}
    update: dict[str, Any] = {
        "koshelek": before.koshelek.model_copy(
            update={name: getattr(after.koshelek, name) for name in _CREDENTIALS}
        ),
        "server": before.server.model_copy(update=paths if before.server.tls_key else {}),
    }
    if _same_place(before, after):
        update["database"] = before.database.model_copy(update={"url": after.database.url})
    old, new = before.crm.bindings(), after.crm.bindings()
    if all(old[port] == new[port] or _same_but_for_secrets(old[port], new[port]) for port in old):
        update["crm"] = after.crm
    return before.model_copy(update=update)


def _taken_up(
    now: tuple[Settings, Bindings], after: Settings, service: Service, context: ssl.SSLContext | None
) -> bool:
    before, old = now
    new = after.crm.bindings()
    server = after.server
    taken = {f"koshelek.{name}" for name in _CREDENTIALS}
    try:
        if context is not None and server.tls_certificate is not None and server.tls_key is not None:
            tls.load(context, server.tls_certificate, server.tls_key)
            taken |= {"server.tls_certificate", "server.tls_key"}
    except CannotRun as error:
        log.error("reload_refused", problems=[str(error)])
        return False
    service.renew_credentials(after.koshelek)
    if after.database.url is not None and _same_place(before, after):
        service.renew_database(after.database.url.get_secret_value())
        taken.add("database.url")
    taken |= _renewed_crms(old, new, service)
    differing = {*_differing(before, after), *(f"crm.{port}" for port in old if old[port] != new[port])}
    log.info("reloaded", changed=sorted(differing & taken), needs_restart=sorted(differing - taken))
    return True


def _renewed_crms(old: Bindings, new: Bindings, service: Service) -> set[str]:
    """Ports whose driver goes on with other secrets."""
    renewed: dict[int, bool] = {}
    taken: set[str] = set()
    for port, binding in new.items():
        backend = service.by_port[port]
        if backend is None or binding is None or not _same_but_for_secrets(old[port], binding):
            continue
        if isinstance(backend, TakesNewSecrets):
            if id(backend) not in renewed:
                renewed[id(backend)] = backend.renew(binding.settings)
            if renewed[id(backend)]:
                taken.add(f"crm.{port}")
    return taken


def _same_place(before: Settings, after: Settings) -> bool:
    one, other = before.database.url, after.database.url
    if one is None or other is None:
        return False
    return same_database(one.get_secret_value(), other.get_secret_value())


def _same_but_for_secrets(one: Binding | None, other: Binding | None) -> bool:
    if one is None or other is None or one.driver != other.driver:
        return False
    secrets = {name: getattr(one.settings, name) for name in secret_names(type(one.settings))}
    return other.settings != one.settings and other.settings.model_copy(update=secrets) == one.settings


def _differing(before: Settings, after: Settings) -> Iterator[str]:
    """Keys whose values are not the same; what a CRM's are is known when they are bound."""
    for name, section in before:
        if name != "crm":
            other = getattr(after, name)
            yield from (f"{name}.{key}" for key, value in section if getattr(other, key) != value)
