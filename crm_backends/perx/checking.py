"""What ``check`` asks a Perx: each kind of token, and one read with it. It may not change anything."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from crm_backends.http import Probe
from crm_backends.perx.requests import PerxRequests
from crm_backends.perx.settings import PerxSettings
from crm_backends.ports import BackendMisconfigured, Deadline

_NOBODY = "koshelek-adapter-check"
_NOBODYS_PHONE = "+70000000000"


def probes(requests: PerxRequests, settings: PerxSettings) -> Iterator[Probe]:
    """One for each kind of token, and, with a test customer, for the programme and each reward."""
    yield Probe(
        "application",
        partial(_nobody, requests),
        well="token accepted",
        credentials="correct client_id and client_secret",
        settings="correct base_url, and ask Perx whether the tenant has the POS endpoints",
        decides=True,
    )
    if settings.searches_by_phone:
        yield Probe(
            "merchant search",
            partial(_nobodys_phone, requests),
            well="token accepted",
            credentials="correct merchant_identifier",
            settings="ask Perx to open the merchant admin search for this merchant user",
        )
    if settings.check_customer is not None:
        for subject, path in _things(settings).items():
            yield Probe(
                subject,
                partial(_there, requests, settings.check_customer, path),
                well="there",
                credentials="correct check_customer, and the application's right to customers' tokens",
                settings="correct its number, or make it visible to the test customer",
            )


def _things(settings: PerxSettings) -> dict[str, str]:
    """What the settings name by a number, and where it is looked up."""
    rewards = {*settings.occasions.values()}
    rewards |= {target.reward for target in settings.promo_codes.values() if target.reward is not None}
    programme = settings.loyalty_program_id
    return {f"loyalty programme {programme}": f"/v4/loyalty/{programme}"} | {
        f"reward {reward}": f"/v4/rewards/{reward}" for reward in sorted(rewards)
    }


async def _nobody(requests: PerxRequests, deadline: Deadline) -> None:
    await requests.account(_NOBODY, deadline)


async def _nobodys_phone(requests: PerxRequests, deadline: Deadline) -> None:
    await requests.account_by_phone(_NOBODYS_PHONE, deadline)


async def _there(requests: PerxRequests, customer: str, path: str, deadline: Deadline) -> None:
    if await requests.data_as(customer, path, "the look-up", deadline) is None:
        raise BackendMisconfigured("perx: there is no such customer as check_customer")
