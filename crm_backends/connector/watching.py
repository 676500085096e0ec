"""Members that filters of rows read and no row of the examples has: most likely a name that is wrong.

Such a filter lets no row through and says nothing. What a CRM's rows have nobody knows before they come, so
this is told by ``connector check`` alone, by its examples, and refused by nothing. It may not know how an
expression is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from crm_backends.connector.backend import ConnectorBackend
from crm_backends.connector.calls import REGION, ZONE
from crm_backends.connector.compiling import compiled
from crm_backends.connector.examples import play
from crm_backends.connector.moments import ProgrammeDefaults
from crm_backends.connector.problems import Path, Problem, nearest
from crm_backends.connector.reading import Loaded
from crm_backends.connector.scope import ROW, Members, Watch
from crm_backends.connector.spec import make_spec


async def never_seen(loaded: Loaded) -> list[Problem]:
    """A note for each member that a filter reads and no row has which it was given. The examples are well."""
    rows = _RowsSeen(loaded)
    spec = make_spec(loaded)
    programme = ProgrammeDefaults(ZONE, REGION)
    backend = cast("type[ConnectorBackend]", spec.build)
    backend.programs[programme], _ = compiled(loaded, programme, rows.watch_at)
    for name, operation in loaded.model.operations.items():
        for example in operation.examples:
            await play(loaded, spec, name, example)
    return rows.notes()


class _RowsSeen:
    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._found: set[tuple[Path, Members]] = set()
        self._instead: dict[tuple[Path, Members], set[str]] = {}
        """Members that rows have which lack one."""

    def watch_at(self, path: Path) -> Watch:
        """What is shown the rows that an expression at this place filters."""

        def watch(read: Sequence[Members], rows: Sequence[Any]) -> None:
            for members in read:
                for row in rows:
                    self._look(path, members, row)

        return watch

    def _look(self, path: Path, members: Members, row: Any) -> None:
        for depth, member in enumerate(members, 1):
            if depth == 1 and member == ROW:
                continue
            if not isinstance(row, dict):
                return  # nothing is there, or no mapping: that says nothing of the name
            if member not in row:
                self._instead.setdefault((path, members[:depth]), set()).update(map(str, row))
                return
            row = row[member]
            self._found.add((path, members[:depth]))

    def notes(self) -> list[Problem]:
        return [
            Problem(
                self._loaded.place(path, ".".join(members)),
                f"no row of the examples has {'.'.join(members)}",
                nearest(members[-1], instead),
            )
            for (path, members), instead in self._instead.items()
            if (path, members) not in self._found
        ]
