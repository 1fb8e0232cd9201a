"""Models measured on the labels' own boxes, beside baselines on the same people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgepose import Skeleton
from edgepose_training.data.coco import Person
from edgepose_training.data.sources import NO_ROLES, SourceRoles
from edgepose_training.evaluation.baselines import mean_parts, mean_pose
from edgepose_training.evaluation.ignored import NOTHING, Ignored
from edgepose_training.evaluation.labels import Labels, Predictions
from edgepose_training.evaluation.predictors import Predictor, predict
from edgepose_training.evaluation.summaries import summarize
from edgepose_training.evaluation.tables import markdown


def evaluate(
    predictors: Sequence[Predictor],
    people: Sequence[Person],
    train: Sequence[Person] | None,
    skeleton: Skeleton,
    roles: SourceRoles = NO_ROLES,
    *,
    ignored: Ignored = NOTHING,
    intervals: bool = True,
) -> tuple[dict[str, Any], Labels, Predictions]:
    """Figures by predictor name on the labels' own boxes, those labels, and the first one's predictions."""
    people, predictions = predict(people, predictors)
    labels = Labels.of(people)
    if train:
        shapes = Labels.of(train)
        predictions += [mean_pose(shapes, labels), mean_parts(shapes, labels, skeleton.parts)]
    figures: dict[str, Any] = {}
    for one in predictions:
        if one.parts is None or set(one.parts) & set(skeleton.parts):
            figures[one.name] = summarize(labels, one, skeleton, roles, ignored=ignored, intervals=intervals)
    return figures, labels, predictions[0]


def report(record: dict[str, Any]) -> str:
    """The record of `evaluate.py` as a table."""
    conditions = f"{record['boxes']} boxes" + (", flip test" if record["flip"] else "")
    title = f"{record['people']} people in {record['images']} images of {record['split']}, {conditions}"
    figures = record.get("predictors")
    return f"{title}\n\n{markdown(figures) if figures else json.dumps(record['detector'], indent=1)}"


def without_nan(value: Any) -> Any:
    """NaN is no JSON: undefined figures become null."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
