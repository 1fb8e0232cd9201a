"""Pictures from files: the one loader of the application, of packing and of evaluation."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import EdgeposeError
from .transforms import to_bgr8

_DEPTH = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR  # gray and 16 bits as stored; of alpha to_bgr8 has no use
_ORIENTATION = 0x0112  # of EXIF
# EXIF orientation → what makes the picture upright; 1 is upright.
_UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: image.transpose(1, 0, 2)[:, ::-1],
    7: lambda image: image.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda image: image.transpose(1, 0, 2)[::-1],
}


def read_image(path: str | Path) -> NDArray[np.uint8]:  # [H, W, 3]
    """A picture as [H, W, 3] BGR uint8, upright as its EXIF orientation says, in every format alike.

    16 bits keep their upper eight; alpha is dropped. HEIC needs pillow-heif. EdgeposeError with path and reason.
    """
    try:  # read by numpy, because cv2.imread cannot open every path on Windows
        return decode_image(np.fromfile(path, np.uint8))
    except OSError as error:
        raise EdgeposeError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise EdgeposeError(f"{path}: {error}") from error


def decode_image(data: NDArray[np.uint8]) -> NDArray[np.uint8]:  # [bytes] -> [H, W, 3]
    """The content of a picture's file, as `read_image` reads it. ValueError with the reason in a few words."""
    if not data.size:
        raise ValueError("the file is empty")
    try:
        # OpenCV turns JPEG and TIFF in every version, the others only in some.
        turns = data[:2].tobytes() in (b"\xff\xd8", b"II", b"MM")
        image = cv2.imdecode(data, _DEPTH if turns else _DEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ValueError(f"damaged ({error.err or error})") from error
    if image is None:
        return _by_pillow(data)
    pixels = to_bgr8(image)
    return pixels if turns else _upright(pixels, _orientation(data))


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    turn = _UPRIGHT.get(orientation)
    return np.ascontiguousarray(turn(image)) if turn else image


def _orientation(data: NDArray[np.uint8]) -> int:
    """EXIF orientation, 1 where there is none."""
    content = data.tobytes()
    if content[4:8] != b"ftyp" and b"eXIf" not in content and b"EXIF" not in content:
        return 1  # most have none, and Pillow may decode a whole PNG to find that out
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as picture:
            return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # of damaged metadata Pillow raises anything; the picture itself was decoded
        return 1


def _by_pillow(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What OpenCV cannot decode; HEIC with pillow-heif."""
    from PIL import Image, ImageOps

    heic = data[4:8].tobytes() == b"ftyp" and data[8:12].tobytes() in _HEIC
    try:
        if heic:
            from pillow_heif import register_heif_opener

            register_heif_opener()
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data.tobytes())) as picture:
            rgb = ImageOps.exif_transpose(picture).convert("RGB")
    except ImportError as error:
        raise ValueError("HEIC, which pillow-heif reads: pip install pillow-heif, or convert it to JPEG") from error
    except Exception as error:  # of damaged pictures Pillow raises anything
        raise ValueError("no image that can be read, or damaged") from error
    return np.ascontiguousarray(np.asarray(rgb)[:, :, ::-1])


_HEIC = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"])
