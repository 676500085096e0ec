"""Alert rules, dashboard and the pages that explain them, against what a running adapter really tells."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.conftest import Adapter, running, settings_for_tests
from tests.integration.test_metrics import Samples, scrape
from tests.integration.test_review import held_receipt

with_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="there is no promtool (package prometheus) on this machine"
)
ALERTING = 'count by (alertname) (ALERTS{alertstate="firing"})'


@pytest.fixture
async def adapter(database: str) -> AsyncIterator[Adapter]:
    """One that has refused a call; what is recorded waits."""
    settings = settings_for_tests(receipts={"wait": 0}, delivery={"in_process": False})
    async with running(settings, database) as started:
        await started.get("/v1/card/1234567890123")
        yield started


def promtool(*arguments: str, cwd: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments],
        cwd=cwd,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def rules(project: Path) -> list[dict[str, Any]]:
    text = (project / "deploy" / "alerts" / "rules.yaml").read_text(encoding="utf-8")
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def pages(project: Path) -> str:
    return (project / "deploy" / "OPERATIONS.md").read_text(encoding="utf-8")


@with_promtool
def test_the_rules_fire_when_they_should_and_not_on_a_quiet_day(project: Path) -> None:
    folder = project / "deploy" / "alerts"
    assert promtool("check", "rules", "rules.yaml", cwd=folder).returncode == 0
    done = promtool("test", "rules", "tests.yaml", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_seen_to_fire(project: Path) -> None:
    text = (project / "deploy" / "alerts" / "tests.yaml").read_text(encoding="utf-8")
    fired = set(re.findall(r'labels: .\{alertname="(\w+)"', text))
    assert fired == {rule["alert"] for rule in rules(project)}


def test_every_rule_leads_to_its_paragraph(project: Path) -> None:
    headings = re.findall(r"^### (Koshelek\w+)\n\n(\S)", pages(project), re.MULTILINE)
    assert sorted(name for name, _ in headings) == sorted(rule["alert"] for rule in rules(project))
    for rule in rules(project):
        assert rule["annotations"]["runbook"] == f"deploy/OPERATIONS.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("warning", "critical")


def _as_series(found: Samples) -> list[dict[str, str]]:
    """What was scraped, the same for half an hour, as promtool takes it."""
    series = [
        {
            "series": name + "{" + ",".join(f'{label}="{text}"' for label, text in labels) + "}",
            "values": f"{value:.6f}x30",
        }
        for (name, labels), value in found.items()
    ]
    return [*series, {"series": 'up{job="koshelek-adapter"}', "values": "1x30"}]


def _told(project: Path, folder: Path, found: Samples, alerts: list[str]) -> str:
    """What promtool has against these alerts firing, and no others, on what was scraped; empty: nothing."""
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in alerts]
    told = {
        "rule_files": [str(project / "deploy" / "alerts" / "rules.yaml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": _as_series(found),
                "promql_expr_test": [{"expr": ALERTING, "eval_time": "20m", "exp_samples": expected}],
            }
        ],
    }
    (folder / "real.yaml").write_text(json.dumps(told), encoding="utf-8")
    done = promtool("test", "rules", "real.yaml", cwd=folder)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@with_promtool
async def test_on_what_the_adapter_really_tells_the_right_rule_fires(
    adapter: Adapter, project: Path, tmp_path: Path
) -> None:
    text, found = await scrape(adapter)
    assert _told(project, tmp_path, found, []) == ""
    await held_receipt(adapter)
    text, found = await scrape(adapter)
    assert _told(project, tmp_path, found, ["KoshelekHeldForAPerson"]) == ""
    assert "got:" in _told(project, tmp_path, found, ["KoshelekDown"])
    linted = promtool("check", "metrics", cwd=tmp_path, given=text)
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


def _families(text: str) -> dict[str, tuple[str, set[str]]]:
    """Per metric its kind and labels, by the name it is asked for with."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    }


async def test_every_metric_is_explained(adapter: Adapter, project: Path) -> None:
    text, _ = await scrape(adapter)
    there = _families(text)
    row = r"^\| `(koshelek_\w+)` \| (\w+) \|([^|]*)\|"
    explained = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(row, pages(project), re.MULTILINE)
    }
    assert {name: kind for name, (kind, _) in explained.items()} == {
        name: kind for name, (kind, _) in there.items()
    }
    for name, (_, labels) in there.items():
        assert labels <= explained[name][1], name  # one without samples shows no labels


def _dashboard(project: Path) -> dict[str, Any]:
    text = (project / "deploy" / "grafana" / "koshelek-adapter.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


async def test_the_dashboard_shows_every_metric_there_is_and_no_other(
    adapter: Adapter, project: Path
) -> None:
    text, _ = await scrape(adapter)
    there = {name.removesuffix("_total") for name in _families(text)}
    asked = {
        re.sub(r"_(total|bucket|count|sum)$", "", name)
        for panel in _dashboard(project)["panels"]
        for target in panel["targets"]
        for name in re.findall(r"koshelek_\w+", target["expr"])
    }
    assert asked == there


def test_the_panels_of_the_dashboard_lie_side_by_side(project: Path) -> None:
    panels = _dashboard(project)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["description"], panel["title"]


@with_promtool
def test_prometheus_understands_what_the_dashboard_asks(project: Path, tmp_path: Path) -> None:
    asked = [
        {"record": f"asked:panel{panel['id']}:{number}", "expr": target["expr"].replace("$job", ".*")}
        for panel in _dashboard(project)["panels"]
        for number, target in enumerate(panel["targets"])
    ]
    groups = {"groups": [{"name": "dashboard", "rules": asked}]}
    (tmp_path / "rules.yaml").write_text(json.dumps(groups), encoding="utf-8")
    done = promtool("check", "rules", "rules.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
