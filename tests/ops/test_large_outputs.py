"""Large outputs lie on huge pages where the system has them, and labels go around the caches: values stay the same."""

import mmap
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from edgepose import ops

SMAPS = Path("/proc/self/smaps")
HAS_FLAGS = sys.platform == "linux" and SMAPS.exists() and "VmFlags" in SMAPS.read_text()
needs_flags = pytest.mark.skipif(not HAS_FLAGS, reason="the system does not tell how memory is mapped")
MIB = 1 << 20


def asked_for_huge_pages(address):
    """Whether the mapping that holds this address carries the advice."""
    inside = False
    for line in SMAPS.read_text().splitlines():
        if limits := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(limits[1], 16) <= address < int(limits[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return "hg" in line.split()
    raise AssertionError(f"no mapping holds {address:#x}")


def fresh(size):
    """Values of a mapping of their own, which shares its flags with nobody."""
    return np.frombuffer(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.float32)


def middle(array):
    return array.ctypes.data + array.nbytes // 2


def logits(n):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, 17, 256)).astype(np.float32) for _ in range(2))


def gradient_in_pieces(student, target):
    grad = np.empty_like(student)
    for i in range(len(student)):
        ops.simcc_kl_div(student[i : i + 1], target[i : i + 1], target_beta=1.0, grad=grad[i : i + 1])
    return grad


@needs_flags
def test_a_large_gradient_asks_and_has_the_values_of_small_ones():
    student, target = logits(400)
    memory = fresh(8 * MIB)
    grad = memory[1024 : 1024 + student.size].reshape(student.shape)
    memory[1023] = memory[1024 + student.size] = 7.0
    ops.simcc_kl_div(student, target, target_beta=1.0, grad=grad)
    assert asked_for_huge_pages(middle(grad))
    np.testing.assert_array_equal(grad, gradient_in_pieces(student, target))
    assert memory[1023] == memory[1024 + student.size] == 7.0


@needs_flags
def test_a_small_gradient_and_one_with_gaps_do_not_ask():
    student, target = logits(200)
    small = fresh(4 * MIB)[: student.size].reshape(student.shape)
    wide = fresh(8 * MIB)[: 2 * student.size].reshape(200, 17, 512)
    for grad in (small, wide[..., :256]):
        ops.simcc_kl_div(student, target, target_beta=1.0, grad=grad)
        assert not asked_for_huge_pages(middle(grad.base))
        np.testing.assert_array_equal(grad, gradient_in_pieces(student, target))
    assert not wide[..., 256:].any()


@needs_flags
def test_tensors_ask_as_well():
    torch = pytest.importorskip("torch")
    import edgepose.torch as et

    student, target = map(torch.from_numpy, logits(400))
    student.requires_grad_()
    (grad,) = torch.autograd.grad(et.simcc_kl_div(student, target, target_beta=1.0).sum(), student)
    assert asked_for_huge_pages(grad.data_ptr() + grad.nbytes // 2)
    expected = gradient_in_pieces(student.detach().numpy(), target.numpy())
    np.testing.assert_array_equal(grad.numpy(), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_labels_beyond_the_caches_are_those_of_few_points(level, dtype):  # noqa: ARG001
    """Rows of odd lengths from an odd place on: whole cache lines and what is left at both ends."""
    rng = np.random.default_rng(0)
    n, k, bins = 24 * MIB // (17 * 894 * np.dtype(dtype).itemsize) + 1, 17, (383, 511)
    points, shown = 200 * rng.random((n, k, 2)), np.float64(rng.random((n, k)) < 0.9)
    box = {"input_size": (191.5, 255.5), "sigma": (4.9, 5.66)}

    def guarded(size):
        memory = np.full(size + 4, 7, dtype)
        return memory, memory[1 : size + 1]

    (all_x, x), (all_y, y) = (guarded(n * k * b) for b in bins)
    out = x.reshape(n, k, 383), y.reshape(n, k, 511), np.empty((n, k), np.float32)
    assert out[0].nbytes + out[1].nbytes > 24 * MIB
    ops.simcc_encode(points, shown, **box, out=out)
    few = slice(0, n, n // 7)
    small = tuple(np.empty_like(each[few]) for each in out)
    ops.simcc_encode(points[few], shown[few], **box, out=small)
    for large, expected in zip(out, small, strict=True):
        np.testing.assert_array_equal(large[few], expected)
    assert all(memory[0] == 7 and (memory[-3:] == 7).all() for memory in (all_x, all_y))
