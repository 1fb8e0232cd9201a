"""The loop: it learns, it stops and goes on bit for bit, its stages train what they should."""

import re
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from distill import main  # noqa: E402

from edgepose import EdgeposeError  # noqa: E402
from edgepose.skeletons import Skeleton  # noqa: E402
from edgepose_training.data.loaders import normalize  # noqa: E402
from edgepose_training.engine import checkpoints  # noqa: E402
from edgepose_training.engine.heatmaps import CELLS  # noqa: E402
from edgepose_training.engine.pose_task import pose_trainer  # noqa: E402
from edgepose_training.engine.trainer import Stopped, Trainer  # noqa: E402
from edgepose_training.engine.training_cost import TrainingCost, compare_costs, read_cost  # noqa: E402

CPU = torch.device("cpu")


def weights(run: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.task.module.state_dict().items()}


def losses_of(folder) -> list[float]:
    rows = (folder / "train.csv").read_text().splitlines()
    column = rows[0].split(",").index("label")
    return [float(row.split(",")[column]) for row in rows[1:]]


def test_a_few_steps_lower_the_loss(store, small, tmp_path):
    config = replace(
        small,
        epochs=12,
        truncation_prob=0.0,
        flip=0.0,
        half_body=0.0,
        rotation=0.0,
        scale=(1.0, 1.0),
        shift=0.0,
        erase=0.0,
        color=0.0,
    )
    run = pose_trainer(config, store, None, tmp_path, CPU)
    run.fit()
    losses = losses_of(tmp_path)
    assert len(losses) == 12 * 3
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])  # 0.35 is usual


def test_an_interrupted_run_resumes_bit_for_bit(store, small, tmp_path, monkeypatch):
    """Stopped in the middle of an epoch, continued by a fresh process' objects: the same weights to the last bit."""
    whole = pose_trainer(small, store, store, tmp_path / "whole", CPU)
    whole.fit()

    first = pose_trainer(small, store, store, tmp_path / "parts", CPU)
    steps = 0
    train_step = first.train_step

    def counted(*args):
        nonlocal steps
        steps += 1
        if steps == 2:
            first.stop_at = 0.0
        return train_step(*args)

    monkeypatch.setattr(first, "train_step", counted)
    with pytest.raises(Stopped):
        first.fit()
    assert first.step == 2
    second = pose_trainer(small, store, store, tmp_path / "parts", CPU)
    second.resume(tmp_path / "parts" / "last.pt")
    second.fit()
    assert second.step == whole.step
    for name, value in weights(whole).items():
        assert torch.equal(value, second.task.module.state_dict()[name]), name
    for name, value in whole.ema.state.items():
        assert torch.equal(value, second.ema.state[name]), name


def test_stage1_leaves_the_teacher_alone_and_uses_it(store, small, tmp_path):
    teacher = pose_trainer(small, store, None, tmp_path / "teacher", CPU)
    teacher.fit()
    config = replace(small, epochs=1)
    run = pose_trainer(config, store, None, tmp_path / "student", CPU, teacher=tmp_path / "teacher" / "last.pt")
    (net,) = run.task.module._teacher
    before = {name: value.clone() for name, value in net.state_dict().items()}
    run.fit()
    assert not net.training
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    header = (tmp_path / "student" / "train.csv").read_text().splitlines()[0]
    assert "feature" in header
    assert "logit" in header


def test_stage2_trains_the_head_only_and_runs_the_backbone_once(store, small, tmp_path, caplog):
    pose_trainer(small, store, None, tmp_path / "one", CPU).fit()
    config = replace(small, stage=2, epochs=1, aux_heatmap=0.0, beta_logit=1.0)
    run = pose_trainer(config, store, None, tmp_path / "two", CPU, teacher=tmp_path / "one" / "last.pt")
    (teacher,) = run.task.module._teacher
    calls = []
    for name, net in (("student", run.task.net), ("teacher", teacher)):
        net.backbone.register_forward_hook(lambda *_, name=name: calls.append(name))
    before = weights(run)
    with caplog.at_level("INFO"):
        run.fit()
    assert re.search(r"stage 2 took \d+ s for 3 steps, \d+ % of stage 1's time at \d+\.\d times its pace", caplog.text)
    assert calls == ["student"] * run.task.steps_per_epoch
    after = run.task.module.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed
    assert all(name.startswith("student.head") for name in changed)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_teacher_that_looks_into_the_mirror_too(store, small, tmp_path, stage):
    """`teacher_flip`: its logits are those of the mirrored image as well, so a mirrored batch hears the same."""
    pose_trainer(small, store, None, tmp_path / "one", CPU).fit()
    config = replace(small, stage=stage, epochs=1, aux_heatmap=0.0, teacher_flip=True)
    run = pose_trainer(config, store, None, tmp_path / "two", CPU, teacher=tmp_path / "one" / "last.pt")
    images = normalize(next(iter(run.task.feed.epoch(run.config, 0))).images)
    (teacher,) = run.task.module._teacher

    def answer(images):
        with torch.no_grad():
            return run.task.module._answer(teacher, images, teacher.backbone(images)[-1])

    (x, y), (mirrored_x, mirrored_y) = answer(images), answer(images.flip(3))
    swap = run.task.module.swap
    torch.testing.assert_close(mirrored_x[:, swap, :-1].flip(2), x[..., :-1])
    torch.testing.assert_close(mirrored_y[:, swap], y)
    run.fit()
    with pytest.raises(EdgeposeError, match=r"whole number of bins a pixel, got 2\.5"):
        pose_trainer(replace(config, split_ratio=2.5, stage=1), store, None, tmp_path / "three", CPU)


@pytest.mark.parametrize(("frozen", "learns_first"), [(-1, "stem"), (0, "stage1"), (2, "stage3")])
def test_frozen_stages_stay_as_they_are(store, small, tmp_path, frozen, learns_first):
    run = pose_trainer(replace(small, frozen_stages=frozen, epochs=1), store, None, tmp_path, CPU)
    before = weights(run)
    run.fit()
    after = run.task.net.backbone.state_dict()
    stages = ["stem", *(f"stage{i}" for i in range(1, 5))]
    changed = {stage for stage in stages for name, value in after.items()
               if name.startswith(stage) and not torch.equal(value, before[f"student.backbone.{name}"])}  # fmt: skip
    assert changed == set(stages[stages.index(learns_first) :])


def test_the_time_of_stage2_is_told_beside_that_of_stage1(store, small, tmp_path):
    assert compare_costs(TrainingCost(30, 600), TrainingCost(150, 1000)) == (
        "stage 2 took 30 s for 600 steps, 20 % of stage 1's time at 3.0 times its pace"
    )
    assert "is not known" in compare_costs(TrainingCost(30, 600), None)
    run = pose_trainer(small, store, None, tmp_path, CPU)
    run.fit()
    seconds, steps = read_cost(tmp_path / "last.pt")
    assert (0 < seconds <= run.seconds, steps) == (True, run.step)
    again = pose_trainer(small, store, None, tmp_path, CPU)
    again.resume(tmp_path / "last.pt")
    assert again.seconds == seconds
    state = checkpoints.load(tmp_path / "last.pt")
    checkpoints.save(tmp_path / "converted.pt", {key: state[key] for key in ("model", "ema", "config", "skeleton")})
    assert read_cost(tmp_path / "converted.pt") is None


def test_stage2_without_a_teacher_is_refused(store, small, tmp_path):
    with pytest.raises(EdgeposeError, match="stage 2"):
        pose_trainer(replace(small, stage=2), store, None, tmp_path, CPU)


@pytest.mark.parametrize(
    ("mine", "theirs", "sentence"),
    [
        ({"head": "heatmap", "aux_heatmap": 0.0, "head_init_scale": 1.0}, {},
         "the teacher answers with SimCC vectors of 2 bins a pixel, the student with heat maps"),
        ({}, {"head": "heatmap"}, "the teacher answers with heat maps, the student with SimCC"),
        ({}, {"split_ratio": 3.0}, "the teacher answers with SimCC vectors of 3 bins a pixel"),
        ({}, {"input_size": (96, 64)}, r"133 keypoints at \(96, 64\)"),
        ({"stage": 2, "head": "heatmap"}, {"head": "heatmap"}, "stage 2 distills a SimCC head"),
        ({"stage": 2}, {"size": "t"}, "stage 2 wants a checkpoint of the same net"),
    ],
)  # fmt: skip
def test_a_teacher_that_cannot_teach_is_refused(store, small, tmp_path, mine, theirs, sentence):
    other = replace(small, **theirs)
    skeleton = Skeleton.load("coco_wholebody")
    state = {"model": checkpoints.build_net(other, skeleton).state_dict(), "ema": None, "config": other.to_dict()}
    state |= {"heatmap_cells": CELLS}
    checkpoints.save(tmp_path / "teacher.pt", state | {"skeleton": skeleton.to_dict()})
    with pytest.raises(EdgeposeError, match=sentence):
        pose_trainer(replace(small, **mine), store, None, tmp_path / "run", CPU, teacher=tmp_path / "teacher.pt")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"head": "heatmap1d", "label_loss": "heatmap1d"}, "head_init_scale is for SimCC heads"),
        ({"backbone": "hourglass", "size": "1x32", "head": "heatmap"}, "head_init_scale is for SimCC heads"),
        ({"head": "heatmap", "aux_heatmap": 0.0, "head_init_scale": 1.0, "frozen_stages": 1}, "not with heat maps"),
        ({"backbone": "resnet", "size": "50", "frozen_stages": 1}, "frozen_stages is for the backbone cspnext"),
        ({"frozen_stages": 5}, "frozen_stages expected -1 to 4, got 5"),
        ({"part_weights": {"tail": 2.0}}, "part_weights expected parts of coco_wholebody, got 'tail'"),
    ],
)
def test_knobs_of_other_nets_are_named(store, small, tmp_path, values, sentence):
    with pytest.raises(EdgeposeError, match=sentence):
        pose_trainer(replace(small, **values), store, None, tmp_path, CPU)


def test_points_that_nobody_labels_are_listed_and_get_no_loss(store, small, tmp_path):
    store.weights[:, 100] = 0
    try:
        run = pose_trainer(small, store, None, tmp_path, CPU)
    finally:
        store.weights[:, 100] = 1
    assert run.task.unsupervised_keypoints == [100]
    assert run.task.module.part_weight[100] == 0
    assert run.task.module.trained[100] == 0


def test_half_size_inputs_train_the_same_head(store, small, tmp_path):
    config = replace(small, input_size=(64, 64), half_size_epochs=1, epochs=2)
    run = pose_trainer(config, store, store, tmp_path, CPU)
    run.fit()
    assert run.step == 2 * run.task.steps_per_epoch


def test_checkpoints_survive_a_crash_while_saving(store, small, tmp_path, monkeypatch):
    run = pose_trainer(small, store, None, tmp_path, CPU)
    run.save()
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        run.save()
    monkeypatch.undo()
    net, config, skeleton, _ = checkpoints.load_net(tmp_path / "last.pt")
    assert config == small
    assert skeleton.num_keypoints == 133
    assert not net.training


def test_a_mistake_is_one_sentence(tmp_path, capsys):
    assert main(["--shards", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "pack.py" in error
    assert len(error.splitlines()) == 1
