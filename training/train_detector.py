"""Train edgepose-det: `python training/train_detector.py [CONFIG.toml] --data DATA -o runs/detector/run`.

The images are decoded once into a file beside the run's folder. `--hints` takes a detector's boxes on the training
images (`python training/detect.py`) as pseudo-labels for people whom the annotations lack. Trials are judged on images
held out of train: `--data` a folder made by split.py, `--valid-split dev`. On several processes: `torchrun
--nproc-per-node N training/train_detector.py …`.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from edgepose import EdgeposeError
from edgepose_training.command import command
from edgepose_training.data import sources
from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.image_cache import ImageCache
from edgepose_training.detector.person_lists import AnnotatedImage, read_images
from edgepose_training.detector.samples import SampleBuilder
from edgepose_training.detector.task import DetectorTask
from edgepose_training.distributed import Processes, join_processes, leave_processes, pick_device
from edgepose_training.engine import checkpoints
from edgepose_training.engine.interruption import fit_until_stopped
from edgepose_training.engine.run_log import quiet_bar
from edgepose_training.engine.time_budget import TimeBudget
from edgepose_training.engine.trainer import Trainer

log = logging.getLogger("detector")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", help="TOML file of differences from edgepose_training/detector/config.py")
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations/ and images/")
    parser.add_argument("--hints", type=Path, help="COCO detection file for the training images, used as pseudo-labels")
    sources.add_argument(parser)
    parser.add_argument("--cache", type=Path, help="folder of decoded images (default: beside --output)")
    parser.add_argument("--valid-split", default="val", metavar="SPLIT", help="split to validate on (default: val)")
    parser.add_argument("--init", type=Path, help="checkpoint to start the net from")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/detector/run"), help="folder of the run")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one config value")
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="save and stop after so long")
    parser.add_argument("--minutes", type=float, help="choose the number of epochs so that they take so long")
    parser.add_argument("--threads", type=int, help="CPU threads of the network")
    return parser.parse_args(argv)


def open_images(images: list[AnnotatedImage], folder: Path, processes: Processes) -> ImageCache:
    """The pixels of the images, decoded once per machine."""
    if processes.local_rank == 0:
        ImageCache(images, folder)
    processes.wait()
    return ImageCache(images, folder)


def source_weights(config: DetectorConfig, roles: sources.SourceRoles, last: Path | None) -> dict[str, float]:
    """How often images are drawn: as the run that goes on began, else as the data and the config say."""
    began = DetectorConfig.from_dict(checkpoints.load(last)["config"], str(last)).source_weights if last else {}
    return began or {**roles.weights, **config.source_weights}


def train(args: argparse.Namespace, processes: Processes) -> None:
    """Data, run, deadline, fit."""
    config = DetectorConfig.load(args.config, args.set)
    last = args.output / "last.pt"
    resume = last.exists() and (args.resume or processes.restarts > 0)
    if last.exists() and not resume:
        raise EdgeposeError(f"{args.output} holds a run already; continue it with --resume or choose another --output")
    roles = sources.of_command(args)
    config = replace(config, source_weights=source_weights(config, roles, last if resume else None))
    images = read_images(args.data, "train", args.hints, roles)
    valid = [image for image in read_images(args.data, args.valid_split, roles=roles) if len(image.people)]
    # The folder keeps its old name: what is in it took hours to decode.
    cache = open_images(images, args.cache or args.output.parent / "pictures", processes)
    people = sum(len(image.people) for image in images)
    log.info("%d images, %d people; %d images to validate", len(images), people, len(valid))
    builder = SampleBuilder(images, cache, config.source_weights)
    task = DetectorTask(config, builder, valid, pick_device(args.device), None if resume else args.init, processes)
    trainer = Trainer(task, args.output)
    if args.minutes:
        trainer.time_budget = TimeBudget(time.monotonic() + args.minutes * 60)
    if resume:
        trainer.resume(last)
    if args.stop_after:
        trainer.stop_at = time.monotonic() + args.stop_after * 60
    if not fit_until_stopped(trainer):
        again = " ".join(sys.argv) + ("" if args.resume else " --resume")
        log.info("stopped at step %d; continue with: python %s", trainer.step, again)


@command(times=True)
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    processes, args.device = join_processes(args.device)
    if not processes.is_main:
        logging.getLogger().setLevel(logging.WARNING)
    with quiet_bar():
        train(args, processes)
    leave_processes()
    return 0


if __name__ == "__main__":
    sys.exit(main())
