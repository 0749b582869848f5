"""The dashboard and the rules: PromQL that parses, files that Grafana and Prometheus take, alerts that fire in time."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from ddgan_deploy.serving import MODEL
from tests.deploy.conftest import DEPLOY, kustomize, program
from tests.deploy.promql import ASKED, DASHBOARD, GROUPS, RULES, grouped_by, nodes, panels, rules
from tests.test_readme import ROOT

PAGE = (ROOT / "docs" / "watching.md").read_text(encoding="utf-8")
FETCH = "python tools/fetch_checkers.py"


@pytest.mark.parametrize("place", ASKED)
def test_promql(place):
    assert nodes(ASKED[place])


@pytest.mark.parametrize(
    "wrong", ["rate(up)", "sum by (x (up)", "up{a=b}", "nothing(up)", "rate(up[$__rate_interval])"]
)
def test_what_is_no_promql_is_found(wrong):
    with pytest.raises(ValueError, match=r"\w"):
        nodes(wrong)


# The dashboard


def test_the_dashboard_can_be_loaded_again_and_again():
    assert re.fullmatch(r"[\w-]{1,40}", DASHBOARD["uid"]) and "id" not in DASHBOARD
    assert DASHBOARD["title"] and DASHBOARD["schemaVersion"] >= 36
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_panels_do_not_overlap():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        assert x >= 0 and x + w <= 24 and w > 0 and h > 0, panel["title"]
        cells = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
        assert not cells & taken, panel["title"]
        taken |= cells
    # Nor is there a hole: every line is filled.
    assert len(taken) == 24 * (1 + max(row for _, row in taken))


def test_every_panel_asks_the_chosen_data_source():
    source = {"type": "prometheus", "uid": "${datasource}"}
    first, *others = DASHBOARD["templating"]["list"]
    assert (first["type"], first["name"], first["query"]) == ("datasource", "datasource", "prometheus")
    assert all(variable["datasource"] == source for variable in others)
    assert {variable["name"]: variable["current"]["value"] for variable in others}["model"] == MODEL
    for panel in panels():
        assert panel["datasource"] == source and panel["targets"], panel["title"]
        assert all(target["datasource"] == source for target in panel["targets"]), panel["title"]


def test_panels_tell_what_they_show():
    for panel in panels():
        assert panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
        for target in panel["targets"]:
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            filled = target["expr"].replace("$__rate_interval", "1m")
            assert shown <= grouped_by(filled), panel["title"]
            # A fixed window is too short for some scrape intervals, and too long for a close look.
            assert not re.search(r"rate\([^[]*\[(?!\$__rate_interval\])", target["expr"]), panel["title"]


def test_every_panel_follows_the_variables():
    for panel in panels():
        for target in panel["targets"]:
            selectors = re.findall(r"{([^{}]*)}", target["expr"])
            assert selectors
            for selector in selectors:
                assert 'instance=~"$instance",model="$model"' in selector, panel["title"]


def test_a_config_map_has_the_dashboard():
    (manifest,) = kustomize(DEPLOY / "grafana")
    assert kubernetes_validate.validate(manifest, "1.30", strict=True)
    assert manifest["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert yaml.safe_load(manifest["data"]["ddgan.json"]) == DASHBOARD


# The rules


def _promtool(*arguments: str | Path) -> None:
    done = subprocess.run([program("promtool", FETCH), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules():
    _promtool("check", "rules", RULES)


def test_alerts_fire_in_time_and_not_without_need():
    _promtool("test", "rules", RULES.with_name("rules.test.yaml"))


def test_every_alert_is_tried():
    tried = re.findall(r'alertname="(\w+)"', RULES.with_name("rules.test.yaml").read_text())
    assert set(tried) == {rule["alert"] for rule in rules() if "alert" in rule}


def test_every_alert_says_what_to_do():
    for rule in rules():
        if "alert" in rule:
            assert rule["alert"].startswith("Ddgan")
            assert rule["labels"]["severity"] in ("critical", "warning")
            assert set(rule["annotations"]) == {"summary", "description"}
            assert all(text.endswith(".") for text in rule["annotations"].values()), rule["alert"]
            assert f"`{rule['alert']}`" in PAGE
    assert len(GROUPS) == len({group["name"] for group in GROUPS})


def test_the_pages_prometheus_rule_has_the_rules(tmp_path):
    """The page's command, with a kubectl that shows what it is given."""
    (command,) = re.findall(r"```console\n(\(printf .*?)```", PAGE, re.DOTALL)
    (tmp_path / "kubectl").write_text('#!/bin/sh\n[ "$*" = "apply -f -" ] && cat\n')
    (tmp_path / "kubectl").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    manifest = yaml.safe_load(done.stdout)
    assert (manifest["apiVersion"], manifest["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert manifest["spec"] == yaml.safe_load(RULES.read_text())
