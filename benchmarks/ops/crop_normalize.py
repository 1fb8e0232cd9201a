"""crop_normalize from a 720p frame against warpAffine + normalize + transpose, and warpAffine + blobFromImage."""

from __future__ import annotations

import cv2
import numpy as np
from common import Row, compare, options, report, sizes

from edgepose import ops

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
INPUTS = {"192x256": (192, 256), "288x384": (288, 384)}


def affine(size: tuple[int, int], degrees: float) -> np.ndarray:
    """A person of 450 × 600 pixels in the middle of the frame."""
    zoom, angle = size[0] / 450, np.deg2rad(degrees)
    linear = zoom * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    shift = np.array(size) / 2 - linear @ (640, 360)
    return np.hstack([linear, shift[:, None]])


def all_rows(args) -> list[Row]:
    cv2.setNumThreads(args.threads)
    frame = np.random.default_rng(0).integers(0, 256, (720, 1280, 3)).astype(np.uint8)
    rows: list[Row] = []
    for name, size in sizes(args, INPUTS).items():
        for degrees in (0, 20):
            rows += one(f"{name} at {degrees}°", frame, size, degrees, args)
    return rows


def main() -> None:
    args = options(__doc__ or "")
    report("crop_normalize", all_rows(args), args)


def one(case: str, frame: np.ndarray, size: tuple[int, int], degrees: float, args) -> list[Row]:
    matrix = affine(size, degrees)
    common = {"input_size": size, "mean": MEAN, "std": STD}
    out = np.empty((1, 3, size[1], size[0]), np.float32)

    def usual() -> np.ndarray:
        crop = cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LINEAR)[..., ::-1]
        return ((crop - np.array(MEAN)) / np.array(STD)).transpose(2, 0, 1)[None].astype(np.float32)

    def blob() -> np.ndarray:
        crop = cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LINEAR)
        return cv2.dnn.blobFromImage(crop, 1 / 57.6, mean=MEAN, swapRB=True)  # one scale for all channels: not the same

    if args.device == "cuda":
        import torch

        import edgepose.torch as et

        tf, ta = torch.from_numpy(frame).cuda(), torch.from_numpy(matrix[None]).cuda()
        return compare(
            case, {"OpenCV on the CPU": usual, "edgepose": lambda: et.crop_normalize(tf, ta, **common)}, args
        )
    assert np.abs(ops.crop_normalize(frame, matrix[None], **common) - usual()).max() < 1 / min(STD)
    return compare(
        case,
        {
            "warpAffine, normalize, transpose": usual,
            "warpAffine, blobFromImage": blob,
            "edgepose": lambda: ops.crop_normalize(frame, matrix[None], **common, out=out),
        },
        args,
    )


if __name__ == "__main__":
    main()
