"""Every recipe that ships loads, says what the paper says, and runs."""

import csv
import functools
import re
from dataclasses import replace
from typing import get_type_hints

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgepose import EdgeposeError  # noqa: E402
from edgepose.skeletons import Skeleton  # noqa: E402
from edgepose_training.config import CONFIGS, Config, find_recipe  # noqa: E402
from edgepose_training.data.crop_cache import CropCache  # noqa: E402
from edgepose_training.data.loaders import strength_at  # noqa: E402
from edgepose_training.data.shards import ShardWriter  # noqa: E402
from edgepose_training.data.synthetic import synthetic_person  # noqa: E402
from edgepose_training.detector.config import DetectorConfig  # noqa: E402
from edgepose_training.engine import checkpoints  # noqa: E402
from edgepose_training.engine.heatmaps import CELLS  # noqa: E402
from edgepose_training.engine.optimizer import lr_factor  # noqa: E402
from edgepose_training.engine.pose_task import pose_trainer  # noqa: E402
from edgepose_training.models import hrnet, resnet  # noqa: E402
from edgepose_training.ranges import Choice  # noqa: E402

NAMES = sorted(path.stem for path in CONFIGS.rglob("*.toml"))
SMALL = {"cspnext": "n", "hourglass": "2x32", "hrnet": "tiny", "resnet": "tiny"}


def load(name: str) -> Config:
    return Config.load(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_names_a_net(name):
    recipe = load(name)
    with torch.device("meta"):
        checkpoints.build_net(recipe, Skeleton.load(recipe.skeleton))
    assert recipe.sigma == tuple(pytest.approx((2 * side / 16) ** 0.5, abs=0.02) for side in recipe.input_size) or (
        recipe.sigma == (4.0, 4.0)
    )


def needs_teacher(name: str) -> bool:
    return name.startswith("dwpose") or name in ("fpd", "fpd_adam", "fpd_lsp") or load(name).stage == 2


@pytest.fixture
def tiny_sizes(monkeypatch):
    """ResNet and HRNet of a sixteenth of the work: the same layers, fewer or narrower."""
    monkeypatch.setitem(resnet.SIZES, "tiny", (1, 1, 1, 1))
    monkeypatch.setitem(hrnet.SIZES, "tiny", 4)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Four synthetic people with the first K of their points, by K."""

    @functools.cache
    def store(points: int) -> CropCache:
        rng = np.random.default_rng(1)
        with ShardWriter(tmp_path_factory.mktemp(f"points{points}"), image_format="jpg") as writer:
            for _ in range(4):
                person = synthetic_person(rng)
                fields = {field: getattr(person, field)[:points] for field in ("keypoints", "visible", "weights")}
                writer.write(replace(person, **fields))
        return CropCache(writer.paths)

    return store


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("tiny_sizes")
def test_every_recipe_takes_two_steps(name, stores, tmp_path):
    """The recipe as it stands, but with a tiny input, few people and the smallest net of its family."""
    recipe = load(name)
    size = SMALL.get(recipe.backbone, recipe.size)
    recipe = replace(recipe, size=size, input_size=(64, 64), batch=2, epochs=1, workers=0, amp="off", log_every=1,
                     channels_last=False, on_device=False, save_minutes=60)  # fmt: skip
    teacher = None
    if needs_teacher(name):
        wide = replace(recipe, size={"cspnext": "t", "hourglass": "3x32"}[recipe.backbone], stage=1)
        teacher = tmp_path / "teacher.pt"
        torch.manual_seed(0)
        one = recipe if recipe.stage == 2 else wide
        skeleton = Skeleton.load(one.skeleton)
        state = {"model": checkpoints.build_net(one, skeleton).state_dict(), "ema": None, "heatmap_cells": CELLS}
        checkpoints.save(teacher, state | {"config": one.to_dict(), "skeleton": skeleton.to_dict()})
    store = stores(Skeleton.load(recipe.skeleton).num_keypoints)
    run = pose_trainer(recipe, store, None, tmp_path / "run", torch.device("cpu"), teacher)
    before = {key: value.clone() for key, value in run.task.net.state_dict().items()}
    run.fit_epoch()
    run.close()
    assert run.step == 2
    moved = {key for key, value in run.task.net.state_dict().items() if not torch.equal(before[key], value)}
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


def test_fpd_learns_from_people_without_labels(stores, tmp_path):
    """Shards with nobody labeled at all: the teacher's term alone, and the student still moves."""
    recipe = replace(load("fpd"), size="2x32", input_size=(64, 64), batch=2, epochs=1, workers=0, amp="off",
                     log_every=1)  # fmt: skip
    skeleton = Skeleton.load(recipe.skeleton)
    torch.manual_seed(0)
    state = {"model": checkpoints.build_net(recipe, skeleton).state_dict(), "ema": None, "config": recipe.to_dict()}
    state |= {"heatmap_cells": CELLS}
    checkpoints.save(tmp_path / "teacher.pt", state | {"skeleton": skeleton.to_dict()})
    store = stores(16)
    weights, visible = store.weights, store.visible
    store.weights, store.visible = weights.copy(), visible.copy()
    store.weights[1:], store.visible[1:] = 0, 0  # one of four has labels
    try:
        run = pose_trainer(recipe, store, None, tmp_path / "run", torch.device("cpu"), tmp_path / "teacher.pt")
        run.fit_epoch()
        run.close()
    finally:
        store.weights, store.visible = weights, visible
    with (tmp_path / "run" / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(float(row["label"]) == 0 for row in rows) == 1  # the step of two people without labels
    assert all(float(row["teacher"]) > 0 for row in rows)


@pytest.mark.parametrize("head", ["heatmap", "heatmap1d", "simcc"])
@pytest.mark.usefixtures("tiny_sizes")
def test_each_arm_of_the_comparison_goes_through_validation_and_files(head, stores, tmp_path):
    """`fit` whole, with half precision left as it comes: validation decodes each kind of answer."""
    name = {"simcc": "simcc_resnet50"}.get(head, f"simcc_resnet50_{head}")
    recipe = replace(load(name), size="tiny", input_size=(64, 64), batch=2, epochs=1, workers=0, log_every=1)
    run = pose_trainer(recipe, stores(17), stores(17), tmp_path, torch.device("cpu"))
    run.fit()
    assert 0 <= run.best <= 1
    assert checkpoints.load_net(tmp_path / "best.pt")[1] == recipe


# --- the papers' numbers -----------------------------------------------------------------------------------------

# SimCC: 4 GPUs × 32 people, Adam, tenths; no weight decay, no warm-up, no average (their code hands none to Adam).
SIMCC = {
    "optimizer": "adam", "lr": 1e-3, "weight_decay": 0.0, "batch": 128, "warmup": 0, "ema": 0.0, "flip": 0.5,
    "split_ratio": 2.0, "clipped_normal": True, "weak_augmentation_end": 0.0, "shift": 0.0, "erase": 0.0, "color": 0.0,
    "truncation_prob": 0.0,
}  # fmt: skip
SIMCC_RESNET = SIMCC | {
    "epochs": 140,
    "lr_milestones": (90, 120),
    "rotation": 40.0,
    "scale": (0.7, 1.3),
    "half_body": 0.0,
}
SIMCC_HRNET = SIMCC | {
    "epochs": 210,
    "lr_milestones": (170, 200),
    "rotation": 45.0,
    "scale": (0.65, 1.35),
    "half_body": 0.3,
}
SMOOTH = {"label_loss": "simcc", "label_kind": "smooth", "label_smoothing": 0.1, "beta": 1.0}
RTMPOSE = {
    "optimizer": "adamw", "lr": 4e-3, "weight_decay": 0.05, "warmup": 1000, "flat": 0.5, "lr_floor": 0.05, "ema": 2e-4,
    "seed": 21, "lr_milestones": (0, 0), "beta": 10.0, "split_ratio": 2.0, "label_loss": "rtmpose",
    "label_kind": "gaussian",
    "label_center": "round", "label_normalize": False, "flip": 0.5, "half_body": 0.3, "shift": 0.16, "erase": 1.0,
    "color": 1.0, "scale": (0.6, 1.4), "rotation": 80.0, "clip": 0.0, "input_size": (192, 256), "sigma": (4.9, 5.66),
    "head": "rtmcc", "backbone": "cspnext",
}  # fmt: skip
WHOLE = RTMPOSE | {"skeleton": "coco_wholebody", "epochs": 270, "batch": 512, "loss_batch": 64}
BODY = RTMPOSE | {"skeleton": "coco17", "epochs": 420, "batch": 2048, "loss_batch": 256}
OTHERS = RTMPOSE | {"size": "m", "epochs": 210, "batch": 512, "loss_batch": 64}
SQUARE = {"input_size": (256, 256), "sigma": (5.66, 5.66)}
LARGE = {"input_size": (288, 384), "sigma": (6.0, 6.93), "batch": 256, "loss_batch": 32}
WIDE = {"clip": 35.0, "scale": (0.5, 1.5), "rotation": 90.0}
STAGE1 = WHOLE | {"stage": 1, "alpha": 7e-5, "beta_logit": 0.1, "decay": True, "clip": 1.0}
STAGE2 = STAGE1 | {"stage": 2, "epochs": 60, "beta_logit": 1.0, "decay": False, "flat": 1.0}
STAGE1_BODY = STAGE1 | {"skeleton": "coco17", "batch": 2048, "loss_batch": 256, "epochs": 420}
STAGE2_BODY = STAGE2 | {"skeleton": "coco17", "batch": 2048, "loss_batch": 256, "epochs": 80}
FPD = {
    "backbone": "hourglass", "size": "4x128", "head": "heatmap", "skeleton": "mpii16", "input_size": (256, 256),
    "heatmap_sigma": 2.0, "fpd_alpha": 0.5, "batch": 4, "optimizer": "rmsprop", "lr": 2.5e-4, "weight_decay": 0.0,
    "epochs": 130, "lr_milestones": (60, 90), "scale": (0.75, 1.25), "rotation": 15.0, "clipped_normal": True,
    "flip": 0.5, "half_body": 0.0, "erase": 0.0, "color": 0.0, "shift": 0.0, "weak_augmentation_end": 0.0,
}  # fmt: skip
PAPERS = {
    "simcc": SIMCC_HRNET | SMOOTH | {"backbone": "hrnet", "size": "w32", "head": "simcc", "skeleton": "coco17"},
    "simcc_hrnet_w32": SIMCC_HRNET | SMOOTH | {"size": "w32"},
    "simcc_hrnet_w48": SIMCC_HRNET | SMOOTH | {"size": "w48"},
    "simcc_hrnet_w32_heatmap": SIMCC_HRNET | {"head": "heatmap", "heatmap_sigma": 2.0},
    "simcc_gaussian_hrnet_w48": SIMCC_HRNET
    | {"size": "w48", "label_loss": "simcc_norm", "label_kind": "gaussian", "label_center": "exact",
       "label_normalize": True, "sigma": (4.0, 4.0)},
    "simcc_hrnet_w32_mpii": SIMCC_HRNET | SMOOTH
    | {"skeleton": "mpii16", "input_size": (256, 256), "rotation": 30.0, "scale": (0.75, 1.25), "half_body": 0.0,
       "label_smoothing": 0.2, "label_loss": "simcc_norm"},
    "simcc_resnet50": SIMCC_RESNET | SMOOTH | {"backbone": "resnet", "size": "50", "head": "simcc"},
    "simcc_resnet50_deconv": SIMCC_RESNET | SMOOTH | {"head": "simcc_deconv"},
    "simcc_resnet50_heatmap": SIMCC_RESNET | {"head": "heatmap", "heatmap_sigma": 2.0},
    "simcc_resnet50_heatmap1d": SIMCC_RESNET | {"head": "heatmap1d", "label_loss": "heatmap1d"},
    "simcc_resnet101": SIMCC_RESNET | SMOOTH | {"size": "101", "label_smoothing": 0.4},
    "simcc_tokenpose_s": SIMCC_HRNET | SMOOTH | {"backbone": "stem", "head": "tokenpose"},
    "rtmpose_wholebody": WHOLE,
    **{f"rtmpose_{size}_wholebody": WHOLE | {"size": size} for size in "tsml"},
    "rtmpose_x_wholebody": WHOLE | WIDE | {"size": "x"},
    "rtmpose_l_wholebody_384": WHOLE | LARGE | {"size": "l"},
    "rtmpose_x_wholebody_384": WHOLE | LARGE | WIDE | {"size": "x"},
    "rtmpose_body": BODY,
    "rtmpose_t_body": BODY | {"size": "t", "weight_decay": 0.0, "ema": 0.0},
    "rtmpose_s_body": BODY | {"size": "s", "weight_decay": 0.0},
    "rtmpose_m_body": BODY | {"size": "m"},
    "rtmpose_l_body": BODY | {"size": "l"},
    "rtmpose_x_body": BODY | WIDE | {"size": "x"},
    "rtmpose_m_crowdpose": OTHERS | {"skeleton": "crowdpose14", "lr": 5e-4},
    "rtmpose_m_mpii": OTHERS | SQUARE | {"skeleton": "mpii16"},
    "rtmpose_m_ap10k": OTHERS | SQUARE | {"skeleton": "ap10k"},
    "rtmpose_m_halpe26": OTHERS | WIDE | {"skeleton": "halpe26", "epochs": 700, "batch": 4096, "loss_batch": 512},
    "dwpose_stage1": STAGE1,
    **{f"dwpose_stage1_{size}": STAGE1 | {"size": size} for size in "tsml"},
    "dwpose_stage1_l_384": STAGE1 | LARGE | {"size": "l"},
    "dwpose_stage1_body": STAGE1_BODY,
    "dwpose_stage2": STAGE2,
    **{f"dwpose_stage2_{size}": STAGE2 | {"size": size} for size in "tsml"},
    "dwpose_stage2_l_384": STAGE2 | LARGE | {"size": "l"},
    "dwpose_stage2_body": STAGE2_BODY,
    "fpd": FPD,
    "fpd_student": FPD,
    "fpd_teacher": FPD | {"size": "8x256"},
    "fpd_lsp": FPD | {"skeleton": "lsp14", "epochs": 70, "lr_milestones": (40, 60)},
    "fpd_adam": FPD | {"optimizer": "adam", "epochs": 140, "lr_milestones": (90, 120), "rotation": 30.0},
}  # fmt: skip


def test_no_recipe_of_a_paper_is_left_out_of_the_table():
    assert {name for name in NAMES if not name.startswith(("edgepose_", "gpu"))} == set(PAPERS)


@pytest.mark.parametrize("name", PAPERS)
def test_hyper_parameters_are_the_papers(name):
    recipe = load(name).to_dict()
    assert {key: recipe[key] for key in PAPERS[name]} == PAPERS[name]


@pytest.mark.parametrize("name", [name for name in PAPERS if name.startswith(("rtmpose", "dwpose_stage1"))])
def test_the_last_thirty_epochs_are_milder(name):
    """No shift, half the erasing; scale and rotation of 60 of 80 degrees, where the recipe is not a wide one."""
    recipe = load(name)
    strengths = [strength_at(recipe, epoch / recipe.epochs) for epoch in range(recipe.epochs)]
    early, late = strengths[0], strengths[-1]
    assert [s.shift == 0 for s in strengths].count(True) == 30
    assert (early.shift, early.erase, early.rotation, early.scale) == (0.16, 1.0, recipe.rotation, recipe.scale)
    assert late.erase == 0.5
    expected = (90.0, (0.5, 1.5)) if recipe.rotation == 90 else (60.0, (0.75, 1.25))
    assert (late.rotation, late.scale) == expected


def test_dwpose_stage2_keeps_its_constant_rate_and_strong_augmentation():
    recipe = load("dwpose_stage2_t")
    factors = [lr_factor(step, 60 * 1000, recipe) for step in range(1000, 60 * 1000, 997)]
    assert set(factors) == {1.0}
    assert recipe.weak_augmentation_end == 0
    assert (recipe.stage, recipe.epochs, recipe.beta_logit, recipe.clip, recipe.decay) == (2, 60, 1.0, 1.0, False)


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


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epoch": 3}, "unknown key 'epoch'"),
        ({"lr": "fast"}, "lr expected float"),
        ({"batch": 2.5}, "batch expected int"),
    ],
)
def test_config_mistakes_are_named(values, sentence):
    with pytest.raises(EdgeposeError, match=sentence):
        Config.from_dict(values)


def test_overrides_win_over_the_file(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('size = "s"\nepochs = 3\n')
    config = Config.load(path, ["epochs=7", "scale=[0.9, 1.1]", "optimizer=adam"])
    assert (config.size, config.epochs, config.scale, config.optimizer) == ("s", 7, (0.9, 1.1), "adam")


def test_a_path_that_is_there_is_taken_as_it_is(tmp_path):
    for name in ("mine.v2", "mine.v2.toml", "mine.toml"):
        (tmp_path / name).write_text(f'skeleton = "{name}"\n')
    (tmp_path / "other.toml").write_text("")
    (tmp_path / "only.v3.toml").write_text("")
    for name in ("mine.v2", "mine.v2.toml", "mine.toml"):
        assert Config.load(tmp_path / name).skeleton == name
    assert find_recipe("mine", tmp_path) == tmp_path / "mine.toml"
    assert find_recipe("only.v3", tmp_path) == tmp_path / "only.v3.toml"


@pytest.mark.parametrize("name", ["", ".", "..", "other.v2", "configs/no_such_recipe.toml"])
def test_no_recipe_is_one_sentence(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.toml").write_text("")
    (tmp_path / ".toml").write_text("")
    with pytest.raises(EdgeposeError, match="expected a TOML file or the name of a recipe"):
        find_recipe(name)


def test_a_path_to_where_recipes_lay_is_the_recipe(tmp_path, caplog):
    shipped = find_recipe("rtmpose_t_body")
    assert not caplog.records
    assert find_recipe("training/configs/rtmpose_t_body.toml", tmp_path) == shipped
    assert "the recipe rtmpose_t_body that ships is taken" in caplog.text
    (tmp_path / "mine.toml").write_text('base = "../configs/rtmpose_t_body.toml"\nepochs = 7\n')
    assert Config.load(tmp_path / "mine.toml").epochs == 7
    with pytest.raises(EdgeposeError, match="expected a TOML file"):
        find_recipe("runs/rtmpose_t_body.pt", tmp_path)


def test_a_file_that_is_no_text_is_one_sentence(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(EdgeposeError, match="not valid TOML"):
        Config.load(tmp_path / "net.pt")


# --- ranges ------------------------------------------------------------------------------------------------------

CONFIG_CLASSES = [Config, DetectorConfig]


@pytest.mark.parametrize("config", CONFIG_CLASSES)
def test_every_number_and_word_has_a_range_that_its_default_is_in(config):
    # The nets and skeletons themselves say what there is; what a recipe needs is a sentence.
    free = {"backbone", "size", "head", "skeleton", "needs_teacher", "needs_init"}
    asked = {
        name for name, hint in get_type_hints(config).items() if hint is not bool and "ClassVar" not in str(hint)
    } - free
    assert asked <= set(config.ranges)
    defaults = config().to_dict()
    assert set(config.ranges) <= set(defaults)
    assert all(defaults[name] in allowed for name, allowed in config.ranges.items())


@pytest.mark.parametrize("config", CONFIG_CLASSES)
def test_what_is_out_of_range_is_one_sentence_that_names_it(config):
    for name, allowed in config.ranges.items():
        default = config().to_dict()[name]
        one = default[0] if isinstance(default, tuple) else default
        if isinstance(allowed, Choice):
            wrong: list[object] = ["nonsense"]
        else:
            wrong = [allowed.low if allowed.above else allowed.low - 1]
            wrong += [allowed.high + 1] if allowed.high < np.inf else []
            wrong += [float("nan"), float("inf")] if isinstance(one, float) else []
            wrong = [type(one)(value) if isinstance(one, int | float) else {"a": value} for value in wrong]
        for value in wrong:
            given = [value] * len(default) if isinstance(default, tuple) else value
            with pytest.raises(EdgeposeError, match=rf"^mine: {name} expected ") as error:
                config.from_dict({name: given}, "mine")
            assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("batch=0", "rtmpose_t_body: batch expected at least 1 (samples a step), got 0"),
        ("epochs=0", "rtmpose_t_body: epochs expected at least 1 (epochs), got 0"),
        ("epochs=-1", "rtmpose_t_body: epochs expected at least 1 (epochs), got -1"),
        ("rotation=200", "rtmpose_t_body: rotation expected 0 to 180 (degrees), got 200.0"),
        ("scale=[1.2, 0.8]", "scale expected more than 0, the smaller first (factors on the box), got [1.2, 0.8]"),
        ("amp=half", "rtmpose_t_body: amp expected auto, bf16, fp16 or off, got 'half'"),
        ("lrr=3", "rtmpose_t_body: unknown key 'lrr'; did you mean lr?"),
        ("bacth=3", "did you mean batch"),
        ("ranges=3", "unknown key 'ranges'"),
        ("batch", "--set expected KEY=VALUE, got 'batch'"),
    ],
)
def test_what_people_type_wrongly(given, sentence):
    with pytest.raises(EdgeposeError, match=re.escape(sentence)):
        Config.load("rtmpose_t_body", [given])


# --- the label width follows the size ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "given", "sigma"),
    [
        ("rtmpose_m_body", ["input_size=[288, 384]"], (6.0, 6.93)),
        ("rtmpose_m_mpii", ["input_size=[192, 192]"], (4.9, 4.9)),  # which gives its own, by the same rule
        ("rtmpose_m_body", ["split_ratio=3"], (6.0, 6.93)),
        (None, ["input_size=[64, 64]"], (2.83, 2.83)),
        ("rtmpose_m_body", ["input_size=[288, 384]", "sigma=[5, 5]"], (5.0, 5.0)),
        ("simcc_gaussian_hrnet_w48", ["input_size=[288, 384]"], (4.0, 4.0)),  # not by the rule: it stays
    ],
)
def test_the_label_width_follows_the_input_size(recipe, given, sigma, caplog):
    assert Config.load(recipe, given).sigma == sigma
    assert ("sigma stays [4.0, 4.0] bins" in caplog.text) == (recipe == "simcc_gaussian_hrnet_w48")


def test_the_label_width_follows_the_size_of_a_file_over_its_base(tmp_path):
    (tmp_path / "mine.toml").write_text('base = "rtmpose_m_mpii"\ninput_size = [128, 128]\n')
    assert Config.load(tmp_path / "mine.toml").sigma == (4.0, 4.0)
    assert Config.load(tmp_path / "mine.toml", ["input_size=[256, 256]"]).sigma == (5.66, 5.66)
