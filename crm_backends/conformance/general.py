"""Scenarios G: what every driver has to show, whatever ports it implements.

They are told in prose in ``SCENARIOS.md``. This module may not know any driver.
"""
# ruff: noqa: S101

from __future__ import annotations

import asyncio
import dataclasses
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from crm_backends import registry
from crm_backends.conformance.base import (
    Conformance,
    effects,
    ended,
    in_time,
    is_there,
    nothing_changes,
    opened,
    soon,
    well_again,
)
from crm_backends.conformance.port_calls import (
    CALLS,
    KEYED,
    LISTING,
    READS,
    WRITES,
    PortCall,
    Subject,
    new_key,
    new_subject,
    those_there,
)
from crm_backends.conformance.rig import Rig
from crm_backends.model import Profile
from crm_backends.ports import (
    OPERATIONS,
    Backend,
    BackendCredentials,
    BackendError,
    BackendUnavailable,
    Coupons,
    Deadline,
    Finding,
    Outcome,
    Points,
    ReconcilesCredit,
    ReconcilesRedeem,
    ReconcilesRegistration,
    Reconciliation,
    RepeatsHarmlessly,
    Support,
    Users,
    Written,
)

_PORTS: dict[str, type] = {"users": Users, "points": Points, "coupons": Coupons}
_RECONCILES: dict[str, type] = {
    "users.register": ReconcilesRegistration,
    "points.credit": ReconcilesCredit,
    "coupons.redeem": ReconcilesRedeem,
}
_RANK = {Support.FULL: 2, Support.PARTIAL: 1}
_SHORT = 0.5  # seconds of patience with a CRM that does not answer


class BaseGeneral(Conformance):
    """What every driver has to show."""

    async def test_what_it_can_do_is_declared_completely(self, rig: Rig, backend: Backend) -> None:
        """G1. Every operation has a capability, and every one that is not FULL has a note."""
        for capabilities in (rig.spec.capabilities, backend.capabilities):
            assert set(capabilities) == set(OPERATIONS)
            for operation, capability in capabilities.items():
                assert capability.support is not Support.UNKNOWN, operation
                assert capability.support is Support.FULL or capability.note.strip(), operation
        for operation, capability in backend.capabilities.items():
            promised = rig.spec.capabilities[operation].support
            assert _RANK.get(capability.support, 0) <= _RANK.get(promised, 0), operation
        assert backend.name == rig.spec.name
        for port, protocol in _PORTS.items():
            there = [o for o in OPERATIONS if o.startswith(f"{port}.") and is_there(backend, o)]
            assert isinstance(backend, protocol) == (port in rig.spec.ports), port
            assert bool(there) == (port in rig.spec.ports), f"{port}: {there}"

    async def test_it_has_what_its_reconciliation_promises(self, backend: Backend) -> None:
        """G2. A driver rated PROBE or COMPARE can reconcile each of its writes that need it."""
        for operation, protocol in _RECONCILES.items():
            wanted = is_there(backend, operation) and backend.reconciliation in (
                Reconciliation.PROBE,
                Reconciliation.COMPARE,
            )
            assert isinstance(backend, protocol) or not wanted, f"{operation}: no {protocol.__name__}"
        if backend.reconciliation is Reconciliation.COMPARE:
            assert is_there(backend, "points.balance"), "there is nothing to compare"

    async def test_it_is_found_by_name_and_its_settings_are_explained(self, rig: Rig) -> None:
        """G3. The registry knows the driver; every setting is described and an unknown one is an error."""
        assert registry.load(rig.spec.name) is rig.spec
        assert _undescribed(rig.spec.settings) == []
        with pytest.raises(ValidationError) as caught:
            rig.spec.settings.model_validate({"no_such_setting": 1})
        assert ("no_such_setting",) in [error["loc"] for error in caught.value.errors()]

    async def test_check_of_a_healthy_crm_finds_all_well_and_changes_nothing(
        self, rig: Rig, backend: Backend
    ) -> None:
        """G4. ``check`` of a healthy CRM finds everything well and changes nothing."""
        async with nothing_changes(rig):
            findings = await backend.check()
        assert findings
        assert _bad(findings) == []

    async def test_check_tells_a_crm_that_is_away(self, rig: Rig, backend: Backend) -> None:
        """G5. ``check`` of a CRM that is away does not raise; it says so and what to do."""
        await rig.away()
        bad = _bad(await in_time(backend.check(), Deadline.after(30), "check"))
        assert bad
        assert bad[0].detail
        assert bad[0].remedy

    async def test_check_tells_refused_credentials(self, rig: Rig, backend: Backend) -> None:
        """G6. ``check`` tells refused credentials, and tells them apart from a CRM that is away."""
        async with opened(rig.build(credentials=False)) as stranger:
            refused = _bad(await stranger.check())
        assert refused
        assert refused[0].remedy
        await rig.away()
        away = _bad(await backend.check())
        assert (refused[0].detail, refused[0].remedy) != (away[0].detail, away[0].remedy)

    async def test_refused_credentials_are_an_error_of_their_own(self, rig: Rig, backend: Backend) -> None:
        """G7. With refused credentials calls raise BackendCredentials; a write may be NOT_SENT instead."""
        about = await new_subject(rig, backend)
        async with opened(rig.build(credentials=False)) as stranger, nothing_changes(rig):
            for operation, read in those_there(backend, READS, LISTING).items():
                assert isinstance(await ended(read(stranger, about, soon())), BackendCredentials), operation
            for operation, write in those_there(backend, WRITES).items():
                end = await ended(write(stranger, about, soon()))
                assert isinstance(end, BackendCredentials) or end == Written.not_sent(), operation

    async def test_it_opens_while_the_crm_is_away(self, rig: Rig, backend: Backend) -> None:
        """G8. ``open`` succeeds while the CRM is away, and the driver works once it is back."""
        about = await new_subject(rig, backend)
        await rig.away()
        async with opened(rig.build()) as late:
            await rig.back()
            await well_again(lambda: _any_read(late)(late, about, soon()))

    async def test_reads_of_a_crm_that_is_away_are_unavailable(self, rig: Rig, backend: Backend) -> None:
        """G9. While the CRM is away every read raises BackendUnavailable."""
        about = await new_subject(rig, backend)
        await rig.away()
        for operation, read in those_there(backend, READS, LISTING).items():
            limit = Deadline.after(5)
            end = await in_time(ended(read(backend, about, limit)), limit, operation)
            assert isinstance(end, BackendUnavailable), operation

    async def test_writes_to_a_crm_that_is_away_are_not_sent(self, rig: Rig, backend: Backend) -> None:
        """G10. While the CRM is away every write is NOT_SENT."""
        about = await new_subject(rig, backend)
        async with nothing_changes(rig):
            await rig.away()
            for operation, write in those_there(backend, WRITES).items():
                limit = Deadline.after(5)
                end = await in_time(ended(write(backend, about, limit)), limit, operation)
                assert end == Written.not_sent(), operation
            await rig.back()

    async def test_it_works_again_when_the_crm_is_back(self, rig: Rig, backend: Backend) -> None:
        """G11. When the CRM is back, so is the driver, without being opened again."""
        about = await new_subject(rig, backend)
        read = _any_read(backend)
        await rig.away()
        assert isinstance(await ended(read(backend, about, soon())), BackendUnavailable)
        await rig.back()
        await well_again(lambda: read(backend, about, soon()))
        for operation, write in those_there(backend, WRITES).items():
            end = await write(backend, about, soon())
            assert isinstance(end, Written), operation
            assert end.outcome is Outcome.DONE, operation

    async def test_without_time_nothing_is_sent(self, rig: Rig, backend: Backend) -> None:
        """G12. With a deadline that has passed, reads raise BackendUnavailable and writes are NOT_SENT."""
        about = await new_subject(rig, backend)
        async with nothing_changes(rig):
            for operation, read in those_there(backend, READS).items():
                end = await ended(read(backend, about, Deadline.after(0)))
                assert isinstance(end, BackendUnavailable), operation
            for operation, write in those_there(backend, WRITES).items():
                assert await ended(write(backend, about, Deadline.after(0))) == Written.not_sent(), operation

    async def test_reads_of_a_silent_crm_keep_their_deadline(self, rig: Rig, backend: Backend) -> None:
        """G13. When the CRM does not answer, a read raises BackendUnavailable at its deadline."""
        about = await new_subject(rig, backend)
        await rig.silent()
        for operation, read in those_there(backend, READS).items():
            limit = Deadline.after(_SHORT)
            end = await in_time(ended(read(backend, about, limit)), limit, operation)
            assert isinstance(end, BackendUnavailable), operation

    async def test_writes_to_a_silent_crm_keep_their_deadline(self, rig: Rig, backend: Backend) -> None:
        """G14. When the CRM does not answer, a write ends at its deadline and claims nothing."""
        about = await new_subject(rig, backend)
        before = await rig.ledger()
        await rig.silent()
        not_sent: list[str] = []
        for operation, write in those_there(backend, WRITES).items():
            limit = Deadline.after(_SHORT)
            end = await in_time(ended(write(backend, about, limit)), limit, operation)
            assert end in (Written.unknown(), Written.not_sent()), operation
            if end == Written.not_sent():
                not_sent.append(operation)
        await rig.back()
        await asyncio.sleep(0.2)  # what was sent all the same would take effect now
        after = await rig.ledger()
        assert [operation for operation in not_sent if after[operation] != before[operation]] == []

    async def test_a_caller_that_gives_up_leaves_the_driver_well(self, rig: Rig, backend: Backend) -> None:
        """G15. A call that is cancelled ends as cancelled, and the driver goes on working."""
        about = await new_subject(rig, backend)
        await rig.silent()
        for operation, call in those_there(backend, READS, WRITES).items():
            task = asyncio.ensure_future(call(backend, about, soon()))
            await asyncio.sleep(0.1)
            if task.cancel():  # else it had ended already, without asking the CRM
                done, _ = await asyncio.wait({task}, timeout=5)
                assert done, f"{operation} goes on after it was cancelled"
                assert task.cancelled(), operation
            else:
                await ended(task)
        await rig.back()
        read = _any_read(backend)
        await well_again(lambda: read(backend, about, soon()))

    async def test_nothing_personal_and_no_credential_is_told(
        self,
        rig: Rig,
        backend: Backend,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """G16. No exception, finding or log line carries personal data or a credential."""
        caplog.set_level("DEBUG")
        about = await new_subject(rig, backend)
        told = [str(finding) for finding in await backend.check()]
        told += await _told_by_calls(backend, about.unknown(rig.nobody), soon)
        told += await _told_by_calls(backend, about, lambda: Deadline.after(0))
        async with opened(rig.build(credentials=False)) as stranger:
            told += [str(finding) for finding in await stranger.check()]
            told += await _told_by_calls(stranger, about, soon)
        await rig.silent()
        told += await _told_by_calls(backend, about, lambda: Deadline.after(0.2), READS, WRITES)
        await rig.away()
        told += [str(finding) for finding in await backend.check()]
        told += await _told_by_calls(backend, about, lambda: Deadline.after(5))
        assert told
        told += [f"log of {record.name}: {record.getMessage()}" for record in caplog.records]
        told += [caplog.text, *capsys.readouterr()]
        for secret in _never_told(rig, (about.person, about.newcomer)):
            where = [text for text in told if secret.lower() in text.lower()]
            assert where == [], f"{secret!r} is told"

    async def test_what_may_be_sent_again_harmlessly_takes_effect_once(
        self, rig: Rig, backend: Backend
    ) -> None:
        """G17. A write declared harmless_again that is reconciled as not sent and sent again happens once."""
        harmless = backend.harmless_again if isinstance(backend, RepeatsHarmlessly) else frozenset()
        if not harmless:
            pytest.skip("the driver declares no write that may be sent again harmlessly")
        assert harmless <= set(KEYED)
        for operation in sorted(harmless):
            assert is_there(backend, operation), operation
            about, key = await new_subject(rig, backend), new_key(backend)
            async with effects(rig, operation, 1):
                await rig.lose_reply(operation)
                lost = await KEYED[operation](backend, about, key, soon())
                assert lost == Written.unknown(), operation
                again = await KEYED[operation](backend, about, key, soon())
                assert again.outcome is not Outcome.NOT_SENT, operation


def _undescribed(model: type[BaseModel]) -> list[str]:
    """Settings without a description, those of sections and of their items included."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        if not (field.description or "").strip():
            found.append(f"{model.__name__}.{name}")
        for part in _parts(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found += _undescribed(part)
    return found


def _parts(annotation: object) -> list[object]:
    """A type and whatever it is made of: ``list[X] | None`` is made of X."""
    return [annotation, *(part for inner in get_args(annotation) for part in _parts(inner))]


def _bad(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.ok]


def _any_read(backend: Backend) -> PortCall:
    """Some read that the driver has. One without any cannot be asked whether its CRM is back."""
    reads = list(those_there(backend, READS, LISTING).values())
    if not reads:
        pytest.skip("the driver has no reads")
    return reads[0]


async def _told_by_calls(
    backend: Backend,
    about: Subject,
    deadline: Callable[[], Deadline],
    *tables: Mapping[str, PortCall],
) -> list[str]:
    """What the errors of these calls say, else of all, with their causes and tracebacks."""
    told: list[str] = []
    for operation, call in those_there(backend, *(tables or (CALLS,))).items():
        limit = deadline()
        end = await in_time(ended(call(backend, about, limit)), limit, operation)
        if isinstance(end, BackendError):
            told += [repr(end), *traceback.format_exception(end)]
    return told


def _never_told(rig: Rig, people: Iterable[Profile]) -> list[str]:
    """Every text that may be told to nobody: of phones also the digits without the country code."""
    texts = list(rig.secrets)
    for person in people:
        for field in dataclasses.fields(person):
            value = getattr(person, field.name)
            if isinstance(value, date):
                texts += [value.isoformat(), f"{value:%d.%m.%Y}", f"{value:%d-%m-%Y}"]
            elif field.name == "phone":
                texts.append(value[-10:])
            elif field.name not in ("sex", "country_code"):  # "f" and "RU" are parts of many words
                texts.append(value)
    return texts
