"""What is drawn on an image."""

from __future__ import annotations

import numpy as np
from doubles import FakeEstimator

from edgepose_app.overlay import OverlayOptions, SkeletonStyle, compose


def test_compose_mirrors_the_image_and_the_points_together():
    estimator = FakeEstimator()
    image = np.zeros((100, 200, 3), np.uint8)
    poses = estimator(image, timestamp=0.0)
    poses.keypoints[..., 0] = 20  # everything at the left
    style = SkeletonStyle.of(estimator.card, estimator.skeleton)
    plain, mirrored = (
        compose(image, poses, style, OverlayOptions()),
        compose(image, poses, style, OverlayOptions(mirror=True)),
    )
    assert plain[:, :100].any()
    assert not plain[:, 100:].any()
    assert mirrored[:, 100:].any()
    assert not mirrored[:, :100].any()
    assert not image.any()  # drawn on a copy
    hidden = compose(image, poses, style, OverlayOptions(hidden=frozenset({"body", "face", "hands"})))
    assert not hidden.any()
    assert not compose(image, poses, style, OverlayOptions(threshold=0.95)).any()
    assert compose(image, poses, style, OverlayOptions(), size=(400, 200)).shape == (200, 400, 3)
