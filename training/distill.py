"""Train and distill a pose net: `python training/distill.py [CONFIG.toml] --shards DIR [--teacher CHECKPOINT]`.

On several GPUs or machines: `torchrun --nproc-per-node N training/distill.py …` (docs/cluster.md).
Without arguments it generates a small synthetic data set, trains a teacher on it, distills a tiny student in DWPose's
two stages and exports it: some 13 CPU minutes.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from edgepose import EdgeposeError
from edgepose_training.command import command
from edgepose_training.config import Config
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.shards import find_shards
from edgepose_training.deploy import given
from edgepose_training.distributed import Processes, pick_device
from edgepose_training.engine import needs, run_command
from edgepose_training.engine.pose_task import pose_trainer

log = logging.getLogger("distill")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", help="name of a recipe that ships, or a TOML file of differences")
    parser.add_argument("--shards", type=Path, help="folder of crop shards with train/ and, if there is one, val/")
    needs.add_arguments(parser)
    run_command.add_arguments(parser, Path("runs/distill"))
    parser.add_argument("--no-kernels", action="store_true", help="losses and norms in plain torch, for comparison")
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
    last = run_command.state_to_resume(args, processes)
    needs.check(config, args, going_on=last is not None)
    train = open_shards(args.shards / "train", config, processes)
    valid_dir = args.shards / "val"
    valid = CropCache(find_shards(valid_dir)) if valid_dir.is_dir() and processes.is_main else None
    device = pick_device(args.device)
    images = given.training_images(config, train)
    teacher = given.teacher(args.teacher, images) if args.teacher else None
    init = given.starting_weights(args.init, images) if args.init and last is None else None
    trainer = pose_trainer(config, train, valid, args.output, device, teacher, init, processes)
    run_command.run(trainer, args, last)


@command(times=True)
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if argv == [] or (argv is None and len(sys.argv) == 1):
        from edgepose_training import quickstart

        quickstart.main(Path("runs/quickstart"))
        return 0
    with run_command.joined_processes(args) as processes:
        distill(args, processes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
