"""``python -m tests.bench``: start everything, measure row by row, print the table.

It ends with 0 whatever the figures are; with 1 when something could not be measured at all.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import report
from tests.bench.load import WrkFailed, wrk_version
from tests.bench.measured import Measured
from tests.bench.rows import ON_REQUEST, ROWS, Bench
from tests.bench.services.adapter import SPEED_PARTS
from tests.bench.stage import CannotMeasure, Stage, say, set_up

_EPILOG = """
Each comparison starts both services on one embedded PostgreSQL in a temporary folder, one process each,
lets them take turns (A B A B …) after a short warm-up, and takes the median of the rounds' ratios. wrk
drives them with one thread. Close other programs first; where the rounds do not agree whether the aim is
reached, the table says "rounds differ", and more rounds (--rounds 7) help.

Rows: 1 find a card against hand-written aiohttp, 2 against FastAPI, 3 card info through a slow CRM
against a bare aiohttp client, 4 receipts against a bare INSERT, 5 authentication, 6 five million cards
(--five-million), 7 getAllUsers against COPY, 8 memory, 9 waiting receipts through a CRM, 10 receipts behind
a long queue, 11 receipts accepted and credited against accepted only.
"""


def _rows(text: str) -> list[int]:
    try:
        chosen = [int(part) for part in text.split(",")]
    except ValueError:
        chosen = [0]
    if unknown := [number for number in chosen if number not in ROWS]:
        known = ", ".join(map(str, ROWS))
        raise argparse.ArgumentTypeError(f"no row {unknown[0]}; there are {known}")
    return chosen


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("a whole number from 1 on")
    return int(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure what the adapter costs, as ratios against plain programs, in one run.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", type=_rows, metavar="1,4", help="measure these rows only")
    parser.add_argument(
        "--seconds", type=_positive, default=8, help="length of one turn of one side (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=_positive, default=3, help="turns of each side (default: %(default)s)"
    )
    parser.add_argument(
        "--five-million",
        action="store_true",
        help="measure row 6 as well; needs about 4 GB of disk and some minutes for loading",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=SPEED_PARTS,
        help="measure the adapter without a part that is there for speed alone",
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


def _chosen(options: argparse.Namespace) -> list[int]:
    only: list[int] | None = options.only
    if only is None:
        return [number for number in ROWS if number not in ON_REQUEST or options.five_million]
    return [number for number in ROWS if number in only or (number in ON_REQUEST and options.five_million)]


def _measure(stage: Stage, options: argparse.Namespace) -> tuple[dict[int, Measured], dict[int, str]]:
    """The rows that could be measured, and why the others could not."""
    bench = Bench(stage, options.seconds, options.rounds)
    measured: dict[int, Measured] = {}
    failures: dict[int, str] = {}
    for number in _chosen(options):
        say(f"row {number}: {ROWS[number].__name__.replace('_', ' ')}")
        try:
            measured[number] = ROWS[number](bench)
        except (CannotMeasure, WrkFailed) as error:
            failures[number] = str(error)
            say(f"  !! {error}")
    return measured, failures


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, _stop)  # a server left running would outlive us
    wrk = wrk_version()
    if wrk is None:
        print("wrk is missing: install wrk from your distribution (apt install wrk)", file=sys.stderr)
        return 1
    machine = report.machine()
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, set_up(Path(folder)) as stage:
            stage.without = options.without
            postgres = str(stage.value(stage.server.url, "SHOW server_version"))
            measured, failures = _measure(stage, options)
    except CannotMeasure as error:
        print(f"the benchmark cannot run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    say("")
    say(report.table(measured, failures, markdown=options.markdown))
    say("")
    say(f"machine:  {machine} when it began")
    say(f"versions: {report.versions(postgres, wrk)}")
    say(
        f"method:   {options.rounds} rounds of {options.seconds} s, median of their ratios; "
        f"one process per service; log lines go to /dev/null; {time.monotonic() - started:.0f} s in all"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
