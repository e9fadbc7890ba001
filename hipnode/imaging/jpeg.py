"""What pydicom decodes lossless and 12-bit JPEG with: libjpeg-turbo, as imagecodecs brings it.

pydicom's own way to these needs pylibjpeg-libjpeg, which is under the GPL. The names in this module
are those that pydicom asks a plugin for.

References
----------
PS3.5 A.4.1 (JPEG), 8.2.1; ITU-T T.81, processes 2, 4 and 14.
"""

from __future__ import annotations

from typing import Any, Final

import imagecodecs
from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder

NAME: Final = "imagecodecs"
_SYNTAXES: Final = (uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
DECODER_DEPENDENCIES: Final = dict.fromkeys(_SYNTAXES, (NAME,))


def is_available(syntax: str) -> bool:
    """Tell whether this build of imagecodecs has what a transfer syntax needs."""
    return syntax in DECODER_DEPENDENCIES and bool(imagecodecs.JPEG8.available)


def decode_frame(code: bytes, runner: Any) -> bytearray:
    """Return the samples of a frame, in as many bytes each as the codestream's precision needs.

    Parameters
    ----------
    code
        The codestream.
    runner
        pydicom's `DecodeRunner`: what the header says of the frame.

    Raises
    ------
    imagecodecs.Jpeg8Error
        If it cannot be decoded.
    """
    as_it_is = runner.photometric_interpretation.startswith("YBR")  # pydicom makes RGB of it
    space = "YCBCR" if as_it_is else None
    samples = imagecodecs.jpeg8_decode(code, colorspace=space, outcolorspace=space)
    runner.set_option("bits_allocated", 8 * samples.itemsize)
    runner.set_option("planar_configuration", 0)
    return bytearray(samples.tobytes())


def register() -> None:
    """Make pydicom know this plugin; once is enough."""
    for syntax in _SYNTAXES:
        decoder = get_decoder(syntax)
        if NAME not in decoder.available_plugins:
            decoder.add_plugin(NAME, (__name__, decode_frame.__name__))
