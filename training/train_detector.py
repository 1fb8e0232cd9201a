"""Train edgepose-det: `python training/train_detector.py [CONFIG.toml] --data DATA -o runs/detector/run`.

The images are decoded once into a file beside the run's folder. `--hints` takes a detector's boxes on the training
images (`python training/detect.py`) as pseudo-labels for people whom the annotations lack.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from pathlib import Path

import torch

from edgepose import EdgeposeError
from edgepose_training.detector.config import DetectorConfig
from edgepose_training.detector.image_cache import ImageCache
from edgepose_training.detector.person_lists import read_images
from edgepose_training.detector.samples import SampleBuilder
from edgepose_training.detector.trainer import DetectorRun
from edgepose_training.distributed import pick_device
from edgepose_training.engine.trainer import Stopped

log = logging.getLogger("detector")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", help="TOML file of differences from edgepose_training/detector/config.py")
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations/ and images/")
    parser.add_argument("--hints", type=Path, help="COCO detection file for the training images, used as pseudo-labels")
    parser.add_argument("--cache", type=Path, help="folder of decoded images (default: beside --output)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/detector/run"), help="folder of the run")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one config value")
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="save and stop after so long")
    parser.add_argument("--threads", type=int, help="CPU threads of the network")
    return parser.parse_args(argv)


def train(args: argparse.Namespace) -> None:
    """Data, run, deadline, fit."""
    config = DetectorConfig.load(args.config, args.set)
    last = args.output / "last.pt"
    if last.exists() and not args.resume:
        raise EdgeposeError(f"{args.output} holds a run already; continue it with --resume or choose another --output")
    images = read_images(args.data, "train", args.hints)
    valid = [p for p in read_images(args.data, "val") if len(p.people)]
    store = ImageCache(images, args.cache or args.output.parent / "pictures")
    people = sum(len(p.people) for p in images)
    log.info("%d images, %d people; %d images to validate", len(images), people, len(valid))
    run = DetectorRun(
        config, SampleBuilder(images, store, config.source_weights), valid, args.output, pick_device(args.device)
    )
    if args.resume:
        run.resume(last)
    if args.stop_after:
        run.stop_at = time.monotonic() + args.stop_after * 60
    # A handler that only sets the deadline lets the step end, so that what is saved is whole.
    signal.signal(signal.SIGINT, lambda *_: setattr(run, "stop_at", 0.0))
    try:
        run.fit()
    except Stopped:
        again = " ".join(sys.argv) + ("" if args.resume else " --resume")
        log.info("stopped at step %d; continue with: python %s", run.step, again)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        train(args)
    except EdgeposeError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
