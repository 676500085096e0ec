"""HTTPS, TLS versions, and what goes on on one connection."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import warnings

from contracts.suite.checking import Trial, check, found_number
from contracts.suite.checks.every_answer import nothing_of_the_inside
from contracts.suite.client import Address


def _is_public(address: Address) -> bool:
    """Whether the address is one that Koshelek could call."""
    try:
        return ipaddress.ip_address(address.host).is_global
    except ValueError:
        return "." in address.host and not address.host.endswith(
            (".local", ".internal", ".test", ".localhost")
        )


@check("KLO-0-01")
async def https(trial: Trial) -> None:
    """The service answers over HTTPS"""
    address = trial.target.address
    trial.need(
        address.tls or _is_public(address),
        "this address is inside; TLS may end at a proxy in front, so test the public address too",
    )
    await trial.find(trial.people.stranger().phone)
    trial.that(address.tls, "HTTPS", "plain HTTP")


async def _handshake(address: Address, version: ssl.TLSVersion) -> str | None:
    """Why a handshake with this version alone fails; ``None`` when it succeeds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    try:
        async with asyncio.timeout(10):
            _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    writer.close()
    return None


@check("KLO-0-02")
async def tls_version(trial: Trial) -> None:
    """TLS 1.2 or newer, nothing older"""
    address = trial.target.address
    trial.need(address.tls, "plain HTTP")
    newer = [
        await _handshake(address, version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    ]
    trial.that(None in newer, "a handshake with TLS 1.2 or 1.3", "neither succeeds")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        older = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    for version in older:
        refused = await _handshake(address, version)
        trial.that(refused is not None, "no handshake with TLS 1.1 or older", f"{version.name} is accepted")


def _request(trial: Trial, path: str) -> bytes:
    address = trial.target.address
    lines = (
        f"GET {address.path}{path} HTTP/1.1",
        f"Host: {address.host}:{address.port}",
        f"Authorization: {trial.target.client.authorization}",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


@check("KLO-0-22")
async def one_connection(trial: Trial) -> None:
    """Requests sent at once on one connection are answered in their order, if it stays open"""
    unknown = f"/v1/card/{trial.people.unknown_card()}"
    nobody = f"/v1/card?msisdn={trial.people.stranger().phone}"
    alone = [(await trial.call(0, "GET", path)).status for path in (unknown, nobody)]
    answers = await trial.raw(_request(trial, unknown) + _request(trial, nobody), well_formed=True, answers=2)
    trial.need(answers[-1].status is not None, "the service closes the connection after an answer")
    together = [answer.status for answer in answers]
    trial.that(together == alone, f"{alone}, as on two connections", f"{together}", answer=answers[0])


NO_HTTP = (
    b"HELLO\r\n\r\n",
    b"GET /v1/card HTTP/9.9\r\n\r\n",
    b"GET /v1/card HTTP/1.1\r\nHost\r\n\r\n",
    b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /v1/card HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/card HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    bytes(range(256)) + b"\r\n\r\n",
)


@check("KLO-0-33")
async def no_http(trial: Trial) -> None:
    """What is no HTTP is refused or cut off, tells nothing of the inside, and does no harm"""
    for data in NO_HTTP:
        (answer,) = await trial.raw(data)
        breach = nothing_of_the_inside(answer)
        if breach is not None:
            raise breach
        trial.that(not answer.ok, "bytes that are no HTTP are refused, or the connection is closed", answer)
    after = await trial.find(trial.people.stranger().phone)
    trial.need(found_number(after) is None, "a look-up of nobody finds somebody")
    trial.that(after.status is not None, "the service still answers", after)
