"""mmpose's checkpoints: their answers, their averages, and their way into the app."""

import dataclasses

import numpy as np
import pytest
from seeded_weights import seeded_picture

torch = pytest.importorskip("torch")

import convert  # noqa: E402
import export  # noqa: E402
from recorded_answers import CASES, FIXTURES, RECORDED, mmpose_weights  # noqa: E402

from edgepose import Skeleton, TopdownEstimator  # noqa: E402
from edgepose_training.config import Config  # noqa: E402
from edgepose_training.data.crop_cache import CropCache  # noqa: E402
from edgepose_training.data.shards import ShardWriter  # noqa: E402
from edgepose_training.data.synthetic import synthetic_person  # noqa: E402
from edgepose_training.deploy import given  # noqa: E402
from edgepose_training.engine import builders, checkpoints, conversion, mmpose_checkpoints, starting  # noqa: E402
from edgepose_training.engine.heatmaps import CELLS  # noqa: E402
from edgepose_training.engine.pose_task import pose_trainer  # noqa: E402
from edgepose_training.models import build_pose_net  # noqa: E402

NETS = {
    "rtmpose-t-17": ("t", 17, {}),
    "rtmpose-s-133": ("s", 133, {}),
    "rtmpose-m-133": ("m", 133, {}),
    "rtmpose-l-17": ("l", 17, {}),
    "rtmpose-x-17": ("x", 17, {}),
    "resnet50-simcc-deconv": ("50", 17, {"backbone": "resnet", "head": "simcc_deconv"}),
    "resnet50-heatmap": ("50", 17, {"backbone": "resnet", "head": "heatmap"}),
    "hrnet-w32-simcc": ("w32", 17, {"backbone": "hrnet", "head": "simcc"}),
    "hrnet-w32-heatmap": ("w32", 17, {"backbone": "hrnet", "head": "heatmap"}),
}


def answers(net: torch.nn.Module, case: str) -> list[np.ndarray]:
    """In float64, as recorded: two float32 computations differ by roundings that random weights blow up."""
    with torch.inference_mode():
        outputs = net.eval().double()(torch.from_numpy(seeded_picture(CASES[case]["input_size"])).double())
    every = CASES[case]["every"]
    return [y.numpy()[..., ::every] for y in (outputs if isinstance(outputs, tuple) else (outputs,))]


# --- mmpose's own answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_mmposes_state_dict_loads_strictly_and_answers_as_mmpose_does(case):
    size, num_keypoints, kwargs = NETS[case]
    net = build_pose_net(size, num_keypoints, tuple(CASES[case]["input_size"]), **kwargs)
    net.load_state_dict(mmpose_weights(case), strict=True)
    outputs = answers(net, case)
    recorded = [RECORDED[f"{case}/{i}"] for i in range(len(outputs))]
    for ours, theirs in zip(outputs, recorded, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= 1e-6 * np.abs(theirs).max()
    if case.startswith("rtmpose"):
        assert max(np.abs(ours - theirs).max() for ours, theirs in zip(outputs, recorded, strict=True)) < 1e-5


def test_the_recorded_answers_notice_a_small_difference():
    """One weight in three hundred thousand off by a thousandth of its size, in the first layer."""
    case = "rtmpose-t-17"
    net = build_pose_net("t", 17, (192, 256))
    weights = mmpose_weights(case)
    weights["backbone.stem.0.conv.weight"][0, 0, 0, 0] *= 1.001
    net.load_state_dict(weights)
    theirs = RECORDED[f"{case}/0"]
    assert np.abs(answers(net, case)[0] - theirs).max() > 1e-6 * np.abs(theirs).max()


# --- files ---------------------------------------------------------------------------------------------------


def test_a_file_of_mmengines_runner_gives_its_averages():
    """Written by mmengine 0.10.7: the EMA hook puts the averages under `state_dict`, the last step under `ema_…`."""
    found = mmpose_checkpoints.read_mmpose(FIXTURES / "mmengine_ema.pth")
    assert list(found.weights) == list(found.plain) == ["seen", "head.weight", "head.bias"]
    assert found.plain["seen"].item() == 4  # forward passes so far
    assert 0.99 < found.weights["seen"].item() < 1.01  # an average that has hardly left its first value
    assert found.dataset["dataset_name"] == "coco"
    assert found.dataset["keypoint_id2name"][0] == "nose"
    assert isinstance(found.dataset["sigmas"], mmpose_checkpoints.Inert)  # numpy's arrays are not made either


def test_mmengines_description_gives_the_skeleton():
    dataset = mmpose_checkpoints.read_mmpose(FIXTURES / "mmengine_ema.pth").dataset
    shipped = Skeleton.load("coco17")
    assert conversion.infer_skeleton(dataset, 17) == shipped
    made = conversion.infer_skeleton(dataset | {"dataset_name": "mine"}, 17)
    assert (made.name, made.keypoints) == ("mine", shipped.keypoints)
    assert np.array_equal(made.swap, shipped.swap)
    assert {frozenset(link) for link in made.links.tolist()} == {frozenset(link) for link in shipped.links.tolist()}
    assert conversion.infer_skeleton({}, 133).name == "coco_wholebody"
    assert conversion.infer_skeleton({"dataset_name": "mpii"}, 5).num_keypoints == 5


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])  # mmpose publishes the older layout
def test_convert_reads_size_points_and_input_off_the_weights(tmp_path, zipped):
    file = tmp_path / "rtmpose-s.pth"
    content = {"meta": {"epoch": 270, "dataset_meta": {"dataset_name": "coco_wholebody"}}}
    torch.save(content | {"state_dict": mmpose_weights("rtmpose-s-133")}, file, _use_new_zipfile_serialization=zipped)
    state = conversion.convert(file)
    config = state["config"]
    assert (config["size"], config["input_size"], config["split_ratio"]) == ("s", (192, 256), 2.0)
    assert config["sigma"] == pytest.approx((4.9, 5.66), abs=0.005)  # as RTMPose rounds it
    assert state["recipe"] == "RTMPose-s of mmpose, converted from rtmpose-s.pth, points of coco_wholebody, epoch 270"
    assert state["skeleton"] == Skeleton.load("coco_wholebody").to_dict()
    assert state["ema"] is None


@pytest.mark.parametrize("case", ["rtmpose-m-133", "rtmpose-l-17", "rtmpose-x-17"])
def test_infer_config_knows_the_other_sizes(case):
    config, num_keypoints = conversion.infer_config(mmpose_weights(case), case)
    assert (config.size, num_keypoints) == NETS[case][:2]
    assert list(config.input_size) == CASES[case]["input_size"]


@pytest.mark.parametrize("case", ["resnet50-simcc-deconv", "resnet50-heatmap", "hrnet-w32-simcc", "hrnet-w32-heatmap"])
def test_simcc_and_heat_map_nets_are_converted(tmp_path, case):
    """A net of heat maps fits any input: its size and its labels' width stand in the config that mmengine keeps."""
    text = "codec = dict(\n    type='MSRAHeatmap', input_size=(64, 64), heatmap_size=(16, 16), sigma=3)\n"
    meta = {"epoch": 210, "dataset_meta": {"dataset_name": "coco"}, "cfg": text}
    torch.save({"state_dict": mmpose_weights(case), "meta": meta}, tmp_path / "net.pth")
    checkpoints.save(tmp_path / "net.pt", conversion.convert(tmp_path / "net.pth"))
    net, config, skeleton, state = checkpoints.load_net(tmp_path / "net.pt")
    assert (config.size, skeleton.num_keypoints, {"backbone": config.backbone, "head": config.head}) == NETS[case]
    assert config.input_size == (64, 64)
    assert state["heatmap_cells"] == CELLS
    if config.head == "heatmap":
        assert config.heatmap_sigma == 3
    else:
        assert (config.split_ratio, config.beta, config.sigma) == (2.0, 1.0, (3.0, 3.0))
    for ours, theirs in zip(answers(net, case), (RECORDED[f"{case}/{i}"] for i in range(2)), strict=False):
        assert np.abs(ours - theirs).max() <= 1e-6 * np.abs(theirs).max()


def test_the_size_of_a_net_of_heat_maps_may_be_given(tmp_path):
    torch.save({"state_dict": mmpose_weights("hrnet-w32-heatmap")}, tmp_path / "net.pth")
    state = conversion.convert(tmp_path / "net.pth", input_size=(96, 128))
    assert (state["config"]["input_size"], state["config"]["heatmap_sigma"]) == ((96, 128), 2.0)


def test_a_file_of_mmpose_teaches(tmp_path):
    """`--teacher theirs.pth`, as it was downloaded."""
    torch.save({"state_dict": mmpose_weights("rtmpose-t-17")}, tmp_path / "theirs.pth")
    teacher = given.teacher(str(tmp_path / "theirs.pth"), lambda _: [])
    student = Config(size="n", skeleton="coco17")
    net = builders.load_teacher(teacher, student, Skeleton.load("coco17"))
    assert torch.equal(net.state_dict()["head.gau.gamma"], mmpose_weights("rtmpose-t-17")["head.gau.gamma"])


def test_a_split_ratio_that_is_not_two_is_found():
    net = build_pose_net("n", 5, (96, 64), 1.5)
    config, _ = conversion.infer_config(net.state_dict(), "net")
    assert (config.size, config.input_size, config.split_ratio) == ("n", (96, 64), 1.5)


def test_two_commands_bring_an_averaged_checkpoint_into_the_app(tmp_path, capsys):
    """mmengine's layout: averages under `state_dict`, which must be the ones that run."""
    case = "rtmpose-m-133"
    averaged = mmpose_weights(case)
    plain = {f"module.{name}": value + 1 for name, value in averaged.items()}
    pth, pt, onnx = (tmp_path / name for name in ("net.pth", "net.pt", "net.onnx"))
    torch.save({"state_dict": averaged, "ema_state_dict": {"steps": torch.tensor(9), **plain}}, pth)
    assert convert.main([str(pth), "-o", str(pt)]) == 0
    expected = f"{pt}: averaged weights of an RTMPose-m, 64×96 px, 133 points of coco_wholebody\n"
    assert capsys.readouterr().out == expected
    assert export.main([str(pt), "-o", str(onnx)]) == 0

    net = checkpoints.load_net(pt)[0]
    for ours, theirs in zip(answers(net, case), (RECORDED[f"{case}/{i}"] for i in (0, 1)), strict=True):
        assert np.abs(ours - theirs).max() < 1e-5
    estimator = TopdownEstimator(onnx, "cpu", sequence=False)
    frame = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    poses = estimator(frame, np.array([[20, 10, 100, 110]], np.float32))
    assert poses.keypoints.shape == (1, 133, 2)
    assert estimator.card.recipe == "RTMPose-m of mmpose, converted from net.pth"


def distillation(student: str, teacher: str) -> dict[str, torch.Tensor]:
    """A DWPose training checkpoint; the teacher's weights are one larger, to be told apart."""
    weights = {f"student.{name}": value for name, value in mmpose_weights(student).items()}
    weights |= {f"teacher.{name}": value + 1 for name, value in mmpose_weights(teacher).items()}
    return weights | {"distill_losses.loss_fea.align.weight": torch.zeros(1)}


def test_stage_1_of_dwpose_keeps_the_student(tmp_path):
    torch.save({"state_dict": distillation("rtmpose-t-17", "rtmpose-l-17")}, tmp_path / "stage1.pth")
    found = mmpose_checkpoints.read_mmpose(tmp_path / "stage1.pth").weights
    expected = mmpose_weights("rtmpose-t-17")
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_stage_2_of_dwpose_puts_the_students_head_on_the_teachers_backbone(tmp_path):
    torch.save({"state_dict": distillation("rtmpose-t-17", "rtmpose-t-17")}, tmp_path / "stage2.pth")
    found = mmpose_checkpoints.read_mmpose(tmp_path / "stage2.pth").weights
    for name, value in mmpose_weights("rtmpose-t-17").items():
        assert torch.equal(found[name], value + name.startswith("backbone."))
    by_hand = mmpose_checkpoints.read_mmpose(tmp_path / "stage2.pth", stage=1).weights
    assert torch.equal(
        by_hand["backbone.stem.0.conv.weight"], mmpose_weights("rtmpose-t-17")["backbone.stem.0.conv.weight"]
    )


def test_a_net_saved_inside_its_wrapper_is_unwrapped(tmp_path):
    weights = mmpose_weights("rtmpose-t-17")
    torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, tmp_path / "net.pth")
    assert list(mmpose_checkpoints.read_mmpose(tmp_path / "net.pth").weights) == list(weights)


def test_stage_2_runs_alone_on_a_converted_checkpoint(tmp_path):
    """Plug-in use (DWPose): a net that was trained elsewhere gets a new head on its frozen backbone."""
    torch.save({"state_dict": mmpose_weights("rtmpose-t-17")}, tmp_path / "theirs.pth")
    assert convert.main([str(tmp_path / "theirs.pth"), "-o", str(tmp_path / "theirs.pt")]) == 0
    rng = np.random.default_rng(1)
    with ShardWriter(tmp_path / "shards") as writer:
        for _ in range(2):
            person = synthetic_person(rng)
            fields = {field: getattr(person, field)[:17] for field in ("keypoints", "visible", "weights")}
            writer.write(dataclasses.replace(person, **fields))
    recipe = Config.load("dwpose_stage2_t")
    recipe = dataclasses.replace(recipe, skeleton="coco17", batch=2, epochs=1, workers=0, amp="off", log_every=1)
    run = pose_trainer(
        recipe, CropCache(writer.paths), None, tmp_path / "run", torch.device("cpu"), tmp_path / "theirs.pt"
    )
    run.fit()
    net = checkpoints.load_net(tmp_path / "run" / "best.pt")[0].state_dict()
    theirs = mmpose_weights("rtmpose-t-17")
    assert all(torch.equal(net[name], value) for name, value in theirs.items() if name.startswith("backbone."))
    assert not torch.equal(net["head.cls_x.weight"], theirs["head.cls_x.weight"])


@pytest.mark.parametrize("wrapped", [True, False])
def test_init_takes_mmposes_files_and_leaves_what_does_not_fit(tmp_path, wrapped):
    weights = mmpose_weights("rtmpose-t-17")
    torch.save({"state_dict": weights} if wrapped else weights, tmp_path / "body.pth")
    net = build_pose_net("t", 133, (192, 256))
    told = starting.initialize(net, tmp_path / "body.pth")
    assert told == "new: head.final_layer; everything else taken over"  # 133 points instead of 17
    assert torch.equal(net.state_dict()["head.cls_x.weight"], weights["head.cls_x.weight"])
