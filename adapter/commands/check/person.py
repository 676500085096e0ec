"""``check --phone``: one real person walked through all that Koshelek would ask, shown masked.

Nothing is changed. Each line says how long the CRM took, so that a slow question is seen by itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from adapter.api import answers
from adapter.bootstrap import Service
from adapter.errors import Code, Refused
from adapter.loyalty.finding import choose
from adapter.loyalty.holder import ENTRIES_SHOWN, CardInfo
from adapter.loyalty.model import Card, CardState
from adapter.loyalty.numbers import BadNumber, shown
from adapter.loyalty.ports import Port
from adapter.loyalty.standing import as_it_is_now
from adapter.settings import Settings
from contracts.suite.redaction import Redactor, partly
from crm_backends.inputs import read_phone
from crm_backends.model import Balance, Customer, Holder
from crm_backends.ports import AccountUnknown, BackendError, Deadline, Finding, NotSupported

T = TypeVar("T")

_PATIENCE = 30.0
"""Seconds one question may take here; in service ``server.deadline`` is the limit."""
_LIST_PATIENCE = 300.0
_SHOWN = 3
"""Elements of a list that are shown."""
_DAYS = 365
_WRITE_IT = "let the CRM tell it, or tell Koshelek that the programme shows no points"


@dataclass(slots=True)
class Walk:
    """One person's walk."""

    service: Service
    phone: str
    """As it was given."""
    lists: bool
    """Whether the lists of all users are served."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return self.service.settings

    async def run(self) -> list[Finding]:
        """Find the person, then everything about them."""
        phone = read_phone(self.phone, self.settings.koshelek.region)
        if phone is None:
            self._tell("phone", "this is no phone", "digits with the country code, as 79161234567", ok=False)
            return self.findings
        found = await self._found(phone)
        if found is None:
            return self.findings
        customer, card = found
        await self._points(customer, card)
        await self._offers(customer, card)
        await self._listed(phone)
        return self.findings

    async def _found(self, phone: str) -> tuple[Customer, Card] | None:
        """The customer, and the card that Koshelek would get; a card to be entered is only shown."""
        programme = self.service.programme
        found = await self._ask(
            "find",
            lambda deadline: programme.finder.find(
                phone=phone, email=None, birth_date=None, deadline=deadline
            ),
        )
        if found is None:
            return None
        people, took = found
        if not people:
            self._tell(
                "find",
                f"nobody has this phone{took}: Koshelek would offer a new card",
                "if the CRM has this person, the phone is written otherwise there: what looks people up "
                "(users_find.sql, users.find) has to compare phones in one form",
                ok=False,
            )
            return None
        self._look_at(people[0][0], phone)
        cards = {customer.customer_id: card for customer, card in people if card is not None}
        holders = [customer for customer, _ in people if customer.customer_id in cards]
        try:
            customer = choose(programme, holders or [one for one, _ in people], phone=phone, birth_date=None)
        except Refused as error:
            self._tell(
                "find",
                f"{len(people)} customers have this phone{took}: Koshelek would get error {error.code}",
                "matching.several chooses one; or merge them in the CRM",
                ok=False,
            )
            return None
        card = cards.get(customer.customer_id) or await self._to_come(customer)
        if not card.number:
            self._tell("find", f"no card yet{took}: Koshelek would get an empty answer, and issue one")
        elif card.state is CardState.BLOCKED:
            self._tell("find", f"the card is blocked{took}: Koshelek would get error {Code.CARD_BLOCKED}")
        else:
            new = "" if customer.customer_id in cards else ", taken over from the CRM then"
            self._tell("find", f"{self._shown(answers.found_card_json(card))}{new}{took}")
        return customer, card

    def _look_at(self, customer: Customer, phone: str) -> None:
        """What of the person the CRM tells, by name."""
        given = ", ".join(customer.profile.given()) or "nothing"
        same = customer.profile.phone == phone
        self._tell(
            "customer",
            f"known by {given}" + ("" if same else "; the phone it tells is another"),
            "" if same else "users_find has to return the phone that it finds by",
            warning=not same,
        )

    async def _to_come(self, customer: Customer) -> Card:
        """The card that Koshelek's first call would enter; its number is empty if the CRM tells none."""
        number, cards = customer.card_number or "", self.settings.cards
        if not cards.adopt:
            number = ""
        barcode, kind, state = number, str(cards.barcode_type), CardState.ACTIVE
        if number:
            programme, deadline = self.service.programme, Deadline.after(_PATIENCE)
            number, word, told = await as_it_is_now(programme, customer, number, deadline)
            state = CardState("inactive" if word == "replaced" else word)
            known = await programme.cards.get(number)
            try:
                as_shown = shown(
                    number, told.barcode if told else None, told.barcode_type if told else None, cards
                )
                barcode, kind = as_shown.barcode, as_shown.barcode_type
                if known is not None and not as_shown.told:  # a number keeps the barcode it has here
                    barcode, kind = known.barcode_number, known.barcode_type
                problem = (
                    "" if as_shown.fits else f"does not fit {cards.barcode_type}, and is shown as {kind}"
                )
            except BadNumber as error:
                problem = f"cannot be shown: {str(error).partition('; ')[0]}"
            if problem:
                self._tell(
                    "card",
                    f"the CRM's number {partly(number)} {problem}",
                    "choose cards.barcode_type and barcode_rule so that the CRM's numbers fit",
                    warning=True,
                )
        return Card(number, barcode, kind, state, users_reference=customer.customer_id)

    async def _account(self, port: Port, customer: Customer, card: Card) -> str | None:
        """Under what a CRM keeps this person."""
        programme = self.service.programme
        if port in programme.same_customer_id:
            return customer.customer_id
        known = card.points_reference if port == "points" else card.coupons_reference
        if known is not None:
            return known
        holder = Holder(card.number, customer.customer_id, customer.profile)
        crm = programme.points if port == "points" else programme.coupons
        if crm is None:
            return None
        ask: Any = crm.points_account if port == "points" else crm.coupons_account  # type: ignore[union-attr]
        found = await self._ask(f"{port} account", lambda deadline: ask(holder, deadline=deadline))
        if found is None:
            return None
        account, took = found
        if account is None:
            self._tell(
                f"{port} account",
                f"the {port} CRM does not know this person{took}; they would see nothing there",
                f"see what it knows people by: the page of the driver of crm.{port}",
                warning=True,
            )
            return None
        self._tell(f"{port} account", f"found{took}")
        return str(account)

    async def _points(self, customer: Customer, card: Card) -> None:
        points = self.service.programme.points
        account = None if points is None else await self._account("points", customer, card)
        if points is None or account is None:
            return
        balance = await self._ask(
            "balance",
            lambda deadline: points.balance(account, deadline=deadline),
            without="the card would show a balance of 0, whatever this person has",
        )
        entries = await self._ask(
            "movements", lambda deadline: points.entries(account, limit=ENTRIES_SHOWN, deadline=deadline)
        )
        if balance is not None:
            told = balance[0]
            moved = () if entries is None else tuple(entry for entry in entries[0] if entry.amount)
            info = CardInfo(card, Balance(told.total, told.available), moved[:_SHOWN])
            more = f" and {len(moved) - _SHOWN} more" if len(moved) > _SHOWN else ""
            took = balance[1] + ("" if entries is None else f", movements{entries[1]}")
            self._tell("balance", f"{self._shown(answers.card_info_json(info))}{more}{took}")
        zone, today = self.settings.zone, self.service.programme.now().date()
        since = today - timedelta(days=_DAYS)
        bought = await self._ask(
            "purchases",
            lambda deadline: points.purchases(account, since=since, until=today, deadline=deadline),
        )
        if bought is not None:
            lines, took = bought
            if lines:  # roubles that were taken for kopecks are seen at a glance
                took = f", the newest for {Decimal(lines[0].amount_kopecks) / 100:.2f} roubles{took}"
            self._tell_list("purchases", [answers.purchase_json(one, zone) for one in lines], took)

    async def _offers(self, customer: Customer, card: Card) -> None:
        coupons = self.service.programme.coupons
        account = None if coupons is None else await self._account("coupons", customer, card)
        if coupons is None or account is None:
            return
        offered = await self._ask("offers", lambda deadline: coupons.offers(account, deadline=deadline))
        if offered is not None:
            zone = self.settings.zone
            off = "" if self.settings.koshelek.offers_path else "; the method is off (koshelek.offers_path)"
            self._tell_list("offers", [answers.offer_json(one, zone) for one in offered[0]], offered[1] + off)

    async def _listed(self, phone: str) -> None:
        """Whether the lists of all users tell this phone."""
        if not self.lists:
            self._tell("getAllUsers", "switched off (koshelek.get_all_users)")
            return
        if not self.service.programme.lists_users:
            self._tell("getAllUsers", "the users CRM lists nobody; the owners of our own cards are told")
            return

        async def look(_: Deadline) -> tuple[int, bool]:
            count = 0
            async for batch in self.service.programme.users.list_phones():
                if phone in batch:
                    return count + list(batch).index(phone) + 1, True
                count += len(batch)
            return count, False

        found = await self._ask("getAllUsers", look, _LIST_PATIENCE)
        if found is None:
            return
        (count, there), took = found
        if there:
            self._tell("getAllUsers", f"told, as number {count} of the list{took}")
        else:
            self._tell(
                "getAllUsers",
                f"not among the {count} phones of the list{took}",
                "see which customers users_list_phones selects; Koshelek takes others for strangers",
                warning=True,
            )

    async def _ask(
        self,
        what: str,
        ask: Callable[[Deadline], Awaitable[T]],
        patience: float = _PATIENCE,
        *,
        without: str = "",
    ) -> tuple[T, str] | None:
        """The answer and how long it took; ``None``: there was none, and a finding says why.

        ``without``: what Koshelek is answered where the CRM does not support this, if that may be wrong.
        """
        began = time.perf_counter()
        try:
            answer = await ask(Deadline.after(patience))
        except NotSupported as error:
            told = f"not supported: {error}"
            self._tell(what, f"{told}; {without}" if without else told, _WRITE_IT, warning=bool(without))
            return None
        except AccountUnknown as error:
            self._tell_of_no_account(what, error)
            return None
        except BackendError as error:
            reason, _, remedy = str(error).partition("; ")
            self._tell(what, reason, remedy or "see the lines about this CRM", ok=False)
            return None
        seconds = time.perf_counter() - began
        limit = self.settings.server.deadline
        if patience == _PATIENCE and seconds > limit / 2:
            self._tell(
                what,
                f"took {seconds:.1f} s, where a whole request may take {limit:g} s (server.deadline)",
                "an index in the CRM's database, or a nearer CRM; else calls end as 905",
                ok=seconds < limit,
                warning=True,
            )
        return answer, f" ({seconds * 1000:.0f} ms)"

    def _tell_of_no_account(self, what: str, error: AccountUnknown) -> None:
        """Koshelek is shown the last balance known; 0 where none is and where nothing is lost by that."""
        if error.has_nothing:
            remedy = "nothing, if this person never had points there"
            self._tell(what, f"{error}; a card without an earlier balance shows 0", remedy, warning=True)
            return
        remedy = "see whether the customer was removed or merged in the CRM"
        self._tell(what, f"{error}, though it told this account", remedy, ok=False)

    def _tell_list(self, what: str, items: Sequence[dict[str, Any]], took: str) -> None:
        more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
        self._tell(what, f"{self._shown(list(items[:_SHOWN]))}{more}{took}")

    def _shown(self, answer: Any) -> str:
        """An answer as Koshelek would get it, with personal data and codes masked."""
        return Redactor().value(_without_texts(json.loads(answers.encode(answer))))

    def _tell(
        self, what: str, detail: str, remedy: str = "", *, ok: bool = True, warning: bool = False
    ) -> None:
        self.findings.append(Finding(what, ok, detail, remedy, warning=warning and ok))


def _without_texts(value: Any) -> Any:
    """The value with a length in place of each text of the CRM's and each code of a coupon."""
    if isinstance(value, dict):
        return {
            key: f"<{len(item)} characters>"
            if key in ("description", "code") and isinstance(item, str)
            else _without_texts(item)
            for key, item in value.items()
        }
    return [_without_texts(item) for item in value] if isinstance(value, list) else value
