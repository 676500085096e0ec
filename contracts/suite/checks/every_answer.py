"""Rules that every answer has to keep, whatever was asked.

They judge what Koshelek would be answered; of probes and of other credentials only what they leak (KLO-0-33).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from contracts.suite import spotting
from contracts.suite.answer import NO_JSON, Answer
from contracts.suite.checking import Breach, Verdict, rule
from contracts.suite.reading import found_number, reserved_number
from contracts.suite.results import BUDGET

BARCODES = ("EAN_8", "EAN_13", "CODE_128", "UPC_A", "QR_CODE")
MOST_TEXTS = 5_000
"""Texts of one answer that are searched for what it should not show."""
_CONTENT_TYPE = re.compile(r'application/json\s*;\s*charset\s*=\s*"?utf-8"?\s*;?', re.IGNORECASE)
"""With a semicolon at the end it is printed in the documentation."""


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 80 else f"{text[:80]}…"


def _without_own_paths(answer: Answer, text: str) -> str:
    """A text without paths of the service itself: `/app/v1/card` is no file."""
    if "/v1" not in text:
        return text
    base, below, _ = urlsplit(answer.exchange.url).path.partition("/v1")
    return re.sub(re.escape(base + below) + r"[\w./%-]*", "", text) if below else text


def is_error_object(value: Any) -> bool:
    """Whether this is ``{code, description}`` and nothing else."""
    return isinstance(value, dict) and {key.lower() for key in value} == {"code", "description"}


def _content_type(answer: Answer, what: str) -> Verdict:
    given = answer.headers.getall("Content-Type", [])
    if len(given) == 1 and _CONTENT_TYPE.fullmatch(given[0].strip()):
        return "kept"
    actual = f"Content-Type: {', '.join(given)}" if given else "no Content-Type header"
    return Breach(f"{what} has Content-Type: application/json; charset=utf-8", actual, answer=answer)


@rule("KLO-0-16", about="answer with a body")
def is_utf_8(answer: Answer) -> Verdict:
    """Every body is valid UTF-8"""
    if answer.is_empty:
        return None
    try:
        answer.body.decode("utf-8")
    except UnicodeDecodeError as error:
        return Breach(
            "a body in UTF-8", f"byte {answer.body[error.start]:#04x} at {error.start}", answer=answer
        )
    return "kept"


@rule("KLO-0-17", about="answer 200 with a body")
def content_type_of_a_body(answer: Answer) -> Verdict:
    """Every 200 with a body is application/json; charset=utf-8"""
    if answer.status != 200 or answer.is_empty:
        return None
    return _content_type(answer, "an answer 200 with a body")


@rule("KLO-0-18", about="answer 200 without a body")
def content_type_of_an_empty_body(answer: Answer) -> Verdict:
    """Every 200 without a body has the same Content-Type"""
    if answer.status != 200 or not answer.is_empty:
        return None
    return _content_type(answer, "an empty answer 200")


@rule("KLO-0-19", about="error")
def content_type_of_an_error(answer: Answer) -> Verdict:
    """Every error has the same Content-Type"""
    return _content_type(answer, "an error") if answer.refused else None


@rule("KLO-0-20", about="answer with a body")
def is_json(answer: Answer) -> Verdict:
    """Every body is one valid JSON text"""
    if answer.is_empty:
        return None
    if answer.is_one_json_text or (answer.method == 5 and reserved_number(answer)):
        return "kept"  # the bare number of method 5 may be text
    return Breach("a body that is JSON", answer.in_short(), answer=answer)


@rule("KLO-0-22", about="success")
def success_is_200(answer: Answer) -> Verdict:
    """What was processed is answered 200"""
    if answer.refused:
        return None
    if answer.status != 200:
        return Breach("status 200", f"status {answer.status}", answer=answer)
    return "kept"


@rule("KLO-0-23", about="error")
def failure_is_422(answer: Answer) -> Verdict:
    """What could not be processed is answered 422"""
    if answer.refused and answer.status != 422:
        return Breach("an error with status 422", f"status {answer.status}", answer=answer)
    if answer.ok and answer.method not in (10, 12) and is_error_object(answer.json):
        return Breach("an error with status 422", f"status 200 with {answer.in_short()[4:]}", answer=answer)
    return "kept" if answer.refused else None


@rule("KLO-0-24")
def no_other_status(answer: Answer) -> Verdict:
    """No status but 200 and 422 for whoever has the agreed credentials"""
    if answer.status in (200, 422):
        return "kept"
    return Breach("status 200 or 422", f"status {answer.status}", answer=answer)


@rule("KLO-0-29", about="error")
def error_object(answer: Answer) -> Verdict:
    """Every error is an object with code and description"""
    if not answer.refused:
        return None
    value = answer.json
    if isinstance(value, dict) and {"code", "description"} <= value.keys():
        return "kept"
    return Breach('an error {"code": "…", "description": "…"}', answer.in_short(), answer=answer)


def _error_text(name: str) -> Callable[[Answer], Verdict]:
    def judge(answer: Answer) -> Verdict:
        value = answer.json
        if not answer.refused or not isinstance(value, dict) or name not in value:
            return None
        if isinstance(value[name], str) and value[name].strip():
            return "kept"
        return Breach("a string that is not empty", _shown(value[name]), answer=answer, path=f"$.{name}")

    return judge


@rule("KLO-0-30", about="error with a code")
def error_code(answer: Answer) -> Verdict:
    """The code of every error is a string that is not empty"""
    return _error_text("code")(answer)


@rule("KLO-0-31", about="error with a description")
def error_description(answer: Answer) -> Verdict:
    """The description of every error is a string that is not empty"""
    return _error_text("description")(answer)


def _shows_nothing_inside(answer: Answer, what: str) -> Verdict:
    wanted = f"{what} that tells nothing of the inside"
    if answer.tells_credentials:
        return Breach(wanted, "the credentials of the request in the body", answer=answer)
    whole = answer.body.decode("utf-8", errors="replace")
    for text in (whole, *islice(_texts(answer), MOST_TEXTS)):
        if (found := spotting.inside(_without_own_paths(answer, text), error=answer.refused)) is not None:
            return Breach(wanted, f"“{found}” in the body", answer=answer)
    return "kept"


def _texts(answer: Answer) -> Iterator[str]:
    """Every text of an answer as it is meant: PHP writes `\\/` for a slash."""
    yield from (value for _, value in answer.leaves if isinstance(value, str) and len(value) > 5)


@rule("KLO-0-33", about="error", probes=True)
def nothing_of_the_inside(answer: Answer) -> Verdict:
    """No error shows a stack trace, SQL, a file's path or the credentials"""
    return _shows_nothing_inside(answer, "an error") if answer.refused else None


@rule("KLO-0-70", about="answer 200 with a body", probes=True)
def nothing_of_the_inside_in_a_success(answer: Answer) -> Verdict:
    """No answer 200 shows a warning, SQL, a file's path or the credentials"""
    return _shows_nothing_inside(answer, "an answer") if answer.ok and not answer.is_empty else None


def _is_utf_8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@rule("KLO-0-69", about="answer with a text")
def letters_as_written(answer: Answer) -> Verdict:
    """No text is encoded twice, none has question marks for letters"""
    if answer.json is NO_JSON or not _is_utf_8(answer.body):
        return None
    texts = [(path, value) for path, value in answer.leaves if isinstance(value, str) and value]
    for path, value in texts:
        if (odd := spotting.misread(value)) is not None:
            return Breach("a text as it was written", odd, answer=answer, path=path)
    return "kept" if texts else None


@rule("KLO-0-71", about="answer with JSON")
def keys_are_there_once(answer: Answer) -> Verdict:
    """No object has a key twice"""
    twice: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice.extend(name for name in dict.fromkeys(names) if names.count(name) > 1)
        return {}

    try:
        text = answer.body.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
        json.JSONDecoder(object_pairs_hook=collect).raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if twice:
        return Breach("each key of an object once", f"`{twice[0][:40]}` twice", answer=answer)
    return "kept"


@rule("KLO-0-34", about="answer with JSON")
def strings_only(answer: Answer) -> Verdict:
    """Every elementary field is a JSON string, at any depth"""
    if answer.json is NO_JSON or (answer.method == 5 and not isinstance(answer.json, (dict, list))):
        return None  # the bare number of method 5 is read in whichever form it comes
    for path, value in answer.leaves:
        if value is not None and not isinstance(value, str):
            return Breach("a JSON string", f"{_shown(value)} ({_kind(value)})", answer=answer, path=path)
    return "kept"


def _kind(value: Any) -> str:
    return "boolean" if isinstance(value, bool) else "number"


@rule("KLO-0-35", about="answer with JSON")
def no_null(answer: Answer) -> Verdict:
    """No field is null"""
    if answer.json in (NO_JSON, None):
        return None  # a body that is null as a whole is a matter of the method
    for path, value in answer.leaves:
        if value is None:
            return Breach("no field that is null", "null", answer=answer, path=path)
    return "kept"


def _now_and_then(answers: Sequence[tuple[Answer, bool]]) -> bool:
    """Whether so few answers were late that it may be chance: a stall of a machine or of the network.

    Late answers at one moment are one event. More than one in a hundred are no chance, where there are two or
    more; nor is half of the answers to one method.
    """
    late = sorted((answer.exchange for answer, is_late in answers if is_late), key=lambda one: one.started_at)
    events, end = 0, None
    for one in late:
        if end is None or one.started_at > end:
            events += 1
            end = one.started_at + timedelta(seconds=one.seconds)
    asked = Counter(answer.method for answer, _ in answers)
    broken = Counter(answer.method for answer, is_late in answers if is_late)
    if any(2 * broken[method] >= count for method, count in asked.items()):
        return False
    return events < 2 or len(late) < len(answers) / 100


@rule("KLO-0-36", chance=_now_and_then, silence=True)
def in_time(answer: Answer) -> Verdict:
    """Calls are answered within 4 seconds, 99 of 100 of them"""
    if answer.exchange.seconds <= BUDGET:
        return "kept" if answer.status is not None else None  # a connection that broke is no late answer
    seconds = f"{answer.exchange.seconds:.1f} s"
    actual = seconds if answer.status is not None else f"no answer in {seconds}"
    return Breach(f"an answer within {BUDGET:g} s", actual, answer=answer)


@rule("KLO-0-39", about="answer with a card")
def one_card(answer: Answer) -> Verdict:
    """An answer holds one card, never several"""
    if answer.method not in (1, 3, 11) or not answer.ok:
        return None
    value = answer.json
    inner = answer.at("card")
    several = inner if isinstance(inner, list) else value if isinstance(value, list) else answer.at("cards")
    if isinstance(several, list) and len(several) > 1:
        return Breach("one card", f"{len(several)} cards", answer=answer)
    return "kept" if found_number(answer) is not None else None


def _card(answer: Answer) -> dict[str, Any] | None:
    """The card object of an answer that has one in its place; a number that was reserved is no card yet."""
    if answer.method not in (1, 3, 11) or not answer.ok or not isinstance(answer.json, dict):
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


def _has_text(answer: Answer, *keys: str) -> Verdict:
    if _card(answer) is None:
        return None
    good, value = _field(answer, *keys)
    if good:
        return "kept"
    return Breach("a string that is not empty", value, answer=answer, path=".".join(["$.card", *keys]))


def _is_one_of(answer: Answer, values: tuple[str, ...], *keys: str) -> Verdict:
    if _card(answer) is None:
        return None
    _, value = _field(answer, *keys)
    if value in values:
        return "kept"
    return Breach(f"one of {', '.join(values)}", value, answer=answer, path=".".join(["$.card", *keys]))


@rule("KLO-0-43", about="answer with a card")
def card_number(answer: Answer) -> Verdict:
    """Every card has a cardNumber"""
    return _has_text(answer, "cardNumber")


@rule("KLO-0-44", about="answer with a card")
def card_state(answer: Answer) -> Verdict:
    """Every cardState is active or inactive"""
    return _is_one_of(answer, ("active", "inactive"), "cardState")


@rule("KLO-0-45", about="answer with a card")
def barcode_number(answer: Answer) -> Verdict:
    """Every card has a barcode.barcodeNumber"""
    return _has_text(answer, "barcode", "barcodeNumber")


@rule("KLO-0-46", about="answer with a card")
def barcode_type(answer: Answer) -> Verdict:
    """Every barcodeType is one of the five"""
    return _is_one_of(answer, BARCODES, "barcode", "barcodeType")


def _check_digit(digits: str) -> bool:
    """Whether the last digit is the EAN and UPC check digit."""
    total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(reversed(digits)))
    return total % 10 == 0


@rule("KLO-0-48", about="answer with a barcode")
def barcode_can_be_drawn(answer: Answer) -> Verdict:
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
        return "kept"
    return Breach(
        f"{kind}: {wanted}", f"{len(text)} characters that do not fit", answer=answer,
        path="$.card.barcode.barcodeNumber",
    )  # fmt: skip
