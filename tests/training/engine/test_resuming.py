"""What a run says at its start, on its way and at its end; going on with other values; and how to go on."""

import csv
import logging
import shlex
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from edgepose import EdgeposeError  # noqa: E402
from edgepose.skeletons import Skeleton  # noqa: E402
from edgepose_training.engine import checkpoints, pose_task, resuming, trainer  # noqa: E402
from edgepose_training.engine.pose_task import check_mirroring, pose_trainer  # noqa: E402
from edgepose_training.engine.run_command import continuing  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def begun(store, small, tmp_path_factory):
    """A run that was saved before its first step."""
    folder = tmp_path_factory.mktemp("begun")
    pose_trainer(replace(small, epochs=1), store, None, folder, CPU).save()
    return folder / "last.pt"


NET = [{"size": "t"}, {"input_size": (96, 128)}, {"split_ratio": 4.0}, {"head": "simcc"}]


@pytest.mark.parametrize("values", [*NET, {"aux_heatmap": 0.0, "frozen_stages": 1}])
def test_another_net_is_one_sentence(begun, store, small, tmp_path, values):
    again = pose_trainer(replace(small, **values), store, None, tmp_path / "again", CPU)
    with pytest.raises(EdgeposeError, match="the run trains another net") as error:
        again.resume(begun)
    assert "\n" not in str(error.value)
    key, value = next(iter(values.items()))
    assert f"{key} {getattr(small, key)} → {value}" in str(error.value)


def test_another_optimizer_is_refused(begun, store, small, tmp_path):
    again = pose_trainer(replace(small, optimizer="rmsprop"), store, None, tmp_path / "again", CPU)
    with pytest.raises(EdgeposeError, match=r"cannot go on with another optimizer \(optimizer adamw → rmsprop\)"):
        again.resume(begun)


def test_other_values_count_and_are_said(begun, store, small, tmp_path, caplog):
    other = replace(small, lr=0.5, batch=2, weight_decay=0.25, workers=1, log_every=7)
    again = pose_trainer(other, store, None, tmp_path / "again", CPU)
    again.resume(begun)
    (said,) = [record.message for record in caplog.records if "other values" in record.message]
    for change in ("lr 0.001 → 0.5", "batch 4 → 2", "weight_decay 0.05 → 0.25", "epochs 1 → 2"):
        assert change in said
    assert "workers" not in said
    assert "log_every" not in said
    assert [group["weight_decay"] for group in again.optimizer.param_groups] == [0.25, 0.0]


def test_the_same_values_are_not_said(begun, store, small, tmp_path, caplog):
    pose_trainer(replace(small, epochs=1), store, None, tmp_path / "again", CPU).resume(begun)
    assert "other values" not in caplog.text


def test_a_teacher_that_is_not_given_again_is_missed(begun, store, small, tmp_path, caplog):
    taught = pose_trainer(small, store, None, tmp_path / "taught", CPU, begun)
    taught.resume(begun)
    assert "the run had no teacher so far, and goes on with last.pt" in caplog.text
    taught.save()
    caplog.clear()
    pose_trainer(small, store, None, tmp_path / "taught", CPU, begun).resume(tmp_path / "taught" / "last.pt")
    assert "the run had" not in caplog.text
    pose_trainer(small, store, None, tmp_path / "taught", CPU).resume(tmp_path / "taught" / "last.pt")
    assert "the run had a teacher so far, last.pt, and goes on without: give --teacher again" in caplog.text
    old = checkpoints.load(begun)
    checkpoints.save(tmp_path / "old.pt", {key: value for key, value in old.items() if key != "teacher"})
    caplog.clear()
    pose_trainer(small, store, None, tmp_path / "old", CPU, begun).resume(tmp_path / "old.pt")
    assert "the run had" not in caplog.text


def test_values_that_an_old_checkpoint_lacks_are_no_change(begun, small):
    state = checkpoints.load(begun)
    del state["config"]["teach_absence"]
    assert "teach_absence" not in resuming.changed_values(replace(small, teach_absence=False), state, begun)


# --- few people --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "taken", "steps", "on_device"), [(500, 12, 1, False), (13, 12, 1, True), (12, 12, 1, False)]
)
def test_fewer_people_than_a_batch_still_make_steps(store, small, tmp_path, caplog, batch, taken, steps, on_device):
    config = replace(small, batch=batch, epochs=1, on_device=on_device, log_every=50)
    run = pose_trainer(config, store, None, tmp_path, CPU)
    run.fit()
    assert (run.config.batch, run.step) == (taken, steps)
    assert ("there are fewer people than a batch of" in caplog.text) == (batch > 12)


def test_nobody_is_refused(store, small, tmp_path, monkeypatch):
    monkeypatch.setattr(type(store), "__len__", lambda _: 0)
    with pytest.raises(EdgeposeError, match="the shards expected at least a person for each of 1 processes, got 0"):
        pose_trainer(small, store, None, tmp_path, CPU)


# --- left and right ----------------------------------------------------------------------------------------------


def test_sides_without_pairs_are_not_mirrored(small):
    values = {"name": "five", "keypoints": ["middle", "left_hand", "right_hand"]}
    made = Skeleton.from_dict(values)
    with pytest.raises(EdgeposeError, match=r"left_hand and right_hand.*add swap = \[\[1, 2\]\]") as error:
        check_mirroring(small, made)
    assert "--set flip=0" in str(error.value)
    with pytest.raises(EdgeposeError):
        check_mirroring(replace(small, flip=0.0, teacher_flip=True), made)
    check_mirroring(replace(small, flip=0.0), made)
    check_mirroring(small, Skeleton.from_dict(values | {"swap": [[1, 2]]}))


def test_a_run_asks(store, small, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(pose_task, "check_mirroring", lambda *args: asked.append(args))
    pose_trainer(small, store, None, tmp_path, CPU)
    assert len(asked) == 1


# --- what is said ------------------------------------------------------------------------------------------------


def test_a_run_shorter_than_log_every_leaves_a_curve_and_a_summary(store, small, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run = pose_trainer(replace(small, log_every=1000, lr=1e-3), store, store, tmp_path, CPU)
    run.fit()
    with (tmp_path / "train.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [3, 6]
    lines = [record.message for record in caplog.records]
    steps = [line for line in lines if line.startswith("epoch ") and "step" in line]
    assert [line.partition(",")[0] for line in steps] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert all(" left  label " in line and "  lr " in line for line in steps)
    done, then = lines[-2:]
    assert done.startswith("done: 2 epochs, 6 steps in ")
    assert f"{tmp_path} holds best.pt, last.pt, train.csv, valid.csv" in done
    assert f"whole {run.best:.3f}" in done
    assert then.startswith(f"next: python training/evaluate.py {tmp_path}/best.pt")


def test_a_run_from_trained_weights_is_measured_before_its_first_step(begun, store, small, tmp_path):
    """A run that only unlearns keeps where it began as its best."""
    spoiled = replace(small, epochs=1, lr=1.0, warmup=0)
    pose_trainer(spoiled, store, store, tmp_path / "run", CPU, init=begun).fit()

    def rows(run):
        return list(csv.DictReader((tmp_path / run / "valid.csv").read_text().splitlines()))

    before, after = rows("run")
    assert (before["epoch"], after["epoch"]) == ("0", "1")
    best, start = (checkpoints.load(path)["model"] for path in (tmp_path / "run" / "best.pt", begun))
    unlearned = float(before["whole"]) >= float(after["whole"])
    assert unlearned == all(torch.equal(best[name], value) for name, value in start.items())
    pose_trainer(spoiled, store, store, tmp_path / "anew", CPU).fit()
    assert [row["epoch"] for row in rows("anew")] == ["1"]


def test_bar_log_and_resuming_count_epochs_alike(store, small, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    bars = []
    monkeypatch.setattr(trainer, "bar", lambda what, *_, done: bars.append((what, done)))
    run = pose_trainer(small, store, None, tmp_path, CPU)
    run.fit_epoch()
    run.epoch, run.step_in_epoch = 1, 0
    run.save()
    run.close()
    again = pose_trainer(small, store, None, tmp_path, CPU)
    again.resume(tmp_path / "last.pt")
    assert f"{tmp_path}/last.pt in epoch 2 of 2, step 3" in caplog.text
    again.fit()
    assert bars == [("epoch 1 of 2", 0), ("epoch 2 of 2", 0)]


def test_rows_are_not_written_twice(store, small, tmp_path):
    run = pose_trainer(replace(small, log_every=2), store, None, tmp_path, CPU)
    run.fit()
    with (tmp_path / "train.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [2, 4, 6]


ARGV = ["training/distill.py", "my recipe.toml", "--set", "scale=[0.9, 1.1]", "-o", "it's/run"]


def test_the_command_that_goes_on_is_what_a_shell_reads(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert shlex.split(continuing(ARGV)) == ["python", *ARGV, "--resume"]
    assert continuing([*ARGV, "--resume"]) == continuing(ARGV)


def test_the_command_that_goes_on_keeps_torchrun(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("GROUP_WORLD_SIZE", "1")
    assert shlex.split(continuing(ARGV)) == ["torchrun", "--nproc-per-node", "4", *ARGV, "--resume"]
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    assert continuing(ARGV).startswith("torchrun --nproc-per-node 4 --nnodes 2 training/distill.py ")
    assert "on each machine" in continuing(ARGV)
