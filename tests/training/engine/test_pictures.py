"""What a run shows of itself: its first batch, and what the net answers, as PNG and in TensorBoard."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch

from edgepose_training.data.pictures import CAPTION, drawn, enlarged
from edgepose_training.distributed import SINGLE_PROCESS
from edgepose_training.engine.pose_task import COLUMNS, pose_trainer


def images_of(folder) -> dict[str, list[int]]:
    """Steps of the images of TensorBoard's events, by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return {name: [image.step for image in events.Images(name)] for name in events.Tags()["images"]}


def test_a_run_shows_its_first_batch_and_its_answers(small, store, tmp_path):
    config = replace(small, head="heatmap", aux_heatmap=0.0, head_init_scale=1.0, epochs=1)
    trainer = pose_trainer(config, store, store, tmp_path, torch.device("cpu"), processes=SINGLE_PROCESS)
    trainer.fit()
    batch, valid = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("train_batch", "valid_predictions"))
    side = 64 * 3  # enlarged
    assert batch.shape == (side + CAPTION, COLUMNS * (side + 2), 3)  # four crops, one row
    assert valid.shape == (3 * (side + CAPTION), COLUMNS * (side + 2), 3)  # twelve people in pairs
    for picture in (batch, valid):
        assert picture.std() > 20
    assert images_of(tmp_path / "tensorboard") == {"train_batch": [0], "valid_predictions": [3]}


def test_the_batch_is_shown_as_it_is_trained_on(small, store, tmp_path):
    """The cell holds the very pixels of the batch where nothing is drawn, and its points where they are."""
    trainer = pose_trainer(small, store, None, tmp_path, torch.device("cpu"))
    batch = next(iter(trainer.task.batches(small, 0, 0)))
    picture = trainer.task.batch_picture(batch)
    cell = picture[CAPTION : CAPTION + 192, :192]
    larger, points = enlarged(batch.images[0].numpy(), batch.keypoints[0].numpy())
    shown = (batch.inside & (batch.weights > 0))[0].numpy()
    expected = drawn(larger, points, shown, trainer.task.skeleton)
    np.testing.assert_array_equal(cell, expected)
    assert 0 < (cell != larger).any(-1).mean() < 0.9
    trainer.close()


def test_enlarged_points_stay_on_their_pixels():
    image = np.zeros((48, 64, 3), np.uint8)
    image[10, 20] = 255
    larger, points = enlarged(image, np.array([[20.0, 10.0]]))
    assert larger.shape == (144, 192, 3)
    rows, columns = np.nonzero(larger[..., 0])
    np.testing.assert_allclose(points[0], (columns.mean(), rows.mean()))
