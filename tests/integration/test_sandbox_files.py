"""The OpenAPI files of the CRMs are valid, and the stand-ins serve what is in them and nothing else."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator

from contracts import crm
from contracts.crm import METHODS, NAMES
from contracts.sandbox import MODULES
from contracts.sandbox.server import CONTROL, SERVER
from contracts.sandbox.xerts import XertsSwitches

SPELLINGS = [
    switch
    for switch in XertsSwitches.model_fields
    if any(switch in operation.variants for operation in crm.load("xerts").operations.values())
]


def served(application: web.Application) -> set[tuple[str, str]]:
    """Method and path of each route that belongs to the CRM."""
    return {
        (route.method, route.resource.canonical)
        for route in application.router.routes()
        if route.resource is not None
        and route.method != "*"
        and not route.resource.canonical.startswith(CONTROL)
    }


@pytest.mark.parametrize("name", NAMES)
def test_file_is_valid_openapi_3_1(name: str) -> None:
    document: Any = crm.load(name).document
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


@pytest.mark.parametrize("name", NAMES)
def test_each_operation_says_where_it_comes_from(name: str) -> None:
    specification = crm.load(name)
    written = sum(method in item for item in specification.document["paths"].values() for method in METHODS)
    assert len(specification.operations) == written
    for operation in specification.operations.values():
        assert operation.evidence in ("seed", "public client", "inferred"), operation.id
        assert operation.summary


@pytest.mark.parametrize("name", NAMES)
def test_each_operation_is_served_and_each_route_is_in_the_file(name: str) -> None:
    application = MODULES[name].application()
    operations = crm.load(name).operations
    assert served(application) == {(each.method, each.path) for each in operations.values()}
    assert set(application[SERVER].stand_in.handlers) == set(operations)


def test_each_spelling_that_is_served_is_in_the_file() -> None:
    choices = [get_args(XertsSwitches.model_fields[switch].annotation) for switch in SPELLINGS]
    operations = crm.load("xerts").operations.values()
    for values in itertools.product(*choices):
        switches = dict(zip(SPELLINGS, values, strict=True))
        routes = served(MODULES["xerts"].application(**switches))
        assert routes == {operation.served_at(switches) for operation in operations}
        assert len(routes) == len(operations)


@pytest.mark.parametrize("switch", SPELLINGS)
def test_each_variant_in_the_file_can_be_chosen_and_each_choice_is_there(switch: str) -> None:
    field = XertsSwitches.model_fields[switch]
    variants = {
        value
        for operation in crm.load("xerts").operations.values()
        for value in operation.variants.get(switch, {})
    }
    assert set(get_args(field.annotation)) == variants | {field.default}


@pytest.mark.parametrize("name", NAMES)
def test_unknown_switch_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="colour"):
        MODULES[name].application(colour="red")


def test_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        crm.load("another")
