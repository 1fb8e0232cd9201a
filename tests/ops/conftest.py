import contextlib

import pytest
from transport import carried

from edgepose import _C, ops


@contextlib.contextmanager
def at(level):
    before = _C.simd_level()
    _C.set_simd_level(level)
    try:
        yield
    finally:
        _C.set_simd_level(before)


@pytest.fixture(params=_C.simd_levels())
def level(request):
    """Runs the test at every SIMD level of this processor."""
    with at(request.param):
        yield request.param


@pytest.fixture(params=[*_C.simd_levels(), pytest.param("cuda", marks=pytest.mark.gpu)])
def backend(request, monkeypatch):
    """Runs the test at every SIMD level of this processor and on a CUDA device.

    There the ops that the test's module has imported are replaced by those which carry its arrays to the device and
    back: the test itself is the same.
    """
    if request.param != "cuda":
        with at(request.param):
            yield request.param
        return
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for name in set(ops.__all__) - {"reference"}:
        if hasattr(request.module, name):
            monkeypatch.setattr(request.module, name, carried(getattr(ops, name)))
    yield request.param
