"""The calls by which a Medusa and its stand-in are compared, those of the connector and some beside them.

``answers.json`` holds what Medusa 2.21.1 answered; both are held to it. It may not know which one is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).with_name("answers.json")
Ask = Callable[[str, str, Any], Awaitable[tuple[int, Any]]]

_PHONE, _OTHER_PHONE = "+79165550001", "+79165550002"
_ACCOUNTS = "/admin/store-credit-accounts"
CALLS: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/admin/customers", {"phone": _PHONE, "first_name": "Anna", "metadata": {"a": "1", "b": "2"}}),
    ("POST", "/admin/customers", {"phone": _PHONE, "email": "Recorded@example.org"}),
    ("POST", "/admin/customers", {"phone": _OTHER_PHONE, "email": "Recorded@example.org"}),
    ("POST", "/admin/customers", {"phone": _OTHER_PHONE, "email": "recorded@example.org"}),
    ("POST", "/admin/customers", {"phone": _OTHER_PHONE, "email": "no address"}),
    ("GET", "/admin/customers?q=9165550001&limit=100", None),
    ("GET", "/admin/customers?q=916555&limit=1&offset=1&order=id&fields=id,phone", None),
    ("GET", "/admin/customers?q=RECORDED@example.org&fields=id", None),
    ("GET", "/admin/customers?email=RECORDED@example.org&fields=id", None),
    ("GET", "/admin/customers?q=9165550009", None),
    ("GET", "/admin/customers/<cus_1>", None),
    ("GET", "/admin/customers/<cus_1>?fields=id", None),
    ("GET", "/admin/customers/cus_nobody", None),
    ("POST", "/admin/customers/<cus_1>", {"last_name": "Petrova", "metadata": {"b": "", "c": "3"}}),
    ("POST", "/admin/customers/<cus_1>", {"first_name": "Anna", "metadata": {}}),
    ("POST", "/admin/customers/<cus_1>", {"email": "Recorded@example.org"}),
    ("POST", "/admin/customers/cus_nobody", {"metadata": {"a": "1"}}),
    ("GET", f"{_ACCOUNTS}?customer_id=<cus_1>&currency_code=rub&fields=id", None),
    ("POST", _ACCOUNTS, {"customer_id": "<cus_1>", "currency_code": "rub"}),
    ("POST", _ACCOUNTS, {"customer_id": "<cus_1>", "currency_code": "rub"}),
    ("GET", f"{_ACCOUNTS}?customer_id=<cus_1>&currency_code=rub&fields=id", None),
    ("GET", f"{_ACCOUNTS}?customer_id=<cus_1>", None),
    ("GET", f"{_ACCOUNTS}?customer_id=cus_nobody&currency_code=rub&fields=id", None),
    ("POST", f"{_ACCOUNTS}/<sc_acc_1>/credit", {"amount": 5.25, "note": "Purchase [KEY]"}),
    ("POST", f"{_ACCOUNTS}/<sc_acc_1>/credit", {"amount": 5.25, "note": "Purchase [KEY]"}),
    ("POST", f"{_ACCOUNTS}/<sc_acc_1>/credit", {"amount": 3}),
    ("POST", f"{_ACCOUNTS}/<sc_acc_1>/credit", {"amount": 0, "note": "n"}),
    ("POST", f"{_ACCOUNTS}/<sc_acc_1>/credit", {"amount": "5", "note": "n"}),
    ("POST", f"{_ACCOUNTS}/sc_acc_nobody/credit", {"amount": 5, "note": "n"}),
    ("GET", f"{_ACCOUNTS}/<sc_acc_1>/transactions?order=-created_at&limit=2&offset=0", None),
    ("GET", f"{_ACCOUNTS}/<sc_acc_1>/transactions?order=-created_at&limit=2&offset=2", None),
    ("GET", f"{_ACCOUNTS}/sc_acc_nobody/transactions?order=-created_at", None),
    ("GET", f"{_ACCOUNTS}?customer_id=<cus_1>&currency_code=rub&fields=id", None),
)
"""Method, path and body; ``<cus_1>`` is the first customer that was told of."""

_ID = re.compile(r"\b(cus|sc_acc|sc_trx|apk)_[0-9A-Z]{20,}\b|\bapk_1\b")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


async def asked(ask: Ask) -> list[dict[str, Any]]:
    """Each call with its answer, with identifiers and moments that stand for what they were."""
    names: dict[str, str] = {}
    told: list[dict[str, Any]] = []
    for method, path, body in CALLS:
        sent = json.dumps([path, body])
        for made, name in names.items():
            sent = sent.replace(f"<{name}>", made)
        real_path, real_body = json.loads(sent)
        status, answer = await ask(method, real_path, real_body)
        text = json.dumps(answer)
        for found in _ID.finditer(text):
            kind = found[0].rsplit("_", 1)[0]
            numbers = sum(name.startswith(kind) for name in names.values())
            names.setdefault(found[0], f"{kind}_{numbers + 1}")
        for made, name in names.items():
            text = text.replace(made, f"<{name}>")
        text = re.sub(r'"code": "SC-[^"]*"', '"code": "<code>"', _MOMENT.sub("<moment>", text))
        told.append({"call": [method, path, body], "status": status, "answer": json.loads(text)})
    return told


def recorded() -> list[dict[str, Any]]:
    """What Medusa answered."""
    found: list[dict[str, Any]] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return found


def differences(told: list[dict[str, Any]]) -> Iterator[str]:
    """Where answers are not the recorded ones."""
    for one, other in zip(told, recorded(), strict=True):
        if one != other:
            yield f"{one['call']}: {one['status']} {one['answer']}; recorded: {other['answer']}"
