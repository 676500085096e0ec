"""The checks, a module for each group; importing this registers all of them in the order of the contract."""

from importlib import import_module

GROUPS = (
    "common",
    "credentials",
    "transport",
    "find",
    "consents",
    "card",
    "profile",
    "enrolment",
    "identity",
    "purchases",
    "offers_and_lists",
    "receipts",
    "promo",
    "money",
    "scenarios",
    "every_answer",
)

for group in GROUPS:
    import_module(f"{__name__}.{group}")
