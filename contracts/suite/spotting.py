"""Spots in a text what a service should not show, and letters that were damaged on their way.

Plain functions of a text. It may not know where the text comes from.
"""

from __future__ import annotations

import re

LONGEST = 200_000
"""Characters of a text that are searched."""

_PICTURE = r"(?![^\s\"']*\.(?:png|jpe?g|gif|svg|webp|pdf|html?))"
_INSIDE = re.compile(
    r"Traceback \(most recent|Stack ?[Tt]race"
    r"|\bat [\w$.]+\([\w]+\.(?:java|kt|scala):\d+\)|\bat .{1,80}\.[cm]?[jt]s:\d+:\d+|\bnode:internal/"
    r"|\.(?:php|py|rb|cs):? ?(?:on )?line \d+|\bin /[\w./-]+\.\w+(?: on line|:\d+)"
    r"|<b>(?:Warning|Notice|Deprecated|Fatal error)</b>"
    r"|\b(?:Warning|Notice|Deprecated): .{1,200} in (?:<b>)?/"
    r"|Undefined (?:index|variable|offset|array key|property)\b|\bgoroutine \d+ \["
    r"|SQLSTATE|ORA-\d{5}|syntax error at or near"
    r"|\bSELECT .+ FROM |\bINSERT INTO |\bUPDATE \w+ SET |\bDELETE FROM "
    r"|(?:PDO|SQL|Mysqli?)Exception|\b(?:Type|Reference|Key|Attribute)Error: "
    r"|(?:^|[\s\"'(=:>])/(?:var|usr|home|opt|srv|root|etc)/[\w.-]+/" + _PICTURE + r"[\w./-]+"
    r"|(?:^|[\s\"'(=:>])/app/[\w./-]+\.(?:php|py|[cm]?[jt]s|rb|java|cs|go|sql|log|env)\b"
    r"|[A-Z]:\\\\?[\w\\ .-]+\\\\?\w+\.\w+"
)
_INSIDE_AN_ERROR = re.compile(r"(?:^|[\s\"'])/app/[\w.-]+/[\w./-]+")
"""In a success this may be the address of a picture or a page."""


def inside(text: str, *, error: bool) -> str | None:
    """A trace, a warning of the language, SQL or a file's path in a text: its beginning."""
    text = text[:LONGEST]
    found = _INSIDE.search(text) or (_INSIDE_AN_ERROR.search(text) if error else None)
    return found[0][:60].strip() if found is not None else None


_MISREAD_AS = ("latin-1", "cp1252", "cp1251", "koi8-r", "cp866")
"""Encodings that a program may take UTF-8 for, before it writes the letters in UTF-8 once more."""
_CYRILLIC = re.compile("[А-яЁё]")


def misread(text: str) -> str | None:
    """How the letters of a text were damaged on their way; ``None``: no damage can be seen."""
    if "\ufffd" in text:
        return "the sign for a letter that could not be read"
    if (marks := text.count("?")) >= 4 and "???" in text and 2 * marks > len(text.replace(" ", "")):
        return "question marks in place of letters"
    if text.isascii():
        return None
    for encoding in _MISREAD_AS:
        if len(_CYRILLIC.findall(_read_again(text, encoding))) >= 2:
            return f"letters encoded twice, by way of {encoding}"
    return None


def _read_again(text: str, encoding: str) -> str:
    """The text before it was taken for this encoding; nothing where it was not."""
    try:
        # Windows leaves five bytes of cp1252 as they are.
        latin = "latin-1" if encoding == "cp1252" else encoding
        data = b"".join(letter.encode(latin if ord(letter) < 256 else encoding) for letter in text[:LONGEST])
        return data.decode("utf-8")
    except UnicodeError:
        return ""


_PAGES = {
    r"<center>(?:nginx|openresty|tengine)": "nginx",
    r"<h1>\d{3} [\w ]+</h1>\s*(?:No server is|The server didn|Your browser|Your request|You need)": "haproxy",
    r"upstream connect error|no healthy upstream": "envoy",
    r"<address>Apache/": "Apache",
    r"cf-error|cloudflare": "Cloudflare",
    r"<title>.{0,40}(?:IIS|Internet Information)": "IIS",
    r"^(?:Bad Gateway|Gateway Timeout|Service Unavailable|404 page not found)\s*$": "a gateway like Traefik",
    r"<html": "a proxy or a web server in front",
}
"""Pattern of an error page -> the proxy or gateway that sends such pages."""


_SERVERS = re.compile(r"nginx|openresty|haproxy|envoy|awselb|AkamaiGHost|cloudflare", re.IGNORECASE)


def proxy(status: int | None, server: str, body: bytes) -> str | None:
    """The proxy or gateway that gave this error in place of the service; ``None``: the service did."""
    if status is None or status < 400 or body.lstrip()[:1] in (b"{", b"["):
        return None
    text = body[:4000].decode("utf-8", "replace")
    for page, name in _PAGES.items():
        if re.search(page, text, re.IGNORECASE):
            known = _SERVERS.match(server)
            return known[0] if known and name.startswith("a proxy") else name
    return None
