"""Networks as data: verified bundles, and two engines that run them to the same numbers.

Nothing here imports torch except the torch engine and `architectures`, and nothing that serves on
a CPU imports those. What this package offers is brought in when it is first asked for (PEP 562):
a listener needs the digest of a model set, and no inference engine.

What arrives in a hospital stays there: ONNX Runtime would report each session to its makers
(version, processor, digests of the models) from its first import on, and is told not to before it.
"""

import os
from typing import TYPE_CHECKING, Final

from hipnode.lazy import lazily

if TYPE_CHECKING:
    from hipnode.nets.bundle.setfile import set_digest
    from hipnode.nets.bundle.spec import BundleSpec
    from hipnode.nets.engines.onnx_engine import OnnxEngine
    from hipnode.nets.engines.protocol import Engine
    from hipnode.nets.load.loaded import LoadedModel, load_bundle
    from hipnode.nets.load.modelset import ModelSet, load_model_set

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__all__ = [
    "BundleSpec",
    "Engine",
    "LoadedModel",
    "ModelSet",
    "OnnxEngine",
    "load_bundle",
    "load_model_set",
    "set_digest",
]

_WHERE: Final = {
    "BundleSpec": "bundle.spec",
    "Engine": "engines.protocol",
    "LoadedModel": "load.loaded",
    "ModelSet": "load.modelset",
    "OnnxEngine": "engines.onnx_engine",
    "load_bundle": "load.loaded",
    "load_model_set": "load.modelset",
    "set_digest": "bundle.setfile",
}


if not TYPE_CHECKING:  # which knows them from above, and says so of a name that there is not
    __getattr__ = lazily(__name__, _WHERE)
