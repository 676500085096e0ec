"""The base of every driver whose CRM is behind HTTP: what is the same for all of them, written once.

One client, opened and closed with the driver; a write that comes too late, or whose credentials are refused,
is NOT_SENT; ``check`` is a list of questions and works before ``open``, too. It may not know any CRM, nor
what a port is for.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from crm_backends.http.auth import Auth
from crm_backends.http.client import HttpClient, watched_write
from crm_backends.ports import (
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
    Finding,
    HolderUnnamed,
    Written,
)

_LEAST_PATIENCE = 10.0
"""Seconds one question of ``check`` may take, at least."""
_CONNECTION = "connection"
"""The subject of what is no answer, whatever was asked: an outage says nothing of credentials or settings."""
_AWAY = "see whether base_url can be reached from this machine, or wait until the CRM is up"


class ProbeFailed(BackendMisconfigured):
    """The answer to a question of ``check`` is not well, and there is a remedy for just that."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Probe:
    """One question of ``check``; it changes nothing in the CRM."""

    subject: str
    """What is looked at, as the line of ``check`` begins."""
    ask: Callable[[Deadline], Awaitable[str | None]]
    """Asks. A text is told in place of ``well``; a ``BackendError`` says what is wrong."""
    well: str
    """What is told when it is well."""
    credentials: str
    """What to do when they are refused."""
    settings: str
    """What to do when the CRM answers otherwise than the settings promise."""
    decides: bool = False
    """Where this fails the probes after it are left out: they could only repeat it."""


class HttpDriver(abc.ABC):
    """A driver over one ``HttpClient``, under whose name it is known."""

    def __init__(self, client: HttpClient) -> None:
        self.name = client.name
        self._http = client

    async def open(self) -> None:
        """Prepare connections; the CRM is not asked."""
        await self._http.open()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    @property
    def paused(self) -> bool:
        """See ``NoticesAbsence``."""
        return self._http.paused

    @property
    def under_way(self) -> int:
        """See ``TellsLoad``."""
        return self._http.under_way

    @property
    def waiting(self) -> int:
        """See ``TellsLoad``."""
        return self._http.waiting

    def proof_of(self, settings: BaseModel) -> Auth | None:
        """The proof of these settings, which differ from ours in secrets alone.

        ``None``: something besides the proof is made of one that differs. Raises ``BackendMisconfigured``
        where it cannot be sent.
        """
        return None

    def renew(self, settings: BaseModel) -> bool:
        """See ``TakesNewSecrets``: calls prove by the new secrets from now on."""
        try:
            proof = self.proof_of(settings)
        except BackendMisconfigured:
            return False
        if proof is None:
            return False
        self._http.replace_auth(proof)
        return True

    @abc.abstractmethod
    def probes(self) -> Iterable[Probe]:
        """What ``check`` asks, in this order."""

    async def check(self) -> Sequence[Finding]:
        """Ask each probe; changes nothing, and works before ``open`` as well."""
        findings: list[Finding] = []
        try:
            async with self._http.at_hand():
                for probe in self.probes():
                    findings.append(await self._asked(probe))
                    if probe.decides and not findings[-1].ok:
                        break
        except BackendMisconfigured as error:  # of opening: nothing could be asked
            findings.append(Finding(_CONNECTION, False, str(error), "correct the settings it names"))
        return findings

    async def _asked(self, probe: Probe) -> Finding:
        settings = self._http.settings
        patience = max(_LEAST_PATIENCE, settings.connect_timeout + settings.read_timeout)
        try:
            told = await probe.ask(Deadline.after(patience))
        except ProbeFailed as error:
            return Finding(probe.subject, False, str(error), error.remedy)
        except BackendCredentials as error:
            return Finding(probe.subject, False, str(error), probe.credentials)
        except BackendUnavailable as error:
            return Finding(_CONNECTION, False, str(error), _AWAY)
        except BackendError as error:
            detail, _, remedy = str(error).partition("; ")
            return Finding(probe.subject, False, detail, remedy or probe.settings)
        return Finding(probe.subject, True, told or probe.well)

    def required_from_users_crm(self, value: str | None, what: str) -> str:
        """``value``, by which this CRM identifies people and which comes from the users CRM.

        Raises:
            HolderUnnamed: the users CRM gave none. The holder may be known here all the same.
        """
        if value is None:
            raise HolderUnnamed(f"{self.name}: identifies people by {what}, and the users CRM gave none")
        return value


Write = TypeVar("Write", bound=Callable[..., Coroutine[Any, Any, Written]])


def port_write(method: Write) -> Write:
    """Decorates each write of a port: turns errors into the outcome they mean.

    * The deadline has passed already: NOT_SENT; the method is not called.
    * A ``BackendError`` after a request that the CRM took, or may have taken: UNKNOWN.
    * Before that, the CRM does not answer or refuses our credentials (as in a read beforehand): NOT_SENT.
    * Before that, ``BackendMisconfigured`` or ``NotSupported``: raised, since a person has to act.
    """

    @functools.wraps(method)
    async def writing(self: HttpDriver, *args: Any, deadline: Deadline, **kwargs: Any) -> Written:
        if not deadline.remaining():
            return Written.not_sent(f"{self.name}: no time left to ask")
        with watched_write() as watch:
            try:
                return await method(self, *args, deadline=deadline, **kwargs)
            except BackendError as error:
                if watch.may_be_done:
                    return Written.unknown(str(error))
                if isinstance(error, (BackendUnavailable, BackendCredentials)):
                    return Written.not_sent(str(error))
                raise

    return cast(Write, writing)
