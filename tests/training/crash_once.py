"""distill.py whose process 1 is killed at its seventh step, the first time that it is started."""

import os
import signal
import sys

import distill

from edgepose_training.engine.trainer import Trainer

train_step = Trainer.train_step


def step_or_die(run: Trainer, *args: object) -> dict:
    if run.step == 7 and run.processes.rank == 1 and run.processes.restarts == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_step(run, *args)


Trainer.train_step = step_or_die
sys.exit(distill.main())
