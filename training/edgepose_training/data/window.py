"""How large a window around a person a recipe needs, so that its augmentation shows picture and not black."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from edgepose import EdgeposeError
from edgepose.skeletons import Skeleton
from edgepose_training.config import Config
from edgepose_training.data.augment import PADDING, CropLabels, draws, plan
from edgepose_training.data.loaders import strength_at
from edgepose_training.data.packing import CONTEXT
from edgepose_training.data.shard_folder import PackedSet

PEOPLE, GRID = 1000, 12  # draws, and points of the input a side, that stand for all
BLACK, MUCH_BLACK = 0.01, 0.05  # share of the input outside the window: aimed at; worth a warning
OVERSIZE = 1.125  # stored height of a padded box, in heights of the input, as augmentation also zooms in
SIDES = np.array([100.0, 200.0])  # px of a person who stands upright


def window_for(config: Config) -> dict[str, Any]:
    """`context`, `max_side` and `aspect` of the crops that this recipe needs."""
    width, height = config.input_size
    aspect = width / height
    reach = _reach(config) / _half_window(aspect)
    needed = float(np.quantile(reach.max(-1), 1 - BLACK))
    context = max(math.ceil(needed * 10) / 10, CONTEXT)  # other recipes may come to the same crops
    return {"context": context, "max_side": round(height * OVERSIZE), "aspect": aspect}


def black_share(config: Config, context: float, aspect: float) -> float:
    """Share of the input that lies outside the windows, over the recipe's augmentation; pictures have no end here."""
    return float((_reach(config) > _half_window(aspect) * context).any(-1).mean())


def check_window(entry: PackedSet, config: Config, folder: object) -> str | None:
    """A warning for crops that leave much of this recipe's input black.

    Raises EdgeposeError for crops that its input would enlarge.
    """
    width, height = config.input_size
    if entry.max_side < height:
        raise EdgeposeError(
            f"{folder}: people were packed at most {entry.max_side} px tall, which an input of {width}×{height} would "
            f"enlarge: pack them with --for CONFIG, or --max-side {round(height * OVERSIZE)}"
        )
    black = black_share(config, entry.context, entry.aspect)
    if black < MUCH_BLACK:
        return None
    return f"{folder}: {black:.0%} of the input will be black beside the packed windows; pack.py --for CONFIG avoids it"


def _half_window(aspect: float) -> np.ndarray:
    """Half the sides [2] of the padded box, px, as `packing.crop_person` has them."""
    tall = max(SIDES[1], SIDES[0] / aspect) * PADDING
    half: np.ndarray = np.array([tall * aspect, tall]) / 2
    return half


def _reach(config: Config) -> np.ndarray:
    """How far [PEOPLE, GRID², 2] from the person's center, px, the points of the input lie that augmentation shows."""
    # Cuts and half bodies show less of the window, not more.
    strength = replace(strength_at(config, config.weak_augmentation_start), truncation_prob=0.0, half_body=0.0)
    skeleton = Skeleton.load(config.skeleton)
    empty = torch.zeros(PEOPLE, skeleton.num_keypoints)
    box = torch.tensor([-SIDES[0], -SIDES[1], SIDES[0], SIDES[1]]) / 2
    labels = CropLabels(box.float().repeat(PEOPLE, 1), torch.stack((empty, empty), -1), empty, empty, empty[:, :2])
    affine = plan(labels, skeleton, config.input_size, strength, draws(torch.arange(PEOPLE))).affine.double()
    width, height = config.input_size
    grid = torch.cartesian_prod(*((torch.arange(GRID) + 0.5) / GRID * side for side in (width, height))).double()
    there = torch.linalg.inv(affine[:, :, :2]) @ (grid.T[None] - affine[:, :, 2:])
    reach: np.ndarray = there.mT.abs().numpy()
    return reach
