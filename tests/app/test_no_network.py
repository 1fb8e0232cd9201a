"""The app opens no connection unless the user names an address: the kernel is asked to kill it if it does."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from doubles import write_video

_SOCKET = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}  # AUDIT_ARCH, number of socket(2)
_FORBIDDEN = (2, 10)  # AF_INET, AF_INET6; AF_UNIX and netlink reach no other machine

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in _SOCKET,
    reason="seccomp is Linux's, the numbers are of two machines",
)


def forbid() -> None:
    """In the child: from now on socket() of an internet family ends the process with SIGSYS, in libraries too."""
    architecture, number = _SOCKET[platform.machine()]
    load, equal, answer = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    allow, kill = 0x7FFF0000, 0x80000000
    code = [
        (load, 0, 0, 4), (equal, 0, 5, architecture),
        (load, 0, 0, 0), (equal, 0, 3, number),
        (load, 0, 0, 16), (equal, 2, 0, _FORBIDDEN[0]), (equal, 1, 0, _FORBIDDEN[1]),
        (answer, 0, 0, allow), (answer, 0, 0, kill),
    ]  # fmt: skip
    filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(filters))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(program), 0, 0):
        os._exit(77)  # not allowed in this container


def run(*args: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    done = subprocess.run(
        [sys.executable, *map(str, args)], cwd=cwd, env={**clean, "OMP_NUM_THREADS": "1", **env},
        capture_output=True, text=True, timeout=120, check=False, preexec_fn=forbid,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip("seccomp is not allowed here")
    return done


def test_negative_control(tmp_path: Path):
    import signal

    assert run("-c", "import socket; socket.socket()", cwd=tmp_path).returncode == -signal.SIGSYS
    assert run("-c", "import socket; socket.socketpair()", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("face", ["headless", "window", "doctor"])
def test_no_face_of_the_app_uses_the_network(tmp_path: Path, constant_model: Path, face: str):
    video = write_video(tmp_path / "clip.avi", 20)
    start = ["-m", "edgepose_app", "--source", video, "--model", constant_model]
    args = {
        "headless": [*start, "--headless", "--json", "a.jsonl", "--save", "a.mp4", "--save", "a.csv"],
        "window": [*start, "--frames", 5],
        "doctor": ["-m", "edgepose_app", "--doctor"],
    }[face]
    done = run(*args, cwd=tmp_path, **({} if face == "headless" else {"QT_QPA_PLATFORM": "offscreen"}))
    if face == "window" and done.returncode == 2 and "--headless" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
