"""A model set with a site's own thresholds: copied, changed in one place, and proved to load.

Everything else in it stays byte for byte. The bundle that is changed gets a new digest, and loses
its signature: whoever signed it has not seen these thresholds.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hipnode.errors import BundleRefused
from hipnode.nets import load_model_set
from hipnode.nets.bundle.contents import CARD, MANIFEST, METADATA, SIGNATURE, verify
from hipnode.nets.bundle.setfile import Pin, SetFile, bundle_path, read_set, set_file
from hipnode.nets.bundle.spec import read_spec

SITE_FROM: Final = 1000
"""A site's own version of a bundle adds this to the last part of the version, each time."""


@dataclass(frozen=True)
class Applied:
    """A model set that was written."""

    path: Path
    digest: str
    bundle: str
    bundle_digest: str


def apply(
    reference: str | Path,
    model_digest: str,
    out: Path,
    *,
    doubtful_from: float,
    present_from: float,
    chosen_on: str,
) -> Applied:
    """Write a copy of a model set in which one bundle has other thresholds.

    Parameters
    ----------
    reference
        The set: a shipped name or a file.
    model_digest
        Of the bundle whose thresholds these are.
    out
        The folder to make; the set's file and its bundles lie in it.
    doubtful_from, present_from
        The thresholds on P(fracture).
    chosen_on
        Where they come from, for whoever reads the bundle.

    Raises
    ------
    BundleRefused
        If the folder is there already, no bundle of the set has the digest, or what was written
        does not load and reproduce itself.
    """
    source = set_file(reference)
    document = read_set(source)
    if out.exists():
        raise BundleRefused(f"{out} is there already; a model set is never replaced")
    pins = [pin for pin in _pins(document) if pin.sha256 == model_digest]
    if not pins:
        raise BundleRefused(f"no bundle of the set {document.name} has the digest {model_digest}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".hipnode-") as scratch:
        staged = Path(scratch) / "set"
        for pin in _pins(document):
            shutil.copytree(bundle_path(source, pin.bundle), staged / pin.bundle)
        thresholds = {
            "doubtful_from": doubtful_from,
            "present_from": present_from,
            "chosen_on": chosen_on,
        }
        changed = _change(staged / pins[0].bundle, thresholds)
        name = f"{document.name[:58]}-site"
        text = _toml(document, name, {model_digest: changed})
        (staged / f"{name}.toml").write_text(text, encoding="utf-8")
        loaded = load_model_set(staged / f"{name}.toml", device="cpu", threads=1)
        staged.rename(out)
    return Applied(out / f"{name}.toml", loaded.digest, pins[0].bundle, changed)


def _pins(document: SetFile) -> list[Pin]:
    return [*document.models.values(), *document.clinical.values()]


def _change(folder: Path, thresholds: Mapping[str, Any]) -> str:
    """Give a bundle other thresholds; return its new digest."""
    files, _ = verify(folder)
    metadata = json.loads(files[METADATA])
    block = metadata["hipnode"]
    major, minor, patch = (int(part) for part in block["version"].split("."))
    version = f"{major}.{minor}.{min(9999, patch + SITE_FROM)}"
    before = block["operating_point"]
    # the band of what is equivocal was calibrated around the threshold before
    kept = {k: v for k, v in before.items() if not k.startswith("equivocal_")}
    block["operating_point"] = kept | dict(thresholds)
    block["version"] = metadata["version"] = version
    metadata.setdefault("changelog", {})[version] = f"thresholds of a site: {before} before"
    files[METADATA] = (json.dumps(metadata, indent=2) + "\n").encode()
    read_spec(files[METADATA], "")
    files[CARD] += (
        f"\n## Thresholds of a site (version {version})\n\n"
        f"`doubtful_from` {thresholds['doubtful_from']:g} and `present_from` "
        f"{thresholds['present_from']:g} instead of {before['doubtful_from']:g} and "
        f"{before['present_from']:g}. Chosen on: {thresholds['chosen_on']}. What stands above "
        "about thresholds was measured with those before. Nobody has signed this bundle.\n"
    ).encode()
    for name in (METADATA, CARD):
        (folder / name).write_bytes(files[name])
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    manifest = "".join(lines).encode()
    (folder / MANIFEST).write_bytes(manifest)
    (folder / SIGNATURE).unlink(missing_ok=True)
    return hashlib.sha256(manifest).hexdigest()


def _toml(document: SetFile, name: str, changed: Mapping[str, str]) -> str:
    card = f"{document.card[:340]} Thresholds chosen by a site."
    lines = [f"name = {json.dumps(name)}", f"card = {json.dumps(card)}"]
    for table, pins in (("models", document.models), ("clinical", document.clinical)):
        for role, pin in pins.items():
            digest = changed.get(pin.sha256, pin.sha256)
            lines += ["", f"[{table}.{role}]", f'bundle = "{pin.bundle}"', f'sha256 = "{digest}"']
    return "\n".join(lines) + "\n"
