"""``contracts/suite/KILLS.md``, what the suite is known to find.

``python -m tests.suite.kills`` writes it anew. It tells what the mutants declare; that it is true is what
``test_mutants`` shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import contracts.suite
from contracts.loyalty_online import clauses, untested
from contracts.loyalty_online.subjects import SUBJECTS
from tests.suite.implementations import mutants_of_value  # noqa: F401 - importing registers them
from tests.suite.implementations.mutants import MUTANTS, Mutant

FILE = Path(contracts.suite.__file__).with_name("KILLS.md")

HEAD = """\
# What the suite finds, and what it leaves alone

<!-- Written by `python -m tests.suite.kills`. -->

Whether a suite is right can only be seen on services whose defects are known. Each service here has one
defect, and is run through all checks of a full, strict run: the breaches found have to be those that are
declared here, all of them and no others.
They are made in three styles: `objects` and `rules` are copies of a small clean
service in aiohttp, with a defect of the wire or of the shop behind it; `tables` is another service, SQL in
threads, with its defects in the queries. Three clean services, on three stacks and with opposite choices
wherever the contract leaves one, have to pass. The tests do that with some of them; with all:
`python -m pytest -m "long or not long" tests/suite -k "mutant or clean"`.

**Caught by** is the clause the defect is about; **also** are clauses that the same defect breaks necessarily.
Evidence says how sure anybody can be of the clause; only *official* ones, and what costs somebody points or a
card, fail a run that is not strict.
"""


def text() -> str:
    """The whole document."""
    defects = [one for one in MUTANTS if one.clauses]
    harmless = [one for one in MUTANTS if not one.clauses]
    named = {clause for one in defects for clause in one.clauses}
    testable = len(clauses()) - len(untested())
    lines = [
        HEAD,
        f"{len(named)} of the {testable} clauses that can be tested are broken by a defect here; of the",
        f"other {testable - len(named)} only this is shown: that services which keep them are not blamed.\n",
        *_subject("money", defects),
        *_subject("identity", defects),
        f"## {len(defects)} defects, all found\n",
        "| mutant | style | what is wrong | caught by | evidence | also |",
        "|---|---|---|---|---|---|",
        *map(_defect, defects),
        "",
        f"## {len(harmless)} freedoms, all left alone\n",
        "| service | what it does |",
        "|---|---|",
        *(f"| {one.name} | {one.wrong.removeprefix('Nothing: ')} |" for one in harmless),
        "",
    ]
    return "\n".join(lines)


def by_subject(subject: str, defects: Sequence[Mutant]) -> dict[str, list[Mutant]]:
    """For each clause about this, the mutants that break it."""
    named = [clause for clause in clauses() if clause in SUBJECTS[subject]]
    return {clause: [one for one in defects if clause in one.clauses] for clause in named}


def _subject(subject: str, defects: Sequence[Mutant]) -> Iterator[str]:
    yield from (f"## Clauses about {subject}\n", "| clause | says | broken by |", "|---|---|---|")
    for clause, found in by_subject(subject, defects).items():
        names = "; ".join(f"{one.name.removeprefix('tables: ')} ({one.style})" for one in found)
        yield f"| {clause} | {clauses()[clause].text} | {names} |"
    yield ""


def _defect(one: Mutant) -> str:
    caught, *also = one.clauses
    version = "" if one.version == "1.3.0" else f" ({one.version})"
    return (
        f"| {one.name.removeprefix('tables: ')}{version} | {one.style} | {one.wrong} | {caught}"
        f" | {clauses()[caught].evidence} | {', '.join(also)} |"
    )


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
