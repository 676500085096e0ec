"""How many files a process may have open. Each caller is one, and so is each connection to the database.

The usual limit of 1024 is soft: programs may raise it themselves. Callers that connect and say nothing would
use it up, and then nobody gets in. It may not know what is served.
"""

from __future__ import annotations

import resource

import structlog

log = structlog.get_logger("serving")

_ENOUGH = 8192


def raise_file_limit() -> int:
    """Let this process, and those it starts, open as many files as the system allows; returns how many.

    The log warns of a limit that a flood of idle callers can use up.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # the system allows less than it says; the limit stays
            pass
    if 0 <= soft < _ENOUGH:
        log.warning("few_files", limit=soft, remedy=f"raise it to {_ENOUGH} (LimitNOFILE=, ulimit -Hn)")
    return soft
