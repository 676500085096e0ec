"""What the benchmark prints at its end: the table, the machine, the versions. It may not measure."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from tests.bench.measured import Figure, Measured

_PACKAGES = ("aiohttp", "httpx", "asyncpg", "uvloop", "fastapi", "uvicorn")
_HEAD = ("row", "work", "against", "measure", "ours", "theirs", "result", "rounds", "aim", "reached")


def machine() -> str:
    """Model of the processor, its cores, memory, and how busy it has been."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor() or platform.machine(),
    )
    kilobytes = int(Path("/proc/meminfo").read_text().split()[1])
    return f"{model}, {os.cpu_count()} cores, {kilobytes / 1024**2:.1f} GiB, load {os.getloadavg()[0]:.2f}"


def versions(postgres: str, wrk: str) -> str:
    known = [f"{name} {version(name)}" for name in _PACKAGES]
    return ", ".join([f"Python {platform.python_version()}", f"PostgreSQL {postgres}", *known, f"wrk {wrk}"])


def _cells(number: int, row: Measured, figure: Figure) -> tuple[str, ...]:
    def shown(value: float) -> str:
        return f"{value:.2f} {figure.unit}" if figure.unit == "x" else f"{value:.1f} {figure.unit}"

    spread = f"{figure.spread[0]:.2f} to {figure.spread[1]:.2f}" if figure.spread else ""
    reached = "INVALID" if row.problems else "yes" if figure.reached else "NO"
    if not row.problems and not figure.clear:
        reached += ", rounds differ"
    aim = f"{figure.sign} {figure.aim:g} {figure.unit}"
    return (
        str(number),
        row.work,
        row.against or "-",
        figure.what,
        figure.ours,
        figure.theirs or "-",
        shown(figure.value),
        spread or "-",
        aim,
        reached,
    )


def table(rows: Mapping[int, Measured], failures: Mapping[int, str], *, markdown: bool) -> str:
    """One line per figure, then notes, then whatever makes a row worthless."""
    lines = [_cells(number, row, figure) for number, row in rows.items() for figure in row.figures]
    text = _markdown(lines) if markdown else _plain(lines)
    remarks = [f"row {number}: {note}" for number, row in rows.items() for note in row.notes]
    loud = [
        f"!! ROW {number} IS INVALID: {problem}" for number, row in rows.items() for problem in row.problems
    ]
    loud += [f"!! ROW {number} COULD NOT BE MEASURED: {reason}" for number, reason in failures.items()]
    bullet = "* " if markdown else ""
    extra = [f"{bullet}{remark}" for remark in (*remarks, *loud)]
    return "\n".join([text, "", *extra]) if extra else text


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    ruled = [_HEAD, ["---"] * len(_HEAD), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in ruled)


def _plain(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cells[column]) for cells in (_HEAD, *lines)) for column in range(len(_HEAD))]
    ruled = [_HEAD, ["-" * width for width in widths], *lines]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in ruled
    )
