"""Rules that every answer has to keep, whatever was asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from contracts.suite.checking import Breach, rule
from contracts.suite.client import NO_JSON, Answer

BUDGET = 4.0
"""Seconds Koshelek is assumed to wait."""
BARCODES = ("EAN_8", "EAN_13", "CODE_128", "UPC_A", "QR_CODE")
_CONTENT_TYPE = re.compile(r'application/json\s*;\s*charset\s*=\s*"?utf-8"?', re.IGNORECASE)
_INSIDE = re.compile(
    r"Traceback \(most recent|Stack ?[Tt]race"
    r"|\bat [\w$.]+\([\w]+\.(?:java|kt|scala):\d+\)"
    r"|\.(?:php|py|rb|cs):? ?(?:on )?line \d+|\bin /[\w./-]+\.\w+(?: on line|:\d+)"
    r"|SQLSTATE|ORA-\d{5}|syntax error at or near|\bSELECT .+ FROM |\bINSERT INTO "
    r"|(?:PDO|SQL|Mysqli?)Exception"
    r"|(?:^|[\s\"'])/(?:var|usr|home|opt|srv|app)/[\w.-]+/[\w./-]+|[A-Z]:\\\\?[\w\\ .-]+\\\\?\w+\.\w+"
)


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 80 else f"{text[:80]}…"


def _leaves(value: Any, path: str = "$", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]", depth + 1)
    else:
        yield path, value


def is_error_object(value: Any) -> bool:
    """Whether this is ``{code, description}`` and nothing else."""
    return isinstance(value, dict) and {key.lower() for key in value} == {"code", "description"}


def _content_type(answer: Answer, what: str) -> Breach | None:
    given = answer.headers.getall("Content-Type", [])
    if len(given) == 1 and _CONTENT_TYPE.fullmatch(given[0].strip()):
        return None
    actual = f"Content-Type: {', '.join(given)}" if given else "no Content-Type header"
    return Breach(f"{what} has Content-Type: application/json; charset=utf-8", actual, answer=answer)


@rule("KLO-0-16")
def is_utf_8(answer: Answer) -> Breach | None:
    """Every body is valid UTF-8"""
    try:
        answer.body.decode("utf-8")
    except UnicodeDecodeError as error:
        return Breach(
            "a body in UTF-8", f"byte {answer.body[error.start]:#04x} at {error.start}", answer=answer
        )
    return None


@rule("KLO-0-17")
def content_type_of_a_body(answer: Answer) -> Breach | None:
    """Every 200 with a body is application/json; charset=utf-8"""
    if answer.status != 200 or answer.is_empty:
        return None
    return _content_type(answer, "an answer 200 with a body")


@rule("KLO-0-18")
def content_type_of_an_empty_body(answer: Answer) -> Breach | None:
    """Every 200 without a body has the same Content-Type"""
    if answer.status != 200 or not answer.is_empty:
        return None
    return _content_type(answer, "an empty answer 200")


@rule("KLO-0-19")
def content_type_of_an_error(answer: Answer) -> Breach | None:
    """Every error has the same Content-Type"""
    return _content_type(answer, "an error") if answer.refused else None


@rule("KLO-0-20")
def is_json(answer: Answer) -> Breach | None:
    """Every body is one valid JSON text"""
    if answer.is_empty or answer.is_one_json_text:
        return None
    return Breach("a body that is JSON", answer.in_short(), answer=answer)


@rule("KLO-0-22")
def success_is_200(answer: Answer) -> Breach | None:
    """What was processed is answered 200"""
    if 200 < (answer.status or 0) < 400:
        return Breach("status 200", f"status {answer.status}", answer=answer)
    return None


@rule("KLO-0-23")
def failure_is_422(answer: Answer) -> Breach | None:
    """What could not be processed is answered 422"""
    if answer.status is not None and answer.status >= 400 and answer.status not in (401, 422):
        return Breach("an error with status 422", f"status {answer.status}", answer=answer)
    if answer.ok and answer.method not in (10, 12) and is_error_object(answer.json):
        return Breach("an error with status 422", f"status 200 with {answer.in_short()[4:]}", answer=answer)
    return None


@rule("KLO-0-24")
def no_other_status(answer: Answer) -> Breach | None:
    """No status but 200 and 422, and 401 for refused credentials"""
    if answer.status in (200, 401, 422):
        return None
    return Breach("status 200, 422 or 401", f"status {answer.status}", answer=answer)


@rule("KLO-0-29")
def error_object(answer: Answer) -> Breach | None:
    """Every error is an object with code and description"""
    if not answer.refused or answer.verb == "HEAD":
        return None
    value = answer.json
    if isinstance(value, dict) and {"code", "description"} <= value.keys():
        return None
    return Breach('an error {"code": "…", "description": "…"}', answer.in_short(), answer=answer)


def _error_text(name: str) -> Callable[[Answer], Breach | None]:
    def judge(answer: Answer) -> Breach | None:
        value = answer.json
        if not answer.refused or not isinstance(value, dict) or name not in value:
            return None
        if isinstance(value[name], str) and value[name].strip():
            return None
        return Breach("a string that is not empty", _shown(value[name]), answer=answer, path=f"$.{name}")

    return judge


@rule("KLO-0-30")
def error_code(answer: Answer) -> Breach | None:
    """The code of every error is a string that is not empty"""
    return _error_text("code")(answer)


@rule("KLO-0-31")
def error_description(answer: Answer) -> Breach | None:
    """The description of every error is a string that is not empty"""
    return _error_text("description")(answer)


@rule("KLO-0-33")
def nothing_of_the_inside(answer: Answer) -> Breach | None:
    """No error shows a stack trace, SQL, a file's path or the credentials"""
    if not answer.refused:
        return None
    if answer.tells_credentials:
        wanted = "an error that tells nothing of the inside"
        return Breach(wanted, "the credentials of the request in the body", answer=answer)
    text = answer.body.decode("utf-8", errors="replace")
    found = _INSIDE.search(text)
    if found is None:
        return None
    return Breach(
        "an error that tells nothing of the inside", f"“{found[0][:60]}” in the body", answer=answer
    )


@rule("KLO-0-34")
def strings_only(answer: Answer) -> Breach | None:
    """Every elementary field is a JSON string, at any depth"""
    if answer.json is NO_JSON or (answer.method == 5 and not isinstance(answer.json, (dict, list))):
        return None  # the bare number of method 5 is read in whichever form it comes
    for path, value in _leaves(answer.json):
        if value is not None and not isinstance(value, str):
            return Breach("a JSON string", f"{_shown(value)} ({_kind(value)})", answer=answer, path=path)
    return None


def _kind(value: Any) -> str:
    return "boolean" if isinstance(value, bool) else "number"


@rule("KLO-0-35")
def no_null(answer: Answer) -> Breach | None:
    """No field is null"""
    if answer.json in (NO_JSON, None):
        return None  # a body that is null as a whole is a matter of the method
    for path, value in _leaves(answer.json):
        if value is None:
            return Breach("no field that is null", "null", answer=answer, path=path)
    return None


@rule("KLO-0-36", mostly=True)
def in_time(answer: Answer) -> Breach | None:
    """Calls are answered within 4 seconds"""
    if answer.exchange.seconds <= BUDGET:
        return None
    return Breach(f"an answer within {BUDGET:g} s", f"{answer.exchange.seconds:.1f} s", answer=answer)


@rule("KLO-0-39")
def one_card(answer: Answer) -> Breach | None:
    """An answer holds one card, never several"""
    if answer.method not in (1, 3, 11) or not answer.ok:
        return None
    value = answer.json
    inner = answer.at("card")
    several = inner if isinstance(inner, list) else value if isinstance(value, list) else answer.at("cards")
    if isinstance(several, list) and len(several) > 1:
        return Breach("one card", f"{len(several)} cards", answer=answer)
    return None


def _card(answer: Answer) -> dict[str, Any] | None:
    """The card object of an answer that has one in its place."""
    if answer.method not in (1, 3, 5, 11) or not answer.ok or not isinstance(answer.json, dict):
        return None
    value = answer.json.get("card")
    return value if isinstance(value, dict) else None


def _field(answer: Answer, *keys: str) -> tuple[bool, str]:
    """Whether the card has text there, and what it has, as text."""
    value: Any = _card(answer)
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if value is None:
        return False, "it is missing"
    good = isinstance(value, (str, int, float)) and not isinstance(value, bool) and bool(str(value).strip())
    return good, str(value) if good else _shown(value)


def _has_text(answer: Answer, *keys: str) -> Breach | None:
    if _card(answer) is None:
        return None
    good, value = _field(answer, *keys)
    if good:
        return None
    return Breach("a string that is not empty", value, answer=answer, path=".".join(["$.card", *keys]))


def _is_one_of(answer: Answer, values: tuple[str, ...], *keys: str) -> Breach | None:
    if _card(answer) is None:
        return None
    _, value = _field(answer, *keys)
    if value in values:
        return None
    return Breach(f"one of {', '.join(values)}", value, answer=answer, path=".".join(["$.card", *keys]))


@rule("KLO-0-43")
def card_number(answer: Answer) -> Breach | None:
    """Every card has a cardNumber"""
    return _has_text(answer, "cardNumber")


@rule("KLO-0-44")
def card_state(answer: Answer) -> Breach | None:
    """Every cardState is active or inactive"""
    return _is_one_of(answer, ("active", "inactive"), "cardState")


@rule("KLO-0-45")
def barcode_number(answer: Answer) -> Breach | None:
    """Every card has a barcode.barcodeNumber"""
    return _has_text(answer, "barcode", "barcodeNumber")


@rule("KLO-0-46")
def barcode_type(answer: Answer) -> Breach | None:
    """Every barcodeType is one of the five"""
    return _is_one_of(answer, BARCODES, "barcode", "barcodeType")


def _check_digit(digits: str) -> bool:
    """Whether the last digit is the EAN and UPC check digit."""
    total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(reversed(digits)))
    return total % 10 == 0


@rule("KLO-0-48")
def barcode_can_be_drawn(answer: Answer) -> Breach | None:
    """Every barcodeNumber can be drawn as its barcodeType"""
    if _card(answer) is None:
        return None
    has_number, text = _field(answer, "barcode", "barcodeNumber")
    _, kind = _field(answer, "barcode", "barcodeType")
    if not has_number or kind not in BARCODES:
        return None  # those are other clauses
    length = {"EAN_8": 8, "EAN_13": 13, "UPC_A": 12}.get(kind)
    if length is not None:
        fits = text.isascii() and text.isdigit() and len(text) == length and _check_digit(text)
        wanted = f"{length} digits, the last of them the check digit"
    else:
        fits = text.isascii() and text.isprintable() if kind == "CODE_128" else len(text) <= 1000
        wanted = "ASCII characters" if kind == "CODE_128" else "at most 1000 characters"
    if fits:
        return None
    return Breach(
        f"{kind}: {wanted}", f"{len(text)} characters that do not fit", answer=answer,
        path="$.card.barcode.barcodeNumber",
    )  # fmt: skip
