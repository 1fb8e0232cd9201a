"""`--doctor`: what works on this machine, what does not, and what to do about it. Asks nobody but the machine."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgepose import EdgeposeError

from .display import has_display, why_no_window


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    what: str
    said: str
    remedy: str = ""  # what to do; empty: all is well
    optional: bool = False  # the rest works without it

    def __str__(self) -> str:
        mark = "ok" if not self.remedy else "--" if self.optional else "!!"
        return f"{mark}  {self.what}: {self.said}" + (f"\n      → {self.remedy}" if self.remedy else "")


Check = Callable[[], Iterator[Finding]]
# Their files lie in the same folder: the one that was installed last works by halves.
ONNXRUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-migraphx",
    "onnxruntime-rocm",
    "onnxruntime-qnn",
    "onnxruntime-silicon",
)
OPENCVS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


def report(say: Callable[[str], None]) -> int:
    """Say all findings; 1 where something does not work, else 0."""
    broken = 0
    for check in CHECKS:
        for finding in _careful(check):
            say(str(finding))
            broken += bool(finding.remedy) and not finding.optional
    say(f"{broken or 'nothing'} to mend")
    return int(broken > 0)


def _careful(check: Check) -> Iterator[Finding]:
    """A broken installation breaks in its own ways: one check that fails must not hide the others."""
    try:
        yield from check()
    except Exception as error:
        name = check.__name__.strip("_").replace("_", " ")
        yield Finding(name, f"{type(error).__name__}: {error}", "see the line above, and install that package again")


def installed(name: str) -> str | None:
    """The version of a package, None where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _versions() -> Iterator[Finding]:
    from edgepose import _C

    yield Finding("edgepose", f"{installed('edgepose')}, kernels for {_C.simd_level()}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("machine", f"{platform.platform()}, {platform.machine()}, cores: {cores}")
    yield Finding("Python", f"{platform.python_version()} at {sys.prefix}")
    yield Finding("numpy", str(installed("numpy")))


def _packages() -> Iterator[Finding]:
    yield from one_of("onnxruntime", ONNXRUNTIMES, "edgepose[runtime]")
    yield from one_of("OpenCV", OPENCVS, "edgepose[runtime]")
    for name, what in (
        ("python-osc", "--send osc needs it: pip install 'edgepose[send]'"),
        ("websockets", "--send ws needs it: pip install 'edgepose[send]'"),
        ("av", "videos are read and written by it: pip install 'edgepose[app]'"),
        ("pillow-heif", "HEIC pictures need it: pip install 'edgepose[heic]'"),
        ("matplotlib", "the demo's photograph comes with it: pip install 'edgepose[app]'"),
    ):
        found = installed(name)
        yield Finding(name, found or "not installed", "" if found else what, optional=True)


def one_of(what: str, names: tuple[str, ...], extra: str) -> Iterator[Finding]:
    """Of packages that overwrite each other exactly one may be installed."""
    found = {name: known for name in names if (known := installed(name))}
    said = ", ".join(f"{name} {known}" for name, known in found.items())
    if not found:
        yield Finding(what, "not installed", f"pip install '{extra}'")
    elif len(found) == 1:
        yield Finding(what, said)
    else:
        keep = next(name for name in found if name != names[0])
        remedy = f"they overwrite each other: pip uninstall -y {' '.join(found)} && pip install {keep}"
        yield Finding(what, f"{said} at once", remedy)


def _devices() -> Iterator[Finding]:
    from edgepose import providers
    from edgepose.runtime import Session, built_for_cuda, listed_devices

    named = (device if device in providers.TRIED else f"{device} (not tried)" for device in listed_devices())
    yield Finding("devices that onnxruntime lists", ", ".join(named))
    session = Session("default")
    yield Finding("the default model runs on", session.device)
    driver, wanted = cuda_of_driver(), built_for_cuda()
    if driver is None and wanted is not None:
        yield Finding("NVIDIA", f"no driver (this onnxruntime is built for CUDA {wanted}; the CPU works)")
    elif driver is not None and wanted is None:
        yield Finding(
            "NVIDIA", f"driver for CUDA {driver}", "this onnxruntime has no CUDA: pip install 'edgepose[cuda]'", True
        )
    elif driver is not None and wanted is not None:
        yield from driver_against_cuda(driver, wanted)
        if session.device != "cuda":
            try:
                Session("default", "cuda")
            except EdgeposeError as error:
                yield Finding("CUDA", str(error), "pip install 'edgepose[cuda]'", optional=True)


def driver_against_cuda(driver: str, wanted: str) -> Iterator[Finding]:
    """A driver runs programs of its own CUDA and of older ones."""
    said = f"driver for CUDA {driver}, onnxruntime built for CUDA {wanted}"
    if int(driver.split(".")[0]) >= int(wanted.split(".")[0]):
        yield Finding("NVIDIA", said)
    else:
        remedy = f"the driver is too old: install one for CUDA {wanted.split('.')[0]} or newer"
        yield Finding("NVIDIA", said, f"{remedy}; the CPU works meanwhile", optional=True)


def cuda_of_driver() -> str | None:
    """The newest CUDA that the driver can run, as `12.4`; None without a driver."""
    number = ctypes.c_int(0)
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1").cuDriverGetVersion(
            ctypes.byref(number)
        )
    except OSError:
        return None
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _models() -> Iterator[Finding]:
    from edgepose import models

    found = models.available()
    yield Finding("shipped models", ", ".join(found) or "none", "" if found else "install edgepose again")


def _qt() -> Iterator[Finding]:
    import cv2  # sets QT_QPA_PLATFORM_PLUGIN_PATH to its own Qt 5

    pyqt = installed("PyQt6")
    if pyqt is None:
        yield Finding("PyQt6", "not installed", "the window needs it: pip install 'edgepose[app]'", optional=True)
        return
    yield Finding("PyQt6", f"{pyqt}, Qt {installed('PyQt6-Qt6')}, beside OpenCV {cv2.__version__}")
    yield from plugin_clash(os.environ.get("QT_QPA_PLATFORM_PLUGIN_PATH", ""), os.environ.get("QT_PLUGIN_PATH", ""))
    if not has_display():
        yield Finding("display", "none (DISPLAY and WAYLAND_DISPLAY are not set): the app runs without a window")
    elif reason := why_no_window():
        yield Finding("window", "cannot be shown", reason, optional=True)
    else:
        shown = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or os.environ.get("QT_QPA_PLATFORM", "")
        yield Finding("window", f"can be shown on {shown or platform.system()}")


def plugin_clash(*paths: str) -> Iterator[Finding]:
    """Plug-ins of another Qt, which PyQt6 tries and dies of. OpenCV's are harmless: the app clears that variable."""
    for path in paths:
        if path and f"{os.sep}cv2{os.sep}" not in path and f"{os.sep}PyQt6{os.sep}" not in path:
            remedy = "another Qt's plug-ins break the window: unset QT_PLUGIN_PATH QT_QPA_PLATFORM_PLUGIN_PATH"
            yield Finding("Qt plug-ins", path, remedy, optional=True)


def _cameras() -> Iterator[Finding]:
    from .sources.camera import list_cameras

    cameras = list_cameras()
    if not cameras:
        said = "none found" if sys.platform == "linux" else "the system does not list them here; try --camera 0"
        yield Finding("cameras", said)
    for number, name in cameras.items():
        node = Path(f"/dev/video{number}")
        allowed = os.access(node, os.R_OK | os.W_OK)
        remedy = "" if allowed else f"no permission for {node}; add your user to the group 'video' and log in again"
        yield Finding(f"camera {number}", name, remedy)


CHECKS: tuple[Check, ...] = (_versions, _packages, _models, _devices, _qt, _cameras)
