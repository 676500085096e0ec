"""``contracts/suite/KILLS.md``, what the suite is known to find.

``python -m tests.suite.kills`` writes it anew. It tells what the mutants declare; that it is true is what
``test_mutants`` shows.
"""

from __future__ import annotations

from pathlib import Path

import contracts.suite
from contracts.loyalty_online import clauses, untested
from tests.suite.implementations.mutants import MUTANTS, Mutant

FILE = Path(contracts.suite.__file__).with_name("KILLS.md")

HEAD = """\
# What the suite finds, and what it leaves alone

<!-- Written by `python -m tests.suite.kills`. -->

Whether a suite is right can only be seen on services whose defects are known. These are copies of a small
clean service, made from the contract alone, each with one defect. Every one is run through all checks of a
full, strict run: the breaches found have to be those declared here, all of them and no others. Two clean
services, on two different stacks and with opposite choices wherever the contract leaves one, have to pass.
The tests do that with every sixth of them; with all:
`python -m pytest -m "long or not long" tests/suite/test_mutants.py tests/suite/test_mutants_of_the_shop.py`.

**Caught by** is the clause the defect is about; **also** are clauses that the same defect breaks necessarily.
Evidence says how sure anybody can be of the clause; only *official* ones fail a run that is not strict.
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
        f"## {len(defects)} defects, all found\n",
        "| mutant | what is wrong | caught by | evidence | also |",
        "|---|---|---|---|---|",
        *map(_defect, defects),
        "",
        f"## {len(harmless)} freedoms, all left alone\n",
        "| service | what it does |",
        "|---|---|",
        *(f"| {one.name} | {one.wrong.removeprefix('Nothing: ')} |" for one in harmless),
        "",
    ]
    return "\n".join(lines)


def _defect(one: Mutant) -> str:
    caught, *also = one.clauses
    version = "" if one.version == "1.3.0" else f" ({one.version})"
    return (
        f"| {one.name}{version} | {one.wrong} | {caught} | {clauses()[caught].evidence} | {', '.join(also)} |"
    )


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
