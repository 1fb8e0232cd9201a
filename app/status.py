"""What the window says: the facts of the status line, and what is wrong when the image stands still."""

from __future__ import annotations

from .engine import Engine, EngineState

SILENT_AFTER = 3.0  # s without an image from a live source before that is worth a sentence


def facts(*, fps: float, age_ms: float, people: int | None, model: str, device: str) -> str:
    """The right half of the status line; `people` is None while there is nothing to count."""
    words = []
    if people is not None:
        words += [f"{fps:.1f} fps", age_of(age_ms), count_of(people, "person", "people")]
    return "     ".join([*words, f"{model} on {device}"])


def age_of(ms: float) -> str:
    """`25 ms old`, `3.1 s old`, `2 min old`."""
    if ms < 999.5:
        return f"{ms:.0f} ms old"
    return f"{ms / 1000:.1f} s old" if ms < 59_950 else f"{ms / 60_000:.0f} min old"


def trouble(engine: Engine, silent: float) -> str:
    """Why there is no new image, as a sentence; empty when all is well or the user paused.

    `silent`: seconds since the last result.
    """
    source = engine.source
    if engine.error is not None:
        return engine.message
    if engine.state is EngineState.ENDED:
        unrelated = source is not None and not source.is_sequence
        return "" if unrelated else "The end. Space plays it again."
    if engine.state is EngineState.OPENING:
        waited = f" {silent:.0f} s" if silent >= 1 else ""
        return engine.message[:1].upper() + engine.message[1:] + waited
    if engine.message or (source is not None and source.message):
        said = engine.message or (source.message if source else "")
        return said[:1].upper() + said[1:]
    if source is not None and source.live and not engine.paused and silent > SILENT_AFTER:
        return f"No new image from {source.name} for {silent:.0f} s"
    return ""


def count_of(count: int, one: str, many: str) -> str:
    """`1 person`, `2 people`."""
    return f"{count} {one if count == 1 else many}"
