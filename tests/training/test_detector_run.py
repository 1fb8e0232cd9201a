"""The detector's run, from a folder of images to an ONNX file that finds the same boxes."""

from __future__ import annotations

from pathlib import Path

import cv2
import detect
import export_detector
import numpy as np
import pytest
import torch
import train_detector
from detector_fixtures import write_data

from edgepose import Detector, EdgeposeError
from edgepose.detectors import decode_cells, letterbox
from edgepose_training.detector import evaluator
from edgepose_training.detector.batches import normalized
from edgepose_training.detector.checkpoints import load_net
from edgepose_training.engine import checkpoints

TINY = [
    "channels=[8,8,16,16,32]", "blocks=[1,1,1,1]", "neck=16", "batch=4", "first_sides=[64,96]", "last_sides=[64,96]",
    "input_size=128", "workers=0", "smallest=8", "amp=off", "warmup=2", "log_every=2", "validate_every=1000",
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
    assert train(data, out, "--stop-after=-0.001") == 0
    assert checkpoints.load(out / "last.pt")["step"] == 1
    assert train(data, out, "--resume") == 0
    ours, theirs = (checkpoints.load(folder / "last.pt") for folder in (out, run))
    assert ours["step"] == theirs["step"] == 6
    for name, value in theirs["ema"].items():
        torch.testing.assert_close(ours["ema"][name], value, rtol=1e-4, atol=1e-6)


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
    inside = np.clip(boxes[0, best[0]] / zoom, 0, [96, 128, 96, 128])
    np.testing.assert_allclose(answers[1][0][0], inside, atol=0.1)
    for frame, (alone, _) in zip(frames, (found(f) for f in frames), strict=True):
        assert (alone[:, 2] <= frame.shape[1]).all()
    np.testing.assert_allclose(found(frames[2])[1], answers[2][1], rtol=1e-3)


def test_detections_of_a_folder(data: Path, run: Path, tmp_path: Path) -> None:
    model, out = tmp_path / "det.onnx", tmp_path / "boxes.json"
    export_detector.main([str(run / "last.pt"), "-o", str(model)])
    assert detect.main([str(model), "--data", str(data), "--split", "val", "-o", str(out)]) == 0
    assert train(data, tmp_path / "with_hints", "--hints", str(out), "--stop-after=-0.001") == 0


def test_the_table(data: Path, run: Path, tmp_path: Path) -> None:
    model = tmp_path / "ours.onnx"
    other = tmp_path / "other.onnx"
    for path in (model, other):
        export_detector.main([str(run / "last.pt"), "-o", str(path), "--threshold", "0.3"])
    results = evaluator.evaluate([model, other], data)
    assert results["ours"]["ap50"] == results["other"]["ap50"]
    assert results["ours"]["images"] == 12
    assert results["ours"]["empty_windows"] >= 1
    assert results["ours"]["time_ratio"] > 0
    text = evaluator.markdown(results, "command")
    assert text.count("| drawn | 12 |") == 1
    assert f"{results['ours']['recall']:.3f}" in text


def test_foreign_files_are_refused(run: Path, tmp_path: Path) -> None:
    state = checkpoints.load(run / "last.pt")
    state["config"]["color"] = 3
    checkpoints.save(tmp_path / "foreign.pt", state)
    with pytest.raises(EdgeposeError, match="color"):
        load_net(tmp_path / "foreign.pt")
