"""Figures of `summaries.summarize` as tables in Markdown, all predictors side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgepose_training.metrics.bootstrap import Estimate, short

SPECIAL_TITLES = {
    "torso_pck20": "PCK@0.2 of torso, v = 2 ↑",
    "face_nme": "face NME by box diagonal ↓",
    "face_nme_shown": "the same of the faces that it shows ↓",
    "webcam_hand_error": "webcam hands, error by box diagonal ↓",
}


def markdown(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of all predictors side by side: parts, special measures, and by source where sources have names."""
    blocks = [
        _table("mean OKS", summaries, lambda s: {part: row["mean_oks"] for part, row in s["parts"].items()}),
        _table("AP", summaries, lambda s: {part: row["ap"] for part, row in s["parts"].items()}),
        _table("measure", summaries, lambda s: {v: s[k] for k, v in SPECIAL_TITLES.items() if k in s}),
        *(_source_table(name, summary["sources"]) for name, summary in summaries.items() if any(summary["sources"])),
        _table("face NME ↓ by source", summaries, lambda s: s.get("face_nme_by_source", {})),
        _table("shown faces' NME ↓ by source", summaries, lambda s: s.get("face_nme_shown_by_source", {})),
    ]
    return "\n\n".join(block for block in blocks if block)


def _table(title: str, summaries: Mapping[str, Any], rows_of: Callable[[Any], Mapping[str, Any]]) -> str:
    columns = {name: rows_of(summary) for name, summary in summaries.items()}
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    if not rows:
        return ""
    lines = [_line([title, "n", *columns]), _line(["---"] * (2 + len(columns)))]
    for row in rows:
        counts = [column[row]["count"] for column in columns.values() if row in column]
        cells = [str(Estimate(**column[row])) if row in column else "" for column in columns.values()]
        lines.append(_line([row, str(max(counts)), *cells]))
    return "\n".join(lines)


def _source_table(name: str, sources: Mapping[str, Mapping[str, Any]]) -> str:
    parts = list(dict.fromkeys(part for figures in sources.values() for part in figures))
    lines = [_line([f"mean OKS / AP (people) by source, {name}", *parts]), _line(["---"] * (1 + len(parts)))]
    for source, figures in sources.items():
        cells = []
        for figure in figures.values():
            estimate = Estimate(**figure["mean_oks"])
            values = f"{short(estimate.value)} / {short(figure['ap'])} ({estimate.count})"
            cells.append(values if estimate.count else "–")
        lines.append(_line([source or "not named", *cells]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
