"""Sending files by hand: what the demo and an installer's check need, and the courier does not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydicom import dcmread
from pynetdicom.ae import ApplicationEntity

from hipnode.codes import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from hipnode.errors import DestinationUnreachable
from hipnode.services.reactor import steady


def send_files(
    paths: Iterable[Path], *, host: str, port: int, called_ae: str, calling_ae: str
) -> list[int]:
    """Send DICOM files in one association, each in the transfer syntax that it is stored in.

    Returns
    -------
    list of int
        The status of each C-STORE (PS3.4 Table B.2-1), in the order of the files.

    Raises
    ------
    DestinationUnreachable
        If there is no association, or it ends early.
    """
    datasets = [dcmread(path) for path in paths]
    ae = ApplicationEntity(calling_ae)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    kinds = {(d.SOPClassUID, d.file_meta.TransferSyntaxUID) for d in datasets}
    for sop_class, syntax in sorted(kinds):
        ae.add_requested_context(sop_class, syntax)
    association = steady(ae.associate(host, port, ae_title=called_ae))
    if not association.is_established:
        raise DestinationUnreachable(f"{called_ae} at {host}:{port} accepts no association.")
    try:
        answers = [association.send_c_store(dataset).get("Status") for dataset in datasets]
    finally:
        association.release()
    if None in answers:
        raise DestinationUnreachable(f"{called_ae} stopped answering.")
    return [int(status) for status in answers]
