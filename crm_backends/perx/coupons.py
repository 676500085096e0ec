"""The coupons port of Perx: vouchers, given by the settings' codes and occasions.

It may not know how a call is made (``requests``) nor what a reply looks like (``replies``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta

from crm_backends.http import port_write
from crm_backends.model import Offer
from crm_backends.perx import replies
from crm_backends.perx.base import PerxDriver
from crm_backends.perx.memory import Memory
from crm_backends.perx.replies import REWARD_LIMIT, Said, Verdict, mapping
from crm_backends.perx.requests import VOUCHERS, segment
from crm_backends.perx.settings import PerxSettings, fold
from crm_backends.ports import BackendError, Deadline, Refusal, Written
from crm_backends.registry import BackendContext

_REMEMBERED = 10_000
"""Vouchers that one process remembers."""


class PerxCoupons(PerxDriver):
    """Coupons on Perx."""

    def __init__(self, settings: PerxSettings, context: BackendContext) -> None:
        super().__init__(settings, context)
        self._vouchers_of: Memory[str] = Memory(_REMEMBERED)
        """Number of a voucher that was told as the result of a write -> key of that write."""

    async def offers(self, account: str, *, deadline: Deadline) -> Sequence[Offer]:
        """The holder's active vouchers."""
        found: dict[str, Offer] = {}
        async for page in self._vouchers(account, "active", deadline):
            for row in page.rows:
                offer = replies.offer(row, self._zone)
                if offer is not None:
                    found[offer.offer_id] = offer
        return list(found.values())

    def _vouchers(self, account: str, kind: str, deadline: Deadline) -> AsyncIterator[replies.Page]:
        return self._requests.pages_as(account, VOUCHERS, "the vouchers", {"type": kind}, deadline)

    @port_write
    async def issue(
        self, account: str, occasion: str, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """A voucher of the occasion's reward; an occasion without one gives nothing and is DONE."""
        reward = self._settings.occasions.get(occasion)
        if reward is None:
            return Written.done()
        answer = await self._issue(account, reward, deadline)
        return await self._issued(answer, account, idempotency_key, deadline)

    @port_write
    async def redeem(self, account: str, code: str, *, idempotency_key: str, deadline: Deadline) -> Written:
        """Issue the reward, or fire the trigger, that the settings give the code."""
        target = self._settings.promo_codes.get(fold(code))
        if target is None:
            return Written.refused(Refusal.CODE_UNKNOWN)
        if target.reward is None:
            path = f"/v4/app_triggers/{segment(target.trigger)}"
            answer = await self._requests.write_as(account, "PUT", path, deadline)
            return _fired(answer)
        answer = await self._issue(account, target.reward, deadline)
        if isinstance(answer, Verdict) and answer.said is Said.NO:
            return Written.refused(await self._why_not(account, target.reward, answer, deadline))
        return await self._issued(answer, account, idempotency_key, deadline)

    async def _issued(
        self, answer: Verdict | Written, account: str, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """How the issue of a voucher ended; the voucher is remembered as this operation's."""
        written = await self._ended(answer, account, deadline, _voucher)
        if written.crm_reference is not None:
            self._vouchers_of.first(written.crm_reference, idempotency_key)
        return written

    async def _issue(self, account: str, reward: int, deadline: Deadline) -> Verdict | Written:
        return await self._requests.write_as(account, "POST", f"/v4/rewards/{reward}/issue", deadline)

    async def _why_not(self, account: str, reward: int, answer: Verdict, deadline: Deadline) -> Refusal:
        """Why a reward was not issued. Its limit is this customer's, who has had it, or everybody's."""
        if answer.code != REWARD_LIMIT:
            return Refusal.CODE_UNKNOWN if answer.status == 404 else Refusal.OTHER
        try:
            async for page in self._vouchers(account, "all", deadline):
                if any(replies.is_of(row, reward) for row in page.rows):
                    return Refusal.CODE_USED
        except BackendError:
            pass  # the refusal stands, only its reason stays the general one
        return Refusal.CODE_EXHAUSTED

    async def reconcile_redeem(
        self, account: str, code: str, *, idempotency_key: str, since: datetime, deadline: Deadline
    ) -> Written:
        """Look for a voucher of the code's reward issued since then; of a trigger nobody can tell.

        Perx keeps no key of ours with a voucher. So DONE needs exactly one voucher that nothing else of ours
        can have got: no other code or occasion gives the reward, and no other operation of this process was
        given that voucher. NOT_SENT needs a whole list without any.

        Raises:
            BackendError: Perx could not be asked.
        """
        target = self._settings.promo_codes.get(fold(code))
        if target is None or target.reward is None:
            return Written.unknown("perx: nobody can tell what a trigger, or a code without a reward, did")
        earliest = since - timedelta(seconds=self._settings.clock_tolerance)
        found: list[Mapping[str, object]] = []
        last = True
        async for page in self._vouchers(account, "all", deadline):
            found += [
                row
                for row in page.rows
                if mapping(row.get("reward")).get("id", target.reward) == target.reward
                and replies.issued_since(row, earliest, self._zone) is not False
                and self._vouchers_of.get(str(row.get("id"))) in (None, idempotency_key)
            ]
            last = page.last
        if not found and last:
            return Written.not_sent()
        if self._settings.is_shared(target.reward):
            return Written.unknown("perx: another code or occasion gives the same reward")
        if len(found) != 1 or not last:
            return Written.unknown("perx: there are several vouchers that the code may have given")
        (row,) = found
        if not replies.is_of(row, target.reward) or not replies.issued_since(row, earliest, self._zone):
            return Written.unknown("perx: a voucher does not tell its reward, or when it was issued")
        written = _voucher(row)
        if self._vouchers_of.first(written.crm_reference or "", idempotency_key) != idempotency_key:
            return Written.unknown("perx: the voucher is another operation's")
        return written


def _voucher(data: Mapping[str, object]) -> Written:
    return Written.unknown() if data.get("id") is None else Written.done(str(data["id"]))


def _fired(answer: Verdict | Written) -> Written:
    """A trigger answers nothing, or something that nobody has described."""
    if isinstance(answer, Written):
        return answer
    if answer.said is Said.NO:
        return Written.refused(Refusal.CODE_UNKNOWN if answer.status == 404 else Refusal.OTHER)
    return Written.done() if 200 <= answer.status < 300 else Written.unknown()
