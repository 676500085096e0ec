"""Backends of the ports: built once each, and only drivers that have what their ports ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel

from adapter import crms
from adapter.loyalty.model import OperationKind
from adapter.settings import CannotRun, Crm
from crm_backends import registry
from crm_backends.own_database import JoinsOurTables, KeepsOneCustomerId, SharesDatabase
from crm_backends.ports import FULL, OPERATIONS, Capability, Finding, Reconciliation

CONTEXT = registry.BackendContext("postgresql://h/d", None, ZoneInfo("Europe/Moscow"), "RU")


class Nothing(BaseModel):
    """A driver without settings."""


class Forgetful:
    """Says that it serves users, and has nothing of it but ``get``."""

    name = "forgetful"
    capabilities: Mapping[str, Capability] = dict.fromkeys(OPERATIONS, FULL)
    reconciliation = Reconciliation.MANUAL
    finds_by_email = True

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def check(self) -> Sequence[Finding]:
        return ()

    async def get(self, customer_id: str) -> None: ...


SPEC = registry.BackendSpec(
    name="forgetful",
    summary="",
    settings=Nothing,
    build=lambda settings, context: Forgetful(),
    ports=frozenset({"users"}),
    capabilities=Forgetful.capabilities,
    reconciliation=Reconciliation.MANUAL,
    verified_by="none",
)


def test_a_driver_that_lacks_what_its_port_asks_for_is_told_with_all_that_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = EntryPoint("forgetful", f"{__name__}:SPEC", registry.GROUP)
    monkeypatch.setattr(registry, "_installed", lambda: {"forgetful": point})
    with pytest.raises(CannotRun) as caught:
        crms.build(Crm(driver="forgetful"), CONTEXT)
    assert str(caught.value) == (
        'crm.users.driver: "forgetful" lacks find, list_phones, list_users, register, set_consents, update, '
        "which the users port asks for; mend the driver, or bind another one"
    )


def test_ports_with_the_same_driver_and_settings_share_one_backend() -> None:
    bound = crms.build(Crm(driver="postgres"), CONTEXT)
    assert bound.backends == [bound.users]
    assert bound.ports_of(bound.users) == ["users", "points", "coupons"]
    assert bound.foreign_ports() == ()
    assert bound.same_customer_id() == ("points", "coupons")
    assert bound.points_are_ours


def test_the_same_driver_with_other_settings_is_another_crm() -> None:
    bound = crms.build(
        Crm.model_validate({"points": {"driver": "postgres", "url": "postgresql://h/p"}}), CONTEXT
    )
    assert bound.coupons is None
    assert len(bound.backends) == 2
    assert bound.foreign_ports() == ("points",)
    assert not bound.points_are_ours
    assert bound.fingerprint_of(OperationKind.RECEIPT) != bound.fingerprint_of(OperationKind.REGISTRATION)
    assert bound.fingerprint_of(OperationKind.PROMO_CODE) == ""


def test_another_password_makes_no_other_crm() -> None:
    first, second = (
        crms.build(Crm.model_validate({"driver": "postgres", "url": f"postgresql://u:{word}@h/d"}), CONTEXT)
        for word in ("one", "two")
    )
    kind = OperationKind.RECEIPT
    assert first.fingerprint_of(kind) == second.fingerprint_of(kind)


def test_the_postgresql_driver_offers_all_that_goes_with_our_own_database() -> None:
    """Structurally: neither knows the other's class."""
    users: object = crms.build(Crm(driver="postgres"), CONTEXT).users
    for offered in (JoinsOurTables, SharesDatabase, KeepsOneCustomerId):
        assert isinstance(users, offered)
