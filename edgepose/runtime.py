"""Running ONNX files: sessions, devices, and what a session really runs on. The only user of onnxruntime."""

from __future__ import annotations

import ctypes
import logging
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _C, models
from .errors import EdgeposeError
from .modelcard import METADATA_KEY, ModelCard

_log = logging.getLogger(__name__)
_DEVICES = ("auto", "cpu", "cuda")
_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
_MOST_THREADS = 1024  # onnxruntime starts them all at once, and 100,000 hang the machine
_QUIET = 4  # onnxruntime logs to the C++ stderr; what matters reaches the user as a sentence
# cuDNN picks its algorithms per input shape: a GPU sees these batch sizes only, nothing is picked twice.
_BUCKETS = (1, 2, 4, 8, 16, 32)


class Session:
    """One ONNX file, ready to run.

    ``model`` is a path or a shipped model's name. ``device`` is ``"auto"`` (the GPU where onnxruntime can use
    it, else the CPU), ``"cpu"`` or ``"cuda"``; the attribute tells where it really runs. ``threads`` is the
    number of CPU threads (None: onnxruntime's choice). Raises EdgeposeError with one sentence for everything
    that a user can get wrong.
    """

    def __init__(self, model: str | Path, device: str = "auto", threads: int | None = None) -> None:
        if device not in _DEVICES:
            raise EdgeposeError(f"The device {device!r} is unknown: use one of {', '.join(_DEVICES)}.")
        if threads is not None and not 1 <= threads <= _MOST_THREADS:
            raise EdgeposeError(f"threads is {threads}: give a whole number from 1 to {_MOST_THREADS}, or None.")
        self.path = models.resolve(model)
        self._session = _open(self.path, device, threads)
        # onnxruntime falls back to the CPU with no more than a warning: what it took counts, not what was asked for.
        self.device = "cuda" if self._session.get_providers()[0] == "CUDAExecutionProvider" else "cpu"
        if device == "cuda" and self.device != "cuda":
            raise EdgeposeError(
                "CUDA was asked for, but onnxruntime could not start it (no usable GPU, or its CUDA and "
                "cuDNN libraries are missing): install `edgepose[cuda]`, or use the CPU."
            )
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
        size = fixed if isinstance(fixed, int) else _bucket(len(batch)) if self.device == "cuda" else len(batch)
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


def _bucket(count: int) -> int:
    return next((size for size in _BUCKETS if size >= count), _BUCKETS[-1])


def _open(path: Path, device: str, threads: int | None) -> Any:
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
    # The CPU stays in the list: operators without a CUDA kernel run there.
    providers: list[Any] = ["CPUExecutionProvider"]
    if _use_cuda(ort, device):
        providers.insert(0, ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}))
    try:
        return ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no base class
        reason = str(error).partition("\n")[0].rpartition("failed:")[2].strip(" .")[:200] or type(error).__name__
        raise EdgeposeError(f"{path} is not an ONNX model that onnxruntime can load ({reason}).") from error


def _onnxruntime() -> Any:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise EdgeposeError("Running models needs onnxruntime: pip install 'edgepose[runtime]'.") from error
    ort.set_default_logger_severity(_QUIET)
    return ort


def _use_cuda(ort: Any, device: str) -> bool:
    if device == "cpu":
        return False
    built_in = "CUDAExecutionProvider" in ort.get_available_providers()
    if device == "cuda" and not (built_in and _has_driver()):
        missing = (
            "finds no NVIDIA driver: install it"
            if built_in
            else "is a build for the CPU only: install `edgepose[cuda]`"
        )
        raise EdgeposeError(f"CUDA was asked for, but this onnxruntime {missing}, or use the CPU.")
    if not (built_in and _has_driver()):
        return False
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # finds the CUDA and cuDNN wheels; without it a bare install binds to the CPU
    return True


def _has_driver() -> bool:
    """Whether an NVIDIA driver is there; asking onnxruntime would print errors where there is none."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
