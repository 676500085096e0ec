"""What a partner sets a programme up with: members, vendors, sites, offers, reports.

None of it is part of a port. Nothing here is sent twice: a doubt about what was made is told to the person
who asked for it. It may not know how it is asked or shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

from crm_backends.http import HttpClient, Reply
from crm_backends.ports import (
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Deadline,
    Outcome,
    Written,
)
from crm_backends.xerts import management_replies, replies
from crm_backends.xerts.existence import site_exists
from crm_backends.xerts.management_replies import CouponReport
from crm_backends.xerts.replies import GeoPoint, Unreadable, XertsCoupon
from crm_backends.xerts.requests import part
from crm_backends.xerts.settings import LOGIN_PATH, Area, XertsSettings

_PATIENCE = 30.0
"""Seconds one call may take, with its login and its tries."""
_RADII = ("triggerLocationRadius", "triggerRadius")


class Declined(BackendError):
    """Xerts understood and said no; nothing was changed."""


class OtherTerms(BackendError):
    """The site has the offer already, on other terms than were asked for; nothing was changed."""


class InDoubt(BackendError):
    """It may have been done. A person has to look before it is asked for again."""


@dataclass(frozen=True, slots=True, repr=False)
class NewMember:
    """A user of Xerts, with what they may do there."""

    email: str
    password: str
    username: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    vendor_owner: bool = False
    site_owner: bool = False
    app_provider: bool = False


@dataclass(frozen=True, slots=True)
class NewVendor:
    """An organisation that makes offers, and its head office."""

    name: str
    address: str
    zipcode: str
    city: str
    country: str
    description: str
    address2: str | None = None
    address3: str | None = None
    phone: str | None = None


@dataclass(frozen=True, slots=True)
class NewOffer:
    """A template that becomes a coupon at the sites it is attached to."""

    title: str
    description: str
    border_color: str
    background_color: str
    image_url: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Campaign:
    """On what terms a site issues an offer."""

    cost: Decimal
    """Of one coupon, in the currency agreed with the vendor of the service."""
    limit: int
    """Coupons that may be issued."""
    issued: int = 0
    """Coupons issued so far."""
    total_cost: Decimal | None = None
    """``None``: ``cost`` times ``limit``."""
    first_day: date | None = None
    last_day: date | None = None
    """The last day, in the programme's zone, on which coupons are issued and redeemed."""
    coupon_days: int | None = None
    """Days a coupon lives."""
    triggers: Sequence[Mapping[str, object]] = field(default_factory=tuple)
    """As the documentation writes them; the radius may have either of its names."""


class Management:
    """The management calls; for ``async with``.

    ``zone`` is the programme's: days are meant in it.

    Raises (each call):
        Declined: Xerts said no.
        InDoubt: it is not known whether it was done.
        BackendUnavailable, BackendCredentials, BackendMisconfigured: nothing was done.
    """

    def __init__(self, settings: XertsSettings, zone: ZoneInfo) -> None:
        self._settings = settings
        self._zone = zone
        self._by_key = HttpClient("xerts", settings, settings.key())
        session = settings.session()
        self._by_login = HttpClient("xerts", settings, session) if session is not None else None

    async def __aenter__(self) -> Self:
        await self._by_key.open()
        if self._by_login is not None:
            await self._by_login.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._by_key.close()
        if self._by_login is not None:
            await self._by_login.close()

    # -- who -------------------------------------------------------------------------------------------

    async def member(self) -> str:
        """Id of the member of the settings; the login is asked where they do not say."""
        settings = self._settings
        if settings.member is not None:
            return settings.member
        if settings.email is None or settings.password is None:
            raise _no_login()
        reply = await self._by_key.read(
            "POST",
            LOGIN_PATH,
            json={"email": settings.email, "password": settings.password.get_secret_value()},
            deadline=_soon(),
        )
        return _made(reply, "userId")

    async def create_member(self, new: NewMember) -> str:
        """Create a member; its id."""
        body = {
            "email": new.email,
            "password": new.password,
            "username": new.username,
            "phone": new.phone,
            "firstName": new.first_name,
            "lastName": new.last_name,
            "vendorOwner": new.vendor_owner,
            "siteOwner": new.site_owner,
            "appProvider": new.app_provider,
        }
        return await self._make("members", "POST", "api/members", body)

    # -- vendors, sites, offers ------------------------------------------------------------------------

    async def create_vendor(self, new: NewVendor, member: str) -> str:
        """Create a vendor that ``member`` owns; its id."""
        body = {
            "vendorName": new.name,
            "headOfficeAddress1": new.address,
            "headOfficeAddress2": new.address2,
            "headOfficeAddress3": new.address3,
            "headOfficeZipcode": new.zipcode,
            "headOfficeCity": new.city,
            "headOfficeCountry": new.country,
            "headOfficePhone": new.phone,
            "description": new.description,
        }
        return await self._make("vendors", "POST", f"api/members/{part(member)}/vendors", body)

    async def create_site(
        self, vendor: str, title: str, address: str | None = None, gps: GeoPoint | None = None
    ) -> str:
        """Create a site of a vendor; its id."""
        body = {"title": title, "address": address, "gps": self._gps(gps) if gps else None}
        return await self._make("sites", "POST", f"api/vendors/{part(vendor)}/sites", body)

    async def set_site_admin(self, site: str, member: str) -> str:
        """Make a member the administrator of a site; the site's id."""
        method = self._settings.site_admin_method
        return await self._make("site_admin", method, f"api/sites/{part(site)}/admin", {"adminId": member})

    async def create_offer(self, vendor: str, new: NewOffer) -> str:
        """Create an offer of a vendor; its id."""
        body = {
            "title": new.title,
            "description": new.description,
            "styleBorderColor": new.border_color,
            "styleBackgroundColor": new.background_color,
            "featureImage": new.image_url,
            "url": new.url,
            "vendorId": vendor,
        }
        path = f"api/{self._settings.vendor_offers_path}/{part(vendor)}/offers"
        return await self._make("offers", "POST", path, body)

    async def attach_offer(self, offer: str, site: str, campaign: Campaign) -> str:
        """Let a site issue an offer; the id of the site's offer.

        A LoopBack also attaches to a site that does not exist. It answers a second attachment with the first,
        and changes nothing.

        Raises:
            OtherTerms: the offer is attached already, on other terms.
        """
        if await self._site_exists(site) is False:
            raise Declined("xerts: there is no such site; nothing was changed")
        total = campaign.cost * campaign.limit if campaign.total_cost is None else campaign.total_cost
        terms = {
            "instanceCost": float(campaign.cost),
            "instanceLimit": campaign.limit,
            "totalCost": float(total),
            "instanceStartIssueOn": self._begin(campaign.first_day),
            "instanceExpiresOn": self._end(campaign.last_day),
            "couponExpiresAfterDays": campaign.coupon_days,
            "triggers": [self._trigger(trigger) for trigger in campaign.triggers] or None,
        }
        path = f"api/offers/{part(offer)}/sites/rel/{part(site)}"
        body = {**terms, "instanceIssues": campaign.issued}
        reply = await self._written("offer_sites", "PUT", path, body)
        attached = _made_id(reply)
        if differing := management_replies.other_terms(reply.body, terms):
            raise OtherTerms(
                f"xerts: the site has this offer already ({attached}), with another "
                f"{', '.join(differing)}; nothing was changed, see the vendor's console"
            )
        return attached

    async def _site_exists(self, site: str) -> bool | None:
        for client in (self._by_key, self._by_login):
            exists = None if client is None else await site_exists(client, site, _soon())
            if exists is not None:
                return exists
        return None

    def _begin(self, day: date | None) -> str | None:
        """The first moment of a day, as Xerts writes moments."""
        if day is None:
            return None
        moment = datetime.combine(day, time.min, self._zone).astimezone(UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _end(self, day: date | None) -> str | None:
        """The last moment of a day; sent as the day alone it would be over when the day begins in UTC."""
        if day is None:
            return None
        next_day = datetime.combine(day + timedelta(days=1), time.min, self._zone).astimezone(UTC)
        moment = next_day - timedelta(milliseconds=1)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    # -- what is there ---------------------------------------------------------------------------------

    async def site_coupons(self, site: str) -> Sequence[XertsCoupon]:
        """All coupons that were issued at a site. Of a site that does not exist a LoopBack lists none."""
        method = self._settings.site_coupons_method
        reply = await self._read("coupons", method, f"api/sites/{part(site)}/coupons")
        try:
            coupons = replies.coupons(reply.body, self._zone)
        except Unreadable as error:
            raise _unreadable(error) from None
        if not coupons and await self._site_exists(site) is False:
            raise Declined("xerts: there is no such site")
        return coupons

    async def vendor_report(self, vendor: str, first: date, last: date | None = None) -> CouponReport:
        """A vendor's coupons, a row for each site; without ``last`` up to now."""
        return await self._report("vendors", vendor, "sites", first, last)

    async def site_report(self, site: str, first: date, last: date | None = None) -> CouponReport:
        """A site's coupons, a row for each vendor; without ``last`` up to now."""
        return await self._report("sites", site, "vendors", first, last)

    async def _report(self, of: str, which: str, rows: str, first: date, last: date | None) -> CouponReport:
        days = {"from": first.strftime(self._settings.report_date)}
        if last is not None:
            days["to"] = last.strftime(self._settings.report_date)
        reply = await self._read("reports", "GET", f"api/reporting/{of}/{part(which)}", days)
        try:
            return management_replies.report(reply.body, rows)
        except Unreadable as error:
            raise _unreadable(error) from None

    # -- calls -----------------------------------------------------------------------------------------

    def _client(self, area: Area) -> HttpClient:
        """The client with the proof that these calls need."""
        if area not in self._settings.login_for:
            return self._by_key
        if self._by_login is None:
            raise _no_login()
        return self._by_login

    async def _make(self, area: Area, method: str, path: str, fields: Mapping[str, object]) -> str:
        """Make or change something with the fields that are given; the identifier in the answer."""
        return _made_id(await self._written(area, method, path, fields))

    async def _written(self, area: Area, method: str, path: str, fields: Mapping[str, object]) -> Reply:
        """The answer to a write with the fields that are given; a 2xx."""
        body = {name: value for name, value in fields.items() if value is not None}
        answer = await self._client(area).write(method, path, json=body, deadline=_soon())
        if isinstance(answer, Written):
            if answer.outcome is Outcome.NOT_SENT:
                raise BackendUnavailable("xerts: does not answer or has no time now; nothing was done")
            raise InDoubt("xerts: it is not known whether this was done; look before you ask again")
        if not answer.ok:
            raise _declined(answer)
        return answer

    async def _read(
        self, area: Area, method: str, path: str, params: Mapping[str, str | int] | None = None
    ) -> Reply:
        reply = await self._client(area).read(
            method, path, params=params or {}, liberal=True, deadline=_soon()
        )
        if not reply.ok:
            raise _declined(reply)
        return reply

    def _gps(self, point: GeoPoint) -> Mapping[str, object]:
        values = (point.lat, point.lng)
        lat, lng = (str(v) if self._settings.gps == "string" else float(v) for v in values)
        return {"lat": lat, self._settings.gps_longitude: lng}

    def _trigger(self, trigger: Mapping[str, object]) -> Mapping[str, object]:
        """A trigger whose radius has the name that this server reads."""
        return {(self._settings.trigger_radius if k in _RADII else k): v for k, v in trigger.items()}


def _soon() -> Deadline:
    return Deadline.after(_PATIENCE)


def _made(reply: Reply, name: str = "id") -> str:
    if not reply.ok:
        raise _declined(reply)
    try:
        return management_replies.made(reply.body, name)
    except Unreadable as error:
        raise _unreadable(error) from None


def _made_id(reply: Reply) -> str:
    """The identifier in the answer to a write that was taken."""
    try:
        return management_replies.made(reply.body)
    except Unreadable:
        raise InDoubt("xerts: this was taken, but the answer is unreadable; look for what it made") from None


def _declined(reply: Reply) -> Declined:
    if replies.lacks_call(reply.status, reply.body):
        reason = "it has no such call; see the settings of methods and paths"
    else:
        reason = {
            400: "it finds the request wrong",
            404: "it knows nothing of that id",
            422: "it finds a value wrong, or has such an entry already",
        }.get(reply.status, "without a reason that can be told")
    return Declined(f"xerts: said no, {reason} (status {reply.status})")


def _unreadable(error: Unreadable) -> BackendMisconfigured:
    return BackendMisconfigured(f"xerts: the answer is unreadable: {error}")


def _no_login() -> BackendCredentials:
    return BackendCredentials("xerts: this call needs a login; set email and password")
