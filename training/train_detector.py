"""Train edgepose-det: `python training/train_detector.py [CONFIG.toml] --data DATA -o runs/detector/run`.

The images are decoded once into a file beside the run's folder. `--hints` takes a detector's boxes on the training
images (`python training/detect.py`) as pseudo-labels for people whom the annotations lack; from `--teacher`, an RTMDet,
the net learns the score and the box of every cell beside the lists. Trials are judged on images held out of train:
`--data` a folder made by split.py, `--valid-split dev`. On several processes: `torchrun --nproc-per-node N
training/train_detector.py …`.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

from edgepose_training.command import command
from edgepose_training.data import sources
from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.image_cache import ImageCache
from edgepose_training.detector.person_lists import AnnotatedImage, read_images
from edgepose_training.detector.restoring import starting_weights
from edgepose_training.detector.samples import SampleBuilder
from edgepose_training.detector.task import DetectorTask
from edgepose_training.detector.teacher import RtmdetTeacher
from edgepose_training.distributed import Processes, pick_device
from edgepose_training.engine import checkpoints, run_command
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
    parser.add_argument("--init", help="net to start from: a checkpoint, an .onnx exported here, or edgepose-det")
    parser.add_argument("--teacher", type=Path, help="ONNX file of a one-class RTMDet to distill from")
    run_command.add_arguments(parser, Path("runs/detector/run"))
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
    last = run_command.state_to_resume(args, processes)
    teacher = RtmdetTeacher(args.teacher) if args.teacher else None
    roles = sources.of_command(args)
    config = replace(config, source_weights=source_weights(config, roles, last))
    images = read_images(args.data, "train", args.hints, roles)
    valid = [image for image in read_images(args.data, args.valid_split, roles=roles) if len(image.people)]
    # The folder keeps its old name: what is in it took hours to decode.
    cache = open_images(images, args.cache or args.output.parent / "pictures", processes)
    people = sum(len(image.people) for image in images)
    log.info("%d images, %d people; %d images to validate", len(images), people, len(valid))
    builder = SampleBuilder(images, cache, config.source_weights)
    init = starting_weights(args.init, builder, config) if args.init and last is None else None
    task = DetectorTask(config, builder, valid, pick_device(args.device), init, processes, teacher)
    trainer = Trainer(task, args.output)
    run_command.run(trainer, args, last)


@command(times=True)
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    with run_command.joined_processes(args) as processes:
        train(args, processes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
