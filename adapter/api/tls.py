"""The certificate of the public port: loaded, tried, and told in one sentence when it cannot be used.

It may not know who listens. A key with a pass phrase is refused, never asked for.
"""

from __future__ import annotations

import getpass
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapter.settings import CannotRun, Server
from crm_backends.paths import in_full

_CERTIFICATE, _KEY = "server.tls_certificate", "server.tls_key"
_NOT_ITS_KEY = ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""The latter where the kinds differ, as of an RSA certificate and an EC key."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What callers see of the certificate."""

    names: tuple[str, ...]
    until: datetime


def context_of(server: Server) -> ssl.SSLContext | None:
    """TLS 1.2 or newer from the certificate and key of the settings; ``None``: plain HTTP.

    Raises:
        CannotRun: they cannot be used; one sentence with the remedy.
    """
    if server.tls_certificate is None or server.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load(context, server.tls_certificate, server.tls_key)
    return context


def load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Load a certificate and its key into a context, which from then on shows them to whoever connects.

    Raises:
        CannotRun: they cannot be used; the context is as it was.
    """
    _read(certificate, _CERTIFICATE, "-----BEGIN CERTIFICATE-----")
    if "ENCRYPTED" in _read(key, _KEY, "PRIVATE KEY-----"):
        raise CannotRun(
            f"{_KEY}: the key in {key} has a pass phrase, which a service cannot be asked for; "
            f"take it off: openssl pkey -in {key} -out NEW.pem"
        )
    try:
        # First into a context that nobody uses: callers would be shown one that is half loaded.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_pass_phrase)
        context.load_cert_chain(certificate, key, password=_no_pass_phrase)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        if reason in _NOT_ITS_KEY:
            raise CannotRun(
                f"{_KEY}: the key in {key} does not belong to the first certificate in {certificate}; "
                "name the key it was requested with, and put the server's own certificate before the "
                "authorities'"
            ) from None
        raise CannotRun(
            f"{_CERTIFICATE}, {_KEY}: one of {certificate} and {key} is damaged ({reason}); "
            "openssl x509 -in and openssl pkey -in show which"
        ) from None


def _read(path: Path, setting: str, holds: str) -> str:
    try:
        text = path.read_text(encoding="latin-1")
    except PermissionError:
        raise CannotRun(
            f"{setting}: {path} may not be read by the user {getpass.getuser()}; give it to that user "
            f"(chown {getpass.getuser()} {path}; chmod 0400 {path}), the folders above need x"
        ) from None
    except OSError as error:
        raise CannotRun(
            f"{setting}: cannot read {in_full(path)}: {error.strerror}; correct the path"
        ) from None
    if holds not in text:
        raise CannotRun(f'{setting}: {path} is no PEM file with "{holds}" in it; convert it with openssl')
    return text


def _no_pass_phrase() -> str:
    """Given in place of a prompt."""
    return ""


def tried(server: Server) -> Certificate | None:
    """Shake hands with ourselves, as a caller would who trusts this very certificate; ``None``: no TLS.

    Raises:
        CannotRun: the files cannot be used, or the certificate has expired.
    """
    context = context_of(server)
    if context is None:
        return None
    caller = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    caller.check_hostname = False
    caller.verify_flags = ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    caller.load_verify_locations(server.tls_certificate)
    to_us, to_them = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(to_us, to_them, server_side=True)
    theirs = caller.wrap_bio(to_them, to_us)
    for side in (theirs, ours, theirs, ours):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            raise CannotRun(
                f"{_CERTIFICATE}: {server.tls_certificate}: {error.verify_message}; renew it"
            ) from None
        except ssl.SSLError as error:
            raise CannotRun(
                f"{_CERTIFICATE}: no connection can be made with it ({error.reason}); renew it"
            ) from None
    told: Any = theirs.getpeercert()
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(told["notAfter"]), UTC)
    return Certificate(tuple(name for _, name in told.get("subjectAltName", ())), until)
