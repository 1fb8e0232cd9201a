"""Recipes that want a teacher or trained weights say so; a teacher of another scale is brought to the student's."""

import argparse
import dataclasses
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from edgepose import EdgeposeError, Skeleton
from edgepose_training.config import CONFIGS, Config
from edgepose_training.data.loaders import Batch
from edgepose_training.engine import builders, checkpoints, needs
from edgepose_training.engine.distiller import build_distiller
from edgepose_training.models import build_pose_net

RECIPES = sorted(path.stem for path in CONFIGS.rglob("*.toml"))
BODY = Skeleton.load("coco17")


ROOT = Path(__file__).parents[3]
# Of README and docs, lines that end in a backslash joined: what follows distill.py, `gpu_train.py train` and TRAIN=.
COMMANDS = [
    (page.name, words)
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for words in re.findall(
        r"^(?:python |torchrun [^`]*?|.*?make )(?:training/distill\.py|training/gpu_train\.py train|gpu-train TRAIN=\")"
        r" ?(\w+ [^#\"\n]*)",
        page.read_text(encoding="utf-8").replace("\\\n", " "),
        re.MULTILINE,
    )
    if words.split()[0] in RECIPES
]


def parsed(*argv):
    parser = argparse.ArgumentParser()
    needs.add_arguments(parser)
    return parser.parse_args(argv)


def test_a_recipe_is_refused_without_what_it_wants():
    config = Config.load("dwpose_stage1_t")
    with pytest.raises(EdgeposeError, match=r"learns from a teacher, .*rtmpose-l_ucoco.*--no-teacher"):
        needs.check(config, parsed("--no-init"), going_on=False)
    with pytest.raises(EdgeposeError, match=r"starts from trained weights, mmpose's cspnext-tiny_.*--no-init"):
        needs.check(config, parsed("--teacher", "edgepose-s"), going_on=False)
    for argv in (("--no-teacher", "--no-init"), ("--teacher", "a.pt", "--init", "b.pt")):
        needs.check(config, parsed(*argv), going_on=False)
    needs.check(config, parsed("--teacher", "a.pt"), going_on=True)  # the run has weights of its own
    with pytest.raises(EdgeposeError, match="learns from a teacher"):
        needs.check(config, parsed(), going_on=True)
    needs.check(Config(), parsed(), going_on=False)


def test_with_and_without_exclude_each_other(capsys):
    with pytest.raises(SystemExit):
        parsed("--teacher", "a.pt", "--no-teacher")
    assert "not allowed with" in capsys.readouterr().err


def test_stage_2_has_no_use_for_init():
    with pytest.raises(EdgeposeError, match="--init would not be used"):
        needs.check(Config.load("dwpose_stage2_t"), parsed("--teacher", "a.pt", "--init", "b.pt"), going_on=False)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_papers_start_from_is_named(recipe):
    """Every recipe with distillation wants a teacher; every published one but FPD's own nets starts from a file."""
    config = Config.load(recipe)
    distills = recipe.startswith("dwpose") or recipe in ("fpd", "fpd_adam", "fpd_lsp")
    assert not distills or config.needs_teacher
    assert config.stage == 1 or config.needs_teacher
    assert config.stage == 1 or not config.needs_init
    if config.stage == 1 and recipe.startswith(("rtmpose", "dwpose")):
        size = {"t": "tiny"}.get(config.size, config.size)
        assert f"cspnext-{size}_" in config.needs_init or f"rtmpose-{size}_" in config.needs_init
    if recipe.startswith("simcc") and config.backbone != "stem":
        assert (f"hrnet_{config.size}-" if config.backbone == "hrnet" else f"resnet{config.size}-") in config.needs_init


@pytest.mark.parametrize("words", [words for _, words in COMMANDS])
def test_the_docs_commands_give_their_recipe_what_it_wants(words):
    recipe, *options = shlex.split(words)
    parser = argparse.ArgumentParser()
    needs.add_arguments(parser)
    args, _ = parser.parse_known_args(options)
    needs.check(Config.load(recipe), args, going_on=False)


def test_the_docs_commands_are_found():
    found = {page for page, _ in COMMANDS}
    assert found == {"README.md", "data.md", "edgepose-s-training.md", "edgepose-t-training.md", "finetune.md",
                     "training.md"}  # fmt: skip
    assert len(COMMANDS) >= 18


# --- teachers of another scale --------------------------------------------------------------------------------

SIDE = (64, 64)
STUDENT = Config(size="n", input_size=SIDE, sigma=(2.83, 2.83), skeleton="coco17", beta=10.0)


def teacher_of(path, skeleton=BODY, **changes):
    config = dataclasses.replace(STUDENT, **changes)
    net = build_pose_net(
        config.size, skeleton.num_keypoints, config.input_size, config.split_ratio, backbone=config.backbone,
        head=config.head,
    )  # fmt: skip
    state = {"model": net.state_dict(), "ema": None, "config": config.to_dict(), "skeleton": skeleton.to_dict()}
    checkpoints.save(path, state | {"heatmap_cells": "corners"})
    return net.eval()


SIMCC = {"label_loss": "simcc", "beta": 10.0}  # a loss that has no β, whatever the config says


@pytest.mark.parametrize(
    ("head", "changes", "beta"),
    [("rtmcc", {"beta": 1.0}, 1.0), ("simcc", {"beta": 10.0}, 10.0), ("simcc", {"beta": 25.0}, 25.0),
     ("simcc", SIMCC, 1.0)],
)  # fmt: skip
def test_a_teachers_distribution_is_its_own_under_the_students_beta(tmp_path, head, changes, beta):
    """softmax(β·logits) is what a teacher says; the distillers take the student's β for both nets."""
    net = teacher_of(tmp_path / "teacher.pt", head=head, **changes)
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 64, 64), np.float32))
    for student, students in ((STUDENT, 10.0), (dataclasses.replace(STUDENT, **SIMCC), 1.0)):
        found = builders.load_teacher(tmp_path / "teacher.pt", student, BODY).eval()
        with torch.no_grad():
            for theirs, ours in zip(net(image), found(image), strict=True):
                expected = torch.softmax(beta * theirs.double(), -1)
                torch.testing.assert_close(torch.softmax(students * ours.double(), -1), expected, atol=1e-5, rtol=1e-4)


def test_the_logit_term_has_the_beta_of_the_label_term():
    """A student whose loss has no β learns the same from its teacher's logits whatever β its config has."""
    batch = Batch(torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8), torch.full((2, 17, 2), 30.0),
                  torch.ones(2, 17), torch.ones(2, 17, dtype=torch.bool))  # fmt: skip
    terms = []
    for beta in (1.0, 10.0):
        torch.manual_seed(0)
        config = dataclasses.replace(STUDENT, head="simcc", label_loss="simcc", beta=beta)
        nets = [build_pose_net("n", 17, SIDE, head="simcc") for _ in range(2)]
        step = build_distiller(config, BODY, *nets, torch.ones(17)).eval()
        terms.append(float(step(batch, 1.0)["logit"].detach()))
    assert terms[0] > 0
    assert terms[0] == pytest.approx(terms[1], rel=1e-4)


def test_an_exported_teacher_whose_labels_are_not_known_is_refused(tmp_path):
    teacher_of(tmp_path / "teacher.pt")
    state = checkpoints.load(tmp_path / "teacher.pt") | {"score_knots": {"x": [[0, 1], [0, 1]], "y": [[0, 1], [0, 1]]}}
    with pytest.raises(EdgeposeError, match=r"edgepose-x: an exported file does not say of what kind its labels were"):
        builders.load_teacher(checkpoints.Loaded("edgepose-x", state), STUDENT, BODY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_kind": "smooth"}, "the teacher learned smoothed one-hot labels, the student learns gaussian labels"),
        ({"label_kind": "laplace"}, "the teacher learned laplace labels, the student learns gaussian labels"),
        ({"split_ratio": 3.0}, "answers with SimCC vectors of 3 bins a pixel, the student with .* of 2 bins"),
        ({"input_size": (64, 96)}, r"the teacher has 17 keypoints at \(64, 96\)"),
        ({"head": "heatmap"}, "answers with heat maps"),
    ],
)
def test_a_teacher_that_cannot_be_brought_to_scale_is_refused(tmp_path, changes, message):
    teacher_of(tmp_path / "teacher.pt", **changes)
    with pytest.raises(EdgeposeError, match=message):
        builders.load_teacher(tmp_path / "teacher.pt", STUDENT, BODY)


def test_so_is_one_of_other_points_or_wider_maps(tmp_path):
    teacher_of(tmp_path / "animal.pt", Skeleton.load("ap10k"))  # 17 points, too
    with pytest.raises(EdgeposeError, match="the teacher has the points of ap10k, the student those of coco17"):
        builders.load_teacher(tmp_path / "animal.pt", STUDENT, BODY)
    teacher_of(tmp_path / "maps.pt", head="heatmap", heatmap_sigma=3.0)
    maps = dataclasses.replace(STUDENT, head="heatmap")
    with pytest.raises(EdgeposeError, match="learned heat maps of sigma 3, the student learns heat maps of sigma 2"):
        builders.load_teacher(tmp_path / "maps.pt", maps, BODY)
