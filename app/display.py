"""Whether a window can be shown, found out without risking the process.

Qt aborts when there is no display or a system library is missing: no exception, just a dead process. So the
first attempt is made by a child process, and its last words are turned into a sentence.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from importlib.util import find_spec

# Shared libraries that Qt and OpenCV want from the system → Debian and Ubuntu packages.
PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libGLX.so.0": "libglx0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libdbus-1.so.3": "libdbus-1-3",
    "libX11.so.6": "libx11-6",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb.so.1": "libxcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-render.so.0": "libxcb-render0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-util.so.1": "libxcb-util1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libwayland-client.so.0": "libwayland-client0",
    "libwayland-cursor.so.0": "libwayland-cursor0",
    "libwayland-egl.so.1": "libwayland-egl1",
}
_MISSING = re.compile(r"(lib[\w.+-]+\.so[.\d]*): cannot open shared object file")
_PROBE = "from PyQt6.QtWidgets import QApplication; QApplication(['probe'])"


def has_display() -> bool:
    """Whether there is a screen to speak of; the offscreen platform of Qt counts."""
    if os.environ.get("QT_QPA_PLATFORM", "").startswith(("offscreen", "minimal", "vnc")):
        return True
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def clear_opencv_qt() -> None:
    """Undo what importing OpenCV does: it points Qt at its own Qt 5 plugins, which PyQt6 cannot load."""
    for name in ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR"):
        if f"{os.sep}cv2{os.sep}" in os.environ.get(name, ""):
            del os.environ[name]


def why_no_window() -> str:
    """A sentence on why Qt cannot open a window here and what to do; empty when it can."""
    clear_opencv_qt()
    if sys.platform != "linux":  # elsewhere the wheel brings all that it needs, and a display is there
        return "" if find_spec("PyQt6") else explain("No module named 'PyQt6'")
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env={**os.environ, "QT_DEBUG_PLUGINS": "1"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "the display does not answer; check DISPLAY, or use --headless"
    return "" if probe.returncode == 0 else explain(probe.stderr)


def explain(stderr: str) -> str:
    """The dying words of Qt, as one sentence that says what to do."""
    if "No module named 'PyQt6'" in stderr:
        return "the window needs PyQt6: pip install 'edgepose[app]', or use --headless"
    if remedy := missing_library(stderr):
        return f"the window {remedy}, or use --headless"
    if "could not connect to display" in stderr or "Failed to create wl_display" in stderr:
        shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        return f"the display {shown!r} cannot be reached; check DISPLAY and your rights, or use --headless"
    last = stderr.strip().splitlines()[-1] if stderr.strip() else "no reason given"
    return f"Qt cannot open a window here ({last}); use --headless"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing_library(text: str) -> str:
    """`needs libX, which this system lacks: sudo apt-get install …`, from what the loader said; else empty."""
    missing = dict.fromkeys(_MISSING.findall(text))
    if not missing:
        return ""
    # The loader stops at the first one. Who lacks one often lacks more: name them all at once.
    missing |= dict.fromkeys(name for name in PACKAGES if "wayland" not in name and not _loads(name))
    # Qt tries every platform; Wayland's libraries are optional beside X11's.
    needed = [name for name in missing if "wayland" not in name] or list(missing)
    packages = " ".join(dict.fromkeys(PACKAGES.get(name, f"(the package with {name})") for name in needed))
    return (
        f"needs {', '.join(needed)}, which this system lacks: sudo apt-get install {packages}"
        " (or what your distribution calls it)"
    )
