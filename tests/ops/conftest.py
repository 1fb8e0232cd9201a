import pytest

from edgepose import _C


@pytest.fixture(params=_C.simd_levels())
def level(request):
    """Runs the test at every SIMD level of this processor."""
    before = _C.simd_level()
    _C.set_simd_level(request.param)
    yield request.param
    _C.set_simd_level(before)
