"""What the management port asks of the adapter's own database. ``adapter.store`` implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from adapter.loyalty.ports import Waiting


class Monitoring(Protocol):
    """What is not over, counted. Raises ``StoreUnavailable`` when the database does not answer."""

    async def waiting(self) -> Sequence[Waiting]:
        """Per kind and state that any operation is in."""
