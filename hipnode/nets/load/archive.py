"""Carrying bundles between machines as one ZIP file."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Final

from hipnode.errors import BundleRefused
from hipnode.nets.bundle.contents import KNOWN, MANIFEST, SIGNATURE, verify
from hipnode.nets.bundle.signature import check, sign
from hipnode.nets.load.loaded import LoadedModel, load_bundle

_MAX_BYTES: Final = 256 * 1024**2
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 0x1
_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the same bundle gives the same archive


def export_bundle(folder: Path, archive: Path, sign_with: Path | None = None) -> str:
    """Write a verified bundle as a ZIP file and return the bundle's digest.

    Parameters
    ----------
    folder
        The bundle's; nothing in it is changed.
    archive
        The ZIP file to write.
    sign_with
        A private key: the copy carries a signature by it. None keeps the one that is there.

    Raises
    ------
    BundleRefused
        If the bundle does not verify, or the key is no Ed25519 key.
    """
    files, digest = verify(folder)
    files[MANIFEST] = (folder / MANIFEST).read_bytes()
    if sign_with:
        files[SIGNATURE] = sign(files[MANIFEST], sign_with)
    elif (folder / SIGNATURE).is_file():
        files[SIGNATURE] = (folder / SIGNATURE).read_bytes()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name in sorted(files):
            out.writestr(zipfile.ZipInfo(name, _DATE), files[name], zipfile.ZIP_DEFLATED)
    return digest


def import_bundle(source: Path, shelf: Path, key: Path | None = None) -> LoadedModel:
    """Take a bundle (a folder or a ZIP file) onto a shelf, once it has loaded and proved itself.

    Parameters
    ----------
    source
        What came from elsewhere.
    shelf
        The folder that gets it, under the bundle's own name and version.
    key
        The public key that it must be signed with; None takes an unsigned one as well.

    Raises
    ------
    BundleRefused
        With the reason; the shelf is then unchanged.
    """
    shelf.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=shelf) as scratch:
        staged = Path(scratch) / "bundle"
        if source.is_dir():
            for name in (*verify(source)[0], MANIFEST):
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, staged / name)
            if (source / SIGNATURE).is_file():
                shutil.copyfile(source / SIGNATURE, staged / SIGNATURE)
        else:
            _unpack(source, staged)
        if key:
            check(staged, key)
        spec = load_bundle(staged, threads=1).spec
        home = shelf / f"{spec.name}-{spec.version}"
        if home.exists():
            raise BundleRefused(f"{home} is already there; a version is never replaced")
        staged.rename(home)
    return load_bundle(home, threads=1)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the files that a bundle has; anything else in the archive is a reason to refuse."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if entry.is_dir():
                    continue
                if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _METHODS:
                    raise BundleRefused(
                        f"{entry.filename!r} is encrypted, or neither stored nor deflated"
                    )
                if entry.filename not in KNOWN | {MANIFEST, SIGNATURE}:
                    raise BundleRefused(f"{entry.filename!r} does not belong into a bundle")
                if entry.file_size > _MAX_BYTES:
                    raise BundleRefused(f"{entry.filename} is larger than {_MAX_BYTES} bytes")
                target = folder / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as member:
                    content = member.read(_MAX_BYTES + 1)  # the header may lie about the size
                if len(content) > _MAX_BYTES:
                    raise BundleRefused(f"{entry.filename} is larger than {_MAX_BYTES} bytes")
                target.write_bytes(content)
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleRefused(f"{archive} cannot be read: {error}") from None
