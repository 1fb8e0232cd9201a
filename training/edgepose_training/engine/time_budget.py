"""How many epochs fit into a given time."""

from __future__ import annotations

import time

import torch

SPARE = 0.95  # saving and validating take the rest


class TimeBudget:
    """Times the first steps of a run that is to end at a given time of `time.monotonic`."""

    def __init__(self, end_at: float, warm: int = 10, timed: int = 30) -> None:
        self.end_at, self.warm, self.timed = end_at, warm, timed
        self._start: tuple[int, float] | None = None

    def epochs(self, step: int, steps_per_epoch: int, device: torch.device) -> int | None:
        """Epochs of the whole run; None as long as too few steps were timed. To be asked after every step."""
        wanted = self.warm if self._start is None else self._start[0] + self.timed
        if step < wanted:
            return None
        if device.type == "cuda":
            torch.cuda.synchronize()
        now = time.monotonic()
        if self._start is None:
            self._start = (step, now)
            return None
        first, began = self._start
        per_step = (now - began) / (step - first)
        left = max(SPARE * (self.end_at - now), 0.0) / max(per_step, 1e-9)
        return max(round((step + left) / steps_per_epoch), 1)
