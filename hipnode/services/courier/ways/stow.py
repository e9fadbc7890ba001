"""STOW-RS: one object a request, to the DICOMweb service of an archive.

References
----------
PS3.18 10.5 (Store Transaction), Table 10.5.3-1 (status codes), I.2.2 (failure reasons).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread

from hipnode.errors import DestinationUnreachable
from hipnode.services.courier.ways.way import Answer, Reply
from hipnode.services.courier.ways.web import answer_of, session
from hipnode.settings import StowSettings

_CLASS_NOT_SUPPORTED: Final = 0x0122
_OUT_OF_RESOURCES: Final = 0xA7


class Stow:
    """STOW-RS to one archive.

    Parameters
    ----------
    destination
        Its settings.
    _ae_title
        Of no use here: HTTP knows no AE titles.
    """

    def __init__(self, destination: StowSettings, _ae_title: str) -> None:
        self._session = _Patient(destination.timeout_s, session(destination))
        self._client = DICOMwebClient(destination.url, session=self._session.inner)
        self._client.set_http_retry_params(retry=False)  # the outbox knows when to try again

    @property
    def is_open(self) -> bool:
        return False

    def open(self) -> None:
        """Nothing is held open."""

    def accepts(self, sop_class_uid: str) -> bool:
        """Tell whether it is a DICOM object: an archive says only on storing what it takes."""
        return bool(sop_class_uid)

    def send(self, path: Path) -> Reply:
        """Store the object in ``path``.

        Raises
        ------
        DestinationUnreachable
            If no answer comes.
        """
        try:
            answer = self._client.store_instances([dcmread(path)])
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 500
            return Reply(answer_of(status), f"HTTP {status}")
        except (requests.RequestException, OSError) as error:
            raise DestinationUnreachable(f"no answer to STOW-RS: {type(error).__name__}") from error
        return _reply(answer)

    def close(self) -> None:
        """Close idle connections."""
        self._session.inner.close()


class _Patient:
    """A session whose every request waits no longer than the settings say."""

    def __init__(self, timeout_s: float, inner: requests.Session) -> None:
        self.inner = inner
        send = inner.send

        def limited(request: Any, **options: Any) -> requests.Response:
            options["timeout"] = timeout_s
            return send(request, **options)

        inner.send = limited  # type: ignore[method-assign]


def _reply(answer: Any) -> Reply:
    """Return what the archive says of the one object."""
    failed = answer.get("FailedSOPSequence") or []
    if not failed:
        return Reply(Answer.TAKEN, "HTTP 200")
    reason = int(failed[0].get("FailureReason") or 0)
    said = f"failure reason 0x{reason:04X}"
    if reason == _CLASS_NOT_SUPPORTED:
        return Reply(Answer.CLASS_REFUSED, said)
    return Reply(Answer.BUSY if reason >> 8 == _OUT_OF_RESOURCES else Answer.REFUSED, said)
