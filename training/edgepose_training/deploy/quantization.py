"""What `export.py --int8` stands on: QDQ nodes around the convolutions, ranges from crops of training people.

onnxruntime's own quantizer was chosen: its QDQ files run on onnxruntime, TensorRT and OpenVINO alike.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgepose import EdgeposeError, ModelCard, ops
from edgepose.transforms import bbox_to_center_scale, crop_affine
from edgepose_training.data.coco import Person
from edgepose_training.deploy import onnx_graph
from edgepose_training.evaluation.labels import Labels
from edgepose_training.evaluation.predictors import RuntimePredictor, frames, predict
from edgepose_training.evaluation.summaries import part_oks, part_slices


def calibration_crops(
    people: Sequence[Person], card: ModelCard, count: int = 256, seed: int = 0
) -> Iterator[np.ndarray]:
    """Crops [1, 3, H, W] of a random sample of people, cut as the runtime cuts them."""
    chosen = np.random.default_rng(seed).permutation(len(people))[:count]
    width, height = card.input_size
    for frame, group in frames([people[index] for index in chosen]):
        bboxes = np.stack([person.bbox for person in group])
        center, scale = bbox_to_center_scale(bboxes, aspect=width / height, padding=card.padding)
        affine = crop_affine(center, scale, card.input_size)
        crops = ops.crop_normalize(
            frame, affine, input_size=card.input_size, mean=card.mean, std=card.std, channel_order=card.channel_order
        )
        yield from crops[:, None]


def quantize(model: onnx.ModelProto, crops: Sequence[np.ndarray], ops: Sequence[str] = ("Conv",)) -> onnx.ModelProto:
    """An int8 copy of a float32 model: weights per channel, activations over the range that `crops` [1, 3, H, W] show.

    Only `ops` are quantized: convolutions are nearly all of the work, while the head's norms and classifiers
    decide single bins.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    if not crops:
        raise EdgeposeError("Int8 needs images of people to calibrate on: give --data.")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        onnx.save(onnx.shape_inference.infer_shapes(model), source)
        quantize_static(
            source,
            target,
            _Reader(model.graph.input[0].name, crops),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(ops),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return onnx.load(target)


def accuracy(models: Mapping[str, onnx.ModelProto], card: ModelCard, people: Sequence[Person]) -> dict[str, Any]:
    """Mean OKS of each model, run by the app's own runtime on the people's own boxes: {"body": {name: …}, …}."""
    with tempfile.TemporaryDirectory() as folder:
        predictors = []
        for name, model in models.items():
            onnx_graph.write_card(model, card)
            onnx.save(model, Path(folder, f"{name}.onnx"))
            predictors.append(RuntimePredictor(Path(folder, f"{name}.onnx")))
        kept, predictions = predict(people, predictors)
    labels, skeleton = Labels.of(kept), predictors[0].skeleton
    figures: dict[str, Any] = {"people": len(kept)}
    for part, points in part_slices(skeleton).items():
        similarities = {one.name: part_oks(labels, one, skeleton, points, labels.visible) for one in predictions}
        if np.isfinite(next(iter(similarities.values()))).any():
            figures[part] = {name: round(float(np.nanmean(values)), 4) for name, values in similarities.items()}
    return figures


class _Reader:
    """The crops as the quantizer asks for them: one feed at a time, None at the end."""

    def __init__(self, input_name: str, crops: Sequence[np.ndarray]) -> None:
        self._feeds = iter([{input_name: crop} for crop in crops])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer advises through warnings and the root logger; neither concerns who exports."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
