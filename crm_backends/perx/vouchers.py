"""Vouchers at the till: for programs that use the driver's class; no port has them.

It may not know what gave a voucher.
"""

from __future__ import annotations

from collections.abc import Mapping

from crm_backends.http import port_write
from crm_backends.perx import replies
from crm_backends.perx.base import PerxDriver
from crm_backends.perx.replies import Said, Verdict, mapping
from crm_backends.perx.requests import VOUCHERS, segment
from crm_backends.ports import BackendError, Deadline, Refusal, Written

_ASIDE = frozenset({"reserved", "redemption_in_progress"})


class PerxVouchers(PerxDriver):
    """Vouchers that are set aside for a purchase, and used up or given back."""

    @port_write
    async def reserve_voucher(self, account: str, voucher: str, *, deadline: Deadline) -> Written:
        """Set a voucher aside for a purchase under way; ``voucher`` is an offer's id."""
        return await self._move_voucher(
            account, voucher, "POST", "redeem", _ASIDE, deadline, {"confirm": "false"}
        )

    @port_write
    async def confirm_voucher(self, account: str, voucher: str, *, deadline: Deadline) -> Written:
        """The purchase was made: use up a voucher that was set aside."""
        return await self._move_voucher(
            account, voucher, "PATCH", "confirm", frozenset({"redeemed"}), deadline
        )

    @port_write
    async def release_voucher(self, account: str, voucher: str, *, deadline: Deadline) -> Written:
        """The purchase was not made: give a voucher that was set aside back."""
        return await self._move_voucher(
            account, voucher, "PATCH", "release", frozenset({"issued", "released"}), deadline
        )

    async def voucher_state(self, account: str, voucher: str, *, deadline: Deadline) -> str | None:
        """What became of a voucher, in Perx's words; ``None``: there is none. It reconciles an UNKNOWN."""
        if not voucher.isdecimal():
            return None
        reply = await self._requests.read_as(account, f"{VOUCHERS}/{segment(voucher)}", deadline)
        if reply is None or reply.status == 404:
            return None
        found = replies.verdict(reply)
        state = mapping(found.data).get("state")
        if not isinstance(state, str):
            raise replies.unexpected("the voucher", found)
        return state

    async def _move_voucher(
        self,
        account: str,
        voucher: str,
        method: str,
        step: str,
        expected: frozenset[str],
        deadline: Deadline,
        params: Mapping[str, str | int] | None = None,
    ) -> Written:
        if not voucher.isdecimal():
            return Written.refused(Refusal.CODE_UNKNOWN)
        path = f"{VOUCHERS}/{segment(voucher)}/{step}"
        answer = await self._requests.write_as(account, method, path, deadline, params=params)
        if isinstance(answer, Verdict) and answer.said is Said.NO:
            return Written.refused(await self._why_not_voucher(account, voucher, deadline))

        def moved(data: Mapping[str, object]) -> Written:
            return Written.done(voucher) if data.get("state") in expected else Written.unknown()

        return await self._ended(answer, account, deadline, moved)

    async def _why_not_voucher(self, account: str, voucher: str, deadline: Deadline) -> Refusal:
        try:
            state = await self.voucher_state(account, voucher, deadline=deadline)
        except BackendError:
            return Refusal.OTHER
        if state is None:
            return Refusal.CODE_UNKNOWN
        return {"redeemed": Refusal.CODE_USED, "expired": Refusal.CODE_EXPIRED}.get(state, Refusal.OTHER)
