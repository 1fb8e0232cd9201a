"""Hold images out of training: `python training/split.py --data DATA --hold-out LIST.txt -o runs/data`.

Writes a folder with the layout of DATA in which the listed images of `train` form a split of their own (`dev`),
including those of `negatives.json` (images without people). Its labels are new files; its images are a link to DATA's.
Choose settings, scores and thresholds on `dev` and keep `val` for the final figures. All other commands accept the
folder as `--data` with `--split dev`. `training/splits/edgepose_dev.txt` is the list used for the shipped nets.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from edgepose import EdgeposeError
from edgepose_training.command import command
from edgepose_training.data.annotations import load_document, load_json
from edgepose_training.data.registry import find_files


def divide(document: dict[str, Any], names: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A COCO document without the images `names` (by file_name), and one of those alone."""
    ids = {image["id"] for image in document["images"] if image["file_name"] in names}
    return _select(document, ids, False), _select(document, ids, True)


def _select(document: dict[str, Any], ids: set[int], inside: bool) -> dict[str, Any]:
    return document | {
        "images": [image for image in document["images"] if (image["id"] in ids) == inside],
        "annotations": [entry for entry in document["annotations"] if (entry["image_id"] in ids) == inside],
    }


def run(args: argparse.Namespace) -> dict[str, tuple[int, int]]:
    """Writes the folder. Returns how many people and images each split has."""
    labels, images = find_files(args.data, "train")
    lines = args.hold_out.read_text(encoding="utf-8").splitlines()
    names = {line.strip() for line in lines if line.strip()}  # which may have spaces inside
    document, negatives = load_document(labels), _negatives(labels.with_name("negatives.json"))
    known = {image["file_name"] for image in document["images"] + negatives["images"]}
    if missing := sorted(names - known):  # a split that lost images would not be the same
        raise EdgeposeError(f"{len(missing)} of {len(names)} images are not in the annotations, such as {missing[0]}.")
    kept, held_out = divide(document, names)
    folder = args.output / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, document in (("train", kept), (args.name, held_out)):
        for image in document["images"]:
            image["split"] = name
        (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
        counts[name] = len(document["annotations"]), len(document["images"])
    if negatives["images"]:
        for image in negatives["images"]:
            image["split"] = args.name if image["file_name"] in names else image["split"]
        (folder / "negatives.json").write_text(json.dumps(negatives), encoding="utf-8")
    for other in labels.parent.glob("*.json"):
        if other.name not in (labels.name, "negatives.json"):
            _link(other, folder / other.name)
    _link(images, args.output / "images")
    return counts


def _negatives(path: Path) -> dict[str, Any]:
    """The list of images without people; an empty one where the data has none."""
    return load_json(path) if path.is_file() else {"images": []}


def _link(target: Path, link: Path) -> None:
    if not link.is_symlink():
        os.symlink(target.resolve(), link)


@command()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations/ and images/")
    parser.add_argument("--hold-out", type=Path, required=True, help="text file of image names, one a line")
    parser.add_argument("--name", default="dev", help="name of the new split (default: dev)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the divided data set")
    counts = run(parser.parse_args(argv))
    for name, (people, images) in counts.items():
        print(f"{name}: {people} people in {images} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
