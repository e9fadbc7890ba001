"""What is shipped for Prometheus and Grafana parses, fires when it should, and asks for figures
that there are."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from hipnode.services.life.figures import exposition
from hipnode.settings import Settings
from hipnode.storage import Store
from tests.peers import ROOT, require, run

SHIPPED = ROOT / "docker" / "monitoring"
RULES = SHIPPED / "rules.yaml"
DASHBOARD = SHIPPED / "grafana-dashboard.json"
_FIGURE = re.compile(r"\bhipnode_[a-z_]+\b")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all figures that a node gives."""
    folder = tmp_path_factory.mktemp("node")
    settings = Settings.model_validate({"node": {"data_dir": folder}})
    store = Store.open(settings, migrate=True)
    try:
        text = exposition("housekeeper", settings, store).decode()
    finally:
        store.close()
    return set(re.findall(r"^# TYPE (\S+) (?:gauge|counter)$", text, re.MULTILINE))


def _panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def test_promtool_accepts_what_is_shipped() -> None:
    promtool = require("promtool", "prometheus")
    run([promtool, "check", "rules", str(RULES)])
    run([promtool, "check", "config", str(SHIPPED / "prometheus.yaml")])


def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    promtool = require("promtool", "prometheus")
    for path in (RULES, ROOT / "tests" / "docs" / "rules_test.yaml"):
        shutil.copy(path, tmp_path)
    run([promtool, "test", "rules", "rules_test.yaml"], cwd=tmp_path)


def test_every_panel_of_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    promtool = require("promtool", "prometheus")
    asked = [target["expr"] for panel in _panels() for target in panel["targets"]]
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(asked)]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    run([promtool, "check", "rules", str(file)])


def test_the_panels_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in _panels():
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_only_figures_that_there_are_are_asked_for(path: Path, given: set[str]) -> None:
    assert set(_FIGURE.findall(path.read_text())) <= given


def test_every_figure_is_explained_and_no_other(given: set[str]) -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert set(_FIGURE.findall(page)) == given
