"""edgepose: realtime whole-body pose on the edge.

    >>> import edgepose
    >>> estimator = edgepose.TopdownEstimator()
    >>> poses = estimator(frame)          # frame: [H, W, 3] uint8 BGR
    >>> poses.keypoints.shape             # [people, 133, 2] pixels of the frame

Importing the package needs numpy alone. Every name below is loaded when it is first used, so OpenCV and
onnxruntime are asked for only by those who run models.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .codecs import SimCC
    from .detectors import Detector
    from .draw import draw_poses
    from .errors import EdgeposeError
    from .modelcard import ModelCard
    from .skeletons import Skeleton
    from .smoothing import OneEuro
    from .structures import Poses
    from .topdown import TopdownEstimator
    from .topdown_config import TopdownConfig

_HOME = {
    "Detector": "detectors",
    "EdgeposeError": "errors",
    "ModelCard": "modelcard",
    "OneEuro": "smoothing",
    "Poses": "structures",
    "SimCC": "codecs",
    "Skeleton": "skeletons",
    "TopdownConfig": "topdown_config",
    "TopdownEstimator": "topdown",
    "draw_poses": "draw",
}

__all__ = [
    "Detector",
    "EdgeposeError",
    "ModelCard",
    "OneEuro",
    "Poses",
    "SimCC",
    "Skeleton",
    "TopdownConfig",
    "TopdownEstimator",
    "draw_poses",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("edgepose")
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
