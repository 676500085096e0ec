"""A barcode as a picture, or why there can be none. It may not know whose card it is."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import barcode
import segno
from barcode.errors import BarcodeError
from barcode.writer import SVGWriter

LONGEST = 300
"""Characters that are drawn; the symbols hold more, but no phone could show them."""
_LINES = {"EAN_8": "ean8", "EAN_13": "ean13", "UPC_A": "upca", "CODE_128": "code128"}
"""The contract's names of linear symbols, and the drawing library's."""
_DIGITS = {"EAN_8": 8, "EAN_13": 13, "UPC_A": 12}


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn barcode."""

    source: str = ""
    """A ``data:`` address; empty: there is none."""
    problem: str = ""
    """Why there is none, as a sentence; empty: there is one."""


def picture(number: str, kind: str) -> Picture:
    """The symbol ``kind`` (``EAN_13``, …) of ``number``."""
    if not number or len(number) > LONGEST:
        return Picture(problem="There is no barcode number that could be drawn.")
    if kind == "QR_CODE":
        image = io.BytesIO()
        segno.make_qr(number).save(image, kind="svg", scale=5, border=2, light="white", unit="px")
        return _made(image.getvalue())
    if kind not in _LINES:
        return Picture(problem="This type of barcode is not one of the contract.")
    if (length := _DIGITS.get(kind)) and not (
        number.isascii() and number.isdigit() and len(number) == length
    ):
        return Picture(problem=f"{kind} needs {length} digits; a scanner could not read this.")
    try:
        symbol = barcode.get(_LINES[kind], number, writer=SVGWriter())
    except BarcodeError:
        return Picture(problem="There is no barcode number that could be drawn.")
    if length and symbol.get_fullcode() != number:
        right = symbol.get_fullcode()[-1]
        return Picture(problem=f"The last digit is wrong for {kind}: it has to be {right}.")
    options = {"write_text": False, "module_height": 14.0, "module_width": 0.33, "quiet_zone": 4.0}
    return _made(symbol.render(options))


def _made(image: bytes) -> Picture:
    return Picture(source=f"data:image/svg+xml;base64,{base64.b64encode(image).decode()}")
