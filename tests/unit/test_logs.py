"""Logs: an error is its kind and place, a library's record its fixed text; never the data in them."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from adapter.process import logs
from adapter.settings import Log

PHONE = "79161234567"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def configure() -> None:
    """Logging as in a container: JSON, everything that can be written.

    Called by the test itself: what a fixture sees as standard output is not what the test sees.
    """
    logs.configure(Log(level="debug", format="json"))


def records(written: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    output = written.readouterr()
    assert output.err == ""
    assert PHONE not in output.out
    return [json.loads(line) for line in output.out.splitlines()]


def fails() -> None:
    raise ValueError(f"no customer {PHONE}")


def test_a_line_is_json_with_time_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    structlog.get_logger("api").info("request", status=200, remote="127.0.0.1")
    (record,) = records(capsys)
    assert record.pop("timestamp").endswith("Z")
    assert record == {"event": "request", "status": 200, "remote": "127.0.0.1", "level": "info"}


def test_an_exception_is_logged_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    try:
        try:
            fails()
        except ValueError as error:
            raise KeyError(PHONE) from error
    except KeyError:
        structlog.get_logger("api").exception("defect")
    (record,) = records(capsys)
    assert record["event"] == "defect"
    assert record["exception"] == "KeyError < ValueError"
    assert any("test_logs.py" in frame for frame in record["frames"])


def test_an_exception_given_as_an_object_is_logged_without_its_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure()
    structlog.get_logger("api").error("defect", exc_info=ValueError(PHONE))
    (record,) = records(capsys)
    assert record["exception"] == "ValueError"


def test_a_librarys_arguments_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    logging.getLogger("library").warning("no customer %s of %d", PHONE, 5)
    (record,) = records(capsys)
    assert (record["event"], record["logger"], record["level"]) == (
        "no customer %s of %d",
        "library",
        "warning",
    )


def test_a_librarys_exception_is_logged_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    try:
        fails()
    except ValueError:
        logging.getLogger("library").exception("failed for %s", PHONE)
    (record,) = records(capsys)
    assert record["exception"] == "ValueError"
    assert record["event"] == "failed for %s"


def test_a_librarys_extra_values_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    logging.getLogger("library").error("failed", extra={"phone": PHONE})
    assert len(records(capsys)) == 1


async def test_a_task_nobody_waited_for_is_logged_without_its_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """asyncio puts the exception's own text into the message of its record."""
    configure()

    async def doomed() -> None:
        fails()

    task = asyncio.create_task(doomed())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()
    (record,) = records(capsys)
    assert record["logger"] == "asyncio"


async def test_what_the_event_loop_reports_is_logged_without_its_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure()
    context = {
        "message": "Fatal error on transport",
        "exception": ValueError(PHONE),
        "protocol": f"<{PHONE}>",
    }
    asyncio.get_running_loop().call_exception_handler(context)
    (record,) = records(capsys)
    assert record["exception"] == "ValueError"


def test_the_level_of_the_settings_is_kept_and_libraries_never_chatter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(Log(level="error", format="json"))
    structlog.get_logger("api").warning("quiet")
    logging.getLogger("library").warning("quiet")
    structlog.get_logger("api").error("loud")
    logging.getLogger("library").error("loud")
    assert [record["event"] for record in records(capsys)] == ["loud", "loud"]
    logs.configure(Log(level="debug", format="json"))
    logging.getLogger("library").info("chatter")
    assert records(capsys) == []


def test_the_console_form_leaves_messages_out_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Log(level="debug", format="console"))
    try:
        fails()
    except ValueError:
        structlog.get_logger("api").exception("defect")
        logging.getLogger("library").exception("failed for %s", PHONE)
    output = capsys.readouterr()
    assert "defect" in output.out
    assert "failed for" in output.out
    assert PHONE not in output.out + output.err


def test_silence_writes_nothing_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Log(level="debug", format="json"))
    logs.silence()
    structlog.get_logger("api").error("loud")
    logging.getLogger("library").error("loud")
    output = capsys.readouterr()
    assert output.out + output.err == ""
