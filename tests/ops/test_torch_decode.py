"""edgepose.torch, inference: the same numbers, traceable, explicit errors for missing gradients."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import edgepose.torch as et  # noqa: E402
from edgepose import ops  # noqa: E402
from edgepose.ops import reference  # noqa: E402

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def logits(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    return tuple(torch.randn(3, 17, b).to(request.param) for b in (384, 512))


def close(got, expected):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.detach().cpu(), b, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "options", [{}, {"score": "softmax", "beta": 3.0, "sigma": (4.9, 5.66)}], ids=["min", "softmax"]
)
def test_matches_reference(logits, dtype, options):
    x, y = (axis.to(dtype) for axis in logits)
    affine = torch.randn(3, 2, 3).to(x.device)
    expected = reference.simcc_decode(x.cpu().float(), y.cpu().float(), affine=affine.cpu(), **options)
    close(et.simcc_decode(x, y, affine=affine, **options), expected)
    out = torch.empty(3, 17, 2, device=x.device), torch.empty(3, 17, device=x.device)
    assert et.simcc_decode(x, y, affine=affine, out=out, **options) is out
    close(out, expected)


def test_torch_arrays_enter_the_numpy_ops(logits):
    keypoints, scores = ops.simcc_decode(*logits)
    assert isinstance(scores, np.ndarray if logits[0].device.type == "cpu" else torch.Tensor)
    close(
        (torch.as_tensor(keypoints), torch.as_tensor(scores)), reference.simcc_decode(*(axis.cpu() for axis in logits))
    )


def test_opcheck(logits):
    x, y = logits
    inputs = (x, y, torch.randn(3, 2, 3).to(x.device), 2.0, "softmax", 10.0, [4.9, 5.66])
    inputs = (*inputs, "dark", x.flip(-1), y + 1, torch.arange(17, device=x.device).flip(0), "mmpose")
    torch.library.opcheck(torch.ops.edgepose.simcc_decode.default, inputs)
    outputs = torch.empty(3, 17, 2, device=x.device), torch.empty(3, 17, device=x.device)
    torch.library.opcheck(torch.ops.edgepose.simcc_decode_out.default, (*inputs, *outputs))


def test_compiles_without_graph_breaks(logits):
    def model(x, y):
        keypoints, scores = et.simcc_decode(2 * x, y, score="softmax", beta=10.0, sigma=(4.9, 5.66))
        return keypoints + 1, scores * 2

    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    close(compiled(*logits), [a.cpu() for a in model(*logits)])


def test_gradients_are_never_dropped_in_silence(logits):
    x, y = logits
    wanted = x.clone().requires_grad_()
    with pytest.raises(TypeError, match="simcc_x expected an array without requires_grad"):
        ops.simcc_decode(wanted, y)
    _, scores = et.simcc_decode(wanted, y)
    with pytest.raises(RuntimeError, match="simcc_decode: an argmax has no gradient"):
        scores.sum().backward()
    out = torch.empty(3, 17, 2, device=x.device), torch.empty(3, 17, device=x.device)
    with pytest.raises(RuntimeError, match="simcc_decode: out= records no gradient"):
        et.simcc_decode(wanted, y, out=out)
    with torch.no_grad():
        close(et.simcc_decode(wanted, y), reference.simcc_decode(x.cpu(), y.cpu()))
        close(et.simcc_decode(wanted, y, out=out), reference.simcc_decode(x.cpu(), y.cpu()))


def test_bad_input_is_named(logits):
    x, y = logits
    with pytest.raises(ValueError, match="simcc_decode: simcc_y has K=3 but simcc_x has K=17"):
        et.simcc_decode(x, y[:, :3])
    with pytest.raises(ValueError, match=r"simcc_decode: simcc_x expected shape \[N, K, Wx\], got \[17, 384\]"):
        et.simcc_decode(x[0], y)
    with pytest.raises(
        TypeError, match=r"simcc_decode: flipped expected \(flipped_x, flipped_y, swap\), got 2 of them"
    ):
        et.simcc_decode(x, y, flipped=(x, y))
    with pytest.raises(TypeError, match=r"simcc_decode: out expected \(keypoints, scores\), got 1 of them"):
        et.simcc_decode(x, y, out=(x,))
    frame, affine = torch.zeros(4, 5, 3, dtype=torch.uint8), torch.eye(2, 3)
    options = {"input_size": (4, 4), "mean": (0, 0, 0), "std": (1, 1, 1)}
    with pytest.raises(ValueError, match=r"crop_normalize: affine expected shape \[N, 2, 3\], got \[\]"):
        et.crop_normalize(frame, torch.tensor(1.0), **options)
    with pytest.raises(TypeError, match=r"crop_normalize: input_size expected two numbers \(x, y\), got \[4\]"):
        et.crop_normalize(frame, affine[None], **{**options, "input_size": (4,)})
    with pytest.raises(ValueError, match=r"crop_normalize: input_size\[0\] expected a positive number, got -4"):
        et.crop_normalize(frame, affine[None], **{**options, "input_size": (-4, 4)})


def test_crop_normalize(logits):
    device = logits[0].device
    frame = torch.randint(0, 256, (60, 80, 3), dtype=torch.uint8)
    affine = torch.tensor([[[0.5, 0.1, 3], [-0.1, 0.5, 4]], [[1, 0, -9], [0, 1, 0]]])
    options = {"input_size": (24, 32), "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
    crops = et.crop_normalize(frame.to(device), affine.to(device), **options)
    np.testing.assert_allclose(
        crops.cpu(), reference.crop_normalize(frame.numpy(), affine.numpy(), **options), atol=1e-3
    )
    for dtype in (torch.float16, torch.bfloat16):
        narrow = et.crop_normalize(frame.to(device), affine.to(device), **options, dtype=dtype)
        torch.testing.assert_close(narrow, crops.to(dtype), rtol=0, atol=0)
    with pytest.raises(TypeError, match="crop_normalize: out expected float32, float16 or bfloat16, got float64"):
        et.crop_normalize(frame.to(device), affine.to(device), **options, dtype=torch.float64)
    inputs = (
        frame.to(device),
        affine.to(device),
        [24, 32],
        *(list(map(float, options[k])) for k in ("mean", "std")),
        "rgb",
        torch.float16,
    )
    torch.library.opcheck(torch.ops.edgepose.crop_normalize.default, inputs)
    with pytest.raises(RuntimeError, match="crop_normalize: has no gradient for the affine"):
        et.crop_normalize(frame.to(device), affine.to(device).requires_grad_(), **options).sum().backward()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestCuda:
    def logits(self):
        return tuple(torch.randn(2, 133, b, device="cuda") for b in (384, 512))

    def test_devices_do_not_mix(self):
        x, y = self.logits()
        with pytest.raises(TypeError, match=r"simcc_y expected the device of simcc_x \(cuda:0\), got cpu"):
            ops.simcc_decode(x, y.cpu())

    def test_runs_on_the_current_stream_and_in_a_graph(self):
        x, y = self.logits()
        out = torch.empty(2, 133, 2, device="cuda"), torch.empty(2, 133, device="cuda")
        et.simcc_decode(x, y, out=out)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            et.simcc_decode(x, y, out=out)
        for static, fresh in zip((x, y), self.logits(), strict=True):
            static.copy_(fresh)
        graph.replay()
        torch.cuda.synchronize()
        close(out, reference.simcc_decode(x.cpu(), y.cpu()))
