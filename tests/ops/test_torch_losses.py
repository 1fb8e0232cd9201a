"""edgepose.torch: labels and divergence, their gradients, tracing, and rejected arguments."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import edgepose.torch as et  # noqa: E402
from edgepose import _C  # noqa: E402
from edgepose.ops import reference  # noqa: E402

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
BETAS = [(1.0, None), (10.0, 10.0)]


@pytest.fixture(params=DEVICES)
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    return request.param


def rows(device, width=96, dtype=torch.float32):
    """Logits of a half-trained net, and labels beside them."""
    center = torch.randint(0, width, (3, 17, 1))
    target = torch.exp(-0.5 * ((torch.arange(width) - center) / 4.9) ** 2)
    student = 0.7 * target.roll(9, -1) + 0.1 * torch.randn(3, 17, width)
    return student.to(device, dtype).requires_grad_(), target.to(device), torch.rand(3, 17, device=device)


def eager(student, target, beta, target_beta):
    log_q = torch.log_softmax(beta * student, -1)
    if target_beta is None:
        return (torch.xlogy(target, target) - target * log_q).sum(-1)
    log_p = torch.log_softmax(target_beta * target, -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


@pytest.mark.parametrize(("beta", "target_beta"), BETAS)
@pytest.mark.parametrize("end", ["sum", "weighted", "inside", "scaled"])
def test_loss_and_gradient_are_those_of_eager_torch(device, beta, target_beta, end):
    student, target, weight = rows(device)
    ours = et.simcc_kl_div(
        student, target, beta=beta, target_beta=target_beta, weight=weight if end == "inside" else None
    )
    theirs = eager(student, target, beta, target_beta)
    torch.testing.assert_close(ours, theirs * weight if end == "inside" else theirs, rtol=1e-5, atol=1e-5)
    finish = {"weighted": lambda x: (x * weight).sum(), "scaled": lambda x: 1024 * x.mean()}.get(end, torch.sum)
    (got,) = torch.autograd.grad(finish(ours), student)
    (expected,) = torch.autograd.grad(finish(theirs * weight if end == "inside" else theirs), student)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=4e-6 * float(expected.abs().max()))


def test_backward_passes_over_no_gradient_again():
    """A plain sum's gradient is what the forward pass has left: nothing of its size is made or filled on the way."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Large(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            tensors = result if isinstance(result, tuple | list) else [result]
            seen.extend(str(func) for t in tensors if isinstance(t, torch.Tensor) and t.numel() >= student.numel())
            return result

    seen = []
    torch.manual_seed(0)
    student, target, _ = rows("cpu")
    points, maps = torch.rand(3, 17, 2) * 48, torch.rand(2, 5, 64, 48)
    net_maps = torch.rand(2, 5, 64, 48, requires_grad=True)
    losses = {
        student: et.simcc_kl_div(student, target),
        net_maps: et.heatmap_mse(net_maps, maps),
    }
    other = student.detach().clone().requires_grad_()
    losses[other] = et.simcc_gaussian_kl_div(other, other, points, torch.ones(3, 17), sigma=(4.9, 4.9))
    for logits, loss in losses.items():
        total = loss.sum()
        with Large():
            (grad,) = torch.autograd.grad(total, logits)
        assert grad.abs().sum() > 0
    assert [name for name in seen if "detach" not in name] == ["aten.add.Tensor"]  # of the two axes of `other`


@pytest.mark.parametrize(("beta", "target_beta"), BETAS)
def test_gradient_is_no_worse_than_eager_torch(device, beta, target_beta):
    """Both in float32 on the same inputs, against float64; hostile rows too: saturated, flat and nearly equal ones.

    A single row's error is a matter of luck in the last digit; the mean over ordinary rows is not. The scalar level,
    which only machines without vectors run, errs by some twice as much as torch at beta 10.
    """
    slack = 4 if device == "cpu" and _C.simd_level() == "scalar" else 1
    student, target, _ = rows(device, 517)
    with torch.no_grad():
        student[0] *= 8
        student[1, :5] = 0
        student[1, 5:] = target[1, 5:] + 1e-3 * student[1, 5:]
    exact = torch.empty(student.shape, dtype=torch.float64).numpy()
    arrays = student.detach().cpu().numpy(), target.cpu().numpy()
    reference.simcc_kl_div(*arrays, beta=beta, target_beta=target_beta, grad=exact)
    errors = []
    for function in (lambda *a: et.simcc_kl_div(*a[:2], beta=beta, target_beta=target_beta), eager):
        (grad,) = torch.autograd.grad(function(student, target, beta, target_beta).sum(), student)
        errors.append(np.abs(grad.cpu().numpy() - exact).max(-1))
    ours, theirs = errors
    floor = 4e-6 * np.abs(exact).max(-1)
    assert (ours <= slack * np.maximum(floor, 1.5 * theirs)).all()
    assert ours[2].mean() <= slack * 1.3 * theirs[2].mean()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision(device, dtype):
    student, target, weight = rows(device, dtype=dtype)
    loss = et.simcc_kl_div(student, target, beta=10, target_beta=10, weight=weight)
    assert loss.dtype == torch.float32
    expected = reference.simcc_kl_div(
        student.detach().float().cpu(), target.cpu(), beta=10, target_beta=10, weight=weight.cpu()
    )
    np.testing.assert_allclose(loss.detach().cpu(), expected, rtol=1e-5, atol=1e-5)
    (grad,) = torch.autograd.grad((2 * loss).sum(), student)
    assert grad.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_scaled_loss_beyond_float16_has_finite_gradients(device, dtype):
    """torch's GradScaler multiplies by 65,536 before the mean's division brings the gradient back into range."""
    student, target, _ = rows(device, dtype=dtype)
    weight = torch.full(student.shape[:2], 1 / 6, device=device)
    (et.simcc_kl_div(student, target, weight=weight).sum() * 65536).backward()
    exact = student.detach().double()
    expected = 65536 / 6 * (torch.softmax(exact, -1) * target.double().sum(-1, keepdim=True) - target.double())
    step = torch.finfo(dtype).eps
    bound = 2 * step * expected.abs() + 2 * step * expected.abs().amax(-1, keepdim=True)
    assert ((student.grad.double() - expected).abs() <= bound).all()


def test_small_upstream_gradients_keep_their_digits(device):
    """A mean over people, points and bins divides by more than float16 has digits for."""
    student, target, _ = rows(device, dtype=torch.float16)
    (one,) = torch.autograd.grad(et.simcc_kl_div(student, target).sum() * 0.5, student)
    (tiny,) = torch.autograd.grad(et.simcc_kl_div(student, target).sum() * 3e-5, student)
    large = one.abs() > 0.1  # what is left of it is no subnormal number
    torch.testing.assert_close(tiny[large].float() / 6e-5, one[large].float(), rtol=0.02, atol=0)


def test_a_retained_graph_gives_the_same_gradient_twice(device):
    student, target, _ = rows(device)
    loss = et.simcc_kl_div(student, target).sum()
    first = torch.autograd.grad(loss, student, retain_graph=True)[0].clone()
    torch.testing.assert_close(torch.autograd.grad(loss, student)[0], first, rtol=0, atol=0)
    loss = et.simcc_kl_div(student, target).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    torch.testing.assert_close(student.grad, 2 * first)


def test_gradients_are_never_dropped_in_silence(device):
    student, target, weight = rows(device)
    with pytest.raises(ValueError, match="simcc_kl_div: target and weight expected without requires_grad"):
        et.simcc_kl_div(student, target.requires_grad_())
    target = target.detach()
    with pytest.raises(ValueError, match="simcc_kl_div: target and weight expected without requires_grad"):
        et.simcc_kl_div(student.detach(), target, weight=weight.requires_grad_())
    with pytest.raises(RuntimeError, match="simcc_kl_div: has a first derivative only"):
        torch.autograd.grad(et.simcc_kl_div(student, target).sum(), student, create_graph=True)
    keypoints = torch.rand(2, 3, 2, device=device, requires_grad=True)
    labels = et.simcc_encode(keypoints, torch.ones(2, 3, device=device), input_size=(8, 8), sigma=(1, 1))
    with pytest.raises(RuntimeError, match="simcc_encode: labels are targets and have no gradient"):
        labels[0].sum().backward()


@pytest.mark.parametrize("kind", ["gaussian", "laplace", "onehot", "smooth"])
def test_encode_matches_reference(device, kind):
    keypoints, visible = 60 * torch.rand(3, 17, 2), torch.rand(3, 17)
    options = {"input_size": (48, 64), "sigma": (4.9, 5.66), "kind": kind}
    got = et.simcc_encode(keypoints.to(device), visible.to(device), **options)
    for a, b in zip(got, reference.simcc_encode(keypoints.numpy(), visible.numpy(), **options), strict=True):
        np.testing.assert_allclose(a.cpu(), b, rtol=2e-5, atol=1e-36)
    for dtype in (torch.float16, torch.bfloat16):
        narrow = et.simcc_encode(keypoints.to(device), visible.to(device), **options, dtype=dtype)
        for a, b in zip(narrow, (got[0].to(dtype), got[1].to(dtype), got[2]), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_opcheck(device):
    student, target, weight = rows(device)
    divergence, encode = torch.ops.edgepose.simcc_kl_div.default, torch.ops.edgepose.simcc_encode.default
    for wanted in (True, False):
        logits = student if wanted else student.detach()
        torch.library.opcheck(divergence, (logits, target, weight, 10.0, 10.0, wanted))
        torch.library.opcheck(divergence, (logits, target, None, 1.0, None, wanted))
    keypoints, visible = torch.rand(2, 3, 2, device=device), torch.rand(2, 3, device=device)
    for dtype in (torch.float32, torch.bfloat16):
        torch.library.opcheck(
            encode, (keypoints, visible, [8.0, 6.0], 2.0, [1.0, 2.0], "gaussian", "exact", True, 0.1, dtype)
        )


def test_compiles_without_graph_breaks(device):
    def step(student, target, keypoints, weight):
        x, _, _ = et.simcc_encode(keypoints, weight, input_size=(48, 64), sigma=(4.9, 5.66))
        loss = et.simcc_kl_div(torch.tanh(student), target, beta=10.0, target_beta=10.0, weight=weight)
        return loss.sum() + et.simcc_kl_div(student, x, beta=10.0, target_beta=10.0).mean()

    student, target, weight = rows(device)
    keypoints = 48 * torch.rand(3, 17, 2, device=device)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    expected, got = (f(student, target, keypoints, weight) for f in (step, compiled))
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, student)[0] for loss in (got, expected)))


def calls():
    """Every op as a function of one floating tensor, and that tensor."""
    logits, maps, weight = torch.randn(2, 3, 8), torch.rand(2, 3, 6, 8), torch.rand(2, 3)
    points, rows, channel = 4 * torch.rand(2, 3, 2), torch.randn(9, 5), torch.rand(5)
    size, crop = {"input_size": (4, 4)}, {"input_size": (4, 4), "mean": (0, 0, 0), "std": (1, 1, 1)}
    return {
        "simcc_kl_div": (lambda x: et.simcc_kl_div(x, logits + 1), logits),
        "simcc_gaussian_kl_div": (lambda x: et.simcc_gaussian_kl_div(x, logits, points, weight, sigma=(1, 1)), logits),
        "heatmap_mse": (lambda x: et.heatmap_mse(x, maps + 1), maps),
        "simcc_decode": (lambda x: et.simcc_decode(x, logits)[1], logits),
        "simcc_encode": (lambda x: et.simcc_encode(x, weight, sigma=(1, 1), **size)[0], points),
        "heatmap_decode": (lambda x: et.heatmap_decode(x, **size)[1], maps),
        "heatmap_encode": (lambda x: et.heatmap_encode(x, weight, heatmap_size=(4, 4), **size)[0], points),
        "crop_normalize": (
            lambda x: et.crop_normalize(torch.zeros(4, 4, 3, dtype=torch.uint8), x, **crop),
            torch.eye(2, 3)[None],
        ),
        "batch_norm_silu": (lambda x: et.batch_norm_silu(x, channel, channel)[0], rows),
        "batch_norm_silu_grad": (lambda x: et.batch_norm_silu_grad(x, rows, *[channel] * 4)[0], rows),
    }


torch_says = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # its own forward mode


@torch_says
@pytest.mark.parametrize("op", sorted(et.__all__))
def test_forward_mode_is_refused_and_never_a_silent_zero(op):
    """A tangent reaches an op through torch.func, through dual tensors, and out of a compiled function."""
    from torch.autograd import forward_ad

    call, x = calls()[op]
    message = f"{op}: has no forward-mode derivative"
    with pytest.raises(NotImplementedError, match=message):
        torch.func.jvp(call, (x,), (torch.ones_like(x),))
    with pytest.raises(NotImplementedError, match=message):
        torch.func.jacfwd(call)(x)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(NotImplementedError, match=message):
            call(dual)
        with pytest.raises(NotImplementedError, match=message):
            torch.compile(call, backend="aot_eager")(dual)
        call(x)  # constants pass


@torch_says
def test_forward_mode_inside_a_compiled_function_is_refused():
    call, x = calls()["simcc_kl_div"]
    step = torch.compile(lambda: torch.func.jvp(call, (x,), (torch.ones_like(x),)), backend="aot_eager")
    with pytest.raises(Exception, match=r"forward-mode|Observed exception"):
        step()


@pytest.mark.parametrize("op", sorted(et.__all__))
def test_every_op_compiles_without_graph_breaks(op):
    torch.compiler.reset()  # what the tests above made it give up on
    call, x = calls()[op]
    torch.testing.assert_close(torch.compile(call, fullgraph=True, backend="aot_eager")(x), call(x))


@pytest.mark.parametrize("ratio", [1e20, 0.0, float("nan")])
def test_sizes_that_no_label_has_are_named(ratio):
    with pytest.raises(ValueError, match=r"^simcc_encode: (split_ratio|input_size) expected"):
        et.simcc_encode(torch.zeros(1, 1, 2), torch.ones(1, 1), input_size=(6, 8), split_ratio=ratio, sigma=(1, 1))
    with pytest.raises(ValueError, match=r"^heatmap_encode: heatmap_size\[0\] expected a positive number, got -1"):
        et.heatmap_encode(torch.zeros(1, 1, 2), torch.ones(1, 1), input_size=(6, 8), heatmap_size=(-1, 4))
    with pytest.raises(TypeError, match=r"^simcc_encode: input_size expected two numbers \(x, y\), got \[6.0\]"):
        et.simcc_encode(torch.zeros(1, 1, 2), torch.ones(1, 1), input_size=(6,), sigma=(1, 1))


@torch_says
@pytest.mark.parametrize("op", ["batch_norm_silu", "heatmap_mse", "simcc_gaussian_kl_div", "simcc_kl_div"])
def test_functional_derivatives_are_refused_in_one_sentence(op):
    call, x = calls()[op]
    with pytest.raises(NotImplementedError, match=rf"{op}: has no derivative under torch\.func"):
        torch.func.grad(lambda x: call(x).sum())(x)


def test_rows_of_a_jacobian_can_be_had_at_once(device):
    student, target, _ = rows(device)
    call = lambda s: et.simcc_kl_div(s, target).sum(-1)  # noqa: E731
    one_by_one, at_once = (
        torch.autograd.functional.jacobian(call, student.detach(), vectorize=vectorize) for vectorize in (False, True)
    )
    torch.testing.assert_close(at_once, one_by_one)
