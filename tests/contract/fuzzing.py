"""Requests made from the OpenAPI document, sent to the adapter, and its answers held against the contract.

For ``test_fuzz``, which says what is wanted of them.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.result import Ok

from adapter.commands.demo import ANNA, BLOCKED, LOGIN, PASSWORD, PLASTIC
from adapter.errors import Code
from contracts.loyalty_online import openapi

from ..integration.conftest import all_strings
from ..integration.processes import basic
from .documents import validator

Operation: TypeAlias = APIOperation[Any, Any, Any, Any]

DOCUMENT = openapi.document("1.3.0")
OPERATIONS: list[Operation] = [
    each.ok()
    for each in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    if isinstance(each, Ok)
]
FAULTS = (Code.INTERNAL, Code.DATABASE_DOWN, Code.CRM_DOWN, Code.NOT_SUPPORTED)
"""What no request may lead to while database and CRM are well."""

_PHONES = st.sampled_from(["79000000001", "79000000002", "+7 (900) 000-00-01"]) | st.from_regex(
    r"79[0-9]{9}", fullmatch=True
)
_CARDS = st.sampled_from([ANNA, ANNA, ANNA, BLOCKED, PLASTIC, "anonymous "])


def _qr(minutes: int, total: str, document: int, sign: int, separator: str, settlement: str) -> str:
    moment = datetime.now(ZoneInfo("Europe/Moscow")) - timedelta(minutes=minutes)
    keys = (f"t={moment:%Y%m%dT%H%M}", f"s={total}", "fn=0009999078900004", f"i={document}", f"fp={sign}")
    return separator.join((*keys, f"n={settlement}"))


_RECEIPTS = st.builds(
    _qr,
    minutes=st.integers(-800, 5000),
    total=st.sampled_from(["10.00", "0.00", "1250", "99,9", "999999999999.99"]),
    document=st.integers(0, 3000),
    sign=st.integers(0, 4_294_967_296),
    separator=st.sampled_from(["&", ";", "\n"]),
    settlement=st.sampled_from(["1", "1", "1", "2", "5"]),
)
PLAUSIBLE = {
    "cardNumber": _CARDS,
    "msisdn": _PHONES,
    "phone": _PHONES,
    "email": st.sampled_from(["anna@example.com", "ANNA@example.com", "new@example.com"]),
    "birthDate": st.dates().map(str),
    "startDate": st.dates().map(str),
    "endDate": st.dates().map(str),
    "qrCode": _RECEIPTS,
    "code": st.sampled_from(["WELCOME", "SINGLE", "EXPIRED", "SOON", "GONE", "welcome "]),
}
"""Values that mean something to the demo programme."""
_LAID_OVER = st.fixed_dictionaries({}, optional=PLAUSIBLE)
_INSTEAD = st.fixed_dictionaries(PLAUSIBLE)
_BODIES = st.one_of(*[st.none()] * 7, st.sampled_from([b"[]", b"1", b"[" * 5000]), st.binary(max_size=200))


@dataclass
class Target:
    """The running adapter, and how it answered so far."""

    base: str
    session: requests.Session = field(default_factory=requests.Session)
    statuses: Counter[int] = field(default_factory=Counter)
    seen: set[tuple[str, str]] = field(default_factory=set)
    """Operations with the codes, or ``ok``, that they were answered with."""

    def send(
        self,
        case: Case[Operation],
        values: dict[str, str],
        instead: bool,
        body: bytes | None,
        credentials: str,
    ) -> None:
        """Send one request; its answer must be within the contract.

        ``values`` are laid over the made ones, or put in their place; ``body`` replaces the body.
        """
        for container in (case.path_parameters, case.query):
            container.update({key: values[key] for key in values if key in container})
        if isinstance(case.body, dict):
            known = _body_fields(case.operation)
            case.body = {
                **({} if instead else case.body),
                **{key: values[key] for key in values if key in known},
            }
        request = case.as_transport_kwargs(base_url=self.base)
        if body is not None and not isinstance(case.body, schemathesis.core.NotSet):
            request.pop("json", None)
            request["data"] = body
        request["headers"] = {**(request["headers"] or {}), "Authorization": credentials}
        response = self.session.request(**request, timeout=30, allow_redirects=False)
        self.statuses[response.status_code] += 1
        code = judge(case.operation, response)
        self.seen.add((str(case.operation.definition.raw["operationId"]), code))


def _body_fields(operation: Operation) -> frozenset[str]:
    """Names of the fields that the request body of an operation may have."""
    body = openapi.follow(DOCUMENT, operation.definition.raw["requestBody"])
    (media,) = body["content"].values()
    return frozenset(openapi.follow(DOCUMENT, media["schema"])["properties"])


def judge(operation: Operation, response: requests.Response) -> str:
    """Hold an answer against the contract; its error code, or ``ok``."""
    status, raw = str(response.status_code), response.content
    assert status in ("200", "401", "422"), status
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    definition = openapi.follow(DOCUMENT, operation.definition.raw["responses"][status])
    if not raw:
        assert definition.get("x-empty-body"), "an empty body"
        return "ok"
    assert definition.get("x-empty-body") != "always", raw
    answer = json.loads(raw.decode("utf-8"))
    assert all_strings(answer), answer
    operation_id = str(operation.definition.raw["operationId"])
    errors = [error.message for error in _validator(operation_id, status).iter_errors(answer)]
    assert not errors, errors
    if status == "200":
        return "ok"
    assert set(answer) == {"code", "description"}
    assert answer["code"] not in FAULTS, answer
    assert status != "401" or response.headers["WWW-Authenticate"].startswith("Basic ")
    return str(answer["code"])


@cache
def _validator(operation_id: str, status: str) -> Draft202012Validator:
    (node,) = (each.node for each in openapi.operations(DOCUMENT) if each.node["operationId"] == operation_id)
    (media,) = openapi.follow(DOCUMENT, node["responses"][status])["content"].values()
    return validator(DOCUMENT, media["schema"])


@cache
def _cases(index: int) -> st.SearchStrategy[Case[Operation]]:
    """Requests to one operation, allowed and broken ones."""
    operation = OPERATIONS[index]
    return operation.as_strategy(GenerationMode.POSITIVE) | operation.as_strategy(GenerationMode.NEGATIVE)


def fuzz(target: Target, index: int, examples: int, start: int) -> None:
    """Send about ``examples`` requests to an operation; ``start`` decides which."""

    @seed(start)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(
        case=_cases(index),
        values=st.tuples(_LAID_OVER, st.just(False)) | st.tuples(_INSTEAD, st.just(True)),
        body=_BODIES,
        credentials=st.sampled_from([*[basic(LOGIN, PASSWORD)] * 15, basic(LOGIN, "wrong"), "Basic", "?"]),
    )
    def send(
        case: Case[Operation], values: tuple[dict[str, str], bool], body: bytes | None, credentials: str
    ) -> None:
        target.send(case, *values, body, credentials)

    send()
