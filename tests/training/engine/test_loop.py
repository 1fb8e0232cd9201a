"""The loop's conveniences: interruption, precision, compilation, plots, and seeds that decide everything."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import distill  # noqa: E402

from edgepose_training.data.loaders import DeviceCrops, EpochSampler, strength_at  # noqa: E402
from edgepose_training.engine import checkpoints  # noqa: E402
from edgepose_training.engine.pose_task import pose_trainer  # noqa: E402
from edgepose_training.engine.trainer import Stopped, Trainer  # noqa: E402

CPU = torch.device("cpu")


def terms(folder: Path) -> np.ndarray:
    with (folder / "train.csv").open() as file:
        return np.array([[float(row["label"]), float(row["aux"])] for row in csv.DictReader(file)])


def fit(config, store, folder: Path) -> Trainer:
    run = pose_trainer(config, store, store, folder, CPU)
    run.fit()
    return run


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_saves_and_says_how_to_go_on(store, tmp_path, stop):
    """Ctrl-C of a terminal and SIGTERM of a scheduler reach the loader's workers, too."""
    shards = tmp_path / "shards" / "train"
    shards.mkdir(parents=True)
    for path in store.path.parents[1].glob("*.tar"):
        (shards / path.name).symlink_to(path)
    values = ["size=n", "input_size=[64, 64]", "batch=4", "workers=1", "epochs=5000", "log_every=1", "amp=off"]
    command = [sys.executable, distill.__file__, "--shards", str(tmp_path / "shards"), "-o", str(tmp_path / "run"),
               *(part for value in values for part in ("--set", value)), "--device", "cpu"]  # fmt: skip
    table = tmp_path / "run" / "train.csv"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            while process.poll() is None and not (table.exists() and len(table.read_text().splitlines()) > 2):
                time.sleep(0.05)
            os.killpg(process.pid, stop)
            _, told = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 0, told
    assert "continue with: python" in told
    assert told.rstrip().endswith("--resume")
    assert "Traceback" not in told
    state = checkpoints.load(tmp_path / "run" / "last.pt")
    assert state["step"] == len(table.read_text().splitlines()) - 1


def test_the_same_seed_is_the_same_run(store, small, tmp_path):
    one, two, other = (
        fit(replace(small, epochs=1, seed=seed), store, tmp_path / name)
        for name, seed in (("one", 3), ("two", 3), ("other", 4))
    )
    np.testing.assert_array_equal(terms(tmp_path / "one"), terms(tmp_path / "two"))
    assert not np.array_equal(terms(tmp_path / "one"), terms(tmp_path / "other"))
    for a, b in zip(one.task.module.state_dict().values(), two.task.module.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert other.step == one.step


@pytest.mark.parametrize(("amp", "tolerance"), [("bf16", 0.05), ("fp16", 0.02)])
def test_half_precision_follows_float32(store, small, tmp_path, amp, tolerance):
    slow = replace(small, epochs=1, lr=1e-4)  # so that the curves part by rounding alone
    fit(slow, store, tmp_path / "full")
    run = fit(replace(slow, amp=amp), store, tmp_path / amp)
    np.testing.assert_allclose(terms(tmp_path / amp), terms(tmp_path / "full"), rtol=tolerance)
    assert run.scaler.is_enabled() == (amp == "fp16")
    assert all(value.dtype != torch.float16 for value in run.task.module.state_dict().values())
    if amp == "fp16":
        assert checkpoints.load(tmp_path / amp / "last.pt")["scaler"]["scale"] > 0


def test_an_overflow_skips_the_step_and_halves_the_scale(store, small, tmp_path):
    run = pose_trainer(replace(small, amp="fp16"), store, None, tmp_path, CPU)
    batch = next(iter(run.task.feed.epoch(run.config, 0)))
    run.train_step(batch, 1.0)
    before = {name: value.clone() for name, value in run.task.module.named_parameters()}
    scale = run.scaler.get_scale()
    batch.weights[:] = torch.inf
    run.train_step(batch, 1.0)
    assert run.scaler.get_scale() < scale
    assert all(torch.equal(value, before[name]) for name, value in run.task.module.named_parameters())


def test_plain_torch_follows_the_kernels(store, small, tmp_path):
    """`--no-kernels`: the same curve, in the SimCC nets and in those of heat maps."""
    maps = replace(small, backbone="hourglass", size="1x32", head="heatmap", aux_heatmap=0.0, head_init_scale=1.0)
    for name, config in (("simcc", replace(small, epochs=1, lr=1e-4)), ("maps", replace(maps, epochs=1, lr=1e-4))):
        curves = []
        for kernels in (True, False):
            folder = tmp_path / f"{name}{kernels}"
            fit(replace(config, kernels=kernels), store, folder)
            with (folder / "train.csv").open() as file:
                curves.append([float(row["label"]) for row in csv.DictReader(file)])
        np.testing.assert_allclose(*curves, rtol=1e-4)


def test_what_nobody_labeled_is_not_looked_at(store, small, tmp_path):
    """v = 0: wherever such a point lies, the loss is the same; absent points (labeled, outside) do count."""
    run = pose_trainer(small, store, None, tmp_path, CPU)
    batch = next(iter(run.task.feed.epoch(run.config, 0)))
    batch.weights[:, 5:40] = 0
    batch.inside[:, 5:40] = False
    run.task.module.eval()

    def terms_now() -> dict[str, float]:
        with torch.no_grad():
            return {name: float(value) for name, value in run.task.module(batch, 1.0).items()}

    before = terms_now()
    batch.keypoints[:, 5:40] += 17
    assert terms_now() == before
    batch.inside[:, 0] = ~batch.inside[:, 0]
    batch.weights[:, 0] = 1
    assert terms_now()["label"] != before["label"]


def test_the_step_can_be_traced_whole(store, small, tmp_path, monkeypatch):
    """torch.compile of the distiller without a graph break, kernels included; the same curve."""
    config = replace(small, epochs=1)
    fit(config, store, tmp_path / "plain")
    # No code is generated here: that takes a C++ compiler a minute, and is torch's to test.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    fit(replace(config, compile=True), store, tmp_path / "compiled")
    # Adam's first steps divide gradients by themselves: where one is nearly 0, rounding decides its sign.
    np.testing.assert_allclose(terms(tmp_path / "compiled"), terms(tmp_path / "plain"), rtol=1e-3)


def test_painting_can_be_traced_whole(store, small, monkeypatch):
    from edgepose.skeletons import Skeleton

    skeleton, strength = Skeleton.load("coco_wholebody"), strength_at(replace(small, erase=0.5), 0.5)
    sampler = EpochSampler(len(store), 1, 0)
    plain = list(DeviceCrops(store, skeleton, CPU).batches((64, 64), strength, 4, sampler, 2))
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    crops = DeviceCrops(store, skeleton, CPU, compiled=True)
    traced = list(crops.batches((64, 64), strength, 4, sampler, 2))
    for a, b in zip(plain, traced, strict=True):
        assert (a.images.int() - b.images.int()).abs().max() <= 1
    assert crops.render.__name__ == "render_torch"
    assert crops.render is not sys.modules["edgepose_training.data.render"].render_torch  # did not fall back


def test_a_run_painted_by_the_kernel_follows_one_painted_by_torch(store, small, tmp_path):
    config = replace(small, on_device=True, epochs=1, lr=1e-4)
    fit(config, store, tmp_path / "torch")
    fit(replace(config, crop_kernel=True), store, tmp_path / "kernel")
    np.testing.assert_allclose(terms(tmp_path / "kernel"), terms(tmp_path / "torch"), rtol=0.01)


def test_a_run_leaves_tables_plots_and_events(store, small, tmp_path):
    pytest.importorskip("matplotlib")
    run = fit(small, store, tmp_path)
    assert (tmp_path / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with (tmp_path / "valid.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    assert 0 <= float(rows[-1]["whole"]) <= 1
    assert run.best == pytest.approx(max(float(row["whole"]) for row in rows), abs=1e-5)
    pytest.importorskip("tensorboard")
    assert list((tmp_path / "tensorboard").glob("events.*"))


@pytest.mark.parametrize("error", [Stopped, RuntimeError])
def test_a_run_that_ends_early_closes_its_log(store, small, tmp_path, monkeypatch, error):
    """TensorBoard's thread would go on writing into a folder that may be gone."""
    event_file_writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer")

    def writers() -> int:
        return sum(isinstance(thread, event_file_writer._AsyncWriterThread) for thread in threading.enumerate())

    run = pose_trainer(small, store, None, tmp_path, CPU)
    assert writers() == 0  # no thread before there is something to write
    seen = []

    def end_early() -> None:
        seen.append(writers())
        raise error

    monkeypatch.setattr(run, "_housekeeping", end_early)
    with pytest.raises(error):
        run.fit()
    assert seen == [1]
    assert writers() == 0
    assert (tmp_path / "train.csv").exists()


def test_a_resumed_run_writes_no_step_twice(store, small, tmp_path):
    run = pose_trainer(small, store, None, tmp_path, CPU)
    run.fit_epoch()
    run.save()
    run.epoch, run.step_in_epoch = 1, 0
    run.fit_epoch()  # and then it crashes, before it saves
    run.close()
    again = pose_trainer(small, store, None, tmp_path, CPU)
    again.resume(tmp_path / "last.pt")
    again.epoch, again.step_in_epoch = 1, 0
    again.fit_epoch()
    again.close()
    with (tmp_path / "train.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [1, 2, 3, 4, 5, 6]


def test_slim_weights_go_on_with_a_warm_up(store, small, tmp_path):
    run = fit(replace(small, epochs=1, warmup=10), store, tmp_path / "one")
    checkpoints.save(tmp_path / "slim.pt", checkpoints.slim(run.state()))
    again = pose_trainer(replace(small, epochs=3, warmup=10, flat=0.9), store, None, tmp_path / "two", CPU)
    again.resume(tmp_path / "slim.pt")
    assert (again.epoch, again.step, again.fresh_optimizer) == (1, 3, 3)
    for name, value in again.task.net.state_dict().items():
        torch.testing.assert_close(value, run.ema.state[name], rtol=1e-3, atol=1e-6)
    again.fit()
    with (tmp_path / "two" / "train.csv").open() as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(rates, [small.lr * (1e-5 + step / 10) for step in range(1, 7)], rtol=1e-3)
