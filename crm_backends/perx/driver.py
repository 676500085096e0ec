"""The Perx driver: the three ports over one tenant.

What is asked and answered is in ``requests`` and ``replies``, each port in a module of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from crm_backends.http import Probe
from crm_backends.model import Holder
from crm_backends.outcomes import Reconciliation
from crm_backends.perx import checking, identity
from crm_backends.perx.capabilities import capabilities
from crm_backends.perx.coupons import PerxCoupons
from crm_backends.perx.points import PerxPoints
from crm_backends.perx.settings import PerxSettings
from crm_backends.perx.users import PerxUsers
from crm_backends.perx.vouchers import PerxVouchers
from crm_backends.ports import Deadline
from crm_backends.registry import BackendContext


class PerxBackend(PerxUsers, PerxPoints, PerxCoupons, PerxVouchers):
    """Users, Points and Coupons on Perx.

    Reads raise a ``BackendError``. Writes return a ``Written``; they raise ``BackendMisconfigured`` or
    ``NotSupported`` only where nothing has been changed.
    """

    reconciliation = Reconciliation.PROBE

    def __init__(self, settings: PerxSettings, context: BackendContext) -> None:
        super().__init__(settings, context)
        self.capabilities = capabilities(settings)

    def probes(self) -> Iterable[Probe]:
        """See ``checking``: each kind of token, and a read with it."""
        return checking.probes(self._requests, self._settings)

    async def points_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """Identifier of the holder, as ``account_by`` says; an identifier made here is known by its shape."""
        by = self._settings.names_account_by
        customer = holder.users_reference
        if (by == "users_reference" or identity.is_ours(customer)) and (
            await self._requests.account(customer, deadline) is not None
        ):
            return customer
        if by == "card_number" and await self._requests.account(holder.card_number, deadline) is not None:
            return holder.card_number
        if by == "phone":
            found = await self._by_phone(
                self.required_from_users_crm(holder.profile.phone, "phone"), deadline
            )
            return None if found is None else found.customer_id
        return None

    async def coupons_account(self, holder: Holder, *, deadline: Deadline) -> str | None:
        """The same as for points."""
        return await self.points_account(holder, deadline=deadline)
