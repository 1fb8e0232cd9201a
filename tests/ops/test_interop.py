"""Arrays of other frameworks in edgepose.ops: those it accepts, and those it refuses because it would misread them."""

import ctypes
import threading

import numpy as np
import pytest

from edgepose import ops
from edgepose.ops import reference

STUDENT, TARGET = (np.random.default_rng(seed).random((2, 3, 8)).astype(np.float32) for seed in (0, 1))


def version_of(capsule):
    """The DLPack version in a `dltensor_versioned` capsule, as something to write to."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return (ctypes.c_uint32 * 2).from_address(pointer(capsule, b"dltensor_versioned"))


class Versioned:
    """An array that says of itself that it follows another version of DLPack."""

    def __init__(self, array, major, minor):
        self.array, self.version = array, (major, minor)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options):
        capsule = self.array.__dlpack__(**options)
        version_of(capsule)[:] = self.version
        return capsule


def test_a_dlpack_version_that_changed_the_layout_is_refused():
    with pytest.raises(TypeError, match=r"^simcc_kl_div: student expected DLPack version 1, got version 2$"):
        ops.simcc_kl_div(Versioned(STUDENT, 2, 0), TARGET)
    loss = ops.simcc_kl_div(Versioned(STUDENT, 1, 9), TARGET)  # minor versions only add
    np.testing.assert_array_equal(loss, ops.simcc_kl_div(STUDENT, TARGET))


def test_an_array_that_cannot_say_where_it_lies_is_refused():
    class Tracer:
        def __dlpack__(self):
            raise AssertionError("is not asked")

    with pytest.raises(TypeError, match="student expected a numpy array or one that speaks DLPack, got Tracer"):
        ops.simcc_kl_div(Tracer(), TARGET)


def test_onnxruntime_values():
    onnxruntime = pytest.importorskip("onnxruntime")
    student, target = (onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in (STUDENT, TARGET))
    np.testing.assert_array_equal(ops.simcc_kl_div(student, target), ops.simcc_kl_div(STUDENT, TARGET))


def test_jax_arrays_are_read_and_never_written():
    jax = pytest.importorskip("jax")
    student, target = jax.numpy.asarray(STUDENT), jax.numpy.asarray(TARGET)
    np.testing.assert_array_equal(ops.simcc_kl_div(student, target), ops.simcc_kl_div(STUDENT, TARGET))
    with pytest.raises(ValueError, match="loss expected a writable array, got a read-only one"):
        ops.simcc_kl_div(student, target, loss=jax.numpy.zeros((2, 3)))
    with pytest.raises(TypeError, match="student expected a numpy array or one that speaks DLPack, got DynamicJaxpr"):
        jax.jit(lambda x: ops.simcc_kl_div(x, target))(student)


torch = pytest.importorskip("torch")


@pytest.fixture
def tensors():
    return torch.from_numpy(STUDENT), torch.from_numpy(TARGET)


class TestTorch:
    def test_a_lazily_negated_view_is_refused_with_the_way_out(self, tensors):
        student, target = tensors
        negated = torch.complex(torch.zeros_like(student), student).conj().imag
        assert negated.is_neg()
        message = (
            r"^simcc_kl_div: student expected values as they lie in memory, got a lazily negated view \(resolve_neg"
        )
        with pytest.raises(ValueError, match=message):
            ops.simcc_kl_div(negated, target)
        expected = reference.simcc_kl_div(-STUDENT, TARGET)
        np.testing.assert_allclose(ops.simcc_kl_div(negated.resolve_neg().contiguous(), target), expected, rtol=1e-5)

    def test_the_torch_ops_take_lazily_negated_views(self, tensors):
        et = pytest.importorskip("edgepose.torch")
        student, target = tensors
        expected = reference.simcc_kl_div(-STUDENT, TARGET)
        np.testing.assert_allclose(et.simcc_kl_div(torch._neg_view(student), target), expected, rtol=1e-5)
        keypoints = et.simcc_decode(torch._neg_view(student), target)[0]
        np.testing.assert_array_equal(keypoints, reference.simcc_decode(-STUDENT, TARGET)[0])

    @pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
    def test_a_tangent_is_refused(self, tensors):
        from torch.autograd import forward_ad

        student, target = tensors
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(student, torch.ones_like(student))
            with pytest.raises(TypeError, match="student expected an array without a forward-mode tangent, got one"):
                ops.simcc_kl_div(dual, target)
            ops.simcc_kl_div(student, target)

    def test_tensors_without_memory_are_refused(self, tensors):
        from torch._subclasses.fake_tensor import FakeTensorMode

        with FakeTensorMode():
            fake = torch.empty(2, 3, 8)
        with pytest.raises(TypeError, match="student expected an array with values, got one without"):
            ops.simcc_kl_div(fake, tensors[1])
        with pytest.raises(TypeError, match="student expected an array in memory, got one that says: "):
            ops.simcc_kl_div(tensors[0].to("meta"), tensors[1])

    def test_new_types_from_many_threads(self, tensors):
        """Each class is looked up once and kept; on a Python without the global lock that is a race to lose."""
        student, target = tensors
        expected = ops.simcc_kl_div(student, target)
        start, wrong = threading.Barrier(8), []

        def work():
            start.wait()
            for i in range(200):
                kind = type(f"Mine{i}", (torch.Tensor,), {})
                loss = ops.simcc_kl_div(student.as_subclass(kind), target)
                if not np.array_equal(loss, expected):
                    wrong.append(loss)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
