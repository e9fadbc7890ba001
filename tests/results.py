"""A result's file in a store, as a worker leaves one."""

from __future__ import annotations

import hashlib

from hipnode.storage.files.disk import FileStore


def write_result(files: FileStore, sop_instance_uid: str, data: bytes) -> str:
    """Write a result's file durably; return its relative path."""
    incoming = files.incoming()
    incoming.write(data)
    incoming.close()
    return files.keep_result(incoming.path, sop_instance_uid, hashlib.sha256(data).hexdigest())
