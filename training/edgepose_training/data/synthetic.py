"""Synthetic people: generated samples with exact whole-body labels, to try the whole pipeline without data.

A skeleton is posed at random by its joint angles, dressed in flat colors and painted over a soft background.
Frontal figures: the subject's left is at the image's right.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgepose_training.data.shards import Crop

UP = np.array([0.0, -1.0])
LEFT, RIGHT = 1, -1  # sign of the image's x for the subject's sides
Segment = tuple[int, int]


@dataclass(frozen=True)
class Palette:
    """BGR colors of one figure."""

    skin: tuple[int, int, int]
    left: tuple[int, int, int]
    right: tuple[int, int, int]
    torso: tuple[int, int, int]
    back: tuple[int, int, int]


def synthetic_person(rng: np.random.Generator, size: tuple[int, int] = (192, 256)) -> Crop:
    """One figure in an image of `size` (W, H), with its 133 keypoints, all of them ground truth."""
    points = pose(rng) * (size[1] * rng.uniform(0.55, 0.8))
    low, high = points.min(0), points.max(0)
    room = np.array(size) - (high - low)
    points += -low + room * rng.uniform(0.25, 0.75, 2)
    image = paint(points, size, palette(rng), rng)
    box = np.concatenate((points.min(0), points.max(0)))
    visible = np.full(len(points), 2, np.uint8)
    return Crop(
        image,
        box.astype(np.float32),
        points.astype(np.float32),
        visible,
        np.ones(len(points), np.float32),
        "drawn",
        "permissive",
    )


def pose(rng: np.random.Generator) -> np.ndarray:
    """COCO-WholeBody points [133, 2] of a random pose; the figure is about 1 tall, hips at the origin."""
    points = np.zeros((133, 2))
    lean = rng.normal(0, 0.12)
    spine = turn(UP, lean)
    across = np.array([-spine[1], spine[0]])  # towards the subject's left
    neck = spine * 0.3
    face = neck + turn(spine, rng.normal(0, 0.15)) * 0.13
    points[23:91] = face_points() * 0.062 + face
    points[0] = points[53]
    points[1], points[2] = points[65:71].mean(0), points[59:65].mean(0)
    points[3], points[4] = points[38] + [0.006, -0.012], points[24] + [-0.006, -0.012]
    for side, arm, leg, foot, hand in ((LEFT, 5, 11, 17, 91), (RIGHT, 6, 12, 20, 112)):
        points[arm] = neck + side * across * 0.11
        raised = rng.uniform(0.15, 2.7)
        points[arm + 2] = points[arm] + turn(-UP, -side * raised) * 0.16
        bent = raised + rng.uniform(-0.3, 1.4)
        forearm = turn(-UP, -side * bent)
        points[arm + 4] = points[arm + 2] + forearm * 0.15
        points[hand : hand + 21] = hand_points(forearm, side, rng) + points[arm + 4]
        points[leg] = side * across * 0.07
        spread = rng.uniform(0.0, 0.6)
        points[leg + 2] = points[leg] + turn(-UP, -side * spread) * 0.23
        shin = turn(-UP, -side * (spread - rng.uniform(0, 0.6)))
        points[leg + 4] = points[leg + 2] + shin * 0.22
        toe = turn(shin, -side * rng.uniform(0.6, 1.3))
        points[foot] = points[leg + 4] + toe * 0.08 + shin * 0.025
        points[foot + 1] = points[foot] - shin * 0.015 + side * across * 0.012
        points[foot + 2] = points[leg + 4] - toe * 0.02 + shin * 0.025
    return points


def turn(vector: np.ndarray, angle: float) -> np.ndarray:
    """Rotate clockwise on the screen (y points down) by `angle` radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])


def face_points() -> np.ndarray:
    """The 68 face points in face units: x and y in about [−1, 1]; iBUG order, from the image's left."""
    points = np.zeros((68, 2))
    t = np.pi * np.arange(17) / 16
    points[:17] = np.column_stack((-np.cos(t), -0.1 + 1.15 * np.sin(t)))
    brow = np.linspace(0, 1, 5)
    points[17:22] = np.column_stack((-0.78 + 0.6 * brow, -0.5 - 0.13 * np.sin(np.pi * brow)))
    points[22:27] = points[21:16:-1] * [-1, 1]
    points[27:31] = np.column_stack((np.zeros(4), np.linspace(-0.3, 0.2, 4)))
    points[31:36] = np.column_stack((np.linspace(-0.2, 0.2, 5), 0.3 + 0.05 * np.sin(np.pi * np.arange(5) / 4)))
    ring = -np.pi + np.pi * np.array([0, 1, 2, 3, 4, 5]) / 3
    points[36:42] = np.column_stack((-0.45 + 0.2 * np.cos(ring), -0.25 + 0.09 * np.sin(ring)))
    points[42:48] = np.column_stack((0.45 + 0.2 * np.cos(ring), -0.25 + 0.09 * np.sin(ring)))
    outer, inner = -np.pi + 2 * np.pi * np.arange(12) / 12, -np.pi + 2 * np.pi * np.arange(8) / 8
    points[48:60] = np.column_stack((0.38 * np.cos(outer), 0.6 + 0.17 * np.sin(outer)))
    points[60:68] = np.column_stack((0.28 * np.cos(inner), 0.6 + 0.07 * np.sin(inner)))
    return points


def hand_points(forearm: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """21 points of an open or half-closed hand at the origin, which points along the forearm."""
    points = np.zeros((21, 2))
    closed = rng.uniform(0, 0.6)
    direction = turn(forearm, rng.normal(0, 0.3))
    for finger, angle in enumerate((-0.9, -0.35, -0.05, 0.22, 0.5)):
        ray = turn(direction, side * angle)
        length = 0.055 if finger == 0 else 0.085
        steps = np.array([0.4, 0.62, 0.82, 1.0]) * length * np.array([1, 1 - closed / 4, 1 - closed / 2, 1 - closed])
        points[1 + 4 * finger : 5 + 4 * finger] = steps[:, None] * ray
    return points


def palette(rng: np.random.Generator) -> Palette:
    """Skin, cool colors at the left and warm ones at the right, so that the sides can be told apart."""

    def near(hue: float, sat: tuple[int, int], val: tuple[int, int]) -> tuple[int, int, int]:
        hsv = np.array([[[int(hue + rng.normal(0, 5)) % 180, rng.integers(*sat), rng.integers(*val)]]], np.uint8)
        b, g, r = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].tolist()
        return b, g, r

    return Palette(
        skin=near(12, (60, 160), (120, 250)),
        left=near(110, (120, 230), (120, 240)),
        right=near(10, (150, 240), (140, 250)),
        torso=near(rng.uniform(0, 180), (40, 200), (60, 220)),
        back=near(rng.uniform(0, 180), (10, 90), (60, 230)),
    )


def paint(points: np.ndarray, size: tuple[int, int], colors: Palette, rng: np.random.Generator) -> np.ndarray:
    """The figure [H, W, 3] uint8 BGR over a background of soft blots."""
    blots = rng.integers(-40, 40, (8, 6, 3)).astype(np.float32)
    image = cv2.resize(blots, size, interpolation=cv2.INTER_CUBIC) + np.array(colors.back, np.float32)
    image = np.clip(image, 0, 255).astype(np.uint8)
    unit = float(np.linalg.norm(points[5:7].mean(0) - points[11:13].mean(0)))  # the torso's length

    def limb(segments: list[Segment], color: tuple[int, int, int], width_units: float) -> None:
        for a, b in segments:
            _line(image, points[a], points[b], color, max(1, round(width_units * unit)))

    for leg, foot, color in ((11, 17, colors.left), (12, 20, colors.right)):
        limb([(leg, leg + 2), (leg + 2, leg + 4)], color, 0.3)
        limb([(foot + 2, foot), (leg + 4, foot + 2), (foot, foot + 1)], (40, 40, 50), 0.16)
    _line(image, points[5:7].mean(0), points[31], colors.skin, max(1, round(0.16 * unit)))  # neck, up to the chin
    _fill(image, points[[5, 6, 12, 11]], colors.torso)
    limb([(5, 6), (6, 12), (12, 11), (11, 5)], colors.torso, 0.2)
    _face(image, points[23:91], unit, colors)
    for arm, hand, color in ((5, 91, colors.left), (6, 112, colors.right)):
        limb([(arm, arm + 2), (arm + 2, arm + 4)], color, 0.22)
        limb([(hand, hand + 4 * f + 1) for f in range(5)], colors.skin, 0.09)
        limb(
            [(hand + 4 * f + j, hand + 4 * f + j + 1) for f in range(5) for j in (1, 2, 3)],
            colors.skin,
            0.05,
        )
    noise = rng.normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _face(image: np.ndarray, face: np.ndarray, unit: float, colors: Palette) -> None:
    center = face[27:31].mean(0)
    radius = np.linalg.norm(face[8] - center)
    cv2.circle(image, _fixed(center - [0, 0.1 * radius]), round(radius * 1.08 * 16), colors.skin, -1, cv2.LINE_AA, 4)
    dark = tuple(int(c * 0.35) for c in colors.skin)
    thin = max(1, round(0.03 * unit))
    for start, stop, closed in (
        (17, 22, False),
        (22, 27, False),
        (27, 31, False),
        (31, 36, False),
        (36, 42, True),
        (42, 48, True),
        (48, 60, True),
    ):
        curve = np.round(face[start:stop] * 16).astype(np.int32)
        color = (70, 60, 190) if start == 48 else dark
        cv2.polylines(image, [curve], closed, color, thin, cv2.LINE_AA, 4)


def _line(image: np.ndarray, a: np.ndarray, b: np.ndarray, color: tuple[int, int, int], width: int) -> None:
    cv2.line(image, _fixed(a), _fixed(b), color, width, cv2.LINE_AA, 4)


def _fill(image: np.ndarray, corners: np.ndarray, color: tuple[int, int, int]) -> None:
    cv2.fillConvexPoly(image, np.round(corners * 16).astype(np.int32), color, cv2.LINE_AA, 4)


def _fixed(point: np.ndarray) -> tuple[int, int]:
    """A point in the sixteenths of a pixel that OpenCV's drawing takes with shift=4."""
    x, y = (point * 16).tolist()
    return round(x), round(y)
