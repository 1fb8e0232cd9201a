"""What onnxruntime can run on: the names of devices, the packages that bring them, and which were ever tried."""

from __future__ import annotations

CPU = "CPUExecutionProvider"
_SUFFIX = "ExecutionProvider"

# Device → the package whose onnxruntime has it. Other devices that an onnxruntime lists can be named too.
_PACKAGES = {
    "cpu": "onnxruntime",
    "cuda": "edgepose[cuda]",
    "tensorrt": "onnxruntime-gpu and tensorrt",
    "nvtensorrtrtx": "onnxruntime-trt-rtx",
    "openvino": "onnxruntime-openvino",
    "coreml": "onnxruntime (on macOS)",
    "dml": "onnxruntime-directml",
    "migraphx": "onnxruntime-migraphx",
    "qnn": "onnxruntime-qnn",
    "vitisai": "onnxruntime-vitisai",
    "xnnpack": "an onnxruntime built with --use_xnnpack",
}
TRIED = frozenset(["cpu"])  # where the shipped nets have run and their results were compared


def device_of(provider: str) -> str:
    """`cuda` for CUDAExecutionProvider."""
    return provider.removesuffix(_SUFFIX).lower()


def provider_of(device: str, listed: list[str]) -> str | None:
    """The provider of a device among those that onnxruntime lists."""
    return next((provider for provider in listed if device_of(provider) == device), None)


def known_devices(listed: list[str]) -> list[str]:
    """All names that make sense here, `auto` first."""
    return list(dict.fromkeys(["auto", *_PACKAGES, *map(device_of, listed)]))


def package_of(device: str) -> str:
    """What to install for a device, as one would say it."""
    return _PACKAGES.get(device, f"an onnxruntime with {device}")
