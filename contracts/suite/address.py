"""Where a service is, whom it lets in, and why it cannot be reached."""

from __future__ import annotations

import base64
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp


class CannotConnect(Exception):
    """Nothing answers at the base URL; the message says what is wrong and holds no personal value."""


def basic(login: str, password: str) -> str:
    """The ``Authorization`` header of RFC 7617, in UTF-8."""
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service is."""

    url: str
    """Base URL without a slash at the end; the paths of the contract (``/v1/…``) follow it."""
    host: str
    port: int
    tls: bool
    path: str

    @property
    def authority(self) -> str:
        """Host and port, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str, base_path: str = "") -> Address:
        """Raises ``ValueError`` when ``text`` is no HTTP URL."""
        try:
            parts = urlsplit(text if "//" in text else f"https://{text}")
            port, host = parts.port, parts.hostname or ""
        except ValueError:
            raise ValueError(f"{text} is no base URL; expected https://host[:port][/base/path]") from None
        if parts.username or parts.password:
            raise ValueError("a base URL holds no login and no password: they are given apart")
        if "/v1/" in parts.path:
            raise ValueError(f"{text} is the address of a method: leave out /v1 and what follows")
        odd = parts.scheme not in ("http", "https") or parts.query or parts.fragment
        if odd or not host or any(one.isspace() for one in text):
            raise ValueError(f"{text} is no base URL; expected https://host[:port][/base/path]")
        path = (parts.path.rstrip("/") + "/" + base_path.strip("/")).rstrip("/")
        tls = parts.scheme == "https"
        return cls(
            f"{parts.scheme}://{parts.netloc}{path}",
            host,
            port or (443 if tls else 80),
            tls,
            path,
        )


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise CannotConnect(f"--ca-file: {ca_file} holds no certificate in PEM form") from None
    except OSError as error:
        raise CannotConnect(f"--ca-file: cannot read {ca_file}: {error.strerror}") from None


_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
"""What OpenSSL says of an answer that is not TLS."""


def reason_of(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted ({error.certificate_error}); see --ca-file"
    inner = getattr(error, "os_error", error)
    if isinstance(inner, ssl.SSLError) and inner.reason in _NO_TLS:
        return "it does not speak TLS there; with http:// in front of the address it is asked without"
    if isinstance(inner, ssl.SSLError):
        return f"TLS failed ({inner.reason or type(inner).__name__})"
    if isinstance(inner, TimeoutError):
        return "no connection in time"
    number = getattr(inner, "errno", None)
    if number and number > 0:
        return os.strerror(number).lower()
    return getattr(inner, "strerror", None) or type(inner).__name__


def named(text: str) -> tuple[str, str]:
    """Name and address of ``NAME=URL``; the name is empty where there is only an address."""
    name, equals, url = text.partition("=")
    return (name, url) if equals and "/" not in name else ("", text)
