"""``docs/pacs.md`` tried: Orthanc routes radiographs to hipnode and gets the reports back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hipnode.settings import load
from tests.archive import Orthanc
from tests.node import Node, destination
from tests.peers import ROOT, eventually
from tests.senders import SAMPLES, storescu

SCRIPT = ROOT / "docker" / "orthanc" / "route-to-hipnode.lua"


@pytest.fixture
def archive(new_orthanc: Callable[..., Orthanc]) -> Orthanc:
    return new_orthanc(LuaScripts=[str(SCRIPT)])


@pytest.mark.timeout(300)
def test_orthanc_routes_radiographs_and_gets_their_reports(
    archive: Orthanc, tmp_path: Path
) -> None:
    node = Node(
        tmp_path / "node",
        listener={
            "accept_any_caller": False,
            "callers": [{"ae_title": archive.ae_title, "addresses": ["127.0.0.1"]}],
        },
        destinations=[destination(archive)],
    )
    node.start()
    try:
        archive.set_modality("hipnode", node.ae_title, node.host, node.port)
        storescu(archive, SAMPLES[:1])

        def modalities() -> list[str]:
            series = archive.get("/series?expand")
            return sorted(item["MainDicomTags"]["Modality"] for item in series)

        eventually(lambda: {"SR", "OT", "DX"} <= set(modalities()), 120, what="the reports arrive")
        assert node.status()["instances"] == 1, "a report came back to the node"
        assert len(archive.get("/studies")) == 1, "the reports are not in the image's study"
    finally:
        node.kill()


def test_the_guides_settings_load(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "pacs.md").read_text(encoding="utf-8")
    path = tmp_path / "hipnode.toml"
    path.write_text(page.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    settings = load(path)
    assert settings.listener.callers[0].ae_title == settings.destinations[0].ae_title == "PACS"
