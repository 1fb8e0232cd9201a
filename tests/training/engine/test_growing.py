"""A grown net answers as the one it came from, and no two copies of a channel stay alike."""

import pytest

torch = pytest.importorskip("torch")

import grow  # noqa: E402

from edgepose import EdgeposeError, Skeleton  # noqa: E402
from edgepose_training.config import Config  # noqa: E402
from edgepose_training.engine import checkpoints, growing  # noqa: E402
from edgepose_training.models import build_pose_net  # noqa: E402

SIZE = (64, 96)


@pytest.fixture
def small(tmp_path):
    """A net whose every weight matters: nothing at its first value, norms with statistics of their own."""
    torch.manual_seed(3)
    net = build_pose_net("t", 17, SIZE)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.5 if "running_var" in name else torch.randn_like(value) * 0.2)
    skeleton = Skeleton.load("coco17")
    config = Config(size="t", skeleton="coco17", input_size=SIZE)
    state = {"model": net.state_dict(), "ema": None, "config": config.to_dict(), "skeleton": skeleton.to_dict()}
    checkpoints.save(tmp_path / "t.pt", state | {"unsupervised_keypoints": [3]})
    return tmp_path / "t.pt"


@pytest.mark.parametrize("size", ["t", "s"])
def test_the_larger_net_says_the_same(small, size, tmp_path, capsys):
    assert grow.main([str(small), "--size", size, "-o", str(tmp_path / "grown.pt")]) == 0
    assert f"an RTMPose-{size} that answers as" in capsys.readouterr().out
    old, grown = (checkpoints.load_net(path) for path in (small, tmp_path / "grown.pt"))
    assert grown[1].size == size
    assert grown[3]["unsupervised_keypoints"] == [3]
    pictures = torch.randn(2, 3, SIZE[1], SIZE[0], dtype=torch.float64)
    with torch.no_grad():
        expected, answer = (net[0].double()(pictures) for net in (old, grown))
    for theirs, ours in zip(expected, answer, strict=True):
        assert theirs.std() > 0
        # Shares are float32: their roundings, not their idea, set the distance.
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_copies_learn_different_things(small):
    """One step of gradient descent, in training mode, and no two channels of the stem are alike any more."""
    state = growing.grow(small, "s")
    net = build_pose_net("s", 17, SIZE)
    net.load_state_dict(state["model"])
    stem = net.backbone.stem[0].conv.weight
    assert torch.equal(stem[:4], stem[12:16])  # 16 channels of 12
    sum(part.square().mean() for part in net.train()(torch.randn(4, 3, SIZE[1], SIZE[0]))).backward()
    assert not torch.isclose(stem.grad[:4], stem.grad[12:16]).all(dim=(1, 2, 3)).any()
    new = net.backbone.stage2[-1].blocks[1].conv2.pointwise_conv.bn  # a block that adds nothing yet can learn to
    assert (new.weight.grad != 0).any()


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        ("n", "expected a larger net than t, got n"),
        ("m", "t cannot grow into m: stage 4 would need 2 blocks instead of 1"),
        ("giant", "size of cspnext expected"),
    ],
)
def test_what_cannot_be_grown_is_one_sentence(small, size, sentence, tmp_path, capsys):
    assert grow.main([str(small), "--size", size, "-o", str(tmp_path / "out.pt")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out.pt").exists()


def test_other_nets_are_refused(small, tmp_path):
    state = checkpoints.load(small)
    config = Config(size="50", backbone="resnet", head="simcc", skeleton="coco17", input_size=SIZE)
    net = checkpoints.build_net(config, Skeleton.load("coco17"))
    checkpoints.save(tmp_path / "resnet.pt", state | {"config": config.to_dict(), "model": net.state_dict()})
    with pytest.raises(EdgeposeError, match="expected an RTMPose net, got resnet under simcc"):
        growing.grow(tmp_path / "resnet.pt", "50")
