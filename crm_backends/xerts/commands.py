"""Commands to set a programme up on Xerts without the vendor's console, and to read its reports.

They print what was asked for to standard output (the id of what was made, a table, CSV), and one sentence to
standard error when something is wrong. It may not know the adapter: whoever mounts them brings the settings.
"""

from __future__ import annotations

import asyncio
import csv
import functools
import io
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar
from zoneinfo import ZoneInfo

import typer
from pydantic import ValidationError

from crm_backends.command_line import ConfigFile, fail, group
from crm_backends.ports import BackendCredentials, BackendError
from crm_backends.xerts.management import Campaign, Management, NewMember, NewOffer, NewVendor
from crm_backends.xerts.management_replies import CouponReport
from crm_backends.xerts.replies import GeoPoint, XertsCoupon
from crm_backends.xerts.settings import XertsSettings

LoadSettings = Callable[[Path | None], tuple[XertsSettings, ZoneInfo]]
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

CsvFile = Annotated[
    str | None, typer.Option("--csv", metavar="FILE", help="Write CSV to this file; - is standard output.")
]
Vendor = Annotated[str, typer.Argument(help="Id of the vendor.")]
Site = Annotated[str, typer.Argument(help="Id of the site.")]
First = Annotated[str, typer.Option("--from", metavar="DAY", help="First day, as 2026-07-28 or 28-07-2026.")]
Last = Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day; default: up to now.")]

_DAYS = ("%Y-%m-%d", "%d-%m-%Y", "%d.%m.%Y")
_SHOWN = "%Y-%m-%d %H:%M"


class _Wrong(Exception):
    """A value on the command line, or a file, cannot be used; the text is one sentence."""


def make_app(load_settings: LoadSettings) -> typer.Typer:
    """The commands.

    Args:
        load_settings: gives the driver's settings and the programme's zone, for the file named by
            ``--config`` (``None``: not named). The text of what it raises is shown, but not that of
            pydantic, which quotes the values.
    """
    app = group("Set up a programme on Xerts, and read its reports.")
    groups = {
        "member": group("Members: the people who use Xerts itself."),
        "vendor": group("Vendors: the organisations that make offers."),
        "site": group("Sites: where coupons are issued and redeemed."),
        "offer": group("Offers: what becomes a coupon at a site."),
        "coupons": group("Coupons."),
        "report": group("Coupons issued and redeemed in a period."),
    }
    for name, commands in groups.items():
        app.add_typer(commands, name=name)

    def run(config: Path | None, work: Callable[[Management], Awaitable[Result]]) -> Result:
        settings, zone = _loaded(load_settings, config)

        async def managed() -> Result:
            async with Management(settings, zone) as management:
                return await work(management)

        return asyncio.run(managed())

    @groups["member"].command("create")
    @_plainly
    def member_create(
        email: Annotated[str, typer.Option(help="E-mail, which is the login.")],
        password: Annotated[str, typer.Option(prompt=True, hide_input=True, envvar="XERTS_MEMBER_PASSWORD")],
        username: Annotated[str | None, typer.Option(help="User name.")] = None,
        phone: Annotated[str | None, typer.Option(help="Phone.")] = None,
        first_name: Annotated[str | None, typer.Option(help="First name.")] = None,
        last_name: Annotated[str | None, typer.Option(help="Surname.")] = None,
        vendor_owner: Annotated[bool, typer.Option("--vendor-owner", help="May create vendors.")] = False,
        site_owner: Annotated[bool, typer.Option("--site-owner", help="May create sites.")] = False,
        app_provider: Annotated[bool, typer.Option("--app-provider", help="May have API keys.")] = False,
        config: ConfigFile = None,
    ) -> None:
        """Create a member; prints the id."""
        new = NewMember(
            email=email,
            password=password,
            username=username,
            phone=phone,
            first_name=first_name,
            last_name=last_name,
            vendor_owner=vendor_owner,
            site_owner=site_owner,
            app_provider=app_provider,
        )
        typer.echo(run(config, lambda xerts: xerts.create_member(new)))

    @groups["vendor"].command("create")
    @_plainly
    def vendor_create(
        name: Annotated[str, typer.Option(help="Name of the organisation.")],
        address: Annotated[str, typer.Option(help="Street and number of the head office.")],
        zipcode: Annotated[str, typer.Option(help="Postal code.")],
        city: Annotated[str, typer.Option(help="City.")],
        country: Annotated[str, typer.Option(help="Country.")],
        description: Annotated[str, typer.Option(help="What the organisation does.")],
        address2: Annotated[str | None, typer.Option(help="Second line of the address.")] = None,
        address3: Annotated[str | None, typer.Option(help="Third line of the address.")] = None,
        phone: Annotated[str | None, typer.Option(help="Phone of the head office.")] = None,
        member: Annotated[
            str | None, typer.Option(help="Member who owns it; default: the one who logs in.")
        ] = None,
        config: ConfigFile = None,
    ) -> None:
        """Create a vendor; prints the id."""
        new = NewVendor(name, address, zipcode, city, country, description, address2, address3, phone)

        async def create(xerts: Management) -> str:
            return await xerts.create_vendor(new, member or await xerts.member())

        typer.echo(run(config, create))

    @groups["site"].command("create")
    @_plainly
    def site_create(
        vendor: Vendor,
        title: Annotated[str, typer.Option(help="What the site is called.")],
        address: Annotated[str | None, typer.Option(help="Address.")] = None,
        lat: Annotated[str | None, typer.Option(help="Latitude, degrees.")] = None,
        lng: Annotated[str | None, typer.Option(help="Longitude, degrees.")] = None,
        config: ConfigFile = None,
    ) -> None:
        """Create a site of a vendor; prints the id."""
        gps = _place(lat, lng)
        typer.echo(run(config, lambda xerts: xerts.create_site(vendor, title, address, gps)))

    @groups["site"].command("admin")
    @_plainly
    def site_admin(
        site: Site,
        member: Annotated[str, typer.Argument(help="Id of the member.")],
        config: ConfigFile = None,
    ) -> None:
        """Make a member the administrator of a site; prints the site's id."""
        typer.echo(run(config, lambda xerts: xerts.set_site_admin(site, member)))

    @groups["offer"].command("create")
    @_plainly
    def offer_create(
        vendor: Vendor,
        title: Annotated[str, typer.Option(help="Title.")],
        description: Annotated[str, typer.Option(help="Text below the title.")],
        image: Annotated[str, typer.Option(help="URL of the picture.")],
        border_color: Annotated[str, typer.Option(help="Colour of the border.")] = "black",
        background_color: Annotated[str, typer.Option(help="Colour of the background.")] = "white",
        url: Annotated[str | None, typer.Option(help="URL with more about the offer.")] = None,
        config: ConfigFile = None,
    ) -> None:
        """Create an offer of a vendor; prints the id."""
        new = NewOffer(title, description, border_color, background_color, image, url)
        typer.echo(run(config, lambda xerts: xerts.create_offer(vendor, new)))

    @groups["offer"].command("attach")
    @_plainly
    def offer_attach(
        offer: Annotated[str, typer.Argument(help="Id of the offer.")],
        site: Site,
        cost: Annotated[str, typer.Option(help="Cost of one coupon.")],
        limit: Annotated[int, typer.Option(min=0, help="Coupons that may be issued.")],
        issued: Annotated[int, typer.Option(min=0, help="Coupons issued so far.")] = 0,
        total_cost: Annotated[str | None, typer.Option(help="Default: cost times limit.")] = None,
        starts: Annotated[str | None, typer.Option(metavar="DAY", help="First day of issue.")] = None,
        expires: Annotated[str | None, typer.Option(metavar="DAY", help="Last day of the offer.")] = None,
        coupon_days: Annotated[int | None, typer.Option(min=1, help="Days a coupon lives.")] = None,
        triggers: Annotated[Path | None, typer.Option(help="JSON file with the list of triggers.")] = None,
        config: ConfigFile = None,
    ) -> None:
        """Let a site issue an offer; prints the id of the site's offer.

        Days are meant in the programme's zone (koshelek.timezone).
        """
        if issued > limit:
            raise _Wrong("--issued is more than --limit")
        first_day, last_day = _campaign_days(starts, expires)
        campaign = Campaign(
            cost=_cost(cost, "--cost"),
            limit=limit,
            issued=issued,
            total_cost=None if total_cost is None else _cost(total_cost, "--total-cost"),
            first_day=first_day,
            last_day=last_day,
            coupon_days=coupon_days,
            triggers=() if triggers is None else _triggers(triggers),
        )
        typer.echo(run(config, lambda xerts: xerts.attach_offer(offer, site, campaign)))

    @groups["coupons"].command("list")
    @_plainly
    def coupons_list(
        site: Site,
        only_open: Annotated[
            bool, typer.Option("--open", help="Only coupons neither redeemed nor expired.")
        ] = False,
        csv_file: CsvFile = None,
        config: ConfigFile = None,
    ) -> None:
        """List the coupons of a site; times are in the programme's zone (koshelek.timezone)."""
        coupons = run(config, lambda xerts: xerts.site_coupons(site))
        now = datetime.now(UTC)
        rows = [_coupon_row(coupon) for coupon in coupons if not only_open or coupon.is_open(now)]
        _show(["code", "offer", "issued", "expires", "redeemed", "device"], rows, csv_file)

    @groups["report"].command("vendor")
    @_plainly
    def report_vendor(
        vendor: Vendor, first: First, last: Last = None, csv_file: CsvFile = None, config: ConfigFile = None
    ) -> None:
        """Coupons of a vendor, by site."""
        days = _period(first, last)
        _show_report(run(config, lambda xerts: xerts.vendor_report(vendor, *days)), "site", csv_file)

    @groups["report"].command("site")
    @_plainly
    def report_site(
        site: Site, first: First, last: Last = None, csv_file: CsvFile = None, config: ConfigFile = None
    ) -> None:
        """Coupons of a site, by vendor."""
        days = _period(first, last)
        _show_report(run(config, lambda xerts: xerts.site_report(site, *days)), "vendor", csv_file)

    return app


def _plainly(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Turn what a person can mend into one sentence and exit status 1."""

    @functools.wraps(command)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except BackendCredentials as error:
            fail(f"{error}; see api_key, email and password, and what this member may do")
        except (BackendError, _Wrong) as error:
            fail(str(error))

    return wrapped


def _loaded(load_settings: LoadSettings, config: Path | None) -> tuple[XertsSettings, ZoneInfo]:
    try:
        return load_settings(config)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise _Wrong(f"{where or 'settings'}: {first['msg']}") from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # the errors of whoever mounted the commands, whose classes are not known
        raise _Wrong(str(error) or type(error).__name__) from None


# -- what is given ---------------------------------------------------------------------------------------


def _day(text: str) -> date:
    for pattern in _DAYS:
        try:
            day = datetime.strptime(text, pattern).replace(tzinfo=UTC).date()
        except ValueError:
            continue
        if 2000 <= day.year < 3000:
            return day
    raise _Wrong(f'"{text}" is not a day from 2000 to 2999; write it as 2026-07-28')


def _period(first: str, last: str | None) -> tuple[date, date | None]:
    begin, end = _day(first), None if last is None else _day(last)
    if end is not None and end < begin:
        raise _Wrong("--to is before --from")
    return begin, end


def _decimal(text: str, option: str) -> Decimal:
    try:
        number = Decimal(text.replace(",", "."))
    except InvalidOperation:
        raise _Wrong(f"{option} is not a number") from None
    if not number.is_finite():
        raise _Wrong(f"{option} is not a number")
    return number


def _cost(text: str, option: str) -> Decimal:
    number = _decimal(text, option)
    if not 0 <= number < 10**15:
        raise _Wrong(f"{option} is no amount of money")
    return number


def _campaign_days(first: str | None, last: str | None) -> tuple[date | None, date | None]:
    begin, end = (None if text is None else _day(text) for text in (first, last))
    if begin is not None and end is not None and end < begin:
        raise _Wrong("--expires is before --starts")
    return begin, end


def _place(lat: str | None, lng: str | None) -> GeoPoint | None:
    if lat is None and lng is None:
        return None
    if lat is None or lng is None:
        raise _Wrong("--lat and --lng go together")
    place = GeoPoint(_decimal(lat, "--lat"), _decimal(lng, "--lng"))
    if abs(place.lat) > 90 or abs(place.lng) > 180:
        raise _Wrong("--lat is within 90 degrees, --lng within 180")
    return place


def _triggers(path: Path) -> Sequence[dict[str, object]]:
    try:
        triggers = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _Wrong(f"{path} cannot be read ({error.strerror})") from None
    except ValueError:
        raise _Wrong(f"{path} is not JSON") from None
    if not isinstance(triggers, list) or not all(isinstance(trigger, dict) for trigger in triggers):
        raise _Wrong(f"{path} is not a list of triggers")
    return triggers


# -- what is shown ---------------------------------------------------------------------------------------


def _coupon_row(coupon: XertsCoupon) -> list[str]:
    moments = (coupon.created_at, coupon.expires_at, coupon.redeemed_at)
    shown = [f"{moment:{_SHOWN}}" if moment else "" for moment in moments]
    return [coupon.code, coupon.offer.title if coupon.offer else "", *shown, coupon.device or ""]


def _show_report(report: CouponReport, what: str, csv_file: str | None) -> None:
    rows = [
        [row.label, str(row.active_offers), str(row.issued), str(row.redeemed), row.reference]
        for row in report.rows
    ]
    if csv_file is None:
        rows.append(["total", "", str(report.issued), str(report.redeemed), ""])
    _show([what, "active offers", "issued", "redeemed", "id"], rows, csv_file)


def _show(head: Sequence[str], rows: Sequence[Sequence[str]], csv_file: str | None) -> None:
    """A table, or CSV."""
    if csv_file is None:
        typer.echo(_table(head, [[_printable(cell) for cell in row] for row in rows]))
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([[_inert(cell) for cell in row] for row in rows])
    if csv_file == "-":
        sys.stdout.write(text.getvalue())
        return
    try:
        Path(csv_file).write_text(text.getvalue(), encoding="utf-8", newline="")
    except OSError as error:
        raise _Wrong(f"{csv_file} cannot be written ({error.strerror})") from None


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side; numbers to the right."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [bool(rows) and all(not cell or cell.isdecimal() for cell in column[1:]) for column in columns]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _printable(text: str) -> str:
    """Without what could steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _inert(cell: str) -> str:
    """A cell no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
