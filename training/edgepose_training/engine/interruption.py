"""Ctrl-C and SIGTERM end a run after its step, with everything saved."""

from __future__ import annotations

import signal

from edgepose_training.engine.trainer import Stopped, Trainer


def fit_until_stopped(trainer: Trainer) -> bool:
    """Fit until the end, or until Ctrl-C, or SIGTERM from a scheduler that wants its machine back. Whether it ended."""
    # A handler that only sets the deadline lets the step end, so that what is saved is whole.
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(name, lambda *_: setattr(trainer, "stop_at", 0.0)) for name in signals]
    try:
        trainer.fit()
    except Stopped:
        return False
    finally:
        for name, handler in zip(signals, before, strict=True):
            signal.signal(name, handler)
    return True
