"""The kit itself: prose and classes agree, declarations are honest, every driver has its scorecard."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import crm_backends
from crm_backends import conformance, registry
from crm_backends.conformance import (
    BaseCoupons,
    BaseGeneral,
    BasePoints,
    BaseUsers,
    Conformance,
    scenarios_of,
    scorecard,
)

PORTS: dict[str, type[Conformance]] = {
    "G": BaseGeneral,
    "U": BaseUsers,
    "P": BasePoints,
    "C": BaseCoupons,
}
ROOT = Path(crm_backends.__file__).parent
FOLDERS = {path.parent.name for pattern in ("*/driver.py", "*/connector.yaml") for path in ROOT.glob(pattern)}
DRIVERS = sorted(FOLDERS - {"http"})  # that is their base


def test_the_scenarios_in_prose_are_those_of_the_classes() -> None:
    text = Path(conformance.__file__).with_name("SCENARIOS.md").read_text(encoding="utf-8")
    told = re.findall(r"^\*\*([GUPC]\d+\. .+?)\*\*$", text, re.MULTILINE)
    tested = [
        inspect.getdoc(getattr(port, name))
        for port in PORTS.values()
        for _, name in sorted(scenarios_of(port).items(), key=lambda item: int(item[0][1:]))
    ]
    assert told == tested
    for letter, port in PORTS.items():
        count = len(scenarios_of(port))
        assert set(scenarios_of(port)) == {f"{letter}{number}" for number in range(1, count + 1)}


class Made(Conformance):
    """A kit of one scenario."""

    def test_it_is(self) -> None:
        """Z1. It is."""
        raise AssertionError("it is not")


def _diverges_from_nothing() -> None:
    type("TestMade", (Made,), {"divergences": {"Z2": "because"}})


def _diverges_without_a_reason() -> None:
    type("TestMade", (Made,), {"divergences": {"Z1": "  "}})


def _overrides_in_silence() -> None:
    type("TestMade", (Made,), {"test_it_is": lambda self: None})


def _has_no_number() -> None:
    type("TestMade", (Made,), {"test_another": lambda self: None})


@pytest.mark.parametrize(
    ("define", "said"),
    [
        (_diverges_from_nothing, "there is no scenario Z2"),
        (_diverges_without_a_reason, "Z1 has no reason"),
        (_overrides_in_silence, "test_it_is: the docstring does not begin with a scenario number"),
        (_has_no_number, "test_another: the docstring does not begin with a scenario number"),
    ],
)
def test_a_declaration_that_hides_something_is_an_error(define: Callable[[], None], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        define()


def test_an_override_has_to_say_why() -> None:
    def otherwise(self: object) -> None:
        """Z1. It is otherwise."""

    with pytest.raises(TypeError, match="overrides Z1: say why in divergences"):
        type("TestMade", (Made,), {"test_it_is": otherwise})
    allowed = type("TestMade", (Made,), {"test_it_is": otherwise, "divergences": {"Z1": "because"}})
    assert scenarios_of(allowed) == {"Z1": "test_it_is"}


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_driver_has_a_complete_scorecard(driver: str, project: Path) -> None:
    answers = scorecard.read(ROOT / driver)
    assert scorecard.problems(driver, answers, project, registry.load(driver).verified_by) == []


def test_a_scorecard_is_read_closely(project: Path) -> None:
    answers: dict[str, object] = dict.fromkeys(scorecard.rules(), "done")
    del answers["least_rights"]
    answers |= {"readme": "soon", "check_helps": {"exempt": " "}, "speed": "done"}
    assert scorecard.problems("nobody", answers, project, "none") == [
        "speed: there is no such rule",
        'readme: the answer is neither "done" nor { exempt = "a reason" }',
        "least_rights: no answer",
        "conformance: there is no tests/conformance/test_nobody.py",
        'check_helps: the answer is neither "done" nor { exempt = "a reason" }',
        'real_server: the driver says verified_by = "none"',
    ]
