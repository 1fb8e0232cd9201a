"""People cut out of their images: one window a person, as shards hold it.

The padded box with enough context for scaling and rotation, at most `max_side` pixels tall in the box's own height, so
that nothing is stored that the network's input cannot show.
"""

from __future__ import annotations

import logging
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from typing import Any

import cv2
import numpy as np

from edgepose import EdgeposeError
from edgepose.images import read_image
from edgepose_training.data.coco import Person
from edgepose_training.data.shards import Crop, ShardWriter
from edgepose_training.progress import progress

log = logging.getLogger("pack")


PADDING = 1.25  # of the box, as at inference
ASPECT = 3 / 4  # W/H of the network's input
CONTEXT = 1.6  # window around a person, in padded boxes
# Shards that stay, and shards that travel: the writer's options, and the largest height of a padded box, px.
USUAL: dict[str, Any] = {"part_bytes": 256 << 20, "quality": 90, "compress": False}
COMPACT: dict[str, Any] = {"part_bytes": 16 << 20, "quality": 75, "compress": True}
USUAL_SIDE, COMPACT_SIDE = 288, 256


def crop_person(
    image: np.ndarray, person: Person, *, context: float = CONTEXT, max_side: int = 288, aspect: float = ASPECT
) -> Crop:
    """The window of `image` [H, W, 3] around a person: the padded box × `context`, clipped to the image.

    `max_side`: the padded box is at most this tall (pixels); larger people are scaled down.
    """
    x1, y1, x2, y2 = person.bbox
    height = max(y2 - y1, (x2 - x1) / aspect) * PADDING
    half = np.array([height * aspect, height]) * context / 2
    center = np.array([x1 + x2, y1 + y2]) / 2
    size = np.array(image.shape[1::-1])
    lo = np.clip(np.floor(center - half), 0, size - 1).astype(int)
    hi = np.clip(np.ceil(center + half), lo + 1, size).astype(int)
    window = image[lo[1] : hi[1], lo[0] : hi[0]]
    factor = min(1.0, max_side / height)
    if factor < 1:
        new = np.maximum(np.round((hi - lo) * factor), 1).astype(int)
        window = cv2.resize(window, (int(new[0]), int(new[1])), interpolation=cv2.INTER_AREA)
    # Rounding gives each axis its own factor; INTER_AREA keeps pixel edges, so centers move by (f - 1) / 2.
    scale = np.array(window.shape[1::-1]) / (hi - lo)
    points = (person.keypoints - lo + 0.5) * scale - 0.5
    points[person.visible == 0] = 0
    bbox = ((person.bbox.reshape(2, 2) - lo) * scale).ravel()
    return Crop(
        window,
        bbox.astype(np.float32),
        points.astype(np.float32),
        person.visible,
        person.weights,
        person.source,
        person.license,
    )


def _crops_of_image(task: tuple[list[Person], dict[str, Any]]) -> list[Crop]:
    people, window = task
    try:
        image = read_image(people[0].image)
    except EdgeposeError as error:
        log.warning("not a readable image, %d people skipped: %s", len(people), error)
        return []
    size = image.shape[1::-1]
    fitting = [person for person in people if person.image_size == size]
    if len(fitting) < len(people):  # what OpenCV makes of it, and not what its header says
        log.warning("%s: decoded to %d×%d, labeled otherwise, %d people skipped", people[0].image.name, *size,
                    len(people) - len(fitting))  # fmt: skip
    return [crop_person(image, person, **window) for person in fitting]


def pack(
    people: list[Person],
    writer: ShardWriter,
    *,
    context: float = CONTEXT,
    max_side: int = 288,
    aspect: float = ASPECT,
    workers: int = 2,
    seed: int = 0,
) -> int:
    """Crop and write all people, images in random order (a shard is then a fair sample). Returns their number."""
    ordered = sorted(people, key=lambda person: str(person.image))
    window = {"context": context, "max_side": max_side, "aspect": aspect}
    tasks = [(list(group), window) for _, group in groupby(ordered, key=lambda person: person.image)]
    np.random.default_rng(seed).shuffle(tasks)
    count = 0
    with ProcessPoolExecutor(workers) as pool:
        done = pool.map(_crops_of_image, tasks, chunksize=32)
        for crops in progress(done, "pack", len(tasks)):
            for crop in crops:
                writer.write(crop)
                count += 1
    return count
