"""The findings of the running service, for the console's page Check. It may not know how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crm_backends.ports import Finding

if TYPE_CHECKING:
    from adapter.bootstrap import Service


@dataclass(frozen=True, slots=True)
class Looking:
    """Implements ``adapter.ops.console.ports.Looks``."""

    service: Service

    async def findings(self) -> Sequence[Finding]:
        from adapter.checking.findings import of_running

        return await of_running(self.service)

    async def contract(self) -> Finding:
        # Imported here: the suite takes longer to import than the service to start.
        from adapter.checking.contract import contract

        return await contract(self.service)
