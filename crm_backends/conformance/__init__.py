"""The kit that proves a driver: the scenarios of ``SCENARIOS.md`` as classes to derive from.

A driver's test module gives a fixture ``rig`` and one class per port, each of which is ``pass``. This
package needs pytest and is imported by tests alone. It may not know any driver, nor the adapter.
"""

from __future__ import annotations

import pytest

# Before they are imported, so that a failed scenario shows what was compared.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in ("base", "cards", "port_calls", "coupons", "general", "points", "users")
    )
)

from crm_backends.conformance.base import Conformance, needs, scenarios_of  # noqa: E402
from crm_backends.conformance.coupons import BaseCoupons  # noqa: E402
from crm_backends.conformance.general import BaseGeneral  # noqa: E402
from crm_backends.conformance.points import BasePoints  # noqa: E402
from crm_backends.conformance.relay import Relay, RelayedRig  # noqa: E402
from crm_backends.conformance.rig import ZONE, NoSuchState, Rig, context  # noqa: E402
from crm_backends.conformance.users import BaseUsers  # noqa: E402

__all__ = [
    "ZONE",
    "BaseCoupons",
    "BaseGeneral",
    "BasePoints",
    "BaseUsers",
    "Conformance",
    "NoSuchState",
    "Relay",
    "RelayedRig",
    "Rig",
    "context",
    "needs",
    "scenarios_of",
]
