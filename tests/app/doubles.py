"""Test doubles for the app: an estimator without a net, a live stream on loopback, a video."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from edgepose import ModelCard, Poses, Skeleton

NUM_KEYPOINTS = 133


class FakeEstimator:
    """One person in the middle of every frame, after a delay; keeps account of how it was called."""

    skeleton = Skeleton.load("coco_wholebody")
    card = ModelCard(name="fake", skeleton=skeleton)
    device = "cpu"

    def __init__(self, delay: float = 0.0, fail_at: int | None = None) -> None:
        self.sequence = True
        self.last_timings_ms: dict[str, float] = {}
        self.delay, self.fail_at = delay, fail_at
        self.calls = 0
        self.resets = 0
        self.sequences: list[bool] = []

    def reset(self) -> None:
        self.resets += 1

    def __call__(self, frame: np.ndarray, *, timestamp: float | None = None) -> Poses:
        assert frame.ndim == 3
        assert frame.dtype == np.uint8
        assert timestamp is not None
        if self.calls == self.fail_at:
            raise RuntimeError("the net fell over")
        self.calls += 1
        self.sequences.append(self.sequence)
        time.sleep(self.delay)
        self.last_timings_ms = {"detect": 0.0, "crop": 0.1, "network": 1.0, "decode": 0.1, "track": 0.1}
        height, width = frame.shape[:2]
        keypoints = np.full((1, NUM_KEYPOINTS, 2), 0.5, np.float32) * (width, height)
        return Poses(keypoints, np.full((1, NUM_KEYPOINTS), 0.9), [[0, 0, width, height]], [1], [1.0])


# An image that carries a number: one block a bit, robust to JPEG.
_BITS, _BLOCK = 20, 24


def encode_number(number: int, noise: int = 0) -> np.ndarray:  # -> [H, W, 3]
    image = np.full((120, _BITS * _BLOCK, 3), 90, np.uint8)
    for bit in range(_BITS):
        image[40:80, bit * _BLOCK : (bit + 1) * _BLOCK] = 255 * (number >> bit & 1)
    image[0, 0] = noise
    return image


def decode_number(image: np.ndarray) -> int:  # [H, W, 3]
    middle = image[50:70].mean(axis=(0, 2)).reshape(_BITS, _BLOCK)[:, 6:-6].mean(axis=1)
    return int(sum(1 << bit for bit in range(_BITS) if middle[bit] > 128))


class Stream:
    """An MJPEG camera on loopback that counts its frames in the pixels and can be told to die or freeze."""

    def __init__(self, fps: float = 40.0) -> None:
        self.sent = 0  # the number in the newest image
        self.connections = 0
        self.dead = False  # drop connections and refuse new ones
        self.frozen = False  # send the same number for ever
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_args: object) -> None:
                pass

            def do_GET(self) -> None:
                if outer.dead:
                    self.send_error(503)
                    return
                outer.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    while not outer.dead:
                        outer.sent += not outer.frozen
                        data = cv2.imencode(".jpg", encode_number(outer.sent))[1].tobytes()
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                        self.wfile.write(head.encode() + data + b"\r\n")
                        time.sleep(1 / fps)
                except OSError:
                    pass  # the client has gone

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/camera.mjpg"

    def close(self) -> None:
        self.dead = True
        self._server.shutdown()
        self._server.server_close()


def write_video(path: Path, frames: int, fps: float = 25.0) -> Path:
    """A video whose frames are numbered."""
    height, width = encode_number(0).shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(encode_number(number))
    writer.release()
    return path


def write_clip(
    path: Path, times: Sequence[float], *, codec: str = "libx264", sound: float = 0.0, start: float = 0.0
) -> Path:
    """A video whose frames are numbered and stand at `times` (s), with a tone of `sound` seconds; both from `start`."""
    base = Fraction(1, 1000 if path.suffix == ".webm" else 90_000)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, 30, options={"preset": "ultrafast"} if "264" in codec else {})
        stream.height, stream.width = encode_number(0).shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = base
        tone: Any = container.add_stream("aac" if path.suffix != ".webm" else "libopus", 48_000) if sound else None
        for number, time_ in enumerate(times):
            frame = av.VideoFrame.from_ndarray(encode_number(number), format="bgr24")
            frame.pts, frame.time_base = round((start + time_) / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            _play(container, tone, start, sound)
    return path


def _play(container: Any, tone: Any, start: float, seconds: float) -> None:
    """A sine of 440 Hz."""
    wave = np.sin(2 * np.pi * 440 * np.arange(round(seconds * 48_000)) / 48_000).astype(np.float32)
    for first in range(0, len(wave), 960):
        part = np.stack([wave[first : first + 960]])
        frame = av.AudioFrame.from_ndarray(np.repeat(part, 2, axis=0), format="fltp", layout="stereo")
        frame.rate, frame.pts, frame.time_base = 48_000, round(start * 48_000) + first, Fraction(1, 48_000)
        container.mux(tone.encode(frame))
    container.mux(tone.encode(None))


def read_clip(path: Path, decode: bool = True) -> tuple[list[int], list[float]]:
    """Numbers and times (s) of the frames of a video, as PyAV alone sees them."""
    numbers, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if decode:
                numbers.append(decode_number(frame.to_ndarray(format="bgr24")))
            times.append(float(frame.time))
    return numbers, times


def seconds_of(path: Path) -> float:
    """How long a file claims to be."""
    with av.open(str(path)) as container:
        return float(container.duration or 0) / av.time_base
