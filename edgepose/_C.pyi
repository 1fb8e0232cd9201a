from collections.abc import Sequence
from typing import Any

with_cuda: bool

def simd_levels() -> list[str]: ...
def simd_level() -> str: ...
def set_simd_level(name: str) -> None: ...
def has_vnni() -> bool: ...
def num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def batch_norm_silu(
    x: Any, weight: Any, bias: Any, eps: float, out: tuple[Any, Any, Any] | None, /
) -> tuple[Any, Any, Any]: ...
def batch_norm_silu_grad(
    x: Any,
    grad: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    eps: float,
    out: tuple[Any, Any, Any] | None,
    /,
) -> tuple[Any, Any, Any]: ...
def crop_normalize(
    frame: Any,
    affine: Any,
    input_size: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    channel_order: str,
    out: Any,
    /,
) -> Any: ...
def heatmap_decode(
    heatmaps: Any, input_size: Sequence[float], refine: str, blur: int, affine: Any, out: tuple[Any, Any] | None, /
) -> tuple[Any, Any]: ...
def heatmap_encode(
    keypoints: Any,
    visible: Any,
    input_size: Sequence[float],
    heatmap_size: Sequence[int],
    sigma: float,
    center: str,
    out: tuple[Any, Any] | None,
    /,
) -> tuple[Any, Any]: ...
def heatmap_mse(
    student: Any, target: Any, teacher: Any, alpha: float, weight: Any, teacher_weight: Any, loss: Any, grad: Any, /
) -> Any: ...
def simcc_decode(
    simcc_x: Any,
    simcc_y: Any,
    split_ratio: float,
    score: str,
    beta: float | None,
    sigma: Sequence[float] | None,
    refine: str,
    affine: Any,
    flipped: tuple[Any, Any, Any] | None,
    flip_shift: str,
    out: tuple[Any, Any] | None,
    /,
) -> tuple[Any, Any]: ...
def simcc_encode(
    keypoints: Any,
    visible: Any,
    input_size: Sequence[float],
    split_ratio: float,
    sigma: Sequence[float] | None,
    kind: str,
    center: str,
    normalize: bool,
    smoothing: float,
    out: tuple[Any, Any, Any] | None,
    /,
) -> tuple[Any, Any, Any]: ...
def simcc_gaussian_kl_div(
    simcc_x: Any,
    simcc_y: Any,
    keypoints: Any,
    visible: Any,
    split_ratio: float,
    sigma: Sequence[float],
    center: str,
    normalize: bool,
    beta: float,
    target_beta: float | None,
    bin_mean: bool,
    loss: Any,
    grad: tuple[Any, Any] | None,
    /,
) -> Any: ...
def simcc_kl_div(
    student: Any, target: Any, beta: float, target_beta: float | None, weight: Any, loss: Any, grad: Any, /
) -> Any: ...
