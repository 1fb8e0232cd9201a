"""A little data folder of synthetic people, in the layout of a real one, for the detector's chain."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from edgepose_training.data.synthetic import synthetic_person


def write_data(root: Path, count: int = 12, negatives: int = 2) -> Path:
    """`count` synthetic people in each split and some soft blots without anybody."""
    rng = np.random.default_rng(3)
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for split in ("train", "val"):
        images, annotations = [], []
        for i in range(count):
            crop = synthetic_person(rng, (96, 128))
            name = f"{split}_{i}.png"
            cv2.imwrite(str(root / "images" / name), crop.image)
            left, top, right, bottom = crop.bbox.tolist()
            box = [left, top, right - left, bottom - top]
            images.append(
                {"id": i, "file_name": name, "width": 96, "height": 128, "source": "drawn", "person_boxes": [box]}
            )
            annotations.append({"id": i, "image_id": i, "bbox": box})
        document = {"images": images, "annotations": annotations}
        (root / "annotations" / f"{split}.json").write_text(json.dumps(document))
    empty = []
    for i in range(negatives):
        blots = cv2.resize(rng.integers(0, 256, (4, 3, 3)).astype(np.uint8), (96, 128))
        cv2.imwrite(str(root / "images" / f"empty_{i}.png"), blots)
        split = "val" if i % 2 else "train"
        empty.append({"file_name": f"empty_{i}.png", "width": 96, "height": 128, "source": "blots", "split": split})
    (root / "annotations" / "negatives.json").write_text(json.dumps({"images": empty}))
    return root
