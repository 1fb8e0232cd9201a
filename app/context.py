"""What both faces of the app start from, and how it is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from edgepose import EdgeposeError, TopdownConfig, TopdownEstimator

from .choice import choose, source_options
from .console import tell
from .opening import open_patiently
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


def make_context(options: AppOptions, patience: float | None = None) -> AppContext:
    """Open everything. A source that takes longer than `patience` s (None: for ever) comes as `Pending`."""
    specs = choose(options, tell)
    estimator = TopdownEstimator(
        options.model,
        device=options.device,
        detector=options.detector,
        max_people=options.max_people,
        threads=usable_threads(options.threads),
        flip_test=options.flip_test,
        smooth=options.smoothing > 0 and options.smooth == "live",  # of sequences; the engine says which source is one
        config=topdown_config(options),
    )
    style = SkeletonStyle.of(estimator.card, estimator.skeleton)
    failed = 0
    while True:
        try:
            source = open_patiently(specs[failed], source_options(options), tell, patience)
            return AppContext(options, specs[failed], source, estimator, style, tuple(specs[failed + 1 :]), failed)
        except EdgeposeError as error:
            failed += 1
            if failed == len(specs):
                raise
            tell(error)  # the next one may open


def usable_threads(wanted: int | None) -> int | None:
    """At most as many as there are cores: more only wait for each other."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if wanted is None or wanted <= cores:
        return wanted
    tell(f"--threads {wanted}: there {'is one core' if cores == 1 else f'are {cores} cores'} here, so using {cores}")
    return cores


def topdown_config(options: AppOptions) -> TopdownConfig:
    """The estimator's settings that have a flag."""
    config = TopdownConfig(
        detect_every_ms=options.detect_every,
        person_threshold=options.person_threshold,
        follow=options.follow,
        roi=options.roi,
    )
    return replace(config, smoothing=config.smoothing.scaled(options.smoothing)) if options.smoothing else config
