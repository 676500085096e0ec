"""Settings that every driver of a CRM behind HTTP has. It may not open anything: the client does."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator


def checked_url(url: str) -> str:
    """``url`` without a trailing slash.

    Raises:
        ValueError: it is not https (http is for this machine alone), or it carries a login, a query or a
            fragment. The message does not repeat it: there may be a password in it.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or not url.isprintable():
        raise ValueError("must look like https://host/path")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError("must begin with https:// (http:// is for this machine alone)")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must not carry a login, a query or a fragment")
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HttpSettings(BaseModel, extra="forbid"):
    """Where the CRM is and how much patience and pressure it gets."""

    base_url: str = Field(
        description="Base URL of the CRM's API. https:// unless the host is this machine; the certificate "
        "is always verified."
    )
    connect_timeout: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="Seconds to make a connection, name look-up and TLS included.",
    )
    read_timeout: float = Field(
        default=8.0,
        gt=0,
        le=300,
        description="Seconds one try may take until the whole answer has come, connecting included.",
    )
    concurrency: int = Field(default=25, ge=1, le=1000, description="Calls under way at once.")
    queue_timeout: float = Field(
        default=1.0, ge=0, le=60, description="Seconds a call waits for its turn before it is given up."
    )
    max_answer: int = Field(
        default=1_048_576, ge=1024, le=1 << 30, description="Longest answer that is read, in bytes."
    )
    attempts: int = Field(
        default=3,
        ge=1,
        le=3,
        description="How often a read is tried. A write is tried again only if no connection was made.",
    )
    retry_after_ceiling: float = Field(
        default=5.0, ge=0, le=300, description="Longest wait, in seconds, a Retry-After header is granted."
    )
    breaker_failures: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="Failures in a row after which no more calls are made for a while.",
    )
    breaker_pause: float = Field(
        default=5.0,
        gt=0,
        le=3600,
        description="Seconds without calls to the CRM, before a single call tries again.",
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of certificate authorities to trust besides the usual ones."
    )

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, url: str) -> str:
        return checked_url(url)
