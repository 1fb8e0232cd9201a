"""The size of an image as it is decoded, from its header alone."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from edgepose_training.data.annotations import SkipEntry

IMAGE_WIDTH, IMAGE_LENGTH = 0x0100, 0x0101  # tags of TIFF
ORIENTATION, HALF_TURNS, QUARTER_TURNS = 0x0112, (2, 3, 4), (5, 6, 7, 8)  # EXIF; mirrored or not


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image file says of itself."""

    stored: tuple[int, int]  # W, H of the pixels in the file
    orientation: int  # EXIF, 1 to 8 (1: as stored)

    @property
    def size(self) -> tuple[int, int]:
        """(W, H) as it is decoded, turned by its orientation tag."""
        return self.stored[::-1] if self.orientation in QUARTER_TURNS else self.stored


def read_header(path: Path, formats: tuple[str, ...] | None = None) -> ImageHeader:
    """The header of an image of any format, or of these. A tag that cannot be read turns nothing.

    Raises SkipEntry for a missing file, another format, or too many pixels.
    """
    try:
        with Image.open(path, formats=formats) as image:
            if isinstance(image, TiffImageFile):  # whose `size` some versions of Pillow have turned already
                tags = image.tag_v2
                return ImageHeader((tags[IMAGE_WIDTH], tags[IMAGE_LENGTH]), tags.get(ORIENTATION, 1))
            return ImageHeader(image.size, _orientation(image))
    except UnidentifiedImageError:
        raise SkipEntry(f"image file is no {' or '.join(formats) if formats else 'readable image'}") from None
    except Image.DecompressionBombError:
        raise SkipEntry("image file has too many pixels") from None
    except OSError:
        raise SkipEntry("image file missing") from None


def image_size(path: Path) -> tuple[int, int]:
    """(W, H) of a JPEG or PNG as it is decoded. Raises SkipEntry as `read_header` does."""
    return read_header(path, ("JPEG", "PNG")).size


def _orientation(image: Image.Image) -> int:
    """The tag that `edgepose.images.read_image` obeys; 1 where there is none."""
    try:
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))  # getexif() would decode a PNG, whose tags may come last
        tag = exif.get(ORIENTATION)
        return tag if isinstance(tag, int) else 1
    except (SyntaxError, ValueError, LookupError, TypeError, struct.error):  # what Pillow raises for broken tags
        return 1
