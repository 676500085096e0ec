"""What an error of the database means: for a read an exception, for a write an outcome.

Every message made here is built from the file's name, the error's class and its SQLSTATE. The server's own
message and detail are never used: they quote values, and values are personal data.
"""

from __future__ import annotations

import re

import asyncpg

from crm_backends.database import cause_of
from crm_backends.ports import (
    BackendCredentials,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    Refusal,
    Written,
)

DATABASE_ERRORS: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
CONNECT_ERRORS: tuple[type[Exception], ...] = (*DATABASE_ERRORS, ValueError)
"""``ValueError`` is what asyncpg raises for a URL it cannot read."""
UNREADABLE: tuple[type[Exception], ...] = (ValueError, OverflowError)
"""What asyncpg raises for a value that Python cannot hold. The connection can be used afterwards."""

# The statement does not fit the database: wrong SQL, missing right, missing object, unsupported feature.
_MISFIT = ("42", "3D", "3F", "0A", "26")
# The statement was understood and its data refused; P0 is what a PL/pgSQL function raises.
_REFUSED = ("21", "22", "23", "44", "P0")
STATEMENT_LOST = ("26000", "42P05")
"""A prepared statement is another's, or gone: a pooler in transaction mode stands between."""
POOLER_REMEDY = "a pooler in transaction mode stands between: set pooler = true"
# Rolled back for reasons that pass: read-only standby, deadlock, resources, locks, cancelled.
_ROLLED_BACK = ("25", "40", "53", "55", "57")
# Of these classes, the ones after which the statement may have been applied all the same.
_IN_DOUBT = frozenset({"40003", "57P01", "57P02", "57P03", "57P04", "57P05"})
NO_RIGHT = "42501"
_UNIQUE_VIOLATION = "23505"

_UNDEFINED = re.compile(
    r"^(?:relation|column|function|procedure|type|schema|operator|sequence) (?P<object>.{1,200}?)"
    r" does not exist"
)


_DENIED = re.compile(r"^permission denied for (?:[a-z]+ ){0,2}[A-Za-z_][\w.]{0,62}$")


def brief(error: Exception) -> str:
    """Class name and SQLSTATE of an error, nothing that the server wrote, but for what a right lacks on."""
    state = sqlstate(error)
    denied = _DENIED.match(str(getattr(error, "message", "") or "")) if state == NO_RIGHT else None
    said = f": {denied[0]}" if denied else ""
    return f"{type(error).__name__}, SQLSTATE {state}{said}" if state else type(error).__name__


def sqlstate(error: Exception) -> str:
    """The five characters the server sent, or an empty string."""
    return (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""


def undefined_object(error: Exception) -> str | None:
    """What the server does not know, by the name the SQL gives it.

    Only for errors of a statement that was prepared and not executed: no value can be in them.
    """
    match = _UNDEFINED.match(str(error)) if sqlstate(error)[:2] in _MISFIT else None
    return match["object"] if match else None


def said_of_statement(error: Exception, text: str) -> str | None:
    """What the server says of a statement that was not executed, with the line in its file.

    Such a message quotes nothing but the statement. Of other errors nothing is said.
    """
    if sqlstate(error)[:2] != "42":
        return None
    message = str(getattr(error, "message", "") or "")
    position = str(getattr(error, "position", "") or "")
    if not position.isdigit():
        return message or None
    return f"{message} (line {text.count(chr(10), 0, int(position) - 1) + 1})"


def is_misfit(error: Exception) -> bool:
    """Whether a statement does not fit the database, as it will not the next time either."""
    return sqlstate(error)[:2] in (*_MISFIT, *_REFUSED)


def on_connect(error: Exception, url: str, key: str) -> BackendError:
    """The error of a connection that was not made; ``key``: the setting that holds the URL.

    The message has the remedy after a semicolon.
    """
    state = sqlstate(error)
    cause = str(cause_of(error, url, key))
    if state[:2] == "28":
        return BackendCredentials(cause)
    if state[:2] in _MISFIT or isinstance(error, ValueError):
        return BackendMisconfigured(cause)
    return BackendUnavailable(cause)


def on_read(file: str, error: Exception) -> BackendError:
    """The error of a statement whose repetition does no harm."""
    if sqlstate(error)[:2] in (*_MISFIT, *_REFUSED):
        return _misfit(file, error)
    return BackendUnavailable(f"{file}: no answer from the database ({brief(error)})")


def unreadable(file: str, error: Exception) -> BackendMisconfigured:
    """The error of a row with a value that Python does not have."""
    told = type(error).__name__
    return BackendMisconfigured(f"{file}: a column holds a value that cannot be read ({told})")


def _misfit(file: str, error: Exception) -> BackendMisconfigured:
    remedy = f"; {POOLER_REMEDY}" if sqlstate(error) in STATEMENT_LOST else ""
    return BackendMisconfigured(f"{file}: the database refuses the statement ({brief(error)}){remedy}")


def is_rolled_back(error: Exception) -> bool:
    """Whether the server itself has said that the statement changed nothing."""
    state = sqlstate(error)
    return state[:2] in (*_MISFIT, *_REFUSED, *_ROLLED_BACK) and state not in _IN_DOUBT


def after_write(file: str, error: Exception, *, unique_is_conflict: bool) -> Written:
    """The outcome of a write that had been sent when the error came.

    ``unique_is_conflict`` tells what a unique violation means: of a person's phone or e-mail it is a
    refusal; of a value's key it says that the key is there already, so the write is in doubt.

    Raises:
        BackendMisconfigured: the statement does not fit the database; nothing was changed.
    """
    state = sqlstate(error)
    said = f"{file}: the database refused it ({brief(error)})"
    if state == _UNIQUE_VIOLATION:
        if unique_is_conflict:
            return Written.refused(Refusal.CONFLICT, said)
        return Written.unknown(
            f"{said}: the key may be there already; ON CONFLICT … DO UPDATE gives back what is there"
        )
    if state[:2] in _MISFIT:
        raise _misfit(file, error) from None
    if state[:2] in _REFUSED:
        return Written.refused(reason=said)
    if state[:2] in _ROLLED_BACK and state not in _IN_DOUBT:
        return Written.not_sent(f"{file}: the database rolled it back ({brief(error)})")
    return Written.unknown(f"{file}: no answer from the database ({brief(error)})")
