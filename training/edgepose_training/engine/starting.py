"""A net that starts from other weights: what fits is taken over, and the rest is told in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from edgepose import EdgeposeError
from edgepose_training.engine import checkpoints, mmpose_checkpoints
from edgepose_training.engine.mmpose_checkpoints import Weights

NAMED = 3  # modules that a sentence lists before it counts
TRACKED = "num_batches_tracked"  # of batch norms: files before 2018 lack it, and nothing reads it


def initialize(net: nn.Module, source: checkpoints.Source, keypoints: Sequence[str] = ()) -> str:
    """Take over what fits from a checkpoint of this project, of mmpose, or of any pre-trained backbone.

    `keypoints`: names of the net's K points. Rows of a head's tensors that belong to a point of a source with other
    points are taken over by name. Returns what starts anew, in words. Raises EdgeposeError where the source has
    another backbone.
    """
    weights, their_points = _read(source)
    target = net.state_dict()
    fitting = under_names_of(weights, target)
    _check_backbone(target, fitting, source)
    net.load_state_dict(fitting, strict=False)
    new = [name for name in target if name not in fitting and not name.endswith(TRACKED)]
    if not new:
        return "every weight taken over"
    pairs = [(i, their_points.index(point)) for i, point in enumerate(keypoints) if point in their_points]
    by_name = _take_rows(target, weights, new, pairs, (len(keypoints), len(their_points))) if pairs else False
    points = f", where {len(pairs)} of {len(keypoints)} points were found by name" if by_name else ""
    return f"new: {_modules(target, new)}{points}; everything else taken over"


def _read(source: checkpoints.Source) -> tuple[Weights, list[str]]:
    """The best weights of a file, and the names of its points where it tells them."""
    content = checkpoints.content(source)
    if checkpoints.is_ours(content):
        state = checkpoints.widen(dict(content))
        return state["ema"] or state["model"], list(content.get("skeleton", {}).get("keypoints", ()))
    theirs = mmpose_checkpoints.checkpoint_of(content, str(source))
    names = theirs.dataset.get("keypoint_id2name", {})
    return theirs.weights, [str(names.get(i)) for i in range(len(names))] if isinstance(names, dict) else []


def under_names_of(weights: Weights, target: dict[str, Tensor]) -> Weights:
    """The weights that fit `target` by name and shape, whatever stands before the names of backbone and head.

    torchvision and timm name a backbone's tensors from its first layer on, mmpretrain puts `backbone.` before them,
    others `model.` or `module.`: of all beginnings the one under which most tensors fit.
    """
    found: Weights = {}
    for part in sorted({_part(name) for name in target}):
        names = [name for name in target if _part(name) == part]
        prefixes = _prefixes(weights, names, part)
        choices: list[Weights] = [_fitting(weights, target, names, part, prefix) for prefix in prefixes]
        best = max(choices, key=len)
        found |= best
    return found


def _part(name: str) -> str:
    """The beginning of a name that other projects may write otherwise."""
    return next((part for part in ("backbone.", "head.") if name.startswith(part)), "")


def _prefixes(weights: Weights, names: list[str], part: str) -> list[str]:
    """What may stand before the names of a part: as here first, then whatever precedes one of its first tensors."""
    firsts = [name.removeprefix(part) for name in names[:NAMED]]
    ends = (name[: -len(first)] for first in firsts for name in weights if name.endswith(first))
    return list(dict.fromkeys([part, *(end for end in ends if not end or end.endswith("."))]))


def _fitting(weights: Weights, target: dict[str, Tensor], names: list[str], part: str, prefix: str) -> Weights:
    if part and _blocks(weights, prefix, names, part) > _blocks(names, part, names, part):
        return {}  # a deeper net has the tensors of a shallower one, and more in the same rows of blocks
    pairs = ((name, weights.get(prefix + name.removeprefix(part))) for name in names)
    return {name: value for name, value in pairs if value is not None and value.shape == target[name].shape}


def _blocks(found: Iterable[str], prefix: str, names: list[str], part: str) -> set[tuple[str, str]]:
    """Row and number of the blocks (`layer3.5`) among the names `found` behind `prefix`, in the rows of `names`."""
    rows = {name.removeprefix(part).partition(".")[0] for name in names}
    paths = (name.removeprefix(prefix).split(".") for name in found if name.startswith(prefix))
    return {(path[0], path[1]) for path in paths if len(path) > 1 and path[0] in rows and path[1].isdecimal()}


def _check_backbone(target: dict[str, Tensor], fitting: Weights, source: checkpoints.Source) -> None:
    """Raises EdgeposeError unless the backbone fits as a whole, or, of a net that is one piece, most of it."""
    tensors = [name for name in target if not name.endswith(TRACKED)]
    backbone = [name for name in tensors if name.startswith("backbone.")]
    missing = [name for name in backbone or tensors if name not in fitting]
    if len(missing) > (0 if backbone else len(tensors) // 2):
        what = "backbone" if backbone else "net"
        raise EdgeposeError(
            f"{source}: its {what} is another: {len(missing)} of {len(backbone or tensors)} tensors do not fit, "
            f"such as {missing[0]} {list(target[missing[0]].shape)}{_size_of(source)}"
        )


def _size_of(source: checkpoints.Source) -> str:
    """Which net a checkpoint of this project holds, for an error."""
    config = checkpoints.content(source).get("config")
    if not isinstance(config, dict) or "size" not in config:
        return ""
    return f"; it holds {config.get('backbone', 'cspnext')} of size {config['size']} (grow.py makes a larger net of it)"


def _take_rows(
    target: dict[str, Tensor],
    weights: Weights,
    new: Iterable[str],
    pairs: list[tuple[int, int]],
    counts: tuple[int, int],
) -> bool:
    """Copy the rows [point, …] of tensors that differ in K only, in place. Whether there was such a tensor."""
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    taken = False
    for name in new:
        here, there = target[name], weights.get(name)
        if there is None or (len(here), len(there)) != counts or here.shape[1:] != there.shape[1:]:
            continue
        with torch.no_grad():
            here[ours] = there[theirs].to(here.dtype)  # a state dict shares its memory with the net
        taken = True
    return taken


def _modules(target: dict[str, Tensor], names: list[str]) -> str:
    """Names of tensors as modules; a part of which nothing is left counts as one."""
    whole = [
        part
        for part in dict.fromkeys(name.partition(".")[0] for name in names)
        if all(name in names for name in target if name.startswith(f"{part}.") and not name.endswith(TRACKED))
    ]
    rest = (name.rpartition(".")[0] for name in names if name.partition(".")[0] not in whole)
    modules = [*whole, *dict.fromkeys(rest)]
    more = f" and {len(modules) - NAMED} more" if len(modules) > NAMED else ""
    return ", ".join(modules[:NAMED]) + more
