"""distill.py without arguments, on a budget of seconds: teacher, both stages, a file that the runtime opens."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

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
