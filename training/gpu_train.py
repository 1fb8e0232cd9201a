"""Train in pieces, on a GPU that is available for minutes at a time and with small file transfers.

At home:      gpu_train.py pack --data DATA -o runs/gpu          compact shards, in bundles that fit one visit
On the GPU:   gpu_train.py receive BUNDLE…  --work WORK          decode bundles, join chunks of weights
              gpu_train.py train CONFIG --name NAME --work WORK --out OUT --minutes 8
At home:      gpu_train.py collect FOLDER -o runs/gpu/weights    extract weights and curves
Both ways:    gpu_train.py split FILE… -o FOLDER                 split a file into chunks small enough to transfer

`make gpu-train` runs the steps on the GPU. A run continues from its full state if the machine still has it, otherwise
from received weights, otherwise it starts anew. docs/training.md shows complete visits.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from edgepose_training.bundles import chunks
from edgepose_training.bundles.visits import (
    check_height,
    collect,
    find_weights,
    hand_out,
    make_bundles,
    needed_weights,
    pack_shards,
    receive,
)
from edgepose_training.command import command
from edgepose_training.config import Config
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.distributed import pick_device
from edgepose_training.engine import needs
from edgepose_training.engine.pose_task import pose_trainer
from edgepose_training.engine.run_command import fit_until_stopped, minutes
from edgepose_training.engine.time_budget import TimeBudget

log = logging.getLogger("gpu_train")


def pack(args: argparse.Namespace) -> list[Path]:
    """Compact shards of both splits, and bundles of them."""
    pack_shards(args.data, args.output / "shards", args.license, args.workers)
    return make_bundles(args.output / "shards", args.output / "bundles", int(args.bundle_mib * 2**20))


def train(args: argparse.Namespace) -> None:
    """One run, or the next piece of it."""
    began = time.monotonic()
    config = Config.load(args.config, args.set + ["kernels=false"] * args.no_kernels)
    left_off = find_weights(args.name, args.work)
    needs.check(config, args, going_on=left_off is not None)
    valid = CropCache.open(args.work / "val") if (args.work / "val" / "index.npz").exists() else None
    teacher = needed_weights(args.teacher, args.work, "--teacher") if args.teacher else None
    init = needed_weights(args.init, args.work, "--init") if args.init else None
    crops = CropCache.open(args.work / "train")
    check_height(crops, config)
    folder = args.work / "runs" / args.name
    trainer = pose_trainer(config, crops, valid, folder, pick_device(args.device), teacher, init)
    if args.minutes:
        trainer.time_budget = TimeBudget(began + args.minutes * 60)
    if left_off is not None:
        trainer.resume(left_off)
    if args.stop_after:
        trainer.stop_at = began + args.stop_after * 60
    trainer.after_save = lambda _: hand_out(trainer, args.name, args.work, args.out)
    fit_until_stopped(trainer)
    if trainer.epoch < trainer.config.epochs:
        log.info("%s is at epoch %d of %d; the same command goes on", args.name, trainer.epoch, trainer.config.epochs)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("pack", help="compact shards and bundles")
    one.add_argument("--data", type=Path, required=True, help="folder with annotations/ and images/")
    one.add_argument("-o", "--output", type=Path, default=Path("runs/gpu"))
    one.add_argument(
        "--bundle-mib", "--parcel-mib", type=float, default=48, help="largest bundle; the sources travel beside it"
    )
    one.add_argument("--license", help="people of this license class only, e.g. permissive")
    one.add_argument("--licence", dest="license", help=argparse.SUPPRESS)  # as it was spelled before
    one.add_argument("--workers", type=int, default=2)
    one = commands.add_parser("receive", help="decode a bundle's shards, join its weights")
    one.add_argument("folders", type=Path, nargs="+")
    one.add_argument("--work", type=Path, default=Path("runs/gpu/work"), help="what stays on the GPU's machine")
    one = commands.add_parser("train", help="one run, or the next piece of it")
    one.add_argument("config", help="TOML file, or the name of a recipe that ships")
    one.add_argument("--name", required=True, help="of the run and of its weights")
    one.add_argument("--work", type=Path, default=Path("runs/gpu/work"))
    one.add_argument("--out", type=Path, required=True, help="folder that is taken back home")
    needs.add_arguments(one, "NAME", "the name of a run, or of received weights")
    one.add_argument("--minutes", type=minutes, help="choose the number of epochs to fill so long, over all pieces")
    one.add_argument("--stop-after", type=minutes, metavar="MINUTES", help="save, hand out and stop after so long")
    one.add_argument("--device", default="auto")
    one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one config value")
    one.add_argument("--no-kernels", action="store_true", help="all in plain torch, where the kernels do not build")
    one = commands.add_parser("collect", help="weights and curves out of what came back")
    one.add_argument("folders", type=Path, nargs="+")
    one.add_argument("-o", "--output", type=Path, default=Path("runs/gpu/weights"))
    one = commands.add_parser("split", help="a file in chunks; receive and collect join them")
    one.add_argument("paths", type=Path, nargs="+", metavar="FILE")
    one.add_argument("-o", "--output", type=Path, required=True, help="folder for the chunks")
    one.add_argument("--chunk-mib", type=float, default=16, help="largest chunk")
    return parser.parse_args(argv)


@command(times=True)
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    match args.command:
        case "pack":
            for bundle in pack(args):
                size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
                print(f"{bundle}  {size / 2**20:.0f} MiB")
        case "receive":
            receive(args.folders, args.work)
        case "train":
            train(args)
        case "collect":
            for path in collect(args.folders, args.output):
                print(path)
        case "split":
            size = int(args.chunk_mib * 2**20)
            # Written before anything is printed: a reader that goes away must not cost a file.
            written = [chunk for path in args.paths for chunk in chunks.split(path, args.output, size)]
            for path in written:
                print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
