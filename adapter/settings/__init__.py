"""One strict tree of settings, from a TOML file and the environment, which overrides the file.

This room may not know what the settings are used for.
"""

from adapter.settings.base import CannotRun, SettingsError, secret_names, shape_of
from adapter.settings.card_sections import BARCODE_DIGITS, Cards, Enrolment, Matching, NumberRange
from adapter.settings.console_section import Console, Person
from adapter.settings.crm import PORTS, Binding, Crm, CrmPort
from adapter.settings.loading import (
    DEFAULT_FILE,
    ENV_PREFIX,
    Settings,
    names_database,
    read_settings,
    secret_files,
    settings_path,
    with_overrides,
)
from adapter.settings.operation_sections import CouponTriggers, Delivery, Promo, Receipts
from adapter.settings.sections import (
    SHORTEST_PASSWORD,
    Database,
    Koshelek,
    Log,
    ManagementPort,
    Retention,
    Server,
)

__all__ = [
    "BARCODE_DIGITS",
    "DEFAULT_FILE",
    "ENV_PREFIX",
    "PORTS",
    "SHORTEST_PASSWORD",
    "Binding",
    "CannotRun",
    "Cards",
    "Console",
    "CouponTriggers",
    "Crm",
    "CrmPort",
    "Database",
    "Delivery",
    "Enrolment",
    "Koshelek",
    "Log",
    "ManagementPort",
    "Matching",
    "NumberRange",
    "Person",
    "Promo",
    "Receipts",
    "Retention",
    "Server",
    "Settings",
    "SettingsError",
    "names_database",
    "read_settings",
    "secret_files",
    "secret_names",
    "settings_path",
    "shape_of",
    "with_overrides",
]
