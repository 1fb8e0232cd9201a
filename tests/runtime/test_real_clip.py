"""The shipped models on a composed clip of real people, cut out of images beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose import TopdownEstimator, models

DATA = Path(__file__).parents[3] / "shared" / "data"
SIZE = (640, 360)  # W, H
TALL = 300  # px of a person
SOURCE = "ccp"  # whole bodies, mostly alone on the street

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (DATA / "annotations" / "val.json").is_file(), reason="no images beside the checkout"),
    pytest.mark.skipif(
        not (models.has_default("pose") and models.has_default("detector")), reason="no shipped pose net and detector"
    ),
]


def cut_outs(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """People [h, w, 3] and their masks [h, w], by GrabCut inside their boxes."""
    people = []
    for image in json.loads((DATA / "annotations" / "val.json").read_text())["images"]:
        boxes = np.array(image["person_boxes"], float)
        if image["source"] != SOURCE or len(boxes) != 1 or boxes[0, 3] < 0.7 * image["height"]:
            continue
        photo = cv2.imread(str(DATA / "images" / image["file_name"]))
        x, y, w, h = boxes[0].astype(int).tolist()
        mask = np.zeros(photo.shape[:2], np.uint8)
        cv2.setRNGSeed(1)
        cv2.grabCut(photo, mask, (x, y, w, h), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_RECT)
        chosen = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD))[y : y + h, x : x + w].astype(np.uint8)
        if not 0.3 < chosen.mean() < 0.8:
            continue  # the street was taken along, or the person left out
        size = (round(w * TALL / h), TALL)
        patch = photo[y : y + h, x : x + w]
        people.append((cv2.resize(patch, size), cv2.resize(chosen, size, interpolation=cv2.INTER_NEAREST)))
        if len(people) == count:
            break
    return people


def background() -> np.ndarray:
    entries = json.loads((DATA / "annotations" / "negatives.json").read_text())["images"]
    room = next(entry for entry in entries if entry["split"] == "val")
    return cv2.resize(cv2.imread(str(DATA / "images" / room["file_name"])), SIZE)


def compose(room: np.ndarray, people: list, lefts: list[int]) -> np.ndarray:
    frame = room.copy()
    for (patch, mask), left in zip(people, lefts, strict=True):
        low, high = max(left, 0), min(left + patch.shape[1], SIZE[0])
        if high > low:
            part = frame[SIZE[1] - TALL :, low:high]
            inside = mask[:, low - left : high - left, None] > 0
            part[:] = np.where(inside, patch[:, low - left : high - left], part)
    return frame


def lefts(t: int) -> list[int]:
    """They cross between frames 20 and 60; the second leaves on the left by 90 and is back from 120 on."""
    first = min(30 + 5 * t, 420)
    second = 470 - 6 * t if t < 105 else -160 + 6 * (t - 105)
    return [first, min(second, 120) if t >= 105 else second]


@pytest.fixture(scope="module")
def owners() -> list[dict[int, int]]:
    """For every frame of the clip: person → id, of those who were found near where they are."""
    room, people = background(), cut_outs(2)
    assert len(people) == 2
    estimator = TopdownEstimator(device="cpu", threads=1)
    frames: list[dict[int, int]] = []
    for t in range(160):
        poses = estimator(compose(room, people, lefts(t)))
        middles = [left + patch.shape[1] / 2 for (patch, _), left in zip(people, lefts(t), strict=True)]
        seen: dict[int, int] = {}
        for box, track in zip(poses.bboxes, poses.track_ids.tolist(), strict=True):
            apart = [abs((box[0] + box[2]) / 2 - middle) for middle in middles]
            if min(apart) < 50:
                seen[int(np.argmin(apart))] = track
        frames.append(seen)
    return frames


def test_people_apart_keep_their_ids(owners: list[dict[int, int]]) -> None:
    assert set(owners[5]) == {0, 1}
    assert len(set(owners[5].values())) == 2
    assert all(frame == owners[5] for frame in owners[:30])


def test_who_leaves_is_gone_and_who_returns_is_found(owners: list[dict[int, int]]) -> None:
    assert set(owners[102]) == {0}
    assert set(owners[155]) == {0, 1}
    assert len(set(owners[155].values())) == 2


def test_ids_last_through_a_crossing_and_an_absence(owners: list[dict[int, int]]) -> None:
    assert owners[75] == owners[5]
    assert owners[155] == owners[5]


def test_an_empty_room_shows_nobody() -> None:
    estimator = TopdownEstimator(device="cpu", threads=1)
    room = background()
    assert [len(estimator(room)) for _ in range(20)] == [0] * 20
