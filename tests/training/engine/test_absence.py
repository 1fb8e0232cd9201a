"""Labeled points outside of the input: without weight as in the papers, or taught as absent where that is asked for."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from edgepose import EdgeposeError  # noqa: E402
from edgepose.skeletons import Skeleton  # noqa: E402
from edgepose_training.config import CONFIGS, Config  # noqa: E402
from edgepose_training.data.loaders import Batch  # noqa: E402
from edgepose_training.engine import checkpoints  # noqa: E402
from edgepose_training.engine.distiller import build_distiller  # noqa: E402
from edgepose_training.engine.pose_task import pose_trainer  # noqa: E402

BODY = Skeleton.load("coco17")
ARMS = {
    "rtmpose": {"label_loss": "rtmpose"},
    "wholebody": {"label_loss": "wholebody"},
    "smooth": {"head": "simcc", "label_loss": "simcc", "label_kind": "smooth", "beta": 1.0},
    "gaussian": {"head": "simcc", "label_loss": "simcc_norm", "label_normalize": True, "beta": 1.0},
    "heat vectors": {"head": "heatmap1d", "label_loss": "heatmap1d"},
    "heat maps": {"head": "heatmap"},
    "hourglass": {"backbone": "hourglass", "size": "1x32", "head": "heatmap"},
}
FAR, NEAR = [-40.0, 30.0], [-2.0, 30.0]  # of a 64×64 input; 3σ are 8.5 bins, 4 px


def losses(values: dict, places: list[list[float]], weight: float, **more) -> list[float]:
    """The label loss with one point at each of `places`, of the given weight."""
    config = Config.from_dict(
        {"size": "n", "skeleton": "coco17", "input_size": [64, 64], "amp": "off"} | values | more
    )  # fmt: skip
    torch.manual_seed(1)
    net = checkpoints.build_net(config, BODY)
    with torch.no_grad():  # a fresh net's answer is flat, which is what absence is taught by
        for parameter in net.head.parameters() if hasattr(net, "head") else net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    module = build_distiller(config, BODY, net, None, torch.ones(17)).eval()
    images = torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8)
    found = []
    for place in places:
        points = torch.full((2, 17, 2), 30.0)
        points[0, 3] = torch.tensor(place)
        weights = torch.ones(2, 17)
        weights[0, 3] = weight
        inside = ((points >= 0) & (points < 64)).all(-1) & (weights > 0)
        with torch.no_grad():
            found.append(float(module(Batch(images, points, weights, inside), 0.0)["label"]))
    return found


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("arm", ARMS)
def test_a_labeled_point_outside_has_no_weight_unless_absence_is_taught(arm, kernels):
    (far,) = losses(ARMS[arm], [FAR], 1.0, kernels=kernels)
    (unlabeled,) = losses(ARMS[arm], [FAR], 0.0, kernels=kernels)
    (taught,) = losses(ARMS[arm], [FAR], 1.0, kernels=kernels, teach_absence=True)
    assert far == pytest.approx(unlabeled, rel=1e-6)
    assert taught != pytest.approx(unlabeled, rel=1e-6)


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm != "smooth"])
def test_the_tail_of_a_gaussian_that_reaches_in_counts(arm):
    """As mmpose has it: out of range is what ends 3σ before the first bin. A smoothed label has one bin, or none."""
    near, _ = losses(ARMS[arm], [NEAR, FAR], 1.0)
    (unlabeled,) = losses(ARMS[arm], [NEAR], 0.0)
    assert near != pytest.approx(unlabeled, rel=1e-6)
    near, far = losses(ARMS["smooth"], [NEAR, FAR], 1.0)
    assert near == far


def test_recipes_of_papers_leave_them_out_and_ours_teach_them():
    for path in CONFIGS.rglob("*.toml"):
        recipe = Config.load(path)
        ours = path.parent.name == "edgepose"
        assert recipe.teach_absence == ours, path
        assert (recipe.truncation_prob > 0) == ours, path


def test_cutting_people_without_teaching_absence_is_refused(store, small, tmp_path):
    with pytest.raises(EdgeposeError, match="set teach_absence=true too, or truncation_prob=0"):
        pose_trainer(replace(small, teach_absence=False), store, None, tmp_path, torch.device("cpu"))
