"""Running ONNX files: sessions, devices, and what a session really runs on. The only user of onnxruntime."""

from __future__ import annotations

import ctypes
import io
import logging
import platform
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _C, models, providers
from .errors import EdgeposeError
from .modelcard import METADATA_KEY, ModelCard

_log = logging.getLogger(__name__)
_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
_NVIDIA = ("cuda", "tensorrt")
_MOST_THREADS = 1024  # onnxruntime starts them all at once, and 100,000 hang the machine
_QUIET = 4  # onnxruntime logs to the C++ stderr; what matters reaches the user as a sentence
# cuDNN picks its algorithms per input shape, others compile: they see these batch sizes only, nothing is picked twice.
_BUCKETS = (1, 2, 4, 8, 16, 32)


class Session:
    """One ONNX file, ready to run.

    ``model`` is a path or a shipped model's name. ``device`` is ``"auto"`` (an NVIDIA GPU where onnxruntime can use
    it, else the CPU, with a warning if there is one that it cannot use) or the name of a provider that the installed
    onnxruntime lists: ``"cpu"``, ``"cuda"``, ``"openvino"``, …; the attribute tells where it really runs. ``threads``
    is the number of CPU threads (None: onnxruntime's choice). Raises EdgeposeError with one sentence for everything
    that a user can get wrong.
    """

    def __init__(self, model: str | Path, device: str = "auto", threads: int | None = None) -> None:
        if threads is not None and not 1 <= threads <= _MOST_THREADS:
            raise EdgeposeError(f"threads is {threads}: give a whole number from 1 to {_MOST_THREADS}, or None.")
        self.path = models.resolve(model)
        wanted = _wanted(_onnxruntime(), device)
        self._session, reason = _open(self.path, wanted, threads)
        # onnxruntime falls back to the CPU with no more than a warning: what it took counts, not what was asked for.
        self.device = providers.device_of(self._session.get_providers()[0])
        if self.device != wanted:
            missing = f"onnxruntime could not start it ({reason}): install `{providers.package_of(wanted)}`"
            if device != "auto":
                raise EdgeposeError(f"{wanted.upper()} was asked for, but {missing}, or use the CPU.")
            _log.warning("%s runs on the CPU: there is %s, but %s", self.path.name, wanted.upper(), missing)
        elif self.device not in providers.TRIED:
            _log.warning("%s runs on %s, where nobody has compared its results yet", self.path.name, self.device)
        first = self._session.get_inputs()[0]
        self._input_name: str = first.name
        self._dtype = _DTYPES.get(first.type, np.float32)
        self.inputs = {i.name: tuple(i.shape) for i in self._session.get_inputs()}
        self.outputs = {o.name: tuple(o.shape) for o in self._session.get_outputs()}
        self.card = self._read_card()
        _log.info("%s runs on %s", self.path.name, self.device)

    @property
    def input_shape(self) -> tuple[int | str | None, ...]:
        """Shape of the first input; strings and None are dynamic."""
        return self.inputs[self._input_name]

    def run(self, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:  # batch [N, 3, H, W], N ≥ 1
        """Outputs by name, with N rows each: one network call unless the file fixes a smaller batch."""
        # A file's fixed batch must be met; a GPU gets a bucket; on a CPU every row costs, so there are none too many.
        fixed = self.input_shape[0]
        size = fixed if isinstance(fixed, int) else _bucket(len(batch)) if self.device != "cpu" else len(batch)
        chunks = [self._call(batch[start : start + size], size) for start in range(0, len(batch), size)]
        if len(chunks) == 1:
            return chunks[0]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def _call(self, batch: NDArray[Any], size: int) -> dict[str, NDArray[Any]]:
        rows = len(batch)
        if rows < size:  # filled up with zeros, whose answers are left out below
            batch = np.concatenate([batch, np.zeros((size - rows, *batch.shape[1:]), batch.dtype)])
        values = self._session.run(None, {self._input_name: batch.astype(self._dtype, copy=False)})
        return {name: value[:rows] for name, value in zip(self.outputs, values, strict=True)}

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs for one person, all numbers: by a trial run where the file is vague."""
        if all(isinstance(s, int) for shape in self.outputs.values() for s in shape[1:]):
            return {name: (1, *map(int, shape[1:])) for name, shape in self.outputs.items()}
        fixed = [s for s in self.input_shape[1:] if isinstance(s, int)]
        if len(fixed) < len(self.input_shape) - 1:
            raise EdgeposeError(
                f"{self.path.name} has no card and a dynamic input {list(self.input_shape)}: "
                "export it with a fixed height and width."
            )
        # Shape inference would need the onnx package; one run of zeros says the same.
        trial = self.run(np.zeros((1, *fixed), np.float32))
        return {name: value.shape for name, value in trial.items()}

    def _read_card(self) -> ModelCard | None:
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            return None
        try:
            return ModelCard.from_json(text)
        except (ValueError, TypeError, KeyError) as error:
            raise EdgeposeError(f"The card inside {self.path.name} is not usable: {error}.") from error


def listed_devices() -> list[str]:
    """The devices that the installed onnxruntime lists, the best one first; that it can start on them is not said."""
    return [providers.device_of(provider) for provider in _onnxruntime().get_available_providers()]


def built_for_cuda() -> str | None:
    """For which CUDA the installed onnxruntime was built, as ``"13.0"``; None where for none."""
    _onnxruntime()
    try:
        from onnxruntime.capi import build_and_package_info
    except ImportError:
        return None
    return str(getattr(build_and_package_info, "cuda_version", "")) or None


def _bucket(count: int) -> int:
    return next((size for size in _BUCKETS if size >= count), _BUCKETS[-1])


def _open(path: Path, device: str, threads: int | None) -> tuple[Any, str]:
    """A session, and why it does not run on the device, where it does not."""
    ort = _onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = _QUIET
    # Spinning workers steal the cores from capture and painting: 32 ms stalls were measured on two cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if platform.machine().lower() in ("x86_64", "amd64") and not _C.has_vnni():
        # Pairs of int8 products overflow sixteen bits there: right and slower is better than fast and wrong.
        options.add_session_config_entry("session.x64quantprecision", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    reason = _preload(ort) if device in _NVIDIA else ""
    reason = reason or "it gives no reason"
    if device != "cpu":
        try:
            session = ort.InferenceSession(str(path), options, providers=_chain(ort, device), enable_fallback=0)
        except Exception as error:  # onnxruntime's exceptions share no base class
            reason = _short(error)
        else:
            if providers.device_of(session.get_providers()[0]) == device:
                return session, ""
    try:
        return ort.InferenceSession(str(path), options, providers=[providers.CPU]), reason
    except Exception as error:  # as above
        raise EdgeposeError(f"{path} is not an ONNX model that onnxruntime can load ({_short(error)}).") from error


def _chain(ort: Any, device: str) -> list[Any]:
    """The device first. The CPU stays in the list: operators without a kernel there run on it."""
    listed = ort.get_available_providers()
    cuda = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})
    first: list[Any] = [cuda if device == "cuda" else providers.provider_of(device, listed)]
    if device == "tensorrt":  # which leaves to CUDA what it does not know
        first.append(cuda)
    return [*first, providers.CPU]


def _short(error: Exception) -> str:
    said = " ".join(str(error).split())
    said = re.sub(r"^/\S+:\d+ .*?\) ", "", said)  # where in its sources
    return (said.rpartition("failed:")[2] or said).strip(" .")[:200] or type(error).__name__


def _preload(ort: Any) -> str:
    """Find the CUDA and cuDNN wheels, without which a bare install binds to the CPU; which libraries are missing."""
    said = io.StringIO()
    with redirect_stdout(said):  # where it prints; that may be a stream of results
        getattr(ort, "preload_dlls", lambda: None)()
    lacking = re.findall(r"Failed to load (\S+?):", said.getvalue())
    return f"{', '.join(dict.fromkeys(lacking))} cannot be loaded" if lacking else ""


def _onnxruntime() -> Any:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise EdgeposeError("Running models needs onnxruntime: pip install 'edgepose[runtime]'.") from error
    ort.set_default_logger_severity(_QUIET)
    return ort


def _wanted(ort: Any, device: str) -> str:
    """The device to try; EdgeposeError where it cannot be one here."""
    listed = ort.get_available_providers()
    if device not in (known := providers.known_devices(listed)):
        raise EdgeposeError(f"The device {device!r} is unknown: use one of {', '.join(known)}.")
    wanted = "cuda" if device == "auto" else device
    here = providers.provider_of(wanted, listed) is not None
    missing = ""
    if not here:
        has = ", ".join(map(providers.device_of, listed))
        missing = f"is a build for {has}: install `{providers.package_of(wanted)}` instead of it"
    elif wanted in _NVIDIA and not _has_driver():
        missing = "finds no NVIDIA driver: install it"
    if missing and device == "auto":
        return "cpu"
    if missing:
        raise EdgeposeError(f"{wanted.upper()} was asked for, but this onnxruntime {missing}, or use the CPU.")
    return wanted


def _has_driver() -> bool:
    """Whether an NVIDIA driver is there; asking onnxruntime would print errors where there is none."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
