"""Detectors measured side by side in one run, and their table."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import Detector
from edgepose_training.data.sources import NO_ROLES, SourceRoles
from edgepose_training.detector import measures

log = logging.getLogger("evaluate")


EMPTY_WINDOWS = 500
ALLOWED = 0.08  # share of the empty windows with a false positive, at which recall is compared
SIDE = 320  # px, of the timed input
THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
TARGETS = {
    "ap50": 0.82,
    "ap50_truth": 0.68,
    "recall_at_allowed": 0.72,
    "false_positives": 0.08,
    "close_ups": 0.99,
    "time_ratio": 1.5,
}
HIGHER = {"ap50", "ap50_truth", "recall_at_allowed", "close_ups"}
WORDS = {
    "ap50": "AP50, people ≥ 15 % of the height",
    "ap50_truth": "the same, images whose people were labeled by people",
    "recall": "recall, people > ⅓ of the height, default threshold",
    "recall_at_allowed": f"the same, with false positives in {100 * ALLOWED:.0f} % of the empty windows",
    "false_positives": f"share of {EMPTY_WINDOWS} empty windows with a false positive, default threshold",
    "close_ups": "close-ups found",
    "time_ratio": f"time of the net at {SIDE}, one thread, ÷ the first",
    "net_ms": f"net at {SIDE} × {SIDE}, ms",
    "frame_ms": "whole detector, 640 × 480 frame, ms",
    "parameters_m": "parameters, millions",
}


def evaluate(
    paths: Sequence[Path],
    data: Path,
    limit: int | None = None,
    roles: SourceRoles = NO_ROLES,
    split: str = "val",
) -> dict[str, Any]:
    """All numbers, by file (see `column_names`). Raises EdgeposeError."""
    scenes = measures.read_scenes(data, split)
    windows = measures.empty_windows(data, scenes, EMPTY_WINDOWS, split, roles)
    if limit:
        scenes, windows = scenes[:: max(len(scenes) // limit, 1)], windows[:: max(len(windows) // limit, 1)]
    results: dict[str, Any] = {}
    for name, path in zip(column_names(paths), paths, strict=True):
        log.info("%s: %d images, %d empty windows", name, len(scenes), len(windows))
        results[name] = _measure(Detector(path, "cpu", threads=1), scenes, windows, roles)
        results[name] |= {"split": split, "parameters_m": _parameters(path) / 1e6}
    return _with_times(results, paths)


def column_names(paths: Sequence[Path]) -> list[str]:
    """The files' names, those of one name with a number each: `det`, or `det (1)` and `det (2)`."""
    stems = [path.stem for path in paths]
    return [
        stem if stems.count(stem) == 1 else f"{stem} ({stems[: i + 1].count(stem)})" for i, stem in enumerate(stems)
    ]


def _measure(
    detector: Detector,
    scenes: Sequence[measures.Scene],
    windows: Sequence[measures.EmptyWindow],
    roles: SourceRoles,
) -> dict[str, Any]:
    threshold, detector.threshold = detector.threshold, measures.LOWEST
    found = measures.find_people(detector, scenes)
    highest = measures.highest_scores(detector, windows)

    def at(threshold: float) -> dict[str, float]:
        return measures.measure(found, scenes, threshold, roles) | {
            "false_positives": measures.false_positives(highest, threshold)
        }

    by_source = measures.by_source(found, scenes, threshold, roles)
    allowed = measures.threshold_at(highest, ALLOWED)
    return {
        "threshold": threshold,
        **at(threshold),
        "ap50_truth": measures.ap50_of(found, scenes, roles.body_truth),
        "recall_at_allowed": at(allowed)["recall"],
        "threshold_at_allowed": allowed,
        "by_source": by_source,
        "by_threshold": {str(t): at(t) for t in THRESHOLDS},
        "images": len(scenes),
        "empty_windows": len(windows),
    }


def _with_times(results: dict[str, Any], paths: Sequence[Path]) -> dict[str, Any]:
    names = column_names(paths)
    detectors = {name: Detector(path, "cpu", threads=1) for name, path in zip(names, paths, strict=True)}
    nets = measures.interleaved_times({name: measures.network_call(d, SIDE) for name, d in detectors.items()})
    frame = next(measures.frames(1))
    whole = measures.interleaved_times({name: (lambda d=d: d(frame)) for name, d in detectors.items()}, rounds=60)
    yardstick = nets[names[-1]]
    for name, times in nets.items():
        results[name] |= {
            "net_ms": float(np.median(times)),
            "frame_ms": float(np.median(whole[name])),
            "time_ratio": float(np.median(times / yardstick)),
        }
    return results


def _parameters(path: Path) -> int:
    import onnx

    return int(sum(np.prod(tensor.dims) for tensor in onnx.load(path).graph.initializer))


def markdown(results: dict[str, Any], command: str) -> str:
    """The targets, then the sources and the thresholds of the first file."""
    names = list(results)
    lines = [f"| | target | {' | '.join(names)} |", "| --- " * (len(names) + 2) + "|"]
    for key, words in WORDS.items():
        target = f"{'≥' if key in HIGHER else '≤'} {TARGETS[key]:.2f}" if key in TARGETS else ""
        words = words.replace("the first", names[-1])
        lines.append(
            f"| {words} | {target} | {' | '.join(_mark(key, results[name][key], name == names[0]) for name in names)} |"
        )
    lines.append(f"| threshold | | {' | '.join(format(results[name]['threshold'], '.2f') for name in names)} |")
    first = results[names[0]]
    text = (
        "# The person detector\n\n"
        f"`{command}`\n\n"
        f"{first['images']} {first['split']} images with their lists of people as they are, {first['empty_windows']} "
        "images and windows without people. Bold: target met. Times are CPU time of one thread, the files in turns; "
        f"the ratio is the median over rounds. {platform.machine()}, Python {platform.python_version()}.\n\n"
    )
    text += "\n".join(lines)
    text += "\n\n## By source\n\n" + _table(
        "source", {s: {"people": row["people"]} for s, row in first["by_source"].items()},
        {name: results[name]["by_source"] for name in names},
    )  # fmt: skip
    text += f"\n\n## {names[0]} by threshold\n\n| threshold | recall | close-ups | false positives |\n"
    text += "| --- | --- | --- | --- |\n"
    for threshold, row in first["by_threshold"].items():
        text += f"| {threshold} | {row['recall']:.3f} | {row['close_ups']:.3f} | {row['false_positives']:.3f} |\n"
    return text


def _table(title: str, rows: dict[str, dict[str, float]], columns: dict[str, dict[str, dict[str, float]]]) -> str:
    head = " | ".join(f"AP50 {name} | recall {name}" for name in columns)
    lines = [f"| {title} | people | {head} |", "| --- " * (2 + 2 * len(columns)) + "|"]
    for key, row in rows.items():
        cells = " | ".join(f"{table[key]['ap50']:.3f} | {table[key]['recall']:.3f}" for table in columns.values())
        lines.append(f"| {key} | {row['people']:.0f} | {cells} |")
    return "\n".join(lines)


def _mark(key: str, value: float, ours: bool) -> str:
    text = f"{value:.3f}" if key in TARGETS else f"{value:.2f}"
    met = key in TARGETS and (value >= TARGETS[key] if key in HIGHER else value <= TARGETS[key])
    return f"**{text}**" if met and ours else text
