"""What both faces of the app start from."""

from __future__ import annotations

from dataclasses import dataclass

from edgepose import TopdownEstimator

from .options import AppOptions
from .overlay import SkeletonStyle
from .sources.base import Source


@dataclass(frozen=True)
class AppContext:
    """Everything that was opened for one run."""

    options: AppOptions
    spec: int | str  # what `source` was opened from
    source: Source
    estimator: TopdownEstimator
    style: SkeletonStyle
