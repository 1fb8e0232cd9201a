"""The speed limit of decoding: a plain SIMD maximum over the same buffers, which finds neither places nor scores."""

from __future__ import annotations

import atexit
import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from common import Work

SOURCE = """
typedef float vf __attribute__((vector_size(64), aligned(4)));
extern "C" float maximum(const float* p, long count) {
  vf m[4] = {*(const vf*)p, *(const vf*)p, *(const vf*)p, *(const vf*)p};
  for (long i = 0; i + 64 <= count; i += 64)
    for (int j = 0; j < 4; ++j) {
      vf x = *(const vf*)(p + i + 16 * j);
      m[j] = m[j] > x ? m[j] : x;
    }
  float result = p[0];
  for (int j = 0; j < 4; ++j)
    for (int i = 0; i < 16; ++i) result = m[j][i] > result ? m[j][i] : result;
  for (long i = count / 64 * 64; i < count; ++i) result = p[i] > result ? p[i] : result;
  return result;
}
"""


@functools.cache
def compiled() -> ctypes.CDLL | None:
    compiler = shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
    if compiler is None:
        return None
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Path(folder, "maximum.cpp").write_text(SOURCE)
    flags = ["-O3", "-march=native", "-shared", "-fPIC", "-Wno-psabi", "-ffinite-math-only", "-fno-signed-zeros"]
    subprocess.run([compiler, *flags, "-o", f"{folder}/maximum.so", f"{folder}/maximum.cpp"], check=True)
    library = ctypes.CDLL(f"{folder}/maximum.so")
    library.maximum.restype = ctypes.c_float
    library.maximum.argtypes = ctypes.c_void_p, ctypes.c_long
    return library


def plain_maximum(x: np.ndarray, y: np.ndarray) -> dict[str, Work]:
    library = compiled()
    if library is None:
        return {}
    assert library.maximum(x.ctypes.data, x.size) == x.max()
    px, py = x.ctypes.data, y.ctypes.data

    def work(keep: tuple[np.ndarray, np.ndarray] = (x, y)) -> tuple[float, float]:
        return library.maximum(px, keep[0].size), library.maximum(py, keep[1].size)

    return {"plain SIMD maximum": work}
