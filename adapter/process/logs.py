"""Logging: structlog for ours and the libraries' alike, JSON outside a terminal.

An exception is written as its type and the places it passed, never with its message: messages of
databases and CRMs quote the data. No other field is filtered here: whoever logs names each field, and a
personal value is never one of them. It may not know who logs.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pydantic_core
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from adapter.settings import Log


def _exception_without_message(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """``exc_info`` -> type names of the chain and the frames, without messages and source values."""
    info: Any = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = " < ".join(type(one).__qualname__ for one in islice(_chain(error), 10))
        frames = traceback.extract_tb(error.__traceback__)
        event["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return event


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and what led to it, as Python would print them."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _without_arguments(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Of a library's record only the first line of its fixed text is kept; the rest may hold anything."""
    record: logging.LogRecord | None = event.get("_record")
    if record is not None and event.get("_from_structlog") is False:
        event["event"] = str(record.msg).partition("\n")[0]
        event["logger"] = record.name
    return event


def _json(event: EventDict, **_: Any) -> bytes:
    return pydantic_core.to_json(event, fallback=str)


def _json_text(event: EventDict, **_: Any) -> str:
    return _json(event).decode()


def _timestamp(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """The moment as a value: turning it into text is half the work of a line, and pydantic's is fast."""
    event["timestamp"] = datetime.now(UTC)
    return event


def configure(settings: Log) -> None:
    """Set up logging for this process; everything goes to standard output."""
    console = settings.format == "console" or (settings.format == "auto" and sys.stdout.isatty())
    level = getattr(logging, settings.level.upper())
    common: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True) if console else _timestamp,
        _exception_without_message,
    ]
    renderer: Processor
    if console:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
        factory: Any = structlog.WriteLoggerFactory()
    else:
        renderer = structlog.processors.JSONRenderer(serializer=_json)
        factory = structlog.BytesLoggerFactory(sys.stdout.buffer)
    structlog.configure(
        processors=[*common, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[
                _without_arguments,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer if console else structlog.processors.JSONRenderer(serializer=_json_text),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


def silence() -> None:
    """Write nothing at all: for commands that print findings of their own."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.ReturnLoggerFactory(),
    )
    logging.getLogger().handlers[:] = [logging.NullHandler()]
