"""The GPU is absent, or lost: the node says so once, and reads on the CPU.

Where the tests run there is no GPU: asking for one fails in the reading process as it does on a
machine whose driver is gone.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hipnode.domain import AuditEvent
from hipnode.errors import EngineLost
from hipnode.nets.bundle.setfile import pins
from hipnode.nets.load.loaded import load_bundle
from hipnode.services.worker import reader
from hipnode.services.worker.device import SteadyPool
from hipnode.services.worker.pool import ReaderPool
from hipnode.services.worker.reader import reader_spec
from tests.db.conftest import OpenStore
from tests.senders import SAMPLES


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_a_gpu_images_are_read_on_the_cpu_and_the_audit_log_says_so(
    open_store: OpenStore,
) -> None:
    bench = open_store(worker={"device": "cuda"})
    spec = reader_spec(bench.settings)
    assert spec.device == "cuda"
    pool = SteadyPool(ReaderPool(1, 120), bench.store)
    try:
        pool.call(reader.warm, spec)
        first = pool.call(reader.read_image, spec, SAMPLES[0])
        again = pool.call(reader.read_image, spec, SAMPLES[0])
    finally:
        pool.close()
    assert first.hips
    assert first.hips == again.hips
    assert bench.events(event=AuditEvent.ENGINE_LOST) == ["engine_lost"], "said once"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_fails_in_the_middle_is_told_from_an_error_of_ours() -> None:
    (path, _), *_ = pins().values()
    model = load_bundle(path, device="torch-cpu")
    size_px = model.spec.preprocessing["size_px"]
    batch = np.zeros((1, 1, size_px, size_px), np.float32)
    with pytest.raises(RuntimeError) as ours:
        model.engine.run(np.repeat(batch, 5, axis=1))
    assert not isinstance(ours.value, EngineLost)
    model.engine._device = torch.device("cuda")
    with pytest.raises(EngineLost):
        model.engine.run(batch)
