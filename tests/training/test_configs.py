"""Every recipe that ships loads, says what the paper says, and runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgepose import EdgeposeError  # noqa: E402
from edgepose.skeletons import Skeleton  # noqa: E402
from edgepose_training import checkpoint, config  # noqa: E402
from edgepose_training.config import Config  # noqa: E402
from edgepose_training.drawn import draw_person  # noqa: E402
from edgepose_training.optim import lr_factor  # noqa: E402
from edgepose_training.run import Run  # noqa: E402
from edgepose_training.shards import ShardWriter  # noqa: E402
from edgepose_training.store import CropStore  # noqa: E402

FOLDER = Path(config.__file__).parent / "configs"
DETECTORS = {path.stem for path in FOLDER.glob("*det*.toml")}  # of another record
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml") if path.stem not in DETECTORS)
SMALL = {"cspnext": "n", "hourglass": "2x32", "hrnet": "w32", "resnet": "50"}


def load(name: str) -> Config:
    return Config.load(FOLDER / f"{name}.toml")


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_names_a_net(name):
    recipe = load(name)
    with torch.device("meta"):
        checkpoint.build_net(recipe, Skeleton.load(recipe.skeleton))
    assert recipe.sigma == tuple(pytest.approx((2 * side / 16) ** 0.5, abs=0.02) for side in recipe.input_size) or (
        recipe.sigma == (4.0, 4.0)
    )


def kind(name: str) -> tuple:
    """What decides which code a recipe runs."""
    r = load(name)
    teacher = needs_teacher(name)
    return r.backbone, r.head, r.stage, r.label_loss, r.label_kind, r.optimizer, teacher, r.skeleton, r.aux_heatmap > 0


def needs_teacher(name: str) -> bool:
    return name.startswith("dwpose") or name in ("fpd", "fpd_lsp") or load(name).stage == 2


KINDS = sorted({kind(name): name for name in reversed(NAMES)}.values())


@pytest.mark.parametrize("name", KINDS)
def test_one_recipe_of_each_kind_takes_two_steps(name, tmp_path):
    """The recipe as it stands, but with a tiny input, few people and the smallest net of its family."""
    recipe = load(name)
    size = SMALL.get(recipe.backbone, recipe.size)
    recipe = replace(recipe, size=size, input_size=(64, 64), batch=2, epochs=1, workers=0, amp="off", log_every=1,
                     channels_last=False, on_device=False)  # fmt: skip
    points = Skeleton.load(recipe.skeleton).num_keypoints
    rng = np.random.default_rng(1)
    with ShardWriter(tmp_path, image_format="jpg") as writer:
        for _ in range(4):
            person = draw_person(rng)
            fields = {field: getattr(person, field)[:points] for field in ("keypoints", "visible", "weights")}
            writer.write(replace(person, **fields))
    teacher = None
    if needs_teacher(name):
        wide = replace(recipe, size={"cspnext": "t", "hourglass": "3x32"}[recipe.backbone], stage=1)
        teacher = tmp_path / "teacher.pt"
        torch.manual_seed(0)
        one = recipe if recipe.stage == 2 else wide
        skeleton = Skeleton.load(one.skeleton)
        state = {"model": checkpoint.build_net(one, skeleton).state_dict(), "ema": None}
        checkpoint.save(teacher, state | {"config": one.to_dict(), "skeleton": skeleton.to_dict()})
    store = CropStore(writer.paths)
    run = Run(recipe, store, store, tmp_path / "run", torch.device("cpu"), teacher)
    before = {key: value.clone() for key, value in run.distiller.student.state_dict().items()}
    run.fit()
    assert run.step == 2
    moved = {key for key, value in run.distiller.student.state_dict().items() if not torch.equal(before[key], value)}
    assert any(key.endswith("weight") for key in moved)
    header, *rows = (tmp_path / "run" / "train.csv").read_text().splitlines()
    values = [float(value) for row in rows for value in row.split(",")]
    assert np.isfinite(values).all()
    terms = set(header.split(",")) & {"label", "aux", "feature", "logit", "teacher"}
    expected = {"label"} if recipe.stage == 1 else {"logit"}
    expected |= {"aux"} if recipe.aux_heatmap else set()
    if needs_teacher(name) and recipe.stage == 1:
        expected |= {"teacher"} if recipe.head == "heatmap" else {"feature", "logit"}
    assert terms == expected


def test_dwpose_stage2_keeps_its_constant_rate_and_strong_augmentation():
    recipe = load("dwpose_stage2_t")
    factors = [lr_factor(step, 60 * 1000, recipe) for step in range(1000, 60 * 1000, 997)]
    assert set(factors) == {1.0}
    assert recipe.mild_end == 0
    assert (recipe.stage, recipe.epochs, recipe.beta_logit, recipe.clip, recipe.decay) == (2, 60, 1.0, 1.0, False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dwpose_stage1_t", {"size": "t", "alpha": 7e-5, "beta_logit": 0.1, "epochs": 270, "clip": 1.0, "lr": 4e-3}),
        ("dwpose_stage1_l_384", {"size": "l", "input_size": (288, 384), "clip": 1.0, "batch": 256}),
        ("dwpose_stage2_body", {"skeleton": "coco17", "epochs": 80, "stage": 2}),
        ("rtmpose_t_body", {"weight_decay": 0.0, "ema": 0.0, "epochs": 420, "loss_batch": 256}),
        ("rtmpose_x_wholebody", {"clip": 35.0, "rotation": 90.0, "scale": (0.5, 1.5)}),
        ("rtmpose_l_wholebody", {"clip": 0.0, "rotation": 80.0, "scale": (0.6, 1.4), "loss_batch": 64, "seed": 21}),
        ("simcc_resnet50", {"epochs": 140, "drops": (90, 120), "rotation": 40.0, "head": "simcc"}),
        ("fpd", {"optimizer": "rmsprop", "lr": 2.5e-4, "batch": 4, "fpd_alpha": 0.5}),
    ],
)
def test_hyper_parameters_are_the_papers(name, expected):
    recipe = load(name).to_dict()
    assert {key: recipe[key] for key in expected} == expected


def test_a_base_that_leads_back_is_named(tmp_path):
    (tmp_path / "a.toml").write_text('base = "b.toml"')
    (tmp_path / "b.toml").write_text('base = "a.toml"')
    with pytest.raises(EdgeposeError, match="lead back"):
        Config.load(tmp_path / "a.toml")


def test_differences_win_over_their_base(tmp_path):
    (tmp_path / "base.toml").write_text('size = "s"\nepochs = 3\n')
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "it.toml").write_text('base = "../base.toml"\nepochs = 5\n')
    recipe = Config.load(tmp_path / "more" / "it.toml", ["lr=1"])
    assert (recipe.size, recipe.epochs, recipe.lr) == ("s", 5, 1.0)
