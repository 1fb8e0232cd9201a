"""heatmap_encode, heatmap_decode and heatmap_mse: numbers written by hand, the reference at every SIMD level, torch."""

import numpy as np
import pytest
from arrays import DTYPES, SIXTEEN_BITS, VALUES, every_backend, every_case, fill
from sampling import given, st

from edgepose.ops import heatmap_decode, heatmap_encode, heatmap_mse, reference

SIZE = {"input_size": (64, 48), "heatmap_size": (16, 12)}  # four pixels a cell
DECODE = {"input_size": (64, 48)}


def point(x, y, visible=1.0):
    return np.array([[[x, y]]], np.float32), np.array([[visible]], np.float32)


def hill(x, y, sigma=2.0, width=16, height=12):
    """A Gaussian of peak 1 at (x, y) cells → [1, 1, height, width]."""
    across, down = (np.arange(n) - c for n, c in ((width, x), (height, y)))
    return np.exp(-0.5 * (across**2 + down[:, None] ** 2) / sigma**2).astype(np.float32)[None, None]


# ---- encode ----


@pytest.mark.parametrize("encode", [reference.heatmap_encode, heatmap_encode])
class TestEncode:
    def test_gaussian_on_the_nearest_cell_with_an_end(self, encode):
        maps, weight = encode(*point(21, 13), **SIZE, sigma=1)  # 5.25 → cell 5; 3.25 → cell 3
        assert maps.shape == (1, 1, 12, 16)
        assert weight.tolist() == [[1.0]]
        assert maps[0, 0, 3, 2:9] == pytest.approx(np.exp(-0.5 * np.arange(-3, 4) ** 2), rel=1e-6)
        assert maps[0, 0, 5, 6] == pytest.approx(np.exp(-0.5 * (4 + 1)), rel=1e-6)
        assert not maps[0, 0, :, 9:].any()  # beyond three sigma
        assert not maps[0, 0, 7:].any()

    def test_halves_go_up_as_mmpose_rounds(self, encode):
        cells = [encode(*point(4 * c, 8), **SIZE)[0][0, 0, 2].argmax() for c in (0.5, 1.5, 2.49, 2.5)]
        assert cells == [1, 2, 2, 3]

    def test_exact_center_has_no_end(self, encode):
        maps, _ = encode(*point(21, 13), **SIZE, sigma=1, center="exact")
        np.testing.assert_allclose(maps, hill(5.25, 3.25, 1), rtol=1e-5, atol=1e-30)

    def test_who_has_a_label(self, encode):
        for x, visible, seen, weight in [
            (8, 0.49, False, 0.49),
            (8, 2, True, 2),
            (-27.9, 1, True, 1),  # cell −6, three sigma reach cell 0
            (-31, 1, False, 1),  # cell −7: still in range, −7 + 6 + 1 ≥ 0, though no cell of it shows
            (-34.1, 1, False, 0),  # cell −8
            (85, 1, True, 1),  # cell 21: 21 − 6 < 16
            (87, 1, False, 0),  # cell 22
            (np.nan, 1, False, 0),
        ]:
            maps, weights = encode(*point(x, 8, visible), **SIZE)
            assert maps.any() == seen
            assert weights[0, 0] == np.float32(weight)

    def test_no_person(self, encode):
        assert encode(np.zeros((0, 3, 2), np.float32), np.zeros((0, 3), np.float32), **SIZE)[0].shape == (0, 3, 12, 16)


@every_backend
@every_case
@given(data=st.data())
def test_encode_matches_reference(data):
    draw = data.draw
    n, k = draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, 17]))
    size = draw(st.sampled_from([(1, 1), (3, 5), (16, 12), (48, 64), (33, 70)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    keypoints = rng.uniform(-0.4, 1.4, (n, k, 2)) * (192, 256)
    keypoints = np.where(rng.random((n, k, 2)) < 0.5, np.rint(keypoints), keypoints)
    keypoints = keypoints.astype(draw(st.sampled_from([np.float32, np.float64])))
    visible = rng.choice([0, 0.49, 0.5, 1, 2], (n, k))
    options = {
        "input_size": (192, 256),
        "heatmap_size": size,
        "sigma": draw(st.sampled_from([1, 2, 2.3, 30])),
        "center": draw(st.sampled_from(["round", "exact"])),
    }
    expected = reference.heatmap_encode(keypoints, visible, **options)
    for got, wanted in zip(heatmap_encode(keypoints, visible, **options), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=1e-36)
    for dtype in SIXTEEN_BITS:
        out = np.empty((n, k, size[1], size[0]), dtype), np.empty((n, k), np.float32)
        heatmap_encode(keypoints, visible, **options, out=out)
        smallest = 6e-8 if dtype == np.float16 else 1e-36
        np.testing.assert_allclose(out[0].astype(np.float32), expected[0], rtol=2.0**-8, atol=smallest)


# ---- decode ----


@pytest.mark.parametrize("decode", [reference.heatmap_decode, heatmap_decode])
class TestDecode:
    def test_first_maximum_in_pixels(self, decode):
        maps = np.zeros((1, 2, 12, 16), np.float32)
        maps[0, 0, 7, 3] = maps[0, 0, 9, 1] = 0.5
        maps[0, 1] = -1
        keypoints, scores = decode(maps, **DECODE)
        assert keypoints.tolist() == [[[12.0, 28.0], [0.0, 0.0]]]
        assert scores.tolist() == [[0.5, 0.0]]

    def test_quarter_step_goes_to_the_higher_neighbor(self, decode):
        maps = hill(5.3, 6.6, 2)
        assert decode(maps, **DECODE, refine="quarter")[0].tolist() == [[[4 * 5.25, 4 * 6.75]]]
        assert decode(hill(0, 11, 2), **DECODE, refine="quarter")[0].tolist() == [[[0.0, 44.0]]]  # no two neighbors

    def test_dark_finds_the_center_between_the_cells(self, decode):
        for x, y in ((5.3, 6.6), (8.0, 4.9), (10.45, 5.55)):
            keypoints, scores = decode(hill(x, y, 2, 24, 16), input_size=(24, 16), refine="dark")
            assert keypoints[0, 0] == pytest.approx([x, y], abs=0.02)
            assert scores[0, 0] == hill(x, y, 2, 24, 16).max()

    def test_dark_leaves_the_border_and_flat_maps_alone(self, decode):
        assert decode(hill(1.2, 6, 2), **DECODE, refine="dark")[0].tolist() == [[[4.0, 24.0]]]
        assert decode(np.ones((1, 1, 12, 16), np.float32), **DECODE, refine="dark")[0].tolist() == [[[0.0, 0.0]]]

    def test_affine_and_nan(self, decode):
        maps = np.concatenate([hill(5, 6), np.full((1, 1, 12, 16), np.nan, np.float32)], axis=1)
        keypoints, scores = decode(maps, **DECODE, affine=np.array([[[0.5, 0, 1], [0, 2, -3.0]]]), refine="dark")
        np.testing.assert_allclose(keypoints, [[[11, 45], [1, -3]]], atol=0.01)
        assert scores.tolist() == [[1.0, 0.0]]

    def test_no_person(self, decode):
        assert decode(np.zeros((0, 3, 4, 4), np.float32), **DECODE)[0].shape == (0, 3, 2)


@every_backend
@every_case
@given(data=st.data())
def test_decode_matches_reference(data):
    draw = data.draw
    n, k, dtype = draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, 17])), draw(st.sampled_from(DTYPES))
    width, height = draw(st.sampled_from([(1, 1), (2, 3), (5, 5), (7, 64), (48, 64), (65, 33)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    refine = draw(st.sampled_from(["none", "quarter", "dark"]))
    if refine == "dark":  # clear hills: where the curvature is near zero, rounding decides
        centers = rng.uniform(0, 1, (n * k, 2)) * (width, height)
        hills = [hill(*center, 2, width, height)[0] for center in centers]
        maps = np.concatenate(hills).reshape(n, k, height, width) if n else np.zeros((n, k, height, width))
        maps = maps + 1e-3 * rng.random(maps.shape)
    else:
        maps = fill(rng, (n, k, height * width), draw(st.sampled_from(VALUES))).reshape(n, k, height, width)
    strided = np.zeros((n, 2 * k, height, width), dtype)[:, ::2]
    strided[...] = maps.astype(dtype)
    options = {"input_size": (192, 256), "refine": refine, "blur": draw(st.sampled_from([3, 7, 11, 17]))}
    keypoints, scores = heatmap_decode(strided, **options)
    expected, expected_scores = reference.heatmap_decode(strided, **options)
    np.testing.assert_allclose(keypoints, expected, rtol=1e-6, atol=0.05 if refine == "dark" else 0)
    np.testing.assert_array_equal(scores, expected_scores)
    assert np.isfinite(keypoints).all()


# ---- mse ----


@pytest.mark.parametrize("function", [reference.heatmap_mse, heatmap_mse])
def test_mixed_error_by_hand(function):
    student, target, teacher = (np.array(v, np.float32).reshape(1, 1, 1, 2) for v in ([1, 2], [0, 4], [1, 1]))
    grad = np.empty_like(student)
    assert function(student, target, grad=grad)[0, 0] == 1 + 4
    assert grad.ravel().tolist() == [2.0, -4.0]
    assert function(student, target, teacher, alpha=0.25, grad=grad)[0, 0] == 0.75 * 5 + 0.25 * 1
    assert grad.ravel().tolist() == [2 * 0.75, 2 * (0.75 * -2 + 0.25)]
    unlabeled = np.zeros((1, 1), np.float32)
    broken = np.full_like(target, np.nan)
    assert function(student, broken, teacher, weight=unlabeled, grad=grad)[0, 0] == 0.5  # only the teacher speaks
    assert grad.ravel().tolist() == [0.0, 1.0]


@every_backend
@every_case
@given(data=st.data())
def test_mse_matches_reference(data):
    draw = data.draw
    n, k = draw(st.integers(0, 3)), draw(st.sampled_from([1, 2, 17]))
    shape = n, k, *draw(st.sampled_from([(1, 1), (3, 5), (64, 48), (33, 65)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    student, target, teacher = (rng.normal(size=shape).astype(draw(st.sampled_from(DTYPES))) for _ in range(3))
    options = {"alpha": draw(st.sampled_from([0, 0.5, 1]))}
    for name in ("weight", "teacher_weight"):
        if draw(st.booleans()):
            options[name] = rng.choice([0, 0.5, 2], (n, k)).astype(np.float32)
    if draw(st.booleans()):
        teacher = None
    grad, expected_grad = np.empty_like(student), np.empty(shape)
    loss = heatmap_mse(student, target, teacher, grad=grad, **options)
    expected = reference.heatmap_mse(student, target, teacher, grad=expected_grad, **options)
    np.testing.assert_allclose(loss, expected, rtol=2e-6, atol=1e-6)
    step = {2: 2.0**-8, 4: 1e-6}[student.dtype.itemsize]
    np.testing.assert_allclose(grad.astype(np.float64), expected_grad, rtol=step, atol=1e-5)


# ---- torch ----

torch = pytest.importorskip("torch")

import edgepose.torch as et  # noqa: E402


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    return request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("refine", ["none", "quarter", "dark"])
def test_torch_there_and_back(device, dtype, refine):
    keypoints = 20 + 150 * torch.rand(3, 17, 2, device=device)
    size = {"input_size": (192, 256)}
    maps, weight = et.heatmap_encode(
        keypoints, torch.ones(3, 17, device=device), heatmap_size=(48, 64), center="exact", **size
    )
    found, scores = et.heatmap_decode(maps.to(dtype), refine=refine, **size)
    expected = reference.heatmap_decode(maps.to(dtype).float().cpu().numpy(), refine=refine, **size)
    np.testing.assert_allclose(found.cpu(), expected[0], atol=0.05)
    np.testing.assert_array_equal(scores.cpu(), expected[1])
    assert (weight == 1).all()
    limit = {"none": 2.01, "quarter": 1.01, "dark": 0.1 if dtype == torch.float32 else 2.01}[refine]
    assert (found - keypoints).abs().max() <= limit


def test_torch_differentiates_the_error(device):
    student = torch.rand(3, 5, 12, 16, device=device, requires_grad=True)
    target, teacher = (torch.rand(3, 5, 12, 16, device=device) for _ in "tt")
    weight = torch.rand(3, 5, device=device)
    plain = (
        0.7 * weight * (student - target).square().sum((2, 3)) + 0.3 * (student - teacher).square().sum((2, 3))
    ).mean()
    ours = et.heatmap_mse(student, target, teacher, alpha=0.3, weight=weight).mean()
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(*(torch.autograd.grad(loss, student)[0] for loss in (ours, plain)))
    with pytest.raises(ValueError, match="heatmap_mse: all but student expected without requires_grad"):
        et.heatmap_mse(student, target, teacher.requires_grad_())


def test_torch_opcheck(device):
    ops = torch.ops.edgepose
    keypoints, maps = 16 * torch.rand(2, 3, 2, device=device), torch.rand(2, 3, 12, 16, device=device)
    weight = torch.rand(2, 3, device=device)
    torch.library.opcheck(ops.heatmap_encode.default, (keypoints, weight, [16.0, 12.0], [8, 6], 2.0, "round"))
    torch.library.opcheck(
        ops.heatmap_decode.default, (maps, torch.rand(2, 2, 3, device=device), [16.0, 12.0], "dark", 11)
    )
    for wanted in (True, False):
        student = (1 - maps).requires_grad_(wanted)
        torch.library.opcheck(ops.heatmap_mse.default, (student, maps, maps + 1, weight, None, 0.5, wanted))


# ---- bad input ----

maps = np.zeros((3, 5, 12, 16), np.float32)
points, shown = np.zeros((3, 5, 2), np.float32), np.ones((3, 5), np.float32)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (
            ValueError,
            "heatmap_encode: heatmap_size expected at least one cell per axis, got 0 and 4",
            lambda: heatmap_encode(points, shown, input_size=(64, 48), heatmap_size=(0.5, 4)),
        ),
        (
            ValueError,
            "heatmap_encode: sigma expected a positive number, got 0",
            lambda: heatmap_encode(points, shown, **SIZE, sigma=0),
        ),
        (
            ValueError,
            "heatmap_encode: out[0] expected h=12 and w=16, got shape [3, 5, 16, 12]",
            lambda: heatmap_encode(points, shown, **SIZE, out=(np.zeros((3, 5, 16, 12), np.float32), shown.copy())),
        ),
        (
            ValueError,
            "heatmap_decode: heatmaps expected shape [N, K, h, w], got [5, 12, 16]",
            lambda: heatmap_decode(maps[0], **DECODE),
        ),
        (
            ValueError,
            "heatmap_decode: heatmaps expected contiguous values along the last dimensions, got a stride of 8 bytes",
            lambda: heatmap_decode(maps[..., ::2], **DECODE),
        ),
        (
            ValueError,
            "heatmap_decode: blur expected an odd number of cells below 128, got 10",
            lambda: heatmap_decode(maps, **DECODE, blur=10),
        ),
        (
            ValueError,
            "heatmap_decode: refine expected 'none', 'quarter' or 'dark', got 'half'",
            lambda: heatmap_decode(maps, **DECODE, refine="half"),
        ),
        (
            ValueError,
            "heatmap_mse: target has w=15 but student has w=16",
            lambda: heatmap_mse(maps, np.zeros((3, 5, 12, 15), np.float32)),
        ),
        (
            ValueError,
            "heatmap_mse: teacher_weight has N=2 but student has N=3",
            lambda: heatmap_mse(maps, maps, maps, teacher_weight=shown[:2]),
        ),
        (ValueError, "heatmap_mse: alpha expected a number in [0, 1], got 2", lambda: heatmap_mse(maps, maps, alpha=2)),
    ],
)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
