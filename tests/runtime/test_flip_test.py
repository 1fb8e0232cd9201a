"""The flip test: the net also runs on each crop's mirror image, and both outputs are averaged."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose import EdgeposeError, ModelCard, Skeleton, TopdownEstimator
from edgepose.posemodel import PoseModel
from edgepose.runtime import Session

PAIR = Skeleton.from_dict({"name": "pair", "keypoints": ["nose", "left_eye", "right_eye"], "swap": [[1, 2]]})
AFFINE = np.float32([[[1, 0, 0], [0, 1, 0]]])


def pair_card(skeleton: Skeleton = PAIR) -> ModelCard:
    return ModelCard("pair", skeleton=skeleton, score="max")


def test_left_and_right_change_places_and_the_rows_are_reversed(constant_net, peaks) -> None:
    """A net that says the same whatever it sees: bins 100, 60 and 320 of 384, at 2 bins a pixel."""
    at_y = [10, 20, 30]
    path = constant_net({"simcc_x": peaks(384, [100, 60, 320]), "simcc_y": peaks(512, at_y)}, card=pair_card())
    net = PoseModel(Session(path, "cpu"), flip_test=True)
    logits = net.run(np.zeros((1, 3, 256, 192), np.float32))
    assert [part.shape for part in logits] == [(1, 3, 384), (1, 3, 512)] * 2
    keypoints, scores = net.decode(logits, AFFINE)
    # Pixel x is pixel 191 − x of the mirror image: bin 382 − b. Both are half as high, and the first counts.
    assert keypoints[0, :, 0].tolist() == [100 / 2, 60 / 2, (382 - 60) / 2 - 1]
    assert keypoints[0, 1:, 1].tolist() == [10, 10]  # two peaks of half the height for 20 and 30, in bins: the first
    np.testing.assert_allclose(scores[0], [0.9, 0.45, 0.45])  # both answers agree on the nose's row


def mirrored_share(*, flip_test: bool) -> float:
    """Of the shipped net's points on noise: those that the mirrored crop gives at the mirrored place."""
    net = PoseModel(Session("edgepose-t", "cpu", 1), flip_test=flip_test)
    crops = np.random.default_rng(1).normal(size=(2, 3, 256, 192)).astype(np.float32)
    here, there = (net.decode(net.run(images), np.repeat(AFFINE, 2, axis=0))[0] for images in (crops, crops[..., ::-1]))
    apart = there[:, net.skeleton.swap] - [191, 0] - here * [-1, 1]
    return float((np.abs(apart).max(2) < 1e-3).mean())


def test_a_mirrored_crop_gives_the_mirrored_answer() -> None:
    """What no net does by itself, and every net does under the flip test."""
    # Not all: on noise two bins may be equally high, and a processor's order of sums then chooses.
    assert mirrored_share(flip_test=True) > 0.9
    assert mirrored_share(flip_test=False) < 0.1


def test_everybody_and_their_mirror_images_are_one_call(dot_net, monkeypatch) -> None:
    estimator = TopdownEstimator(dot_net, "cpu", detector="none", flip_test=True)
    calls, run = [], estimator._net.session.run
    monkeypatch.setattr(estimator._net.session, "run", lambda batch: calls.append(len(batch)) or run(batch))
    estimator(np.zeros((480, 640, 3), np.uint8), [(60, 40, 160, 190)] * 3)
    assert calls == [6]


def test_a_skeleton_without_sides_is_refused(constant_net, peaks) -> None:
    sides = Skeleton.from_dict({"name": "sideless", "keypoints": ["a", "b", "c"]})
    path = constant_net(
        {"simcc_x": peaks(384, [1, 2, 3]), "simcc_y": peaks(512, [1, 2, 3])}, card=pair_card(skeleton=sides)
    )
    with pytest.raises(EdgeposeError, match="does not say which points are left and right"):
        TopdownEstimator(path, "cpu", detector="none", flip_test=True)
