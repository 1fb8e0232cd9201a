"""A SimCC net with everything around it that its card says: crop before it, decode after it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import ops
from .codecs import SimCC
from .errors import EdgeposeError
from .modelcard import RELATIVE, SCORES, ModelCard, simcc_outputs
from .skeletons import Skeleton
from .torso import turned_boxes
from .transforms import bbox_to_center_scale, crop_affine, invert_affine

Float = NDArray[np.float32]
# simcc_x [N, K, Wx] and simcc_y [N, K, Wy]; under the flip test those of the mirrored crops follow.
Logits = tuple[NDArray[Any], ...]
_log = logging.getLogger(__name__)
_DEFAULT_THRESHOLD = 0.3  # a point is confident from this score on, when the card says nothing


class PoseSession(Protocol):
    """What a `PoseModel` asks of its net: `runtime.Session`, or what stands for one."""

    @property
    def path(self) -> Path: ...

    @property
    def device(self) -> str: ...

    @property
    def card(self) -> ModelCard | None: ...

    @property
    def input_shape(self) -> tuple[int | str | None, ...]: ...

    @property
    def outputs(self) -> Mapping[str, tuple[int | str | None, ...]]: ...

    def output_shapes(self) -> dict[str, tuple[int, ...]]: ...

    def run(self, batch: NDArray[Any]) -> dict[str, NDArray[Any]]: ...


class PoseModel:
    """``crop``, ``run``, ``decode``: the three steps from boxes in a frame to points in the frame.

    ``flip_test``: the net sees each crop's mirror image too, and the mean of both answers counts.
    """

    def __init__(self, session: PoseSession, score: str | None = None, *, flip_test: bool = False) -> None:
        if session.card and session.card.task != "pose":
            raise EdgeposeError(f"{session.path.name} is a {session.card.task}: a pose model is needed here.")
        self.session = session
        try:
            self._x, self._y = simcc_outputs(session.outputs)
            self.card = session.card or self._inferred()
        except ValueError as error:
            raise EdgeposeError(f"{session.path.name} is not a SimCC pose model: {error}.") from error
        self.codec = SimCC.from_card(self.card)
        self.score = score or self.card.score
        if self.score not in SCORES:
            raise EdgeposeError(f"The score {self.score!r} is unknown: use one of {', '.join(SCORES)}.")
        self.skeleton = self.card.skeleton or Skeleton.for_size(session.output_shapes()[self._x][1])
        self.aspect = self.card.input_size[0] / self.card.input_size[1]
        self.thresholds = np.array(
            [self.card.thresholds.get(part, _DEFAULT_THRESHOLD) for part in self.skeleton.part_of], np.float32
        )
        self._unsupervised = list(self.card.unsupervised_keypoints)
        self.flip_test = flip_test
        self._check_card()
        if flip_test and not len(self.skeleton.swap_pairs):
            raise EdgeposeError(
                f"{session.path.name} cannot take the flip test: its card does not say which points are left and right."
            )

    def crop(
        self,
        image: NDArray[np.uint8],  # [H, W, 3] BGR
        bboxes: Float,  # [N, 4] xyxy
        padding: float | None = None,
        rotations: Float | None = None,  # [N] degrees clockwise by which the people are turned; None: upright
    ) -> tuple[Float, Float]:  # [N, 3, h, w], [N, 2, 3] crop → frame
        card = self.card
        padding = card.padding if padding is None else padding
        rotations = np.zeros(len(bboxes), np.float32) if rotations is None else rotations
        boxes = turned_boxes(bboxes, rotations) if rotations.any() else bboxes
        center, scale = bbox_to_center_scale(boxes, aspect=self.aspect, padding=padding)
        affine = crop_affine(center, scale, card.input_size, rotation_deg=rotations)
        crops = ops.crop_normalize(
            image,
            affine,
            input_size=card.input_size,
            mean=card.mean,
            std=card.std,
            channel_order=card.channel_order,
        )
        return crops, invert_affine(affine)

    def run(self, crops: Float) -> Logits:  # crops [N, 3, h, w]
        """The net's answers, in one call for all crops, and for their mirror images if those count."""
        outputs = self.session.run(np.concatenate([crops, crops[..., ::-1]]) if self.flip_test else crops)
        simcc_x, simcc_y = outputs[self._x], outputs[self._y]
        if not self.flip_test:
            return simcc_x, simcc_y
        count = len(crops)
        return simcc_x[:count], simcc_y[:count], simcc_x[count:], simcc_y[count:]

    def decode(self, logits: Logits, affine: Float) -> tuple[Float, Float]:
        """Keypoints [N, K, 2] in the frame and scores [N, K]; unsupervised keypoints score 0."""
        flipped = (logits[2], logits[3], self.skeleton.swap) if self.flip_test else None
        keypoints, scores = self.codec.decode(logits[0], logits[1], affine, self.score, flipped)
        if self.score in RELATIVE and self.score == self.card.score:  # another score is not what was calibrated
            for part, (raw, seen) in self.card.calibration.items():
                start, stop = self.skeleton.parts[part]
                scores[:, start:stop] = np.interp(scores[:, start:stop], raw, seen)
        scores[:, self._unsupervised] = 0
        return keypoints, scores

    def _check_card(self) -> None:
        """A card of another net would decode to plausible nonsense, or not run at all."""
        for name, bins in zip((self._x, self._y), self.card.bins, strict=True):
            shape, count = self.session.outputs[name], self.skeleton.num_keypoints
            if any(isinstance(s, int) and s != w for s, w in zip(shape[1:], (count, bins), strict=True)):
                raise EdgeposeError(
                    f"{self.session.path.name} does not fit its card: {name} is {list(shape)}, "
                    f"but the card says {count} points and {bins} bins."
                )
        taken, (width, height) = self.session.input_shape, self.card.input_size
        fits = len(taken) == 4 and all(
            s == w for s, w in zip(taken[1:], (3, height, width), strict=True) if isinstance(s, int)
        )
        if not fits:
            raise EdgeposeError(
                f"{self.session.path.name} does not take what edgepose makes: its input is {list(taken)}, "
                f"but {width} × {height} pixels of three colors would come."
            )

    def _inferred(self) -> ModelCard:
        path = self.session.path
        card = ModelCard.infer(path.stem, self.session.input_shape, self.session.output_shapes())
        points = card.skeleton.name if card.skeleton else "unknown points"
        _log.info("%s carries no card: taken for an RTMPose net of %s", path.name, points)
        return card
