"""HTTPS, TLS versions, and what goes on on one connection."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import warnings

from contracts.suite.address import Address
from contracts.suite.checking import Breach, Skip, check
from contracts.suite.checks.every_answer import nothing_of_the_inside
from contracts.suite.client import USUAL
from contracts.suite.reading import found_number
from contracts.suite.trial import Trial


async def _is_public(address: Address) -> bool:
    """Whether the address, or one that the name stands for, is one that Koshelek could call."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )
    except OSError:
        return False
    return any(ipaddress.ip_address(str(where[0])).is_global for *_, where in found)


@check("KLO-0-01")
async def https(trial: Trial) -> None:
    """The service answers over HTTPS"""
    address = trial.target.address
    trial.need(
        address.tls or await _is_public(address),
        "this address is inside; TLS may end at a proxy in front, so test the public address too",
    )
    await trial.find(trial.people.stranger().phone)
    trial.that(address.tls, "HTTPS", "plain HTTP")


async def _accepted(trial: Trial, version: ssl.TLSVersion) -> bool:
    """Whether a handshake with this version alone succeeds; skips where it cannot be tried."""
    address = trial.target.address
    trial.need(getattr(ssl, f"HAS_{version.name}"), f"this machine's OpenSSL does not speak {version.name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    try:
        async with asyncio.timeout(10):
            _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    except ssl.SSLError as error:
        trial.need(error.reason not in _OURS, f"this machine's OpenSSL does not speak {version.name}")
        return False
    except ConnectionResetError:  # so do some proxies refuse a version
        return False
    except (OSError, TimeoutError) as error:
        raise Skip(f"no handshake can be tried: {type(error).__name__}") from None
    writer.close()
    return True


_OURS = ("NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE")
"""Reasons of a handshake that our own library would not begin."""


@check("KLO-0-02")
async def tls_version(trial: Trial) -> None:
    """TLS 1.2 or newer, nothing older"""
    trial.need(trial.target.address.tls, "plain HTTP")
    newer = [await _accepted(trial, version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
    trial.that(any(newer), "a handshake with TLS 1.2 or 1.3", "neither succeeds")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        older = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    for version in older:
        accepted = await _accepted(trial, version)
        trial.that(not accepted, "no handshake with TLS 1.1 or older", f"{version.name} is accepted")


def _headers(trial: Trial) -> bytes:
    """What every proper client sends."""
    sent = {"Host": trial.target.address.authority} | USUAL
    return "".join(f"{name}: {value}\r\n" for name, value in sent.items()).encode()


def _request(trial: Trial, path: str) -> bytes:
    line = f"GET {trial.target.address.path}{path} HTTP/1.1\r\n"
    authorization = f"Authorization: {trial.target.client.authorization}\r\n"
    return line.encode() + _headers(trial) + authorization.encode() + b"\r\n"


@check("KLO-0-22")
async def one_connection(trial: Trial) -> None:
    """Requests sent at once on one connection are answered in their order, if it stays open"""
    unknown = f"/v1/card/{trial.people.unknown_card()}"
    nobody = f"/v1/card?msisdn={trial.people.stranger().phone}"
    alone = [(await trial.call(0, "GET", path)).status for path in (unknown, nobody)]
    answers = await trial.raw(_request(trial, unknown) + _request(trial, nobody), probe=False, answers=2)
    trial.need(answers[-1].status is not None, "the service closes the connection after an answer")
    together = [answer.status for answer in answers]
    trial.that(together == alone, f"{alone}, as on two connections", f"{together}", answer=answers[0])


def _no_http(trial: Trial) -> list[bytes]:
    """What no client sends; where only one thing is wrong, everything else is as usual."""
    usual = _headers(trial)
    path = trial.target.address.path.encode()
    post = b"POST " + path + b"/v1/card HTTP/1.1\r\n" + usual
    return [
        b"HELLO\r\n\r\n",
        b"GET " + path + b"/v1/card HTTP/9.9\r\n" + usual + b"\r\n",
        b"GET " + path + b"/v1/card HTTP/1.1\r\nHost\r\n\r\n",
        b"GET " + path + b"/" + b"x" * 20_000 + b" HTTP/1.1\r\n" + usual + b"\r\n",
        post + b"Content-Length: -5\r\n\r\n",
        post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        bytes(range(256)) + b"\r\n\r\n",
    ]


@check("KLO-0-33")
async def no_http(trial: Trial) -> None:
    """What is no HTTP is refused or cut off, tells nothing of the inside, and does no harm"""
    for data in _no_http(trial):
        (answer,) = await trial.raw(data)
        verdict = nothing_of_the_inside(answer)
        if isinstance(verdict, Breach):
            raise verdict
        trial.that(not answer.ok, "bytes that are no HTTP are refused, or the connection is closed", answer)
    after = await trial.find(trial.people.stranger().phone)
    trial.need(found_number(after) is None, "a look-up of nobody finds somebody")
    trial.that(after.status is not None, "the service still answers", after)
