"""A net that starts from other weights: what fits is kept, the rest is told in one line, another net is refused."""

import gzip
import json

import pytest
import torch
from recorded_answers import FIXTURES, mmpose_weights

from edgepose import EdgeposeError, Skeleton
from edgepose_training.config import Config
from edgepose_training.engine import checkpoints, starting
from edgepose_training.models import build_pose_net

NAMES = json.loads(gzip.decompress((FIXTURES / "backbone_names.json.gz").read_bytes()))  # by project: name → shape
SIDE = (64, 64)
BODY = Skeleton.load("coco17")


def of(case, net, prefix=""):
    """Tensors under the names of a project, without memory behind them, and the state dict of a net of ours."""
    with torch.device("meta"):
        weights = {prefix + name: torch.empty(shape) for name, shape in NAMES[case].items()}
        backbone, size, head = net
        return weights, build_pose_net(size, 17, SIDE, backbone=backbone, head=head).state_dict()


PUBLISHED = [
    ("torchvision resnet50", ("resnet", "50", "simcc")),
    ("torchvision resnet101", ("resnet", "101", "simcc")),
    ("timm resnet50", ("resnet", "50", "heatmap")),
    ("timm hrnet_w32", ("hrnet", "w32", "simcc")),
    ("timm hrnet_w48", ("hrnet", "w48", "heatmap")),
    ("timm hrnet_w32", ("stem", "", "simcc")),
    ("mmpretrain resnet50", ("resnet", "50", "simcc")),
    ("mmpretrain hrnet_w32", ("hrnet", "w32", "heatmap")),
    ("mmdet cspnext-t", ("cspnext", "t", "rtmcc")),
    ("mmdet cspnext-m, backbone alone", ("cspnext", "m", "rtmcc")),
    ("mmpose cspnext-s, heat maps", ("cspnext", "s", "rtmcc")),
    ("mmpose hrnet_w32, heat maps", ("hrnet", "w32", "heatmap")),
]


@pytest.mark.parametrize("prefix", ["", "module.", "model.net."])
@pytest.mark.parametrize(("case", "net"), PUBLISHED)
def test_published_backbones_fit_as_a_whole(case, net, prefix):
    weights, target = of(case, net, prefix)
    fitting = starting.under_names_of(weights, target)
    assert {name for name in target if name.startswith("backbone.")} <= set(fitting)
    heads = {name for name in target if name.startswith("head.")}
    if case == "mmpose hrnet_w32, heat maps":
        assert heads <= set(fitting)
    elif "heat maps" not in case:
        assert not heads & set(fitting)


@pytest.mark.parametrize(
    ("case", "net"),
    [
        ("torchvision resnet50", ("resnet", "101", "simcc")),
        ("torchvision resnet101", ("resnet", "50", "simcc")),
        ("timm hrnet_w32", ("hrnet", "w48", "simcc")),
        ("mmdet cspnext-t", ("cspnext", "m", "rtmcc")),
        ("timm resnet50", ("hrnet", "w32", "simcc")),
    ],
)
def test_another_backbone_does_not(case, net):
    """A deeper ResNet has every tensor of a shallower one under the same names."""
    weights, target = of(case, net)
    source = checkpoints.Loaded("theirs.pth", weights)
    with pytest.raises(EdgeposeError, match=r"theirs\.pth: its backbone is another: .* do not fit, such as backbone"):
        starting._check_backbone(target, starting.under_names_of(weights, target), source)


def test_counters_that_old_files_lack_are_not_missed(tmp_path):
    """torchvision's files of 2017 have no `num_batches_tracked`."""
    net = build_pose_net("n", 17, SIDE)
    bare = {
        name.removeprefix("backbone."): value + 1
        for name, value in net.state_dict().items()
        if name.startswith("backbone.") and not name.endswith("num_batches_tracked")
    }
    torch.save(bare, tmp_path / "old.pth")
    assert starting.initialize(net, tmp_path / "old.pth") == "new: head; everything else taken over"
    assert all(torch.equal(net.state_dict()[f"backbone.{name}"], value) for name, value in bare.items())


def checkpoint(size, skeleton, path):
    net = build_pose_net(size, skeleton.num_keypoints, SIDE)
    config = Config(size=size, input_size=SIDE, sigma=(2.83, 2.83), skeleton=skeleton.name)
    state = {"model": net.state_dict(), "ema": None, "config": config.to_dict(), "skeleton": skeleton.to_dict()}
    checkpoints.save(path, state)
    return net


def test_another_size_is_one_short_sentence(tmp_path):
    checkpoint("n", BODY, tmp_path / "n.pt")
    with pytest.raises(EdgeposeError) as caught:
        starting.initialize(build_pose_net("t", 17, SIDE), tmp_path / "n.pt", BODY.keypoints)
    message = str(caught.value).replace(str(tmp_path), "")
    assert message.startswith("/n.pt: its backbone is another: ")
    assert message.endswith("it holds cspnext of size n (grow.py makes a larger net of it)")
    assert len(message) < 250


def test_points_are_found_by_name(tmp_path):
    old = checkpoint("n", BODY, tmp_path / "n.pt").state_dict()
    points = ("right_wrist", "tail", "nose")
    net = build_pose_net("n", 3, SIDE)
    first = {name: value.clone() for name, value in net.state_dict().items()}
    told = starting.initialize(net, tmp_path / "n.pt", points)
    assert told == "new: head.final_layer, where 2 of 3 points were found by name; everything else taken over"
    new, theirs = net.state_dict(), [BODY.keypoints.index(points[i]) for i in (0, 2)]
    for name in ("head.final_layer.weight", "head.final_layer.bias"):
        assert torch.equal(new[name][[0, 2]], old[name][theirs])
        assert torch.equal(new[name][1], first[name][1])
    assert all(torch.equal(new[name], value) for name, value in old.items() if "final_layer" not in name)


def test_all_of_it(tmp_path):
    checkpoint("n", BODY, tmp_path / "n.pt")
    assert starting.initialize(build_pose_net("n", 17, SIDE), tmp_path / "n.pt") == "every weight taken over"


def test_other_bins_are_new_and_told_in_a_line(tmp_path):
    checkpoint("n", BODY, tmp_path / "n.pt")
    net = build_pose_net("n", 17, (96, 128))
    told = starting.initialize(net, tmp_path / "n.pt", BODY.keypoints)
    assert told == "new: head.mlp.1, head.cls_x, head.cls_y; everything else taken over"


def test_a_net_in_one_piece_takes_what_fits(tmp_path):
    """Hourglasses have no backbone: other points are fine, another width is not."""
    net = build_pose_net("1x32", 16, SIDE, backbone="hourglass", head="heatmap")
    torch.save({"state_dict": net.state_dict()}, tmp_path / "net.pth")
    other = build_pose_net("1x32", 14, SIDE, backbone="hourglass", head="heatmap")
    assert starting.initialize(other, tmp_path / "net.pth") == "new: scores; everything else taken over"
    wide = build_pose_net("1x64", 16, SIDE, backbone="hourglass", head="heatmap")
    with pytest.raises(EdgeposeError, match="its net is another"):
        starting.initialize(wide, tmp_path / "net.pth")


def test_mmposes_points_are_found_by_name(tmp_path):
    """From the description of the data set in the file."""
    weights = mmpose_weights("rtmpose-t-17")
    meta = {"dataset_meta": {"dataset_name": "coco", "keypoint_id2name": dict(enumerate(BODY.keypoints))}}
    torch.save({"state_dict": weights, "meta": meta}, tmp_path / "body.pth")
    whole = Skeleton.load("coco_wholebody")
    net = build_pose_net("t", 133, (192, 256))
    told = starting.initialize(net, tmp_path / "body.pth", whole.keypoints)
    assert "where 17 of 133 points were found by name" in told
    assert torch.equal(net.state_dict()["head.final_layer.weight"][:17], weights["head.final_layer.weight"])
