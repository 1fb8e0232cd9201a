"""Train and distill a pose net: `python training/distill.py [CONFIG.toml] --shards DIR [--teacher CHECKPOINT]`.

On several GPUs or machines: `torchrun --nproc-per-node N training/distill.py …` (docs/cluster.md).
Without arguments it generates a small synthetic data set, trains a teacher on it, distills a tiny student in DWPose's
two stages and exports it, in some minutes.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path

import torch

from edgepose import EdgeposeError
from edgepose_training.command import command
from edgepose_training.config import Config
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.shards import find_shards
from edgepose_training.distributed import Processes, join_processes, leave_processes, pick_device
from edgepose_training.engine.interruption import fit_until_stopped
from edgepose_training.engine.pose_task import pose_trainer
from edgepose_training.engine.run_log import quiet_bar
from edgepose_training.engine.time_budget import TimeBudget

log = logging.getLogger("distill")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", help="name of a recipe that ships, or a TOML file of differences")
    parser.add_argument("--shards", type=Path, help="folder of crop shards with train/ and, if there is one, val/")
    parser.add_argument("--teacher", type=Path, help="checkpoint to distill from")
    parser.add_argument("--init", type=Path, help="checkpoint to start the student from")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output, if there is one")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/distill"), help="folder of the run")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one config value")
    parser.add_argument("--no-kernels", action="store_true", help="losses and norms in plain torch, for comparison")
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="save and stop after so long")
    parser.add_argument("--minutes", type=float, help="choose the number of epochs so that they take so long")
    parser.add_argument("--threads", type=int, help="CPU threads of the network")
    return parser.parse_args(argv)


def open_shards(folder: Path, config: Config, processes: Processes) -> CropCache:
    """The crops of this process, decoded once per machine, or per process where each has shards of its own."""
    shards = find_shards(folder)
    workers = max(1, (os.cpu_count() or 1) // 2)
    if config.split_shards and processes.world > 1:
        own = shards[processes.rank :: processes.world]
        if not own:
            raise EdgeposeError(f"{folder}: {len(shards)} shards cannot be split among {processes.world} processes")
        return CropCache(own, folder / f"decoded-{processes.rank}of{processes.world}", workers=workers)
    if processes.local_rank == 0:
        CropCache(shards, workers=workers)
    processes.wait()
    return CropCache(shards)


def distill(args: argparse.Namespace, processes: Processes) -> None:
    """Data, run, deadline, fit."""
    config = Config.load(args.config, args.set + ["kernels=false"] * args.no_kernels)
    if args.shards is None:
        raise EdgeposeError("--shards: expected a folder of crop shards; training/pack.py makes one from images")
    last = args.output / "last.pt"
    resume = last.exists() and (args.resume or processes.restarts > 0)
    if last.exists() and not resume:
        raise EdgeposeError(f"{args.output} holds a run already; continue it with --resume or choose another --output")
    train = open_shards(args.shards / "train", config, processes)
    valid_dir = args.shards / "val"
    valid = CropCache(find_shards(valid_dir)) if valid_dir.is_dir() and processes.is_main else None
    device = pick_device(args.device)
    trainer = pose_trainer(config, train, valid, args.output, device, args.teacher, args.init, processes)
    if args.minutes:
        trainer.time_budget = TimeBudget(time.monotonic() + args.minutes * 60)
    if resume:
        trainer.resume(last)
    if args.stop_after:
        trainer.stop_at = time.monotonic() + args.stop_after * 60
    if not fit_until_stopped(trainer):
        again = " ".join(sys.argv) + ("" if args.resume else " --resume")
        log.info("stopped at epoch %d, step %d; continue with: python %s", trainer.epoch, trainer.step, again)


@command(times=True)
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    if argv == [] or (argv is None and len(sys.argv) == 1):
        from edgepose_training import quickstart

        quickstart.main(Path("runs/quickstart"))
        return 0
    processes, args.device = join_processes(args.device)
    if not processes.is_main:
        logging.getLogger().setLevel(logging.WARNING)
    with quiet_bar():
        distill(args, processes)
    leave_processes()
    return 0


if __name__ == "__main__":
    sys.exit(main())
