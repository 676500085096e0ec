"""What a call to a CRM ends with: a reply to be read, or a fault with all that is known about it.

Plain data and the errors made of it. It may not know the HTTP client, nor any CRM; and nothing here keeps
a body, a header or a URL in a text, because they carry people's data and our secrets.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Required, TypedDict

from crm_backends.ports import BackendCredentials, BackendError, BackendUnavailable, Deadline


class TokenRefused(BackendCredentials):
    """The CRM gives no token for this scope; the call itself was not sent.

    Some CRMs answer so for a customer they do not know, hence a class of its own.
    """

    status: int | None = None
    """HTTP status of the refusal."""


@dataclass(slots=True)  # not frozen, which takes three times as long to make
class Reply:
    """An answer that a driver can read."""

    status: int
    body: object = field(default=None, repr=False)
    """Parsed JSON, its fractions as ``Decimal``; ``None`` when there is none."""
    is_json: bool = False
    """False for an empty body, and for a body that is not JSON."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By lower-case names."""
    is_page: bool = False
    """There is a body, and it is not JSON: a page of a proxy, most likely."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Reached(enum.Enum):
    """How far a call got. PERHAPS is the default of doubt, the others are whitelists."""

    NOTHING = enum.auto()
    """Not a byte of it was sent."""
    TURNED_AWAY = enum.auto()
    """The CRM answered that it will not look at it: 401, 403, 429."""
    PERHAPS = enum.auto()
    """The CRM may have done it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no reply."""

    text: str
    """For the operator: fixed words."""
    reason: str = ""
    """Class name or status, added to the text in brackets."""
    reached: Reached = Reached.PERHAPS
    away: bool = False
    """Counts as a failure for the breaker."""
    again: bool = False
    """The same call may have an answer a little later."""
    kind: type[BackendError] = BackendUnavailable
    """What a read raises."""
    status: int | None = None
    retry_after: float | None = None
    """Seconds the CRM asked us to wait."""

    def error(self, name: str) -> BackendError:
        """The exception for a caller; ``name`` is the backend's."""
        error = self.kind(f"{name}: {self.text} ({self.reason})" if self.reason else f"{name}: {self.text}")
        if isinstance(error, TokenRefused):
            error.status = self.status
        return error


class Details(TypedDict, total=False):
    """What a read or a write may be given besides method and path."""

    params: Mapping[str, str | int]
    """Query parameters, not yet encoded."""
    json: object
    """Body to be sent as JSON."""
    form: Mapping[str, str]
    """Body to be sent as form fields."""
    multipart: bool
    """Form fields go as multipart/form-data instead of urlencoded."""
    headers: Mapping[str, str]
    scope: str
    """For whom the token is, where the CRM has one per customer."""
    deadline: Required[Deadline]
    accept: Container[int]
    """Statuses the driver wants to read itself, whatever they would mean else."""
    liberal: bool
    """A 2xx body that is not JSON is handed over as text instead of being a fault."""
    turned_away: Callable[[Reply], bool | None] | None
    """Whether a reply that is handed over says that the token is not taken and nothing was done.

    ``None``: its status tells it, 401."""


@dataclass(slots=True, repr=False)  # not frozen, which takes three times as long to make
class HttpCall:
    """One call as the driver asked for it; most fields are those of ``Details``. Nobody changes it."""

    method: str
    path: str
    """Below the base URL, its parts already encoded; or a whole URL for a token endpoint."""
    deadline: Deadline
    params: Mapping[str, str | int] | None = None
    json: object = None
    form: Mapping[str, str] | None = None
    multipart: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    scope: str | None = None
    accept: Container[int] = ()
    liberal: bool = False
    changes: bool = False
    """Whether it changes something."""
    turned_away: Callable[[Reply], bool | None] | None = None
