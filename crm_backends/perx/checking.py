"""What ``check`` looks at: each kind of token, and one read with it. It may not change anything."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from crm_backends.perx.calls import Calls
from crm_backends.perx.settings import PerxSettings
from crm_backends.ports import (
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
    Finding,
)

T = TypeVar("T")

_PATIENCE = 10.0
"""Seconds for one line of the check."""
_NOBODY = "koshelek-adapter-check"
_NOBODYS_PHONE = "+70000000000"
_BASE = "correct base_url, and ask Perx whether the tenant has the POS endpoints"


async def findings(calls: Calls, settings: PerxSettings) -> list[Finding]:
    """One line per kind of token, and, with a test customer, for the programme and each reward."""
    first = await _look(
        "application", "token accepted", calls.account(_NOBODY, _soon()), "client_id and client_secret", _BASE
    )
    if not first.ok:
        return [first]
    found = [first]
    if settings.searches_by_phone:
        found.append(
            await _look(
                "merchant search",
                "token accepted",
                calls.account_by_phone(_NOBODYS_PHONE, _soon()),
                "merchant_identifier",
                "ask Perx to open the merchant admin search for this merchant user",
            )
        )
    if settings.check_customer is not None:
        found += await _as_customer(calls, settings, settings.check_customer)
    return found


async def _as_customer(calls: Calls, settings: PerxSettings, customer: str) -> list[Finding]:
    rewards = {*settings.occasions.values()}
    rewards |= {target.reward for target in settings.promo_codes.values() if target.reward is not None}
    programme = settings.loyalty_program_id
    things = {f"loyalty programme {programme}": f"/v4/loyalty/{programme}"}
    things |= {f"reward {reward}": f"/v4/rewards/{reward}" for reward in sorted(rewards)}
    return [
        await _look(
            subject,
            "there",
            _there(calls, customer, path),
            "check_customer, and the application's right to customers' tokens",
            "correct its number, or make it visible to the test customer",
        )
        for subject, path in things.items()
    ]


async def _there(calls: Calls, customer: str, path: str) -> None:
    if await calls.data_as(customer, path, "the look-up", _soon()) is None:
        raise BackendMisconfigured("perx: there is no such customer as check_customer")


async def _look(subject: str, well: str, call: Awaitable[object], right: str, otherwise: str) -> Finding:
    try:
        await call
    except BackendCredentials as error:
        return Finding(subject, False, str(error), f"correct {right}")
    except BackendUnavailable as error:
        return Finding(subject, False, str(error), "see that Perx is up and base_url is right; try again")
    except BackendError as error:
        return Finding(subject, False, str(error), otherwise)
    return Finding(subject, True, well)


def _soon() -> Deadline:
    return Deadline.after(_PATIENCE)
