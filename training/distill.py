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
from edgepose_training.data.training_data import TrainingData
from edgepose_training.deploy import given
from edgepose_training.distributed import Processes, pick_device
from edgepose_training.engine import needs, run_command
from edgepose_training.engine.pose_task import pose_trainer

log = logging.getLogger("distill")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", help="name of a recipe that ships, or a TOML file of differences")
    parser.add_argument("--shards", nargs="+", action="extend", metavar="DIR[=WEIGHT]", help="folders of crop shards "
                        "with train/ and, if there is one, val/; weight: how often each of its people is seen in an "
                        "epoch (default: 1)")  # fmt: skip
    parser.add_argument("--points", type=Path, help="TOML table of which points of the shards are the recipe's, where "
                        "names do not tell (docs/data.md)")  # fmt: skip
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
    if not args.shards:
        raise EdgeposeError("--shards: expected a folder of crop shards; training/pack.py makes one from images")
    data = TrainingData(args.shards, config, args.points)
    last = run_command.state_to_resume(args, processes)
    needs.check(config, args, going_on=last is not None)
    train = data.open("train", lambda folder: open_shards(folder, config, processes))
    assert train is not None  # it raises where there is no train/
    valid = data.open("val", lambda folder: CropCache(find_shards(folder))) if processes.is_main else None
    device = pick_device(args.device)
    images = given.training_images(config, train)
    teacher = given.teacher(args.teacher, images) if args.teacher else None
    init = given.starting_weights(args.init, images) if args.init and last is None else None
    trainer = pose_trainer(config, train, valid, args.output, device, teacher, init, processes)
    if processes.is_main:
        data.write(args.output / "data.json")
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
