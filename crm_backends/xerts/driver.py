"""The Xerts driver: the coupons port. A holder is a device, whose id is made of the card number.

It may not know the adapter, nor the management calls (see ``management``). Xerts takes no key of ours; what
became of a redemption is seen by ``redeemedOn`` of the coupon.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid5

from pydantic import BaseModel

from crm_backends.http import Auth, HttpClient, HttpDriver, Probe, Reply, port_write
from crm_backends.model import Holder, Offer
from crm_backends.ports import (
    BackendCredentials,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
    Outcome,
    Reconciliation,
    Refusal,
    Written,
)
from crm_backends.registry import BackendContext
from crm_backends.xerts import checking, replies
from crm_backends.xerts.capabilities import capabilities
from crm_backends.xerts.existence import Devices
from crm_backends.xerts.replies import Unreadable, XertsCoupon
from crm_backends.xerts.requests import ALL_SITES, XertsRequests
from crm_backends.xerts.settings import XertsSettings

NAME: Final = "xerts"

_DOUBTS = 10_000


class XertsBackend(HttpDriver):
    """Coupons on Xerts.

    Reads raise a ``BackendError``. Writes return a ``Written``; they raise ``BackendMisconfigured`` only
    where nothing can have been done.
    """

    def __init__(self, settings: XertsSettings, context: BackendContext) -> None:
        super().__init__(HttpClient(NAME, settings, settings.key()))
        self._settings = settings
        self._zone = context.timezone
        self._requests = XertsRequests(self._http, settings, context.timezone)
        self._code = re.compile(settings.code_pattern)
        self._devices = Devices(self._http, settings)
        self._doubts: OrderedDict[str, datetime] = OrderedDict()
        """Uses of codes that ended as unknown, by our key, and when they were first sent."""
        self.reconciliation = Reconciliation.MANUAL if settings.promo == "activate" else Reconciliation.PROBE
        self.capabilities = capabilities(settings)

    def proof_of(self, settings: BaseModel) -> Auth | None:
        """See ``HttpDriver``; the password is for ``check`` and the commands alone."""
        if not isinstance(settings, XertsSettings):
            return None
        self._settings = settings
        return settings.key()

    @property
    def harmless_again(self) -> frozenset[str]:
        """See ``RepeatsHarmlessly``: a coupon is redeemed once, afterwards its code is answered with 404.

        Of an activation, which may be shown to the staff twice, the vendor says no such thing.
        """
        return frozenset() if self._settings.promo == "activate" else frozenset({"coupons.redeem"})

    def probes(self) -> Iterable[Probe]:
        """See ``checking``."""
        nobody = self.device_of("koshelek-adapter check")
        return checking.probes(self._requests, self._devices, self._settings, nobody)

    def device_of(self, card_number: str) -> str:
        """The device id that stands for a card, always the same."""
        return str(uuid5(self._settings.device_namespace, card_number))

    async def coupons_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """The holder's device id. Every card has one; Xerts learns of it with its first coupons."""
        if not deadline.remaining():
            raise BackendUnavailable("xerts: no time left to ask")
        return self.device_of(holder.card_number)

    async def coupons(self, account: str, *, deadline: Deadline) -> Sequence[XertsCoupon]:
        """All coupons of a device, used and expired ones included, with their triggers."""
        return await self._requests.coupons(ALL_SITES, account, deadline)

    async def offers(self, account: str, *, deadline: Deadline) -> Sequence[Offer]:
        """The coupons that are neither redeemed nor expired. Triggers are not evaluated."""
        now = datetime.now(UTC)
        return [
            coupon.as_offer()
            for coupon in await self.coupons(account, deadline=deadline)
            if coupon.is_open(now)
        ]

    # -- issue -----------------------------------------------------------------------------------------

    @port_write
    async def issue(
        self, account: str, occasion: str, *, idempotency_key: str, deadline: Deadline
    ) -> Written:
        """Issue the offers of the occasion's site. ``crm_reference`` is the coupons' ids, with commas.

        An issue that ends as UNKNOWN stays so: the coupons Xerts lists do not say which call made them.
        """
        site = self._settings.site_for(occasion)
        if site is None:
            return Written.refused(reason=f"{NAME}: the occasion has no site; see occasions and any_occasion")
        await self._devices.ensure(account, deadline)
        answer = await self._requests.issue(site, account, deadline)
        if isinstance(answer, Written):
            return answer
        if answer.status == 404:
            setting = self._settings.site_setting(occasion)
            raise BackendMisconfigured(
                f"{NAME}: the site in {setting} is unknown there, or has no offers (status 404); "
                f"correct {setting}, or attach an offer to it"
            )
        if not answer.ok:
            return Written.refused(reason=f"{NAME}: refuses to issue coupons (status {answer.status})")
        try:
            issued = replies.coupons(answer.body, self._zone)
        except Unreadable as error:
            return Written.unknown(f"{NAME}: may have issued coupons, the answer is unreadable: {error}")
        return Written.done(",".join(coupon.reference for coupon in issued) or None)

    # -- codes -----------------------------------------------------------------------------------------

    @port_write
    async def redeem(self, account: str, code: str, *, idempotency_key: str, deadline: Deadline) -> Written:
        """Redeem (or, by setting, activate) the coupon of the holder that has this code.

        ``crm_reference`` is the coupon's id, ``message`` the title of its offer.
        """
        code = self._as_sent(code)
        if not self._code.fullmatch(code):
            return Written.refused(Refusal.CODE_UNKNOWN, f"{NAME}: not of the form in code_pattern")
        site, own = self._settings.site, None
        if self._settings.redeem_site == "coupon":
            own = _with_code(await self.coupons(account, deadline=deadline), code)
            if own is None or own.redeemed_at is not None:
                return self._why_not(own, idempotency_key)
            site = own.site.reference if own.site else site
        began = datetime.now(UTC)
        answer = await self._requests.use(site, account, code, deadline)
        if isinstance(answer, Reply):
            written = await self._ended(answer, account, code, own, idempotency_key, deadline)
        else:
            written = answer
        if written.outcome is Outcome.UNKNOWN:
            self._doubts.setdefault(idempotency_key, began)
            if len(self._doubts) > _DOUBTS:
                self._doubts.popitem(last=False)
        return written

    def _as_sent(self, code: str) -> str:
        code = code.strip()
        return code.upper() if self._settings.uppercase_codes else code

    async def _ended(
        self,
        answer: Reply,
        account: str,
        code: str,
        own: XertsCoupon | None,
        idempotency_key: str,
        deadline: Deadline,
    ) -> Written:
        """What an answer to the use of a code means; ``own`` is its coupon, where it was listed before."""
        if answer.ok:
            return self._used(answer, code, own)
        if answer.status == 410:
            return Written.refused(Refusal.CODE_EXPIRED, f"{NAME}: the coupon is gone (status 410)")
        if answer.status != 404:
            return Written.refused(reason=f"{NAME}: refuses the code (status {answer.status})")
        # A 404 may mean an unknown code, a redeemed coupon, or a wrong setting of ours; the list tells which.
        # Nothing has been done, so while the list cannot be read the code is sent again later.
        try:
            own = _with_code(await self.coupons(account, deadline=deadline), code)
        except (BackendUnavailable, BackendCredentials) as error:
            return Written.not_sent(str(error))
        if own is not None and own.is_open(datetime.now(UTC)):
            raise BackendMisconfigured(
                f"{NAME}: lists a coupon as open and does not take its code at the site it was sent to "
                "(status 404); compare site, redeem_site and promo with the vendor's server"
            )
        return self._why_not(own, idempotency_key)

    def _used(self, answer: Reply, code: str, own: XertsCoupon | None) -> Written:
        """The outcome of a 2xx: DONE if the answer shows the coupon, and that it is redeemed; else UNKNOWN.

        An activation does not redeem: there the coupon is enough. A LoopBack leaves the offer out of the
        answer; ``own`` has it.
        """
        try:
            coupon = replies.coupon(answer.body, self._zone)
        except Unreadable as error:
            return Written.unknown(f"{NAME}: may have used the code, the answer is unreadable: {error}")
        redeems = self._settings.promo == "redeem"
        if not coupon.has_code(code) or (redeems and coupon.redeemed_at is None):
            return Written.unknown(f"{NAME}: took the code, and its answer shows no coupon that was redeemed")
        return _done(coupon, own)

    def _why_not(self, coupon: XertsCoupon | None, idempotency_key: str) -> Written:
        """How the use of a code ends whose coupon is not open."""
        if coupon is None:
            return Written.refused(Refusal.CODE_UNKNOWN, f"{NAME}: no coupon of this holder has the code")
        if coupon.redeemed_at is None:
            return Written.refused(Refusal.CODE_EXPIRED, f"{NAME}: the coupon has expired")
        since = self._doubts.get(idempotency_key)
        if since is not None and self._is_redeemed(coupon, since):
            return _done(coupon)  # by this very use: sent before, in doubt, and carried out late
        return Written.refused(Refusal.CODE_USED, f"{NAME}: the coupon has been redeemed before")

    def _is_redeemed(self, coupon: XertsCoupon, since: datetime) -> bool:
        """Whether it was redeemed at or after ``since``, give or take the clock tolerance."""
        earliest = since - timedelta(seconds=self._settings.clock_tolerance)
        return coupon.redeemed_at is not None and coupon.redeemed_at >= earliest

    async def reconcile_redeem(
        self, account: str, code: str, *, idempotency_key: str, since: datetime, deadline: Deadline
    ) -> Written:
        """Look for a coupon with this code that was redeemed since the code was sent.

        A coupon that is not redeemed was not redeemed by this call; sending it again does no harm, since a
        coupon is redeemed once. One redeemed before is in doubt: that may be their clock. An activation
        leaves no trace: UNKNOWN.
        """
        if self._settings.promo == "activate":
            return Written.unknown(f"{NAME}: an activation leaves nothing to look for; ask the site's staff")
        code = self._as_sent(code)
        found = [coupon for coupon in await self.coupons(account, deadline=deadline) if coupon.has_code(code)]
        for coupon in found:
            if self._is_redeemed(coupon, min(since, self._doubts.get(idempotency_key, since))):
                return _done(coupon)
        if not found:
            return Written.unknown(f"{NAME}: lists no coupon of this holder with the code any more")
        if all(coupon.redeemed_at is None for coupon in found):
            return Written.not_sent(f"{NAME}: the coupon is not redeemed")
        return Written.unknown(
            f"{NAME}: the coupon was redeemed before this code was sent, by their clock; see clock_tolerance"
        )


def _with_code(coupons: Sequence[XertsCoupon], code: str) -> XertsCoupon | None:
    """The coupon with this code; of several, one that can still be used."""
    found = [coupon for coupon in coupons if coupon.has_code(code)]
    now = datetime.now(UTC)
    return next((coupon for coupon in found if coupon.is_open(now)), found[0] if found else None)


def _done(coupon: XertsCoupon, listed: XertsCoupon | None = None) -> Written:
    titles = [one.offer.title for one in (coupon, listed) if one and one.offer and one.offer.title]
    return Written.done(coupon.reference, message=titles[0] if titles else None)
