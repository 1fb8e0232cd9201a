"""From one source that was named to its object. A new kind of source has its file, and its line here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edgepose import EdgeposeError

from ..media import VIDEO_SUFFIXES
from .base import Source
from .camera import CameraSettings, LiveCapture
from .demo import Demo
from .folder import Folder, is_image
from .names import Pictures, Spec, camera_of, exists, is_address, local_path
from .video import VideoFile


@dataclass(frozen=True)
class SourceOptions:
    """What the user may ask of a source, whichever it is."""

    sequence: bool = False  # images are frames of a video
    fps: float | None = None  # of a camera, or of images that are frames
    size: tuple[int, int] | None = None  # (width, height) px, of a camera
    format: str | None = None  # of a camera, e.g. "MJPG"
    rotate: int = 0  # degrees clockwise: 0, 90, 180 or 270

    @property
    def camera(self) -> CameraSettings:
        return CameraSettings(self.size, self.fps, self.format)


def open_source(spec: Spec, *, sequence: bool = False, options: SourceOptions | None = None) -> Source:
    """Open a camera number, `demo`, a URL, a folder, an image, images or a video; "-" is a video on standard input.

    EdgeposeError in one sentence when it is not there or cannot be read.
    """
    options = options or SourceOptions(sequence=sequence)
    source = _open(spec, options)
    if options.rotate and isinstance(source, Demo):
        raise EdgeposeError("--rotate turns what is filmed; the demo is upright")
    if (options.size or options.format) and not (isinstance(source, LiveCapture) and isinstance(source.target, int)):
        source.close()
        raise EdgeposeError(f"--size and --format ask a camera for what it can send; {source.name} is none")
    source.rotation = options.rotate
    return source


def _open(spec: Spec, options: SourceOptions) -> Source:
    if isinstance(spec, int):
        return LiveCapture(spec, options.camera)
    if isinstance(spec, Pictures):
        sequence = spec.sequence or options.sequence or options.fps is not None
        return Folder(Path(spec.name), sequence=sequence, fps=options.fps, files=spec.files)
    if spec == "demo":
        return Demo()
    if spec == "-":
        return VideoFile(spec)
    if is_address(spec):
        suffix = Path(urlsplit(spec).path).suffix.lower()
        return VideoFile(spec) if suffix in VIDEO_SUFFIXES else LiveCapture(spec)
    path = local_path(spec)
    if path is None:
        raise EdgeposeError("the source is empty: name a file, a folder, an address or demo")
    return _open_path(path, spec, options)


def _open_path(path: Path, spec: str, options: SourceOptions) -> Source:
    camera = camera_of(path)
    if camera is not None:
        return LiveCapture(camera, options.camera)
    if not exists(path):
        hint = f"; did you mean --camera {spec}?" if spec.isdigit() else "; check the spelling"
        raise EdgeposeError(f"{path}: there is no such file or folder{hint}")
    if path.is_dir() or is_image(path):
        return Folder(path, sequence=options.sequence or options.fps is not None, fps=options.fps)
    return VideoFile(path)
