"""All steps on synthetic people (`distill.py` without arguments): teacher, DWPose stages 1 and 2, export."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from edgepose_training.config import Config
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.shards import ShardWriter, find_shards
from edgepose_training.data.synthetic import synthetic_person
from edgepose_training.deploy import exporter, onnx_file
from edgepose_training.engine.pose_task import pose_trainer
from edgepose_training.engine.run_command import fit_until_stopped
from edgepose_training.engine.trainer import Stopped

log = logging.getLogger("distill")


@dataclass(frozen=True)
class Budget:
    """How much of everything; the defaults take some 13 CPU minutes."""

    people: int = 1500
    validation: int = 64
    pictures: int = 60  # frames of the image folder that the app can play
    teacher_epochs: int = 8
    stage1_epochs: int = 12
    stage2_epochs: int = 3


BASE = {
    "input_size": [96, 128],
    "sigma": [3.46, 4.0],  # the rule of RTMPose, sqrt(bins / 16)
    "batch": 32,
    "lr": 2e-3,
    "warmup": 50,
    "head_init_scale": 0.02,
    "aux_heatmap": 0.1,
    "ema": 0.005,
    "clip": 5.0,
    "teach_absence": True,
    "truncation_prob": 0.1,
    "half_body": 0.0,
    "scale": [0.9, 1.2],
    "rotation": 15.0,
    "erase": 0.0,
    "color": 0.0,
    "log_every": 20,
    "weak_augmentation_end": 0.0,
    "workers": 1,
    "validate_every": 2,
}


def main(out: Path, budget: Budget = Budget()) -> Path | None:
    """Run it all in `out` and return the exported student; None if it was stopped by Ctrl-C or SIGTERM.

    What is finished is not repeated on the next call, which goes on where the last one stopped.
    """
    try:
        return _all_steps(out, budget)
    except Stopped:
        log.info("stopped; everything so far is in %s, the same command goes on from there", out)
        return None


def _all_steps(out: Path, budget: Budget) -> Path:
    started = time.monotonic()
    shards = out / "shards"
    _draw(shards / "train", budget.people, seed=1)
    _draw(shards / "val", budget.validation, seed=2)
    _draw_pictures(out / "pictures", budget.pictures)
    log.info("drew %d people; 1 of 3: a teacher of size t learns from their labels", budget.people)
    teacher = _train(out / "teacher", shards, {**BASE, "size": "t", "epochs": budget.teacher_epochs})
    log.info("2 of 3: a student of size n learns from labels, teacher features and teacher logits (DWPose stage 1)")
    stage1 = {**BASE, "size": "n", "epochs": budget.stage1_epochs, "alpha": 7e-5, "beta_logit": 0.1}
    student = _train(out / "stage1", shards, stage1, teacher)
    log.info("3 of 3: a fresh head on the student's frozen backbone learns from its old head (DWPose stage 2)")
    stage2 = {
        **BASE,
        "size": "n",
        "epochs": budget.stage2_epochs,
        "stage": 2,
        "beta_logit": 1.0,
        "aux_heatmap": 0.0,
        "head_init_scale": 1.0,
    }
    student = _train(out / "stage2", shards, stage2, student)
    model = out / "student.onnx"
    entries = {
        "name": "quickstart",
        "license": "Apache-2.0",
        "data": "people drawn by edgepose_training.data.synthetic",
    }
    graph, _, _ = exporter.export(student, entries=entries)
    onnx_file.write(graph, model)
    log.info(
        "%s after %.0f s. See it run:\n  edgepose-app --source %s --sequence --model %s",
        model,
        time.monotonic() - started,
        out / "pictures",
        model,
    )
    return model


def _train(out: Path, shards: Path, values: dict[str, Any], teacher: Path | None = None) -> Path:
    last = out / "last.pt"
    trainer = pose_trainer(
        Config.from_dict(values),
        CropCache(find_shards(shards / "train")),
        CropCache(find_shards(shards / "val")),
        out,
        torch.device("cpu"),
        teacher,
    )
    if last.exists():
        trainer.resume(last)
    if not fit_until_stopped(trainer):
        raise Stopped
    return last


def _draw(folder: Path, people: int, seed: int) -> None:
    if folder.is_dir() and list(folder.glob("*.tar")):
        return
    unfinished = folder.with_name(f"{folder.name}-unfinished")  # half a set must not pass for a whole one
    shutil.rmtree(unfinished, ignore_errors=True)
    rng = np.random.default_rng(seed)
    with ShardWriter(unfinished, image_format="jpg", quality=95) as writer:
        for _ in range(people):
            writer.write(synthetic_person(rng))
    unfinished.rename(folder)


def _draw_pictures(folder: Path, count: int) -> None:
    """One figure that walks through `count` images, for the app."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        # One seed for all: the same figure; the slow turn and zoom make it a moving one.
        person = synthetic_person(np.random.default_rng(7), (480, 640))
        phase = 2 * np.pi * i / count
        affine = cv2.getRotationMatrix2D((240, 320), 8 * np.sin(phase), 0.9 + 0.1 * np.cos(phase))
        image = cv2.warpAffine(person.image, affine, (480, 640), borderMode=cv2.BORDER_REPLICATE)
        cv2.imwrite(str(folder / f"{i:03d}.jpg"), image)
