"""Every net against its published size; shapes, names in a config, and that each part is really used."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgepose import EdgeposeError, Skeleton  # noqa: E402
from edgepose_training.config import Config  # noqa: E402
from edgepose_training.deploy import exporter, onnx_file  # noqa: E402
from edgepose_training.engine import checkpoints  # noqa: E402
from edgepose_training.models import build_pose_net  # noqa: E402
from edgepose_training.models.macs import count_macs, count_macs_hrnet, count_parameters  # noqa: E402
from edgepose_training.models.tokenpose import sine_position  # noqa: E402

ROOT = Path(__file__).parents[3]
GIBI = 2**30  # the tables of HRNet, SimCC and TokenPose count in these


def on_meta(*args, **kwargs) -> torch.nn.Module:
    """The net without its weights: counting needs none."""
    with torch.device("meta"):
        return build_pose_net(*args, **kwargs)


@pytest.fixture(scope="module")
def models():
    """benchmarks/models.py: it counts every net once, for its table and for these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("models")


# --- published sizes ----------------------------------------------------------------------------------------

RTMPOSE = {  # size: (params M, GMACs) for K=17 at 256×192, K=133 at 256×192, K=133 at 384×288
    "t": ((3.337, 0.355), (5.520, 0.548), (5.650, 1.125)),
    "s": ((5.473, 0.676), (8.384, 0.905), (8.514, 1.927)),
    "m": ((13.588, 1.918), (17.953, 2.216), (18.083, 4.877)),
    "l": ((27.660, 4.142), (33.481, 4.510), (33.611, 10.039)),
    "x": ((49.304, 7.633), (56.580, 8.071), (56.710, 18.050)),
}


@pytest.mark.parametrize("size", RTMPOSE)
def test_rtmpose_has_its_published_parameters_and_macs(models, size):
    shapes = ((17, (192, 256)), (133, (192, 256)), (133, (288, 384)))
    for (num_keypoints, input_size), published in zip(shapes, RTMPOSE[size], strict=True):
        counted = models.sizes(models.Net("cspnext", size, "rtmcc", num_keypoints, input_size))
        assert tuple(round(number, 3) for number in counted) == published


@pytest.mark.parametrize(("size", "params"), {"t": 2.349, "s": 4.378, "m": 12.279, "l": 26.139, "x": 47.570}.items())
def test_cspnext_alone_has_its_published_parameters(size, params):
    assert round(count_parameters(on_meta(size, 17).backbone) / 1e6, 3) == params


HOURGLASS = {  # stacks × channels: (params M, GMACs) for K=16 at 256×256
    "8x256": (25.59, 28.09), "4x256": (13.02, 15.36), "2x256": (6.73, 8.99), "1x256": (3.59, 5.80),
    "8x128": (6.46, 7.13), "4x128": (3.29, 3.91), "2x128": (1.70, 2.30), "1x128": (0.91, 1.49),
    "8x64": (1.65, 1.83), "4x64": (0.84, 1.01), "2x64": (0.43, 0.60), "1x64": (0.23, 0.39),
}  # fmt: skip


@pytest.mark.parametrize("size", HOURGLASS)
def test_hourglass_has_its_published_parameters_and_macs(models, size):
    counted = models.sizes(models.Net("hourglass", size, "heatmap", 16, (256, 256)))
    assert tuple(round(number, 2) for number in counted) == HOURGLASS[size]


# SimCC paper, tables 1 to 3 and README: backbone, size, head, (W, H), k, params M, GFLOPs by HRNet's rule.
SIMCC = [
    ("resnet", "50", "heatmap", (64, 64), 3, 34.0, 0.7),
    ("resnet", "50", "heatmap", (128, 128), 3, 34.0, 3.0),
    ("resnet", "50", "heatmap", (256, 256), 2, 34.0, 12.0),
    ("resnet", "50", "simcc", (64, 64), 3, 24.7, 0.3),
    ("resnet", "50", "simcc", (128, 128), 3, 25.0, 1.3),
    ("resnet", "50", "simcc", (192, 256), 2, 25.7, 3.8),
    ("resnet", "50", "simcc", (256, 256), 2, 26.3, 5.0),
    ("resnet", "50", "simcc_deconv", (192, 256), 2, 36.8, 9.0),
    ("resnet", "50", "simcc_deconv", (288, 384), 2, None, 20.2),
    ("resnet", "101", "heatmap", (192, 256), 2, 53.0, 12.4),
    ("resnet", "101", "simcc_deconv", (192, 256), 2, None, 12.4),
    ("hrnet", "w32", "heatmap", (192, 256), 2, 28.5, 7.1),
    ("hrnet", "w32", "simcc", (192, 256), 2, 31.3, 7.1),
    ("hrnet", "w48", "heatmap", (192, 256), 2, 63.6, 14.6),
    ("hrnet", "w48", "simcc", (64, 64), 3, 63.7, 1.2),
    ("hrnet", "w48", "simcc", (128, 128), 2, 64.1, 4.9),
    ("hrnet", "w48", "simcc", (192, 256), 2, 66.3, 14.6),
    ("stem", "", "tokenpose", (64, 64), 3, 4.9, 1.4),
    ("stem", "", "tokenpose", (128, 128), 2, 5.1, 1.6),
    ("stem", "", "tokenpose", (192, 256), 2, 5.5, 2.2),
]


@pytest.mark.parametrize(("backbone", "size", "head", "input_size", "split", "params", "gflops"), SIMCC)
def test_nets_of_the_simcc_paper_have_their_published_size(
    backbone, size, head, input_size, split, params, gflops
):  # fmt: skip
    net = on_meta(size, 17, input_size, split, backbone=backbone, head=head)
    if params is not None:
        assert round(count_parameters(net) / 1e6, 1) == params
    assert round(count_macs_hrnet(net, input_size) / GIBI, 1) == gflops


def test_simcc_on_resnet101_adds_what_it_adds_on_resnet50():
    """The README's 53.7 M for ResNet-101 would be 0.7 M more than its heat maps; the same head adds 2.8 M to 50."""
    added = [
        count_parameters(on_meta(size, 17, backbone="resnet", head="simcc_deconv"))
        - count_parameters(on_meta(size, 17, backbone="resnet", head="heatmap"))
        for size in ("50", "101")
    ]
    assert added[0] == added[1]
    assert round(added[0] / 1e6, 1) == round(36.8 - 34.0, 1)


def test_the_two_counts_differ_where_hrnets_rule_is_wrong():
    """A transposed convolution of stride 2 costs its weights × its *input's* pixels: a quarter of that rule's."""
    net = torch.nn.Sequential(torch.nn.ConvTranspose2d(3, 5, 4, 2, 1, bias=False)).to("meta")
    assert count_macs(net, (8, 6)) == 3 * 5 * 16 * 48
    assert count_macs_hrnet(net, (8, 6)) == 4 * count_macs(net, (8, 6))


def test_the_table_in_the_docs_is_what_the_code_says(models):
    assert models.table(models.NETS) in (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_latencies_in_the_docs_are_of_these_nets(models):
    """Times belong to a machine and a day; which nets were timed does not."""
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    section = page.partition(models.MARKS[0])[2].partition(models.MARKS[1])[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    if rows:
        assert [line.split(" | ")[:5] for line in rows] == [models.row(models.name(net)).rstrip(" |").split(" | ")[:5]
                                                            for net in models.NETS]  # fmt: skip


def test_measured_latencies_replace_what_stood_in_the_page(models):
    nets = models.NETS[:1]
    clock = iter(range(10**6))
    (times,) = models.take_turns([lambda: float(next(clock) % 3 + 1)], 0.01)
    assert len(times) >= models.LEAST
    about = {"cpu": "a CPU", "versions": {"onnxruntime": "1.0"}, "date": "2026-01-01"}
    measured = models.latency_table(nets, [np.array([1.0, 2.0, 4.0])], about, 1)
    assert "| cspnext | n | rtmcc | 17 | 256×192 | 2.0 | 1.5 | 3 |" in measured
    page = models.put_between_marks(f"before\n{models.MARKS[0]}\nold\n{models.MARKS[1]}\nafter\n", measured)
    assert page == f"before\n{models.MARKS[0]}\n{measured}\n{models.MARKS[1]}\nafter\n"
    with pytest.raises(ValueError, match="expected to have"):
        models.put_between_marks("no marks", measured)


# --- behavior ----------------------------------------------------------------------------------------------

NETS = [  # backbone, size, head; small inputs, five keypoints
    ("cspnext", "n", "rtmcc"), ("cspnext", "n", "simcc"), ("cspnext", "n", "simcc_deconv"),
    ("cspnext", "n", "heatmap"), ("cspnext", "n", "heatmap1d"), ("cspnext", "n", "tokenpose"),
    ("resnet", "50", "rtmcc"), ("hrnet", "w32", "simcc"), ("hrnet", "w32", "heatmap"), ("stem", "", "tokenpose"),
    ("hourglass", "2x64", "heatmap"),
]  # fmt: skip


@pytest.mark.parametrize(("backbone", "size", "head"), NETS)
def test_shapes_and_every_parameter_in_use(backbone, size, head):
    torch.manual_seed(0)
    net = build_pose_net(size, 5, (64, 128), 1.5, backbone=backbone, head=head)
    outputs = net(torch.randn(2, 3, 128, 64))
    if head == "heatmap":
        assert outputs.shape == (2, 5, 32, 16)
        outputs = (outputs,)
    else:
        assert [output.shape for output in outputs] == [(2, 5, 96), (2, 5, 192)]
    sum(output.square().mean() for output in outputs).backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(("backbone", "size"), [("cspnext", "n"), ("resnet", "50"), ("hrnet", "w32"), ("stem", "")])
def test_backbones_say_the_truth_about_their_maps(backbone, size):
    net = on_meta(size, 5, (64, 64), backbone=backbone, head="rtmcc").backbone
    maps = net(torch.zeros(1, 3, 64, 64, device="meta"))
    assert [x.shape[1] for x in maps] == net.channels
    assert maps[-1].shape[-1] == 64 // net.stride


@pytest.mark.parametrize("head", ["rtmcc", "simcc", "simcc_deconv", "tokenpose"])
def test_simcc_heads_take_half_size_inputs(head):
    net = build_pose_net("n", 5, (64, 128), head=head).eval()
    with torch.inference_mode():
        assert [y.shape for y in net(torch.zeros(1, 3, 64, 32))] == [y.shape for y in net(torch.zeros(1, 3, 128, 64))]


def test_a_hourglass_gives_every_stack_and_answers_with_the_last():
    net = build_pose_net("3x64", 4, (64, 64), backbone="hourglass", head="heatmap").eval()
    picture = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        stacks = net.stacks(picture)
        assert len(stacks) == 3
        assert torch.equal(net(picture), stacks[-1])
    assert not torch.equal(stacks[0], stacks[1])


def test_upsampling_free_simcc_lays_the_channels_of_a_keypoint_side_by_side():
    """Published order: (K t) h w → K (t h w). A keypoint reads its own t channels and no other's."""
    net = build_pose_net("n", 3, (64, 64), head="simcc").head.eval()
    features = torch.randn(1, net.final_layer.in_channels, 2, 2)
    with torch.inference_mode():
        before = net(features)[0]
        net.final_layer.weight[32:64] += 1  # the 32 channels of keypoint 1
        after = net(features)[0]
    assert [torch.equal(before[0, k], after[0, k]) for k in range(3)] == [True, False, True]


def test_sine_positions_are_distinct_and_centered_on_row_and_column():
    table = sine_position(3, 4, 16).view(3, 4, 16)
    assert torch.equal(table[:, 0, :8], table[:, 3, :8])  # the row's half does not depend on the column
    assert torch.equal(table[0, :, 8:], table[2, :, 8:])
    assert len({tuple(row.tolist()) for row in table.flatten(0, 1)}) == 12


def test_patches_keep_their_pixels():
    net = build_pose_net("", 2, (192, 256), backbone="stem", head="tokenpose").head
    features = torch.arange(64 * 48.0).view(1, 1, 64, 48)
    cut = net.patches(features)
    assert cut.shape == (1, 256, 12)
    assert torch.equal(cut[0, 17].view(4, 3), features[0, 0, 4:8, 3:6])  # second row, second column


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"size": "q"}, "size of cspnext expected n, t, s, m, l, x, got 'q'"),
        ({"size": "t", "backbone": "hrnet"}, "size of hrnet expected w32, w48, got 't'"),
        ({"backbone": "vgg"}, "backbone expected cspnext, resnet, hrnet, stem, hourglass, got 'vgg'"),
        ({"head": "dsnt"}, "head expected rtmcc, simcc, simcc_deconv, tokenpose, heatmap, heatmap1d, got 'dsnt'"),
        ({"size": "4x128", "backbone": "hourglass"}, "head of an hourglass expected 'heatmap', got 'rtmcc'"),
        (
            {"size": "128", "backbone": "hourglass", "head": "heatmap"},
            "size of hourglass expected .*4x128.*, got '128'",
        ),
        ({"input_size": (190, 256)}, "input_size must be multiples of 32, got 190×256"),
        (
            {"size": "", "backbone": "stem", "head": "tokenpose", "input_size": (224, 224)},
            "expected 16 patches to a side",
        ),
    ],
)
def test_what_does_not_exist_is_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        on_meta(**kwargs)


SKELETON = Skeleton.load("coco17")


def written(config: Config, path: Path) -> torch.nn.Module:
    """A fresh net of the config, saved as a checkpoint."""
    net = checkpoints.build_net(config, SKELETON)
    state = {"model": net.state_dict(), "ema": None, "config": config.to_dict(), "skeleton": SKELETON.to_dict()}
    checkpoints.save(path, state)
    return net.eval()


@pytest.mark.parametrize("head", ["simcc", "simcc_deconv", "tokenpose", "heatmap1d"])
def test_nets_of_other_heads_export_with_a_card_that_decodes_them(tmp_path, head):
    """`export` itself compares onnxruntime with torch."""
    written(Config(size="n", head=head, skeleton="coco17", input_size=(64, 64), split_ratio=1.5), tmp_path / "net.pt")
    _, card, difference = exporter.export(tmp_path / "net.pt")
    assert difference <= onnx_file.TOLERANCES["float32"]
    assert card.bins == (96, 96)
    assert card.score == ("min" if head == "heatmap1d" else "entropy")
    assert card.recipe.startswith(f"cspnext-n {head}, ")


def test_a_config_names_a_net_and_its_checkpoint_opens(tmp_path):
    config = Config(backbone="resnet", size="50", head="simcc", skeleton="coco17", input_size=(64, 64))
    net = written(config, tmp_path / "net.pt")
    loaded, again, _, _ = checkpoints.load_net(tmp_path / "net.pt")
    assert again == config
    picture = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(picture)[0], net(picture)[0])
    with pytest.raises(EdgeposeError, match="size of resnet expected 50, 101, 152, got 't'"):
        checkpoints.build_net(replace(config, size="t"), SKELETON)
