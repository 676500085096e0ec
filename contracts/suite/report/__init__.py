"""What a run found, as files: for people, for a CI system, for programs and for network tools.

| file | for |
|---|---|
| ``report.html`` | people: one file that needs no network and no script |
| ``junit.xml`` | CI systems |
| ``results.json`` | programs; ``results.schema.json`` in this folder is its description |
| ``exchange.har`` | browsers' developer tools and other viewers of HTTP traffic (HAR 1.2) |
| ``body-….bin`` | the ``curl`` lines that name them |
| ``values.txt`` | this machine alone: ``--show-values`` |

Answers come from strangers' servers. Whatever is in them, these files are well-formed, harmless and of
bounded size. It may not know how checks are made; it reads ``contracts.suite.results`` and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from contracts.suite.report import har, junit, machine, page
from contracts.suite.results import Run

__all__ = ["write_reports"]

WRITERS = {
    "report.html": page.render,
    "junit.xml": junit.render,
    "results.json": machine.render,
    "exchange.har": har.render,
}


def write_reports(run: Run, folder: Path) -> list[Path]:
    """Write all reports into ``folder``, made if it is not there; files of an earlier run are replaced.

    Returns the paths in a fixed order, the page for people first. Raises ``OSError`` if it cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, render in WRITERS.items():
        path = folder / name
        path.write_bytes(render(run).encode("utf-8"))
        paths.append(path)
    for target in run.targets:
        for name, content in target.files:
            path = folder / name
            path.touch(mode=0o600)
            path.write_bytes(content)
            paths.append(path)
    return paths
