"""`--benchmark`: how fast this machine is, as one JSON object."""

from __future__ import annotations

import os
import platform
from typing import Any

from . import headless
from .context import AppContext
from .doctor import ONNXRUNTIMES, installed
from .timing import TimingTable


def measure(context: AppContext, seconds: float) -> dict[str, Any]:
    """Run the source for `seconds` of the clock, as headless does, and tell the percentiles of each stage in ms.

    A file may end before; of a live source the rate is at most its own. `stages_ms` has no `write`: nothing is kept.
    """
    options, source, estimator = context.options, context.source, context.estimator
    report = headless.run(source, estimator, [], clock=seconds, max_frames=options.frames)
    percentiles = [f"p{p}" for p in TimingTable.PERCENTILES]
    stages = report.timings.rows()
    return {
        "edgepose": installed("edgepose"),
        "onnxruntime": {name: known for name in ONNXRUNTIMES if (known := installed(name))},
        "machine": f"{platform.platform()}, {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": options.threads,
        "model": estimator.card.name,
        "device": estimator.device,
        "source": source.description,
        "seconds": round(report.seconds, 3),
        "frames": report.frames,
        "fps": round(report.frames / report.seconds, 2) if report.seconds else 0.0,
        "people_a_frame": round(report.people / max(1, report.frames), 3),
        "stages_ms": {
            stage: dict(zip(percentiles, (round(ms, 3) for ms in row), strict=True)) for stage, row in stages.items()
        },
        "interrupted": report.interrupted,
    }
