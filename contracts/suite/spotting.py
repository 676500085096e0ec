"""Spots in a text what a service should not show, and letters that were damaged on their way.

Plain functions of a text. It may not know where the text comes from.
"""

from __future__ import annotations

import re

LONGEST = 200_000
"""Characters of a text that are searched."""

_PICTURE = r"(?![^\s\"']*\.(?:png|jpe?g|gif|svg|webp|pdf|html?))"
_SIGNS: dict[str, tuple[str, ...]] = {
    r"Traceback \(most recent": ("Traceback (most recent",),
    r"Stack ?[Tt]race": ("Stack",),
    r"\bat [\w$.]+\([\w]+\.(?:java|kt|scala):\d+\)": (".java:", ".kt:", ".scala:"),
    r"\bat .{1,80}\.[cm]?[jt]s:\d+:\d+": ("js:", "ts:"),
    r"\bnode:internal/": ("node:internal/",),
    r"\.(?:php|py|rb|cs):? ?(?:on )?line \d+": ("line ",),
    r"\bin /[\w./-]+\.\w+(?: on line|:\d+)": ("in /",),
    r"<b>(?:Warning|Notice|Deprecated|Fatal error)</b>": ("</b>",),
    r"\b(?:Warning|Notice|Deprecated): .{1,200} in (?:<b>)?/": ("Warning: ", "Notice: ", "Deprecated: "),
    r"Undefined (?:index|variable|offset|array key|property)\b": ("Undefined ",),
    r"\bgoroutine \d+ \[": ("goroutine ",),
    r"SQLSTATE": ("SQLSTATE",),
    r"ORA-\d{5}": ("ORA-",),
    r"syntax error at or near": ("syntax error at or near",),
    r"\bSELECT .+ FROM ": ("SELECT ",),
    r"\bINSERT INTO ": ("INSERT INTO ",),
    r"\bUPDATE \w+ SET ": ("UPDATE ",),
    r"\bDELETE FROM ": ("DELETE FROM ",),
    r"(?:PDO|SQL|Mysqli?)Exception": ("Exception",),
    r"\b(?:Type|Reference|Key|Attribute)Error: ": ("Error: ",),
    r"(?:^|[\s\"'(=:>])/(?:var|usr|home|opt|srv|root|etc)/[\w.-]+/" + _PICTURE + r"[\w./-]+": (
        *("/var/", "/usr/", "/home/", "/opt/", "/srv/", "/root/", "/etc/"),
    ),
    r"(?:^|[\s\"'(=:>])/app/[\w./-]+\.(?:php|py|[cm]?[jt]s|rb|java|cs|go|sql|log|env)\b": ("/app/",),
    r"[A-Z]:\\\\?[\w\\ .-]+\\\\?\w+\.\w+": (":\\",),
}
"""What is looked for, and the words of which one stands in whatever is found: to look for words is fast."""
_INSIDE = re.compile("|".join(_SIGNS))
_WORDS = tuple(word for words in _SIGNS.values() for word in words)
_INSIDE_AN_ERROR = re.compile(r"(?:^|[\s\"'])/app/[\w.-]+/[\w./-]+")
"""In a success this may be the address of a picture or a page."""


def inside(text: str, *, error: bool) -> str | None:
    """A trace, a warning of the language, SQL or a file's path in a text: its beginning."""
    text = text[:LONGEST]
    if not any(word in text for word in _WORDS):
        return None
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
    text = text[:LONGEST]
    try:
        if encoding != "cp1252":
            return text.encode(encoding).decode("utf-8")
        # Windows leaves five bytes of cp1252 as they are.
        letters = (letter.encode("latin-1" if ord(letter) < 256 else encoding) for letter in text)
        return b"".join(letters).decode("utf-8")
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
