"""The endings by which files of images and videos are known, as a source and as an output."""

from __future__ import annotations

VIDEO_SUFFIXES = frozenset(
    [".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".ogv", ".3gp", ".gif"]
) | frozenset([".3g2", ".asf", ".f4v", ".m2ts", ".mts", ".mxf", ".vob"])
IMAGE_SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm", ".jp2", ".avif"]
) | frozenset([".heic", ".heif"])
