"""Goals of the benchmarks, and what was reached beside them."""

from __future__ import annotations

from dataclasses import dataclass

from common import Row


@dataclass(frozen=True)
class Goal:
    """At least `times` as fast as the peer, in every case whose name starts so."""

    case: str
    peer: str
    times: float


@dataclass(frozen=True)
class Limit:
    """At most so many microseconds a call, in every case whose name starts so."""

    case: str
    variant: str
    microseconds: float


def held_to(goals: list[Goal] | list[Goal | Limit], rows: list[Row]) -> list[dict[str, object]]:
    """Each goal with the worst of what its cases reached; a goal of which nothing was measured is left out."""
    result: list[dict[str, object]] = []
    for goal in goals:
        own = [row for row in rows if row.case == goal.case or row.case.startswith(goal.case + " ")]
        if isinstance(goal, Limit):
            costs = [1e3 * row.median for row in own if row.variant == goal.variant]
            if costs:
                worst = max(costs)
                result.append({**vars(goal), "reached": round(worst, 2), "met": worst <= goal.microseconds})
            continue
        ratios = [row.against[goal.peer] for row in own if goal.peer in row.against]
        if ratios:
            worst = min(ratios)
            result.append({**vars(goal), "reached": round(worst, 2), "met": worst >= goal.times})
    return result


def table(held: list[dict[str, object]]) -> list[str]:
    """The lines of a page that show them."""
    lines = ["", "| goal | against | at least | reached | |", "| --- | --- | --- | --- | --- |"]
    for each in held:
        verdict = "met" if each["met"] else "**missed**"
        if "times" in each:
            cells = [each["case"], each["peer"], f"{each['times']}×", f"{each['reached']}×", verdict]
        else:
            most = f"at most {each['microseconds']} µs"
            cells = [each["case"], f"the clock, {each['variant']}", most, f"{each['reached']} µs", verdict]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines
