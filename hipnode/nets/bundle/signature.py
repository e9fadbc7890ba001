"""Who vouches for a bundle: an optional Ed25519 signature over its manifest.

The manifest lists the sha256 of every file, so a signature over it is one over the whole bundle.
Keys are PEM files as ``openssl genpkey -algorithm ed25519`` makes them, and the signature is the
64 plain bytes that ``openssl pkeyutl -verify -rawin`` reads.

References
----------
RFC 8032 (Ed25519); RFC 8410 (its keys as PEM).
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from hipnode.errors import BundleRefused
from hipnode.nets.bundle.contents import MANIFEST, SIGNATURE


def sign(manifest: bytes, private_key: Path) -> bytes:
    """Return the signature of a bundle's manifest; nothing is written.

    Parameters
    ----------
    manifest
        The manifest of a bundle that verifies.
    private_key
        An Ed25519 key as PEM, without a passphrase.

    Raises
    ------
    BundleRefused
        If the key is no such key.
    """
    try:
        key = load_pem_private_key(private_key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BundleRefused(f"{private_key} is no private key: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleRefused(f"{private_key} is no Ed25519 key")
    return key.sign(manifest)


def check(folder: Path, public_key: Path) -> None:
    """Check that a bundle's manifest was signed with the other half of a key.

    Parameters
    ----------
    folder
        The bundle's; its files are checked against the manifest by `verify`.
    public_key
        An Ed25519 key as PEM.

    Raises
    ------
    BundleRefused
        If there is no signature, or it is of another key or of another manifest.
    """
    try:
        key = load_pem_public_key(public_key.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise BundleRefused(f"{public_key} is no public key: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise BundleRefused(f"{public_key} is no Ed25519 key")
    if not (folder / SIGNATURE).is_file():
        raise BundleRefused(f"{folder} is not signed")
    try:
        key.verify((folder / SIGNATURE).read_bytes(), (folder / MANIFEST).read_bytes())
    except InvalidSignature:
        raise BundleRefused(f"{folder}: the signature is not by {public_key.name}") from None
