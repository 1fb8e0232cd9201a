"""The size of an image as it is decoded, from its header alone."""

from __future__ import annotations

import struct
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from edgepose_training.data.annotations import SkipEntry

ORIENTATION, QUARTER_TURNS = 0x0112, (5, 6, 7, 8)  # EXIF


def image_size(path: Path) -> tuple[int, int]:
    """(W, H) of a JPEG or PNG as it is decoded, turned by its orientation tag; only its header is read.

    A tag that cannot be read turns nothing. Raises SkipEntry for a missing file, another format, or too many pixels.
    """
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            width, height = image.size
            turned = _orientation(image.info.get("exif", b"")) in QUARTER_TURNS
            return (height, width) if turned else (width, height)
    except UnidentifiedImageError:
        raise SkipEntry("image file is no JPEG or PNG") from None
    except Image.DecompressionBombError:
        raise SkipEntry("image file has too many pixels") from None
    except OSError:
        raise SkipEntry("image file missing") from None


def _orientation(tags: bytes) -> int | None:
    exif = Image.Exif()
    try:
        exif.load(tags)  # getexif() would decode a PNG, whose tags may come last
        return exif.get(ORIENTATION)
    except (SyntaxError, ValueError, LookupError, TypeError, struct.error):  # what Pillow raises for broken tags
        return None
