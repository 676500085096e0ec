"""The one way to a CRM behind HTTP, and the only package that imports the HTTP client.

A driver gives it settings and an auth flow, makes its calls, and reads the replies. Connections, deadlines,
the number of calls at once, tries, tokens and the question how far a write got are reconciled here, the same
for all drivers; ``HTTP.md`` beside it shows what each fault ends in. It may not know any CRM.
"""

from crm_backends.http.auth import (
    Auth,
    Basic,
    Bearer,
    Both,
    ClientCredentials,
    HeaderKey,
    NoAuth,
    SessionLogin,
)
from crm_backends.http.client import HttpClient
from crm_backends.http.driver import HttpDriver, Probe, ProbeFailed, port_write
from crm_backends.http.gates import BreakerState
from crm_backends.http.messages import Details, Reply, TokenRefused
from crm_backends.http.settings import HttpSettings

__all__ = [
    "Auth",
    "Basic",
    "Bearer",
    "Both",
    "BreakerState",
    "ClientCredentials",
    "Details",
    "HeaderKey",
    "HttpClient",
    "HttpDriver",
    "HttpSettings",
    "NoAuth",
    "Probe",
    "ProbeFailed",
    "Reply",
    "SessionLogin",
    "TokenRefused",
    "port_write",
]
