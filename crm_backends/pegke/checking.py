"""What ``check`` asks a Pegke: the credentials, and the balance of a known customer. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from crm_backends.http import HttpClient, Probe, ProbeFailed
from crm_backends.pegke.replies import Verdict
from crm_backends.pegke.requests import MERCHANT_OFFERS, PegkeRequests
from crm_backends.pegke.settings import PegkeSettings
from crm_backends.ports import BackendMisconfigured, Deadline

_CREDENTIALS = "correct client_id and client_secret, or consumer_code and consumer_secret; ask the vendor"
_SETTINGS = "correct dialect, base_url, the paths and the fields of the replies; see the driver's README"


def probes(requests: PegkeRequests, client: HttpClient, settings: PegkeSettings) -> Iterator[Probe]:
    """The questions. In site_v1_1 the first one takes a token, the last one uses it."""
    account = settings.check_account if requests.has_balance else None
    if settings.dialect == "merchant_v1":
        ask, well = partial(_offers, requests), "Pegke shows its offers for them"
    else:
        ask, well = partial(_token, client), "Pegke gives a token for them"
    yield Probe("credentials", ask, well, _CREDENTIALS, _SETTINGS, decides=True)
    if account is not None:
        ask, well = partial(_balance, requests, account), "that of check_account can be read"
        yield Probe("balance", ask, well, _CREDENTIALS, _SETTINGS)


async def _token(client: HttpClient, deadline: Deadline) -> None:
    await client.sign_in(deadline)


async def _offers(requests: PegkeRequests, deadline: Deadline) -> None:
    reply = await requests.read(MERCHANT_OFFERS, deadline)
    if not reply.ok or requests.replies.verdict(reply) in (Verdict.REFUSED, Verdict.ABSENT):
        raise BackendMisconfigured(f"pegke: my_offers is answered with an error (status {reply.status})")


async def _balance(requests: PegkeRequests, account: str, deadline: Deadline) -> None:
    if await requests.points(account, deadline) is None:
        raise ProbeFailed(
            "Pegke does not know check_account",
            "name a customer that Pegke has, in its own form; if it has this one, correct base_url, "
            "balance_path, absent_statuses or absent_pattern",
        )
