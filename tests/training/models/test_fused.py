"""A `ConvModule` with batch norm and SiLU by one kernel, and its depth-wise convolution, against torch's layers."""

import copy

import pytest

torch = pytest.importorskip("torch")

from edgepose_training.deploy import onnx_file  # noqa: E402
from edgepose_training.detector.net import DetectorNet  # noqa: E402
from edgepose_training.distributed import synchronize_norms  # noqa: E402
from edgepose_training.models import build_pose_net, fused  # noqa: E402
from edgepose_training.models.cspnext import ConvModule, CSPNeXt  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture
def calls(monkeypatch):
    """How often the kernel ran."""
    made = []
    kernel = fused.edgepose.torch.batch_norm_silu
    monkeypatch.setattr(
        fused.edgepose.torch, "batch_norm_silu", lambda *a, **k: made.append(a[0].shape) or kernel(*a, **k)
    )
    return made


def pair(*shape, **options):
    """The same module twice, the second of them fused, and a channels-last input for it."""
    torch.manual_seed(0)
    plain = ConvModule(*shape, **options)
    torch.nn.init.normal_(plain.bn.weight)
    torch.nn.init.normal_(plain.bn.bias)
    plain.to(memory_format=torch.channels_last)
    other = copy.deepcopy(plain)
    fused.fuse(other)
    return plain, other, torch.randn(4, shape[0], 20, 12).contiguous(memory_format=torch.channels_last)


def trained(module, x, autocast, precise=False):
    """Output, gradients and state after two steps in training mode."""
    module = copy.deepcopy(module).train()
    if precise:
        module, x = module.double(), x.double()
    leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = module(leaf)
        torch.manual_seed(1)
        upstream = torch.randn(y.shape).bfloat16().to(y.dtype)  # the same numbers for every dtype
        y.backward(upstream.contiguous(memory_format=torch.channels_last))
    grads = {name: value.grad for name, value in module.named_parameters()}
    return {"y": y.detach(), "x": leaf.grad} | grads | dict(module.named_buffers())


SHAPES = [(6, 24, 3), (6, 24, 1), (24, 24, 5, 1, 24), (6, 12, 3, 2)]  # c_in, c_out, kernel, stride, groups


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_fused_module_trains_like_the_plain_one(shape, calls):
    plain, other, x = pair(*shape)
    expected, got = trained(plain, x, False), trained(other, x, False)
    assert len(calls) == 2
    assert got.keys() == expected.keys()
    assert int(got.pop("bn.num_batches_tracked")) == int(expected.pop("bn.num_batches_tracked")) == 2
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=2e-5, atol=2e-5 * float(value.abs().max()), msg=name)
    assert got["y"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_under_autocast_it_is_no_worse_than_the_plain_one(shape, calls):
    """Both against float64: what bfloat16 costs on the way is the measure."""
    plain, other, x = pair(*shape)
    exact = trained(plain, x, False, precise=True)
    expected, got = trained(plain, x, True), trained(other, x, True)
    assert len(calls) == 2
    for name, value in expected.items():
        assert got[name].dtype == value.dtype, name
        ours, theirs = (float((t[name].double() - exact[name]).norm()) for t in (got, expected))
        # These hang on torch's convolution of bfloat16 values, which differ in rounding: whose error is smaller depends
        # on the processor.
        factor = 1.5 if name in ("x", "conv.weight", "bn.weight") else 1.1
        assert ours <= factor * theirs, name


def test_what_the_kernel_does_not_compute_is_left_to_torch(calls):
    plain, other, x = pair(6, 24, 3)
    torch.testing.assert_close(other.eval()(x), plain.eval()(x), rtol=0, atol=0)
    for module in (plain.train(), other.train()):
        module.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(other(x.contiguous()), plain(x.contiguous()), rtol=0, atol=0)
    for module in (plain, other):
        module.to(memory_format=torch.channels_last)
    for change in ({"momentum": None}, {"track_running_stats": False}, {"affine": False}):
        norm = torch.nn.BatchNorm2d(24, **change)
        plain.bn, other.bn = norm, copy.deepcopy(norm)
        torch.testing.assert_close(other(x), plain(x), rtol=0, atol=0)
    other.bn, other.activate = torch.nn.BatchNorm2d(24), torch.nn.ReLU()
    assert other(x).min() == 0
    assert not calls
    synchronize_norms(other, CPU)
    assert not fused.fits(x, other.bn, torch.nn.SiLU())  # the batch of all processes is another


def test_a_net_is_the_same_with_and_without(calls):
    """State, gradients and the exported file; the kernel runs in every module of the backbone."""
    torch.manual_seed(0)
    plain = build_pose_net("n", 17, (64, 64)).to(memory_format=torch.channels_last)
    other = copy.deepcopy(plain)
    fused.fuse(other)
    x = torch.randn(3, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    for net in (plain, other):
        net.train()
        sum(logits.square().sum() for logits in net(x)).backward()
    assert len(calls) == sum(isinstance(m, ConvModule) for m in other.modules())
    assert list(other.state_dict()) == list(plain.state_dict())
    for (name, a), b in zip(plain.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-4 * float(a.grad.abs().max()), msg=name)
    other.load_state_dict(plain.state_dict())
    files = [onnx_file.trace(net.eval(), [x], ["input"], ("x", "y"), {}).SerializeToString() for net in (plain, other)]
    assert files[0] == files[1]


def detector_step(net, images, autocast):
    """Cells, gradients and running statistics of a training step."""
    net.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        cells = net(images)
    torch.manual_seed(1)
    cells.backward(torch.randn(cells.shape).bfloat16().to(cells.dtype) / 100)
    grads = {name: value.grad.clone() for name, value in net.named_parameters()}
    return {"cells": cells.detach()} | grads | {name: v.clone() for name, v in net.named_buffers() if v.ndim}


@pytest.mark.parametrize("autocast", [False, True])
def test_the_detector_is_fused_too(autocast, calls, monkeypatch):
    """Its norms and ReLUs stay torch's; its depth-wise convolutions take their weight gradient in float32."""
    depthwise = []
    apply = fused.Depthwise.apply
    monkeypatch.setattr(fused.Depthwise, "apply", lambda *a: depthwise.append(a[1].shape) or apply(*a))
    torch.manual_seed(0)
    plain = DetectorNet((8, 8, 16, 16, 32), (1, 1, 1, 1), 16).to(memory_format=torch.channels_last).train()
    other, exact = copy.deepcopy(plain), copy.deepcopy(plain).double()
    fused.fuse(other)
    images = torch.randn(4, 3, 128, 96).contiguous(memory_format=torch.channels_last)
    expected, got = detector_step(plain, images, autocast), detector_step(other, images, autocast)
    assert not calls
    count = sum(m.groups > 1 for m in other.modules() if isinstance(m, torch.nn.Conv2d))
    assert count > 10
    assert len(depthwise) == (count if autocast else 0)
    true = detector_step(exact, images.double(), False)
    for name, value in expected.items():
        if autocast:
            ours, theirs = (float((t[name].double() - true[name]).norm()) for t in (got, expected))
            assert ours <= 1.25 * theirs + 1e-6, name
        else:
            torch.testing.assert_close(got[name], value, rtol=1e-4, atol=1e-4 * float(value.abs().max()), msg=name)


def test_a_mean_has_its_gradient_channels_last():
    x = torch.randn(2, 6, 5, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(2, 6, 1, 1)
    plain, ours = x.mean((2, 3), keepdim=True), fused.mean(x)
    torch.testing.assert_close(ours, plain)
    expected, got = (torch.autograd.grad((y * weight).sum(), x)[0] for y in (plain, ours))
    torch.testing.assert_close(got, expected)
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert not expected.is_contiguous(memory_format=torch.channels_last)  # what makes it worth a function


def test_a_fused_backbone_is_traced_whole():
    net = CSPNeXt("n").to(memory_format=torch.channels_last).train()
    fused.fuse(net)
    x = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    traced = torch.compile(copy.deepcopy(net), backend="aot_eager", fullgraph=True)
    for a, b in zip(traced(x), net(x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
