"""The Xerts driver: the coupons port. A holder is a device, whose id is made of the card number.

It may not know the adapter, nor the management calls (see ``management``). Xerts takes no reference of ours;
what became of a redemption is seen by ``redeemedOn`` of the coupon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid5

from crm_backends.http import HttpClient, Reply
from crm_backends.model import Holder, Offer
from crm_backends.ports import (
    FULL,
    OPERATIONS,
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Capability,
    Deadline,
    Finding,
    Refusal,
    Settlement,
    Support,
    Written,
)
from crm_backends.registry import BackendContext
from crm_backends.xerts import answers
from crm_backends.xerts.answers import Unreadable, XertsCoupon
from crm_backends.xerts.checking import Check
from crm_backends.xerts.existence import Devices
from crm_backends.xerts.settings import XertsSettings

NAME = "xerts"

_NO_PEOPLE = Capability(Support.IMPOSSIBLE, "Xerts knows devices, not people")
_NO_POINTS = Capability(Support.IMPOSSIBLE, "Xerts has coupons, no points")
CAPABILITIES: Mapping[str, Capability] = {
    **{name: _NO_PEOPLE for name in OPERATIONS if name.startswith("users.")},
    **{name: _NO_POINTS for name in OPERATIONS if name.startswith("points.")},
    "coupons.offers": FULL,
    "coupons.issue": Capability(
        Support.PARTIAL, "takes no reference: an unknown issue stays unknown and is never sent again"
    ),
    "coupons.redeem": Capability(
        Support.PARTIAL,
        "only codes of coupons the holder has; activation instead leaves nothing to settle by",
    ),
}
_ACTIVATION = Capability(
    Support.PARTIAL, "shows the coupon to the site's staff; an unknown activation cannot be settled"
)

_ALL_SITES = "all"


class XertsBackend:
    """Coupons on Xerts.

    Reads raise a ``BackendError``. Writes return a ``Written``; they raise ``BackendMisconfigured`` only
    where nothing can have been done.
    """

    name = NAME

    def __init__(self, settings: XertsSettings, context: BackendContext) -> None:
        self._settings = settings
        self._zone = context.timezone
        self._http = HttpClient(NAME, settings, settings.key())
        self._code = re.compile(settings.code_pattern)
        self._devices = Devices(self._http, settings)
        self._is_open = False
        activates = settings.promo == "activate"
        self.settlement = Settlement.MANUAL if activates else Settlement.PROBE
        self.capabilities = {**CAPABILITIES, "coupons.redeem": _ACTIVATION} if activates else CAPABILITIES

    # -- life ------------------------------------------------------------------------------------------

    async def open(self) -> None:
        await self._http.open()
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False
        await self._http.close()

    @property
    def left_alone(self) -> bool:
        """See ``NoticesAbsence``."""
        return self._http.left_alone

    @property
    def harmless_again(self) -> frozenset[str]:
        """See ``RepeatsHarmlessly``: a coupon is redeemed once, afterwards its code is answered with 404.

        Of an activation, which may be shown to the staff twice, the reference says no such thing.
        """
        return frozenset() if self._settings.promo == "activate" else frozenset({"coupons.redeem"})

    async def check(self) -> Sequence[Finding]:
        """See ``checking``. Changes nothing, works before ``open`` as well."""
        borrowed = not self._is_open
        nobody = self.device_of("koshelek-adapter check")
        try:
            if borrowed:
                await self._http.open()
            return await Check(self._http, self._settings, self._devices, self._list, nobody).findings()
        except BackendError as error:
            return [Finding("connection", False, str(error), "correct the settings of the connection")]
        finally:
            if borrowed:
                await self._http.close()

    # -- reads -----------------------------------------------------------------------------------------

    def device_of(self, card_number: str) -> str:
        """The device id that stands for a card, always the same."""
        return str(uuid5(self._settings.device_namespace, card_number))

    async def coupons_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """The holder's device id. Every card has one; Xerts learns of it with its first coupons."""
        if not deadline.remaining():
            raise BackendUnavailable(f"{NAME}: no time left to ask")
        return self.device_of(holder.card_number)

    async def coupons(self, account: str, *, deadline: Deadline) -> Sequence[XertsCoupon]:
        """All coupons of a device, used and expired ones included, with their triggers."""
        return await self._list(_ALL_SITES, account, deadline)

    async def offers(self, account: str, *, deadline: Deadline) -> Sequence[Offer]:
        """The coupons that are neither redeemed nor expired. Triggers are not evaluated."""
        now = datetime.now(UTC)
        return [
            coupon.as_offer()
            for coupon in await self.coupons(account, deadline=deadline)
            if coupon.is_open(now)
        ]

    async def _list(self, site: str, device: str, deadline: Deadline) -> list[XertsCoupon]:
        reply = await self._http.read("GET", self._settings.coupons_path(site, device), deadline=deadline)
        reason = f"status {reply.status}"
        if answers.lacks_call(reply.status, reply.body):
            raise BackendMisconfigured(
                f"{NAME}: has no call that lists coupons ({reason}); compare base_url and coupon_paths with "
                "the vendor's server"
            )
        if reply.status == 404 and self._settings.no_coupons == "404":
            return []
        if not reply.ok:
            raise BackendMisconfigured(
                f"{NAME}: does not list coupons ({reason}); compare site and occasions with the vendor's "
                "server, and see no_coupons"
            )
        try:
            return answers.coupons(reply.body, self._zone)
        except Unreadable as error:
            raise BackendMisconfigured(f"{NAME}: the list of coupons is unreadable: {error}") from None

    # -- issue -----------------------------------------------------------------------------------------

    async def issue(self, account: str, occasion: str, *, reference: str, deadline: Deadline) -> Written:
        """Issue the offers of the occasion's site. ``crm_reference`` is the coupons' ids, with commas.

        An issue that ends as UNKNOWN stays so: the coupons Xerts lists do not say which call made them.
        """
        if not deadline.remaining():
            return Written.not_sent()
        site = self._settings.site_for(occasion)
        if site is None:
            return Written.refused()
        try:
            await self._devices.ensure(account, deadline)
        except (BackendUnavailable, BackendCredentials):
            return Written.not_sent()
        answer = await self._write(
            "POST", self._settings.issue_path(site, account), "issues coupons", deadline
        )
        if isinstance(answer, Written):
            return answer
        if answer.status == 404:
            setting = self._settings.site_setting(occasion)
            raise BackendMisconfigured(
                f"{NAME}: there is no such site as {setting} names, or it has no offers (status 404); "
                f"correct {setting}, or attach an offer to that site"
            )
        if not answer.ok:
            return Written.refused()
        try:
            issued = answers.coupons(answer.body, self._zone)
        except Unreadable:
            return Written.unknown()
        return Written.done(",".join(coupon.reference for coupon in issued) or None)

    # -- codes -----------------------------------------------------------------------------------------

    async def redeem(self, account: str, code: str, *, reference: str, deadline: Deadline) -> Written:
        """Redeem (or, by setting, activate) the coupon of the holder that has this code.

        ``crm_reference`` is the coupon's id, ``message`` the title of its offer.
        """
        if not deadline.remaining():
            return Written.not_sent()
        code = self._as_sent(code)
        if not self._code.fullmatch(code):
            return Written.refused(Refusal.CODE_UNKNOWN)
        site, own = self._settings.site, None
        if self._settings.redeem_site == "coupon":
            try:
                own = _with_code(await self.coupons(account, deadline=deadline), code)
            except (BackendUnavailable, BackendCredentials):
                return Written.not_sent()
            if own is None or own.redeemed_at is not None:
                return Written.refused(_why_not(own))
            site = own.site.reference if own.site else site
        answer = await self._write(
            "PUT", self._settings.use_path(site, account, code), "uses a code", deadline
        )
        if isinstance(answer, Written):
            return answer
        if answer.ok:
            return self._used(answer, code, own)
        if answer.status == 410:
            return Written.refused(Refusal.CODE_EXPIRED)
        if answer.status == 404:
            return await self._refused(account, code, deadline)
        return Written.refused()

    def _as_sent(self, code: str) -> str:
        code = code.strip()
        return code.upper() if self._settings.uppercase_codes else code

    def _used(self, answer: Reply, code: str, own: XertsCoupon | None) -> Written:
        """What a 2xx says; without the coupon, and its ``redeemedOn``, it says nothing certain.

        A LoopBack leaves the offer out there; ``own`` is the coupon as it was listed just before, with it.
        """
        try:
            coupon = answers.coupon(answer.body, self._zone)
        except Unreadable:
            return Written.unknown()
        redeems = self._settings.promo == "redeem"
        if not coupon.has_code(code) or (redeems and coupon.redeemed_at is None):
            return Written.unknown()
        return _done(coupon, own)

    async def _refused(self, account: str, code: str, deadline: Deadline) -> Written:
        """404 means unknown as well as redeemed; the list of coupons tells which.

        Nothing has been done. Until the list can be read the holder is told nothing: it may be a coupon that
        is open, and then the fault is in our settings.
        """
        try:
            own = _with_code(await self.coupons(account, deadline=deadline), code)
        except (BackendUnavailable, BackendCredentials):
            return Written.not_sent()
        if own is not None and own.is_open(datetime.now(UTC)):
            raise BackendMisconfigured(
                f"{NAME}: lists a coupon as open and does not take its code at the site it was sent to "
                "(status 404); compare site, redeem_site and promo with the vendor's server"
            )
        return Written.refused(_why_not(own))

    async def settle_redeem(
        self, account: str, code: str, *, reference: str, since: datetime, deadline: Deadline
    ) -> Written:
        """Look for ``redeemedOn`` at or after ``since``, give or take the clock tolerance.

        A coupon that is not redeemed was not redeemed by this call; sending it again does no harm, since a
        coupon is redeemed once. One redeemed before is in doubt: that may be their clock. An activation
        leaves no trace: UNKNOWN.
        """
        if self._settings.promo == "activate":
            return Written.unknown()
        code = self._as_sent(code)
        earliest = since - timedelta(seconds=self._settings.clock_tolerance)
        found = [coupon for coupon in await self.coupons(account, deadline=deadline) if coupon.has_code(code)]
        for coupon in found:
            if coupon.redeemed_at is not None and coupon.redeemed_at >= earliest:
                return _done(coupon)
        if found and all(coupon.redeemed_at is None for coupon in found):
            return Written.not_sent()
        return Written.unknown()

    async def _write(self, method: str, path: str, does: str, deadline: Deadline) -> Reply | Written:
        """A write without a body; refused credentials mean that nothing was done."""
        try:
            answer = await self._http.write(method, path, deadline=deadline)
        except BackendCredentials:
            return Written.not_sent()
        if isinstance(answer, Reply) and answers.lacks_call(answer.status, answer.body):
            raise BackendMisconfigured(
                f"{NAME}: has no call that {does} (status {answer.status}); compare base_url and promo with "
                "the vendor's server"
            )
        return answer


def _with_code(coupons: Sequence[XertsCoupon], code: str) -> XertsCoupon | None:
    """The coupon with this code; of several, one that can still be used."""
    found = [coupon for coupon in coupons if coupon.has_code(code)]
    now = datetime.now(UTC)
    return next((coupon for coupon in found if coupon.is_open(now)), found[0] if found else None)


def _why_not(coupon: XertsCoupon | None) -> Refusal:
    """Why the code of a coupon that is not open is refused."""
    if coupon is None:
        return Refusal.CODE_UNKNOWN
    return Refusal.CODE_EXPIRED if coupon.redeemed_at is None else Refusal.CODE_USED


def _done(coupon: XertsCoupon, listed: XertsCoupon | None = None) -> Written:
    titles = [one.offer.title for one in (coupon, listed) if one and one.offer and one.offer.title]
    return Written.done(coupon.reference, message=titles[0] if titles else None)
