"""Whether a pooler in front of a database loses our prepared statements.

In transaction mode it gives one session of the server to several connections in turn. A statement that one
connection has prepared then collides with another's, or is gone. It may not know what is kept there.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TypeAlias

import asyncpg

_ROUNDS = 3
"""Where others are at work, two connections may be given different sessions by chance."""
_TIMEOUT = 10.0  # seconds

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def loses_statements(url: str) -> bool:
    """Whether two connections were seen to share a session, with statements that collide; changes nothing.

    ``False`` as well for a pooler in session mode, and for one that keeps statements apart itself.

    Raises:
        OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError: as connecting does.
    """
    one = await asyncpg.connect(url, timeout=_TIMEOUT, command_timeout=_TIMEOUT, statement_cache_size=0)
    try:
        async with one.transaction():
            # A pooler gives its client a process number of its own; PostgreSQL gives that of the session.
            if await one.fetchval("SELECT pg_backend_pid()") == one.get_server_pid():
                return False
        other = await asyncpg.connect(url, timeout=_TIMEOUT, command_timeout=_TIMEOUT, statement_cache_size=0)
        try:
            for _ in range(_ROUNDS):
                if await _collide(one, other):
                    return True
            return False
        finally:
            await other.close()
    finally:
        await one.close()


async def _collide(one: _Connection, other: _Connection) -> bool:
    name = f"koshelek_{secrets.token_hex(8)}"
    try:
        for connection in (one, other):
            await connection.prepare("SELECT 1", name=name)
    except asyncpg.DuplicatePreparedStatementError:
        return True
    finally:
        with contextlib.suppress(asyncpg.PostgresError):  # it may be another session's by now
            await one.execute(f"DEALLOCATE {name}")
    return False
