"""How still a still person is, how far a fast hand trails behind: python benchmarks/steadiness.py [--write]

Jitter: the demo's photograph at rest, 640×480, with the noise of a camera on every frame; the distance of each point
that is shown from its own mean over the frames, root mean square, in pixels. Lag: one hand of a person 400 px tall
crosses the 640 px of the frame in a second, at 30 frames a second; how many frames the smoothed hand is behind the
true one, over the middle half of the way. The net has no part in the lag: it looks at each frame by itself.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose import EdgeposeError, Poses, Skeleton, TopdownEstimator
from edgepose.smoothing import OneEuro

RESULT = Path(__file__).parent / "results" / "steadiness.json"
SIZE = (640, 480)  # W, H
FPS = 30.0
SETTLE = 30  # frames before the points are watched


def still_frames(count: int, noise: float) -> list[NDArray[np.uint8]]:
    """The first moment of the demo, again and again, with Gaussian noise of so many gray levels."""
    from edgepose_app.sources.demo import Demo

    first = Demo().read()
    assert first is not None, "the demo never ends"
    image = cv2.resize(first.image, SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
    rng = np.random.default_rng(0)
    draws = (rng.normal(0, noise, image.shape) for _ in range(count))
    return [np.clip(np.rint(image + draw), 0, 255).astype(np.uint8) for draw in draws]


def jitter(model: str, frames: list[NDArray[np.uint8]], *, smooth: bool, threads: int | None) -> dict[str, float]:
    """RMS px by part over the points that pass their threshold in every frame."""
    estimator = TopdownEstimator(model, threads=threads, smooth=smooth)
    found = [estimator(frame, timestamp=index / FPS) for index, frame in enumerate(frames)][SETTLE:]
    if any(len(poses) != 1 for poses in found):
        raise EdgeposeError("the person of the demo was lost or doubled: there is nothing to measure")
    keypoints = np.stack([poses.keypoints[0] for poses in found])  # [T, K, 2]
    shown = (np.stack([poses.scores[0] for poses in found]) >= estimator.thresholds).all(0)  # [K]
    squares = ((keypoints - keypoints.mean(0)) ** 2).sum(2).mean(0)  # [K]
    slices = {part: slice(*ends) for part, ends in estimator.skeleton.parts.items()} | {"all": slice(None)}
    return {
        part: float(np.sqrt(squares[points][shown[points]].mean()))
        for part, points in slices.items()
        if shown[points].any()
    }


def lag() -> float:
    """Frames."""
    skeleton, smoother = Skeleton.load("coco_wholebody"), OneEuro()
    start, stop = skeleton.parts["righthand"]
    keypoints = np.full((1, skeleton.num_keypoints, 2), (320, 240), np.float32)
    scores = np.ones((1, skeleton.num_keypoints), np.float32)
    step, behind = SIZE[0] / FPS, []
    for index in range(SETTLE + int(FPS)):
        x = max(index - SETTLE, 0) * step
        keypoints[0, start:stop] = (x, 240)
        poses = Poses(keypoints, scores, [[170, 40, 470, 440]], [1], [1.0])
        smoothed = smoother(poses, index / FPS).keypoints[0, start:stop, 0].mean()
        if SIZE[0] / 4 <= x <= 3 * SIZE[0] / 4:
            behind.append((x - smoothed) / step)
    return float(np.mean(behind))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--frames", type=int, default=180)
    parser.add_argument("--noise", type=float, default=2.0, help="gray levels, standard deviation")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--write", action="store_true", help=f"write results/{RESULT.name}")
    args = parser.parse_args()
    try:
        frames = still_frames(args.frames + SETTLE, args.noise)
        smoothed, bare = (jitter(args.model, frames, smooth=smooth, threads=args.threads) for smooth in (True, False))
    except EdgeposeError as error:
        print(error, file=sys.stderr)
        return 2
    result: dict[str, Any] = {
        "benchmark": "steadiness",
        "date": datetime.date.today().isoformat(),
        "setup": {"model": args.model, "frames": args.frames, "noise": args.noise, "size": SIZE},
        "jitter_px": {"smoothed": smoothed, "bare": bare},
        "lag_frames": lag(),
    }
    for part in smoothed:
        print(f"{part:10} jitter {smoothed[part]:.2f} px RMS smoothed, {bare.get(part, float('nan')):.2f} bare")
    print(f"hand       lag {result['lag_frames']:.2f} frames")
    if args.write:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
