"""AP50 and recall of a net on labeled images, for the training log; `evaluate_detector.py` gives the final figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from edgepose.boxes import nms
from edgepose.detectors import decode_cells, letterbox
from edgepose.images import read_image
from edgepose_training.detector.batches import normalized
from edgepose_training.detector.person_lists import AnnotatedImage
from edgepose_training.metrics.box_precision import BoxTruth, average_precision, match_boxes, recall

LARGE = 0.15  # of the image's height: people that AP50 counts
CANDIDATES = 100  # boxes an image
Boxes = tuple[np.ndarray, np.ndarray]  # [D, 4] xyxy in pixels of the file, scores [D]


def box_precision(
    net: nn.Module, images: Sequence[AnnotatedImage], side: int, device: torch.device, amp: torch.dtype | None
) -> dict[str, float]:
    """AP50 of people of at least 15 % of the image's height, and their recall at a score of 0.3.

    `side`: px, the long side of the canvas.
    """
    net.eval()
    matches = [match_boxes(*detect(net, image, side, device, amp), large_people(image)) for image in images]
    return {"ap50": average_precision(matches), "recall@.3": recall(matches, 0.3)}


def detect(
    net: nn.Module, annotated: AnnotatedImage, side: int, device: torch.device, amp: torch.dtype | None
) -> Boxes:
    """The boxes of one image after non-maximum suppression."""
    image = read_image(annotated.path)
    longest = max(image.shape[:2])
    width, height = (32 * max(round(length * side / longest / 32), 1) for length in image.shape[1::-1])
    canvas, zoom = letterbox(image, (width, height))
    batch = torch.from_numpy(canvas)[None].to(device)
    with torch.inference_mode(), torch.autocast(device.type, amp, enabled=amp is not None):
        cells = net(normalized(batch))
    boxes, scores = decode_cells(cells.float().cpu().numpy(), canvas.shape[:2])
    likely = np.argsort(-scores[0])[:CANDIDATES]
    boxes, scores = boxes[0, likely] / zoom, scores[0, likely]
    kept = nms(boxes, scores, 0.5)
    return boxes[kept], scores[kept]


def large_people(image: AnnotatedImage, share: float = LARGE) -> BoxTruth:
    """An image's people of at least that share of its height; the others are ignored."""
    smallest = share * image.size[1]
    large = image.people[:, 3] - image.people[:, 1] >= smallest
    return BoxTruth(image.people[large], np.concatenate([image.people[~large], image.ignored]), smallest)
