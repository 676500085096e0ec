"""What a run found, as files: for people, for a CI system, for programs and for network tools.

| file | for |
|---|---|
| ``report.html`` | people: one file that needs no network; a script only to filter and search |
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

from contracts.suite.language import ENGLISH, Language
from contracts.suite.report import har, junit, machine, page
from contracts.suite.results import Run

__all__ = ["files", "write_reports"]

FOR_PROGRAMS = {"junit.xml": junit.render, "results.json": machine.render, "exchange.har": har.render}


def files(run: Run, language: Language = ENGLISH) -> dict[str, bytes]:
    """Every report by its file's name, the page for people first; files for programs are English."""
    made = {"report.html": page.render(run, language).encode("utf-8")}
    made |= {name: render(run).encode("utf-8") for name, render in FOR_PROGRAMS.items()}
    return made | {name: content for target in run.targets for name, content in target.files}


def write_reports(run: Run, folder: Path, language: Language = ENGLISH) -> list[Path]:
    """Write all reports into ``folder``, made if it is not there; files of an earlier run are replaced.

    Returns the paths in a fixed order, the page for people first. Raises ``OSError`` if it cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    beside = {name for target in run.targets for name, _ in target.files}
    paths = []
    for name, content in files(run, language).items():
        path = folder / name
        if name in beside:
            path.touch(mode=0o600)
        path.write_bytes(content)
        paths.append(path)
    return paths
