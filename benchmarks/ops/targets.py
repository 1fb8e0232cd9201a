"""Targets of the benchmarks, and what was reached beside them."""

from __future__ import annotations

from dataclasses import dataclass

from common import Row


@dataclass(frozen=True)
class Target:
    """At least `times` as fast as the baseline, in every case whose name starts so."""

    case: str
    baseline: str
    times: float


@dataclass(frozen=True)
class Limit:
    """At most so many microseconds a call, in every case whose name starts so."""

    case: str
    variant: str
    microseconds: float


def held_to(targets: list[Target] | list[Target | Limit], rows: list[Row]) -> list[dict[str, object]]:
    """Each target with the worst of what its cases reached; a target of which nothing was measured is left out."""
    result: list[dict[str, object]] = []
    for target in targets:
        own = [row for row in rows if row.case == target.case or row.case.startswith(target.case + " ")]
        if isinstance(target, Limit):
            costs = [1e3 * row.median for row in own if row.variant == target.variant]
            if costs:
                worst = max(costs)
                result.append({**vars(target), "reached": round(worst, 2), "met": worst <= target.microseconds})
            continue
        ratios = [row.against[target.baseline] for row in own if target.baseline in row.against]
        if ratios:
            worst = min(ratios)
            result.append({**vars(target), "reached": round(worst, 2), "met": worst >= target.times})
    return result


def table(held: list[dict[str, object]]) -> list[str]:
    """The lines of a page that show them."""
    lines = ["", "| target | against | at least | reached | |", "| --- | --- | --- | --- | --- |"]
    for each in held:
        verdict = "met" if each["met"] else "**missed**"
        if "times" in each:
            cells = [each["case"], each["baseline"], f"{each['times']}×", f"{each['reached']}×", verdict]
        else:
            most = f"at most {each['microseconds']} µs"
            cells = [each["case"], f"the clock, {each['variant']}", most, f"{each['reached']} µs", verdict]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines
