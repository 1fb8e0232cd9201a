"""What both faces of the app start from."""

from __future__ import annotations

from dataclasses import dataclass

from edgepose import TopdownEstimator

from .options import AppOptions
from .overlay import SkeletonStyle
from .sources import Source, Spec


@dataclass(frozen=True)
class AppContext:
    """Everything that was opened for one run."""

    options: AppOptions
    spec: Spec  # what `source` was opened from
    source: Source
    estimator: TopdownEstimator
    style: SkeletonStyle
    rest: tuple[Spec, ...] = ()  # sources that follow
    failed: int = 0  # sources before it that could not be opened
