"""What the commands that train have in common: their options, going on, deadlines, Ctrl-C and SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from edgepose import EdgeposeError
from edgepose_training.distributed import Processes, join_processes, leave_processes
from edgepose_training.engine.time_budget import TimeBudget
from edgepose_training.engine.trainer import Stopped, Trainer
from edgepose_training.progress import quiet_bar

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser, output: Path) -> None:
    """The options of a run; `output` is its folder if nothing else is said."""
    parser.add_argument("--resume", action="store_true", help="continue the run in --output, if there is one")
    parser.add_argument("-o", "--output", type=Path, default=output, help="folder of the run")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one config value")
    parser.add_argument("--stop-after", type=minutes, metavar="MINUTES", help="save and stop after so long")
    parser.add_argument("--minutes", type=minutes, help="choose the number of epochs so that they take so long")
    parser.add_argument("--threads", type=threads, help="CPU threads of the network")


def minutes(text: str) -> float:
    """A time of the command line."""
    if not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"expected more than 0 minutes, got {text}")
    return float(text)


def threads(text: str) -> int:
    """A number of threads of the command line."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1 thread, got {text}")
    return int(text)


@contextmanager
def joined_processes(args: argparse.Namespace) -> Iterator[Processes]:
    """The processes of this run, of which one logs; sets the threads, and `args.device` to this process' own."""
    if args.threads:
        torch.set_num_threads(args.threads)
    processes, args.device = join_processes(args.device)
    if not processes.is_main:
        logging.getLogger().setLevel(logging.WARNING)
    with quiet_bar():
        yield processes
    leave_processes()


def state_to_resume(args: argparse.Namespace, processes: Processes) -> Path | None:
    """The `last.pt` from which the run goes on, asked for or after a crash under torchrun; None for a new run.

    Raises EdgeposeError where a run is that nobody asked to continue.
    """
    last: Path = args.output / "last.pt"
    if not last.exists():
        return None
    if not (args.resume or processes.restarts > 0):
        raise EdgeposeError(f"{args.output} holds a run already; continue it with --resume or choose another --output")
    return last


def run(trainer: Trainer, args: argparse.Namespace, last: Path | None) -> None:
    """Fit from `last` on, within `--minutes` and `--stop-after`; says how to go on if it was stopped."""
    began = time.monotonic()
    if args.minutes:
        trainer.time_budget = TimeBudget(began + args.minutes * 60)
    if last is not None:
        trainer.resume(last)
    if args.stop_after:
        trainer.stop_at = began + args.stop_after * 60
    if not fit_until_stopped(trainer):
        log.info(
            "stopped in epoch %d, step %d; continue with: %s", trainer.epoch + 1, trainer.step, continuing(sys.argv)
        )


def continuing(argv: list[str]) -> str:
    """The command that goes on with a run that was started by `argv`, alone or under torchrun, as a shell reads it."""
    again = shlex.join([*argv, *([] if "--resume" in argv else ["--resume"])])
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return f"python {again}"
    each = f"torchrun --nproc-per-node {os.environ.get('LOCAL_WORLD_SIZE', '1')}"
    machines = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
    if machines == 1:
        return f"{each} {again}"
    return f"{each} --nnodes {machines} {again} (on each machine, with its --rdzv options)"


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
