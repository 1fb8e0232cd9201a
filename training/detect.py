"""Run a detector over the images of a data folder: `python training/detect.py MODEL.onnx --data DIR -o boxes.json`.

Writes a COCO detection file (a list of image_id, category_id, bbox as xywh, score), which `evaluate.py` reads as
detected people and `train_detector.py --hints` as pseudo-labels.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edgepose import Detector
from edgepose.images import read_image
from edgepose_training.command import command, output_file
from edgepose_training.data.annotations import load_document
from edgepose_training.data.registry import find_files
from edgepose_training.progress import progress

log = logging.getLogger("detect")

PERSON_CATEGORY = 1
LOWEST = 0.1  # a curve of precision over recall needs the unsure boxes too


def detections(detector: Detector, images: Iterable[dict[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    """COCO detections of images (`id`, `file_name`), best first in each. Raises EdgeposeError without an image."""
    for image in images:
        frame = read_image(folder / image["file_name"])
        for (left, top, right, bottom), score in zip(*(a.tolist() for a in detector(frame)), strict=True):
            box = [round(v, 1) for v in (left, top, right - left, bottom - top)]
            yield {
                "image_id": image["id"],
                "category_id": PERSON_CATEGORY,
                "bbox": box,
                "score": round(score, 3),
            }


@command()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations/ and images")
    parser.add_argument("--split", default="train", help="whose labels name the images (default: train)")
    parser.add_argument("-o", "--output", type=output_file, required=True)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args(argv)
    detector = Detector(args.model, threshold=LOWEST, threads=args.threads)
    labels, folder = find_files(args.data, args.split)
    images = load_document(labels)["images"]
    found = list(detections(detector, progress(images, "detect", len(images)), folder))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(found, separators=(",", ":")))
    print(f"{args.output}: {len(found)} boxes on {len(images)} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
