"""Where the time of a frame goes: python benchmarks/pipeline.py [--model …] [--detector …] [--device …] [--write]

The source is the application's demo: a photograph of a person in motion, the same frames on every run, made
outside of the measured time. Every stage is measured on every frame of a followed sequence; `total` is the sum
that a frame waits for, drawing included, and the frame rate is what one thread of frames sustains. A stage that
does not run on every frame (the detector) is summarized over the frames on which it ran.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measure import BUSY, RESULTS, machine
from numpy.typing import NDArray

from edgepose import EdgeposeError, TopdownEstimator, draw_poses

STAGES = ("detect", "crop", "network", "decode", "track", "draw", "total")
QUANTILES = (50, 95, 99)


def demo_frames(size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:  # of [H, W, 3] BGR
    from edgepose_app.sources.demo import Demo

    source = Demo()
    while True:
        frame = source.read()
        assert frame is not None, "the demo never ends"
        yield cv2.resize(frame.image, size) if frame.image.shape[1::-1] != size else frame.image


def measure(
    estimator: TopdownEstimator, frames: Iterator[NDArray[np.uint8]], count: int, warmup: int
) -> tuple[dict[str, list[float]], float]:
    """Milliseconds per stage and frame, and the mean number of people."""
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    people = 0
    for index in range(-warmup, count):
        frame = next(frames)
        start = time.perf_counter()
        poses = estimator(frame, timestamp=index / 30)
        posed = time.perf_counter()
        draw_poses(frame, poses, estimator.skeleton, threshold=estimator.card.thresholds or 0.3)
        done = time.perf_counter()
        if index < 0:
            continue
        people += len(poses)
        measured = {**estimator.last_timings_ms, "draw": (done - posed) * 1e3, "total": (done - start) * 1e3}
        for stage, ms in measured.items():
            times[stage].append(ms)
    return times, people / count


def summarize(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    rows = {}
    for stage, values in times.items():
        ran = np.array([ms for ms in values if ms > 0])
        if len(ran):
            rows[stage] = {f"p{q}": float(np.percentile(ran, q)) for q in QUANTILES}
            rows[stage] |= {"mean": float(ran.mean()), "frames": len(ran)}
    return rows


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    setup, rows = result["setup"], result["stages"]
    about = result["machine"]
    lines = [
        f"{about['cpu']}, {about['cores']} cores, {about['system']}, Python {about['python']}, "
        + ", ".join(f"{name} {number}" for name, number in about["versions"].items())
        + f"; {about['date']}, load per core before {about['load_per_core_before']}.",
        "",
        f"Model {setup['model']} on {setup['device']}, detector {setup['detector']}, "
        f"{setup['threads'] or 'default'} threads, {'flip test, ' * setup['flip_test']}{setup['frames']} frames "
        f"of {setup['size'][0]}×{setup['size'][1]}, {result['people']:.2f} people a frame.",
        "",
        "| stage, ms | " + " | ".join(f"p{q}" for q in QUANTILES) + " | mean | frames |",
        "| --- |" + " ---: |" * (len(QUANTILES) + 2),
    ]
    for stage in STAGES:
        if stage in rows:
            row = rows[stage]
            cells = [f"{row[f'p{q}']:.2f}" for q in QUANTILES] + [f"{row['mean']:.2f}", str(row["frames"])]
            lines.append(f"| {stage} | " + " | ".join(cells) + " |")
    lines += ["", f"**{result['frames_per_second']:.1f} frames a second**"]
    return "\n".join(lines)


def run(args: argparse.Namespace) -> dict[str, Any]:
    width, _, height = args.size.partition("x")
    size = (int(width), int(height))
    about = machine()
    estimator = TopdownEstimator(
        args.model,
        args.device,
        detector=args.detector,
        threads=args.threads,
        max_people=args.max_people,
        flip_test=args.flip_test,
        smooth=True,
    )
    times, people = measure(estimator, demo_frames(size), args.frames, args.warmup)
    stages = summarize(times)
    return {
        "benchmark": "pipeline",
        "command": "python benchmarks/pipeline.py " + " ".join(Path(arg).name for arg in sys.argv[1:]),
        "machine": about,
        "setup": {
            "model": Path(args.model).name,
            "card": estimator.card.name,
            "device": estimator.device,
            "detector": estimator.detector.session.path.stem if estimator.detector else "none",
            "threads": args.threads,
            "flip_test": args.flip_test,
            "frames": args.frames,
            "warmup": args.warmup,
            "size": size,
        },
        "people": people,
        "stages": stages,
        "frames_per_second": 1e3 / stages["total"]["mean"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--detector", help="ONNX file of a person detector")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, help="CPU threads of the network")
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--warmup", type=int, default=60)
    parser.add_argument("--size", default="1280x720", help="of the frames, WxH")
    parser.add_argument("--max-people", type=int)
    parser.add_argument("--flip-test", action="store_true")
    parser.add_argument("--write", action="store_true", help="into benchmarks/results/")
    args = parser.parse_args()
    try:
        result = run(args)
    except EdgeposeError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(result))
    if result["people"] < 0.5:
        print("\nHardly anybody was found: the time of a frame with a person in it was not measured.", file=sys.stderr)
    if result["machine"]["load_per_core_before"] > BUSY:
        print("\nThe machine was busy before the first frame: these numbers are not worth keeping.", file=sys.stderr)
    if args.write:
        RESULTS.mkdir(exist_ok=True)
        model = "" if args.model == "default" else f"-{Path(args.model).stem}"
        flip = "-flip-test" if args.flip_test else ""
        name = f"pipeline-{result['setup']['device']}{model}{flip}"
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        (RESULTS / f"{name}.md").write_text(f"# Pipeline\n\n{result['command']}\n\n{table(result)}\n")
        print(f"\nWritten to benchmarks/results/{name}.json and .md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
