"""The detector's run, from a folder of images to an ONNX file that finds the same boxes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import detect
import evaluate_detector
import export_detector
import numpy as np
import pytest
import split
import torch
import train_detector
from detector_fixtures import write_data

from edgepose import Detector, EdgeposeError
from edgepose.detectors import decode_cells, letterbox
from edgepose_training.data.sources import SourceRoles
from edgepose_training.detector import evaluator, measures
from edgepose_training.detector.batches import normalized
from edgepose_training.detector.checkpoints import load_net
from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.person_lists import read_images
from edgepose_training.detector.task import GREEN
from edgepose_training.engine import checkpoints, run_command

CHECKPOINT = Path(__file__).parents[4] / "shared" / "checkpoints" / "edgepose_det.pt"

TINY = [
    "channels=[8,8,16,16,32]", "blocks=[1,1,1,1]", "neck=16", "batch=4", "first_sides=[64,96]", "last_sides=[64,96]",
    "input_size=128", "workers=0", "smallest=8", "amp=off", "warmup=2", "log_every=2",
]  # fmt: skip


def train(data: Path, out: Path, *more: str, steps: int = 6) -> int:
    sets = [word for item in [*TINY, f"steps={steps}"] for word in ("--set", item)]
    return train_detector.main(["--data", str(data), "-o", str(out), "--device", "cpu", *sets, *more])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("detector") / "data")


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    out = data.parent / "run"
    assert train(data, out) == 0
    return out


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(data: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    # A deadline in the past stops it after the first step.
    assert train(data, out, "--stop-after=1e-9") == 0
    assert checkpoints.load(out / "last.pt")["step"] == 1
    assert train(data, out, "--resume") == 0
    ours, theirs = (checkpoints.load(folder / "last.pt") for folder in (out, run))
    assert ours["step"] == theirs["step"] == 6
    for name, value in theirs["ema"].items():
        torch.testing.assert_close(ours["ema"][name], value, rtol=1e-4, atol=1e-6)


def test_a_run_shows_its_first_canvases_and_what_it_finds(run: Path) -> None:
    """Labels are green, so there is green in both."""
    for name in ("train_batch", "valid_predictions"):
        picture = cv2.imread(str(run / f"{name}.png"))
        assert (picture == GREEN).all(-1).sum() > 100


def test_a_checkpoint_counted_in_steps_goes_on(data: Path, run: Path, tmp_path: Path) -> None:
    """As the detector's own trainer wrote them: no place in an epoch, averages counted in a tensor."""
    out = tmp_path / "run"
    assert train(data, out, "--stop-after=1e-9") == 0
    state = checkpoints.load(out / "last.pt")
    added = ("step_in_epoch", "seconds", "fresh_optimizer", "chosen_epochs")
    old = {key: value for key, value in state.items() if key not in added}
    old["epoch"], old["ema_updates"] = 0, torch.tensor(state["ema_updates"])
    old["config"] = {key: value for key, value in state["config"].items() if key not in ("epochs", "epoch_steps")}
    old["config"] |= {"steps": 6, "epoch": 20000, "validate_every": 1000, "validate_pictures": 400}
    del old["config"]["validate_images"]
    checkpoints.save(out / "last.pt", old)
    config = load_net(out / "last.pt")[1]
    assert (config.epochs, config.epoch_steps, config.validate_every, config.validate_images) == (1, 6, 1, 400)
    assert train(data, out, "--resume") == 0
    ours, theirs = (checkpoints.load(folder / "last.pt") for folder in (out, run))
    assert ours["step"] == 6
    for name, value in theirs["ema"].items():
        torch.testing.assert_close(ours["ema"][name], value, rtol=1e-4, atol=1e-6)


def test_a_run_that_starts_from_weights(data: Path, run: Path, tmp_path: Path) -> None:
    """`--init`, at one flat rate that hardly moves them."""
    rate = ["--set", "lr=1e-9", "--set", "flat=1.0", "--set", "warmup=1"]
    assert train(data, tmp_path / "run", "--init", str(run / "last.pt"), *rate) == 0
    ours, theirs = (checkpoints.load(folder / "last.pt") for folder in (tmp_path / "run", run))
    torch.testing.assert_close(ours["model"]["heads.0.box.weight"], theirs["ema"]["heads.0.box.weight"])
    rows = (tmp_path / "run" / "train.csv").read_text().splitlines()
    column = rows[0].split(",").index("lr")
    assert {float(row.split(",")[column]) for row in rows[1:]} == {1e-9}


@pytest.mark.skipif(not CHECKPOINT.exists(), reason="the checkpoints outside of the repository are not here")
def test_a_run_from_the_shipped_net(data: Path, tmp_path: Path) -> None:
    sets = [word for item in [*TINY[3:], "epochs=1", "epoch_steps=1"] for word in ("--set", item)]
    command = ["--data", str(data), "-o", str(tmp_path / "run"), "--device", "cpu", "--init", str(CHECKPOINT), *sets]
    assert train_detector.main(command) == 0
    assert load_net(CHECKPOINT)[1].steps == 2100


def test_trials_are_judged_on_images_held_out_of_train(data: Path, tmp_path: Path) -> None:
    held_out = tmp_path / "dev.txt"
    held_out.write_text("train_1.png\ntrain_4.png\nempty_0.png\n")
    assert split.main(["--data", str(data), "--hold-out", str(held_out), "-o", str(tmp_path / "data")]) == 0
    dev = read_images(tmp_path / "data", "dev")
    assert [image.path.name for image in dev] == ["train_1.png", "train_4.png", "empty_0.png"]
    assert [len(image.people) for image in dev] == [1, 1, 0]
    assert not {image.path.name for image in dev} & {p.path.name for p in read_images(tmp_path / "data", "train")}
    assert train(tmp_path / "data", tmp_path / "run", "--valid-split", "dev") == 0
    assert (tmp_path / "run" / "best.pt").exists()


@pytest.mark.slow
def test_a_scheduler_that_wants_its_machine_back(data: Path, tmp_path: Path) -> None:
    """SIGTERM: everything is saved, and the status is 0."""
    out, sets = tmp_path / "run", [word for item in [*TINY, "epochs=1000"] for word in ("--set", item)]
    command = [sys.executable, train_detector.__file__, "--data", str(data), "-o", str(out), "--device", "cpu", *sets]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            while process.poll() is None and not (out / "train.csv").exists():
                time.sleep(0.05)
            process.terminate()
            _, told = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 0, told
    assert told.rstrip().endswith("--resume")
    assert checkpoints.load(out / "last.pt")["step"] >= 2


@pytest.mark.slow
def test_two_processes_are_one_training(data: Path, tmp_path: Path) -> None:
    """They agree on the sizes of the batches and on the weights, and one of them writes."""
    out, sets = tmp_path / "run", [word for item in [*TINY, "epochs=1", "epoch_steps=4"] for word in ("--set", item)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               train_detector.__file__, "--data", str(data), "-o", str(out), "--device", "cpu", *sets]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    steps = [int(row.split(",")[1]) for row in (out / "train.csv").read_text().splitlines()[1:]]
    assert steps == [2, 4]
    assert checkpoints.load(out / "last.pt")["step"] == 4


def test_a_folder_with_a_run_is_not_overwritten(data: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(data, run) == 2
    assert "--resume" in capsys.readouterr().err


def test_validation_keeps_the_best(run: Path) -> None:
    assert (run / "best.pt").exists()
    assert "ap50" in (run / "valid.csv").read_text()


def test_the_file_finds_what_the_net_finds(data: Path, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "det.onnx"
    assert export_detector.main([str(run / "last.pt"), "-o", str(path), "--threshold", "0.002"]) == 0
    found = Detector(path, "cpu", nms_iou=1.0)
    assert found.card.name == "det"
    assert found.threshold == pytest.approx(0.002)
    frames = [cv2.imread(str(data / "images" / f"val_{i}.png")) for i in range(3)]
    answers = found.detect(frames)
    net = load_net(run / "last.pt")[0]
    canvas, zoom = letterbox(frames[1], (96, 128))
    with torch.inference_mode():
        boxes, scores = decode_cells(net(normalized(torch.from_numpy(canvas)[None])).numpy(), (128, 96))
    best = np.argsort(-scores[0])[: len(answers[1][1])]
    np.testing.assert_allclose(answers[1][1], scores[0, best], rtol=1e-3)
    inside = np.clip(boxes[0, best] / zoom, 0, [96, 128, 96, 128])
    apart = np.abs(answers[1][0][:, None] - inside).max(2)  # after six steps many scores are nearly equal: any order
    assert (apart.min(1) < 0.1).all()
    for frame, (alone, _) in zip(frames, (found(f) for f in frames), strict=True):
        assert (alone[:, 2] <= frame.shape[1]).all()
    np.testing.assert_allclose(found(frames[2])[1], answers[2][1], rtol=1e-3)


def test_detections_of_a_folder(data: Path, run: Path, tmp_path: Path) -> None:
    model, out = tmp_path / "det.onnx", tmp_path / "boxes.json"
    export_detector.main([str(run / "last.pt"), "-o", str(model)])
    assert detect.main([str(model), "--data", str(data), "--split", "val", "-o", str(out)]) == 0
    assert train(data, tmp_path / "with_hints", "--hints", str(out), "--stop-after=1e-9") == 0


def test_the_table(data: Path, run: Path, tmp_path: Path) -> None:
    """Two files of one name are two columns."""
    paths = [tmp_path / folder / "det.onnx" for folder in ("ours", "other")]
    for path in paths:
        path.parent.mkdir()
        export_detector.main([str(run / "last.pt"), "-o", str(path), "--threshold", "0.3"])
    results = evaluator.evaluate(paths, data)
    assert list(results) == ["det (1)", "det (2)"]
    ours = results["det (1)"]
    assert ours["ap50"] == results["det (2)"]["ap50"]
    assert ours["images"] == 12
    assert ours["empty_windows"] >= 1
    assert ours["time_ratio"] > 0
    text = evaluator.markdown(results, "command")
    assert text.count("| drawn | 12 |") == 1
    assert f"{ours['recall']:.3f}" in text
    assert text.count("÷ det (2)") == 1
    assert "| ≥ 0.72 |" in text
    assert "| ≤ 1.50 |" in text


def test_recall_is_compared_where_the_allowed_share_of_false_positives_is() -> None:
    highest = np.linspace(0, 0.99, 100, dtype=np.float32)
    threshold = measures.threshold_at(highest, 0.08)
    assert measures.false_positives(highest, threshold) == pytest.approx(0.08)
    assert highest[91] < threshold < highest[92]
    assert measures.false_positives(highest, float(highest[91])) > 0.08
    assert measures.threshold_at(highest[:3], 1.0) == 0


def test_names_of_columns() -> None:
    assert evaluator.column_names([Path("a/x.onnx"), Path("b/y.onnx"), Path("c/x.onnx")]) == ["x (1)", "y", "x (2)"]


def test_foreign_files_are_refused(run: Path, tmp_path: Path) -> None:
    state = checkpoints.load(run / "last.pt")
    state["config"]["color"] = 3
    checkpoints.save(tmp_path / "foreign.pt", state)
    with pytest.raises(EdgeposeError, match="color"):
        load_net(tmp_path / "foreign.pt")


def test_figures_that_are_undefined_are_null(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(evaluate_detector, "evaluate", lambda *_: {"det": {"ap50_truth": float("nan"), "recall": 0.5}})
    monkeypatch.setattr(evaluate_detector, "markdown", lambda *_: "table")
    command = ["a.onnx", "--beside", "b.onnx", "--data", str(data), "-o", str(tmp_path / "det.md")]
    assert evaluate_detector.main(command) == 0
    text = (tmp_path / "det.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"det": {"ap50_truth": None, "recall": 0.5}}
    assert "nothing is known of the data's sources (--sources)" in caplog.text


def test_a_run_that_goes_on_draws_as_it_began(tmp_path: Path) -> None:
    roles = SourceRoles(weights={"coco": 2.0, "ccp": 0.5})
    config = DetectorConfig(source_weights={"coco": 3.0})
    began = train_detector.source_weights(config, roles, None)
    assert began == {"coco": 3.0, "ccp": 0.5}
    last = tmp_path / "last.pt"
    checkpoints.save(last, {"model": {}, "config": DetectorConfig(source_weights=began).to_dict()})
    assert train_detector.source_weights(DetectorConfig(), SourceRoles(), last) == began
    checkpoints.save(last, {"model": {}, "config": DetectorConfig().to_dict()})
    assert train_detector.source_weights(config, roles, last) == began


def test_log_lines_go_above_the_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered = []

    @contextlib.contextmanager
    def quiet_bar():
        entered.append(True)
        yield

    monkeypatch.setattr(run_command, "quiet_bar", quiet_bar)
    monkeypatch.setattr(train_detector, "train", lambda *_: entered.append(False))
    assert train_detector.main(["--data", str(tmp_path), "--device", "cpu"]) == 0
    assert entered == [True, False]


def test_a_run_starts_from_an_exported_detector(data: Path, run: Path, tmp_path: Path, caplog) -> None:
    """From a file of the same shape; one of another shape, as the shipped one is, is refused in one sentence."""
    assert export_detector.main([str(run / "best.pt"), "-o", str(tmp_path / "net.onnx")]) == 0
    with caplog.at_level("INFO"):
        assert train(data, tmp_path / "on", "--init", str(tmp_path / "net.onnx"), "--set", "warmup=1", steps=1) == 0
    assert "net.onnx; every weight taken over" in caplog.text
    with pytest.raises(EdgeposeError, match="edgepose-det: its backbone is another"):
        train_detector.main.__wrapped__(
            ["--data", str(data), "-o", str(tmp_path / "no"), "--device", "cpu", "--init", "edgepose-det"]
            + [word for item in [*TINY, "steps=1"] for word in ("--set", item)]
        )
