"""Rules and alerts: promtool finds them right, each fires and is silent when it should, each has its paragraph."""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.names import metrics_in, metrics_of_the_gateway

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULE_TESTS = sorted(Path(__file__).parent.glob("*.test.yml"))


def rules(name: str) -> list[dict[str, Any]]:
    """Return the rules of a file."""
    groups = yaml.safe_load((PROMETHEUS / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
RECORDED = {rule["record"] for rule in rules("rules.yml")}


def promtool(*arguments: str | Path) -> str:
    """Run promtool and return what it says, failing if it finds a fault."""
    program = shutil.which("promtool")
    assert program is not None, "promtool is not installed: run deploy/test-tools.sh"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_no_fault() -> None:
    """The configuration and its rules are what Prometheus takes."""
    promtool("check", "config", "--lint=all", "--lint-fatal", PROMETHEUS / "prometheus.yml")
    promtool("check", "rules", "--lint=all", "--lint-fatal", PROMETHEUS / "rules.yml", PROMETHEUS / "alerts.yml")


@pytest.mark.parametrize("cases", RULE_TESTS, ids=lambda path: path.name.partition(".")[0])
def test_alerts_fire_and_are_silent(cases: Path) -> None:
    """What promtool plays to the rules makes them fire, with these words, or leaves them silent."""
    promtool("test", "rules", cases)


def test_each_alert_is_seen_to_fire_and_to_be_silent() -> None:
    """No alert is without a case of each kind."""
    seen: defaultdict[str, set[bool]] = defaultdict(set)
    for path in RULE_TESTS:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for one in case["alert_rule_test"]:
                seen[one["alertname"]].add(bool(one["exp_alerts"]))
    assert dict(seen) == {name: {True, False} for name in ALERTS}
    print(f"{len(ALERTS)} alerts, {len(RECORDED)} recorded series")


def test_each_alert_says_what_and_where() -> None:
    """It has a severity, two sentences with a value or a label in them, and a paragraph of its name in the runbook."""
    anchors = {heading.lower() for heading in headings() if heading.startswith("Gateway")}
    for name, alert in ALERTS.items():
        assert alert["labels"]["severity"] in {"critical", "warning"}, name
        written = alert["annotations"]
        assert set(written) == {"summary", "description", "runbook"}, name
        if name != "GatewayAbsent":  # it is about what is not there
            assert "{{ $" in written["summary"], name
            assert "{{ $" in written["description"], name
        assert written["runbook"] == f"deploy/RUNBOOK.md#{name.lower()}"
    assert anchors == {name.lower() for name in ALERTS}


def test_every_link_in_the_runbook_leads_somewhere() -> None:
    """Its anchors are headings of it."""
    text = (ROOT / "deploy/RUNBOOK.md").read_text()
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings()}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_every_metric_exists() -> None:
    """What rules and alerts name is a metric of the gateway or a recorded series."""
    known = metrics_of_the_gateway() | RECORDED | {"up"}
    for rule in [*rules("rules.yml"), *ALERTS.values()]:
        assert metrics_in(rule["expr"]) <= known, rule["expr"]


def headings() -> list[str]:
    """Return the headings of the runbook."""
    return re.findall(r"^#+ (.+)$", (ROOT / "deploy/RUNBOOK.md").read_text(), re.MULTILINE)
