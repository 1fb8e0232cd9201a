"""A pose net with everything around it that its card says: crop before it, decode after it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import ops
from .codecs import Heatmap, SimCC
from .errors import EdgeposeError
from .modelcard import CODECS, REFINES, RELATIVE, ModelCard, heatmap_output, simcc_outputs
from .skeletons import Skeleton
from .torso import turned_boxes
from .transforms import bbox_to_center_scale, crop_affine, invert_affine

Float = NDArray[np.float32]
# simcc_x [N, K, Wx] and simcc_y [N, K, Wy], or heat maps [N, K, h, w]; under the flip test those of the mirrored crops
# follow.
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

    ``flip_test``: the net sees each crop's mirror image too, and the mean of both answers counts. ``score``,
    ``refine``: by name instead of the card's.
    """

    def __init__(
        self, session: PoseSession, score: str | None = None, *, flip_test: bool = False, refine: str | None = None
    ) -> None:
        if session.card and session.card.task != "pose":
            raise EdgeposeError(f"{session.path.name} is a {session.card.task}: a pose model is needed here.")
        self.session = session
        maps = session.card is not None and session.card.codec == "heatmap"
        try:
            self._outputs = (heatmap_output(session.outputs),) if maps else simcc_outputs(session.outputs)
            self.card = session.card or self._inferred()
        except ValueError as error:
            kind = "heat-map" if maps else "SimCC"
            raise EdgeposeError(f"{session.path.name} is not a {kind} pose model: {error}.") from error
        self.codec = Heatmap.from_card(self.card) if maps else SimCC.from_card(self.card)
        self.score = self._known("score", score or self.card.score, CODECS[self.card.codec])
        if self.card.score_knots and self.score in RELATIVE and self.score != self.card.score:
            raise EdgeposeError(
                f"{session.path.name} has no scores called {self.score!r}: its card knows {self.card.score!r}."
            )
        self.refine = self._known("refinement", refine or self.card.refine, REFINES[self.card.codec])
        if self.refine == "dark" and (self.card.sigma is None or self.score == "softmax"):
            raise EdgeposeError("DARK needs the labels' sigma from the card, and another score than 'softmax'.")
        self.skeleton = self.card.skeleton or Skeleton.for_size(session.output_shapes()[self._outputs[0]][1])
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
        answers = [outputs[name] for name in self._outputs]
        if not self.flip_test:
            return tuple(answers)
        count = len(crops)
        return tuple([answer[:count] for answer in answers] + [answer[count:] for answer in answers])

    def decode(self, logits: Logits, affine: Float) -> tuple[Float, Float]:
        """Keypoints [N, K, 2] in the frame and scores [N, K]; unsupervised keypoints score 0."""
        count, swap = len(self._outputs), self.skeleton.swap
        if isinstance(self.codec, Heatmap):
            mirrored = (logits[count], swap) if self.flip_test else None
            keypoints, scores = self.codec.decode(logits[0], affine, self.refine, mirrored)
        else:
            flipped = (logits[2], logits[3], swap) if self.flip_test else None
            keypoints, scores = self.codec.decode(logits[0], logits[1], affine, self.score, flipped, self.refine)
        if self.card.relative and self.score == self.card.score:  # another score is not what was calibrated
            for part, (raw, seen) in self.card.calibration.items():
                start, stop = self.skeleton.parts[part]
                scores[:, start:stop] = np.interp(scores[:, start:stop], raw, seen)
        scores[:, self._unsupervised] = 0
        return keypoints, scores

    def _known(self, what: str, name: str, names: Sequence[str]) -> str:
        if name not in names:
            kind = " for heat maps" if self.card.codec == "heatmap" else ""
            raise EdgeposeError(f"The {what} {name!r} is unknown{kind}: use one of {', '.join(names)}.")
        return name

    def _check_card(self) -> None:
        """A card of another net would decode to plausible nonsense, or not run at all."""
        expected = self.card.answers(self.skeleton.num_keypoints).values()
        for name, (count, *bins) in zip(self._outputs, expected, strict=True):
            shape = self.session.outputs[name]
            if any(isinstance(s, int) and s != w for s, w in zip(shape[1:], (count, *bins), strict=True)):
                size = f"{bins[0]} bins" if len(bins) == 1 else f"maps of {bins[1]} × {bins[0]} cells"
                raise EdgeposeError(
                    f"{self.session.path.name} does not fit its card: {name} is {list(shape)}, "
                    f"but the card says {count} points and {size}."
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
