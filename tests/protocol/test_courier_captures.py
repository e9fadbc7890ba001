"""Captures on their way to a destination: as JPEG, or decoded for one that knows no JPEG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from hipnode import reporting
from hipnode.domain import ResultKind
from hipnode.services.courier.ways.dimse import Link
from hipnode.settings import DestinationSettings
from tests import cases
from tests.conftest import StoreSCP
from tests.protocol.test_courier import destination


@pytest.mark.parametrize(
    ("options", "syntax"), [((), ExplicitVRLittleEndian), (("+xy",), JPEGBaseline8Bit)]
)
def test_a_capture_arrives_as_jpeg_or_decoded_as_the_destination_can(
    storescp: Callable[..., StoreSCP], tmp_path: Path, options: tuple[str, ...], syntax: str
) -> None:
    source = cases.CASES["positive-right"].request("p").sources[0]
    wanted = frozenset({ResultKind.CAPTURE})
    (made,) = reporting.build(cases.request(source, objects=wanted))
    path = tmp_path / "capture.dcm"
    path.write_bytes(made.to_bytes())
    peer = storescp(*options)
    link = Link(DestinationSettings.model_validate(destination(peer)[0]), "HIPNODE")
    link.open()
    assert link.send(path).status == "0x0000"
    link.close()
    (got,) = map(dcmread, peer.received())
    assert got.file_meta.TransferSyntaxUID == syntax
    assert (got.SOPInstanceUID, got.LossyImageCompression) == (made.sop_instance_uid, "01")
    assert np.array_equal(pixel_array(got), pixel_array(dcmread(path)))


def test_a_capture_that_cannot_be_decoded_is_no_closed_association(
    storescp: Callable[..., StoreSCP], tmp_path: Path
) -> None:
    """That would be tried for ever: a destination that is away costs an object no attempt."""
    source = cases.CASES["positive-right"].request("p").sources[0]
    (made,) = reporting.build(cases.request(source, objects=frozenset({ResultKind.CAPTURE})))
    made.dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    path = tmp_path / "capture.dcm"
    path.write_bytes(made.to_bytes())
    link = Link(DestinationSettings.model_validate(destination(storescp())[0]), "HIPNODE")
    link.open()
    with pytest.raises(RuntimeError):
        link.send(path)
    link.close()
