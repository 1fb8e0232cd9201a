"""Video files: every frame once, at the times of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from doubles import decode_number, write_video

from edgepose_app.sources.video import VideoFile


def test_video_file_gives_every_frame_in_its_time(tmp_path: Path):
    video = VideoFile(write_video(tmp_path / "numbers.avi", 25, fps=25.0))
    assert video.fps == 25.0
    frames = []
    while (frame := video.read()) is not None:
        frames.append(frame)
    video.close()
    assert [decode_number(frame.image) for frame in frames] == list(range(25))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(25) / 25, atol=0.002)
