"""distill.py without arguments, on a budget of seconds: teacher, both stages, a file that the runtime opens."""

import signal

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from edgepose_training import quickstart
from edgepose_training.data.synthetic import synthetic_person
from edgepose_training.quickstart import Budget, main


@pytest.mark.slow
def test_the_whole_way(tmp_path):
    from edgepose import TopdownEstimator

    budget = Budget(people=32, validation=4, pictures=2, teacher_epochs=1, stage1_epochs=1, stage2_epochs=1)
    model = main(tmp_path, budget)
    estimator = TopdownEstimator(str(model), device="cpu")
    assert estimator.card.input_size == (96, 128)
    poses = estimator(np.zeros((160, 120, 3), np.uint8), bboxes=np.array([[10, 10, 100, 150]], np.float32))
    assert poses.keypoints.shape == (1, 133, 2)
    assert np.isfinite(poses.keypoints).all()
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("last.pt")}
    main(tmp_path, budget)  # what is finished is not done again
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("last.pt")} == written


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_the_next_call_goes_on(tmp_path, monkeypatch, caplog):
    from edgepose_training.engine.checkpoints import load
    from edgepose_training.engine.trainer import Trainer

    budget = Budget(people=64, validation=4, pictures=1, teacher_epochs=2, stage1_epochs=1, stage2_epochs=1)
    step = Trainer.train_step

    def interrupted(trainer, *args):
        signal.raise_signal(signal.SIGINT)
        return step(trainer, *args)

    monkeypatch.setattr(Trainer, "train_step", interrupted)
    caplog.set_level("INFO")
    assert main(tmp_path, budget) is None
    assert "the same command goes on" in caplog.text
    assert load(tmp_path / "teacher" / "last.pt")["step"] == 1
    assert not (tmp_path / "stage1").exists()
    assert main(tmp_path, budget) is None
    assert load(tmp_path / "teacher" / "last.pt")["step"] == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_set_that_was_half_drawn_is_drawn_again(tmp_path, monkeypatch):
    drawn = []

    def person(rng):
        drawn.append(1)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return synthetic_person(rng)

    monkeypatch.setattr(quickstart, "synthetic_person", person)
    with pytest.raises(KeyboardInterrupt):
        quickstart._draw(tmp_path / "train", 4, 1)
    assert not (tmp_path / "train").exists()
    quickstart._draw(tmp_path / "train", 4, 1)
    assert len(drawn) == 7
    assert [path.name for path in tmp_path.iterdir()] == ["train"]
