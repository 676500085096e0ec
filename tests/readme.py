"""The generated parts of the documents: ``python -m tests.readme`` writes them anew; a test compares them.

A part stands between two comments, ``<!-- codes: … -->`` and ``<!-- /codes -->``, in the document it belongs
to. Everything in it is read off the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from adapter.settings import PORTS
from adapter.settings import text as settings_text
from contracts.kit.settings import markdown_table
from contracts.suite import reference as suite
from crm_backends import registry
from crm_backends.ports import OPERATIONS, Reconciliation, Support
from tests.markdown import ROOT, documents

_DOUBTS = {
    Reconciliation.KEY: "is sent again, and counts once",
    Reconciliation.PROBE: "is looked up by our key",
    Reconciliation.COMPARE: "is told by the balance before and after",
    Reconciliation.MANUAL: "waits for a person",
}
_SEEN = {"sandbox": "a stand-in", "vendor client": "a stand-in, beside the vendor's own client"}


def _drivers() -> list[registry.BackendSpec[Any]]:
    """Those that this project has a page for; others may be installed."""
    pages = {page.parent.name for page in ROOT.glob("crm_backends/*/README.md")}
    return [registry.load(name) for name in registry.names() if name in pages]


def _can(spec: registry.BackendSpec[Any], port: str) -> str:
    """What a driver can do of a port, wholly or in part, in a few words."""
    operations = [name for name in OPERATIONS if name.startswith(f"{port}.")]
    able = [name for name in operations if spec.capabilities[name].support in (Support.FULL, Support.PARTIAL)]
    lacking = [name for name in operations if name not in able]
    if port not in spec.ports or not able:
        return "—"
    named = ", ".join(name.partition(".")[2].replace("_", " ") for name in (able, lacking)[len(lacking) < 3])
    return "all" if not lacking else f"all but {named}" if len(lacking) < 3 else named


def crms() -> str:
    """What each CRM can do, in short: for the README."""
    head = ("CRM", *PORTS, "a write without an answer", "seen working against")
    rows = []
    for spec in _drivers():
        page = f"[{spec.summary.partition(':')[0]}](crm_backends/{spec.name}/README.md)"
        seen = _SEEN.get(spec.verified_by, f"a {spec.verified_by}")
        if spec.verified_by in ("documentation", "none"):
            seen = "nothing yet"
        rows.append([page, *(_can(spec, port) for port in PORTS), _DOUBTS[spec.reconciliation], seen])
    return "\n".join(markdown_table(head, rows))


def pages() -> str:
    """The page of each driver, and how the driver is made."""
    rows = []
    for spec in _drivers():
        connector = (ROOT / "crm_backends" / spec.name / "connector.yaml").exists()
        rows.append(
            [f"[`{spec.name}`]({spec.name}/README.md)", spec.summary, "file" if connector else "Python"]
        )
    return "\n".join(markdown_table(("driver", "for", "made as"), rows))


PARTS: Mapping[str, Callable[[], str]] = {
    "crms": crms,
    "drivers": pages,
    "capabilities": settings_text.capabilities,
    "codes": settings_text.codes,
    "settings": settings_text.sections,
    "settings-of-http": settings_text.settings_of_http,
    "options": suite.table,
    **{f"settings-of-{name}": partial(settings_text.settings_of, name) for name in registry.names()},
}


def _part(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}(?::[^>]*)? -->\n).*?(<!-- /{name} -->)", re.DOTALL)


def parts_in(text: str) -> list[str]:
    """Names of the generated parts that stand in this text."""
    return [name for name in PARTS if _part(name).search(text)]


def generated(text: str) -> str:
    """The text with every generated part as it should be."""
    for name in parts_in(text):
        body = PARTS[name]().strip().replace("\\", r"\\")
        text = _part(name).sub(rf"\1\n{body}\n\n\2", text)
    return text


def stale() -> dict[Path, str]:
    """Documents with a generated part that is not as the code has it, and their text as it should be."""
    texts = {path: path.read_text(encoding="utf-8") for path in documents()}
    return {path: fresh for path, text in texts.items() if (fresh := generated(text)) != text}


def main() -> None:
    for path, text in stale().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
