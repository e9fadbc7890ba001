"""One tree of errors. The docstring of a class is its default message.

``retryable`` says whether the same job may succeed later without anybody's help;
``dimse_status`` is what a DIMSE peer is answered when the error ends its request (PS3.4 B.2.3).
"""

from __future__ import annotations

from errno import EDQUOT, ENOSPC
from typing import ClassVar


class HipnodeError(Exception):
    """Something went wrong inside hipnode."""

    retryable: ClassVar[bool] = False
    dimse_status: ClassVar[int] = 0xC000

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


# --- settings ---------------------------------------------------------------------------------


class SettingsInvalid(HipnodeError):
    """The settings file is not usable."""


# --- input ------------------------------------------------------------------------------------


class InputRefused(HipnodeError):
    """The input cannot be used; sending it again will not help."""


class NotDicom(InputRefused):
    """The file is not a DICOM file."""


class HeaderUnusable(InputRefused):
    """The header lacks what is needed to identify the image, or contradicts itself."""

    dimse_status = 0xA900


class HeaderTooCostly(InputRefused):
    """The header takes more to read than any image needs."""


class PixelsUnreadable(InputRefused):
    """The pixel data cannot be decoded."""


class ImageDamaged(InputRefused):
    """The stored image is not the one that was received: its file has been changed."""


class NotARadiograph(PixelsUnreadable):
    """The pixel data are no radiograph."""


class ManifestInvalid(InputRefused):
    """A table, or a row of it, cannot be used."""


class BundleRefused(InputRefused):
    """The model bundle is not one that this node will load."""


class ReportRefused(InputRefused):
    """No valid report can be made from the identity in this study without inventing data."""


class CharacterSetUndeclared(HipnodeError):
    """The object has text outside ASCII and declares no character set; it does not leave."""


class WorkerKilled(HipnodeError):
    """The process that decoded or read the image died or ran out of time."""

    retryable = True


class EngineLost(HipnodeError):
    """The device that the models run on fails; another one may do."""

    retryable = True


# --- storage ----------------------------------------------------------------------------------


class StorageUnavailable(HipnodeError):
    """The database or the disk cannot be reached."""

    retryable = True
    dimse_status = 0xA700

    @staticmethod
    def of(error: OSError) -> StorageUnavailable:
        """Return what an error of the operating system means for who wanted to write."""
        if error.errno in (ENOSPC, EDQUOT):
            return DiskFull()
        return StorageUnavailable(f"The disk cannot be used: {error.strerror}.")


class DiskFull(StorageUnavailable):
    """The disk is full, or nearer to it than the settings allow."""


class DatabaseDamaged(StorageUnavailable):
    """The database is damaged: nothing is taken in until it is restored."""


class LeaseLost(HipnodeError):
    """The job has been given to somebody else; this result is not written."""


class IllegalTransition(HipnodeError):
    """The job cannot move from its present state to the one asked for."""


class AuditBroken(HipnodeError):
    """The audit log has been changed after it was written."""


# --- delivery ---------------------------------------------------------------------------------


class DestinationUnreachable(HipnodeError):
    """The destination does not answer or does not accept an association."""

    retryable = True


class DestinationRejects(DestinationUnreachable):
    """The destination is there, and rejects our associations: that mends itself for nobody."""


class DestinationRefused(HipnodeError):
    """The destination answered, and refused the object."""


class DestinationBusy(DestinationRefused):
    """The destination is out of resources for now (0xA7xx)."""

    retryable = True
