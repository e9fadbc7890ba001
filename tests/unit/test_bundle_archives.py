"""A bundle as a ZIP file: it comes back whole, and what is hostile or damaged is refused."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from hipnode.errors import BundleRefused
from hipnode.nets.bundle.contents import MANIFEST
from hipnode.nets.load.archive import export_bundle, import_bundle
from tests.unit.test_bundles import GATE


def test_export_and_import_keep_the_digest(tmp_path: Path) -> None:
    archive = tmp_path / "gate.zip"
    digest = export_bundle(GATE, archive)
    model = import_bundle(archive, tmp_path / "shelf")
    assert model.spec.digest == digest
    assert model.path.parent == tmp_path / "shelf"
    with pytest.raises(BundleRefused, match="already there"):
        import_bundle(archive, tmp_path / "shelf")


def test_zip_that_climbs_out_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("../../owned.txt", "x")
    with pytest.raises(BundleRefused, match="does not belong"):
        import_bundle(archive, tmp_path / "shelf" / "deep")
    assert not list(tmp_path.rglob("owned.txt"))
    assert not list((tmp_path / "shelf" / "deep").iterdir())


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_packed_in_another_way_is_refused(tmp_path: Path, method: int) -> None:
    archive = tmp_path / "gate.zip"
    with zipfile.ZipFile(archive, "w", method) as out:
        out.write(GATE / MANIFEST, MANIFEST)
    with pytest.raises(BundleRefused, match="neither stored nor deflated"):
        import_bundle(archive, tmp_path / "shelf")


def test_zip_that_is_damaged_anywhere_is_refused(tmp_path: Path) -> None:
    archive, shelf = tmp_path / "gate.zip", tmp_path / "shelf"
    export_bundle(GATE, archive)
    whole = archive.read_bytes()
    for at in range(0, len(whole), len(whole) // 60):
        archive.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            shutil.rmtree(import_bundle(archive, shelf).path)  # a byte that nobody looks at
        except BundleRefused:
            assert not list(shelf.iterdir())
