"""Networks as data: verified bundles, and two engines that run them to the same numbers.

Nothing here imports torch except `torch_engine` and `architectures`, and nothing that serves on
a CPU imports those.
"""

from hipnode.nets.bundle import LoadedModel, load_bundle
from hipnode.nets.engine import Engine
from hipnode.nets.modelset import ModelSet, load_model_set, set_digest
from hipnode.nets.onnx_engine import OnnxEngine
from hipnode.nets.spec import BundleSpec, Role

__all__ = [
    "BundleSpec",
    "Engine",
    "LoadedModel",
    "ModelSet",
    "OnnxEngine",
    "Role",
    "load_bundle",
    "load_model_set",
    "set_digest",
]
