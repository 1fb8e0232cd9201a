"""Every knob of a training run, in a frozen record; a TOML file holds only what differs from it."""

from __future__ import annotations

import dataclasses
import difflib
import logging
import tomllib
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

from edgepose import EdgeposeError
from edgepose_training import ranges

log = logging.getLogger(__name__)

# Keys of configs and checkpoints written before → today's.
RENAMED = {
    "classifier_gain": "head_init_scale",
    "colour": "color",
    "cut": "truncation_prob",
    "drops": "lr_milestones",
    "mild_start": "weak_augmentation_start",
    "mild_end": "weak_augmentation_end",
    "wide_end": "weak_end_keeps_geometry",
    "untrained": "unsupervised_keypoints",
}

CONFIGS = Path(__file__).parent / "configs"  # a folder a paper


class Record:
    """A frozen dataclass of knobs that reads itself from TOML and plain values."""

    ranges: ClassVar[ranges.Ranges] = {}  # what its values may be

    @classmethod
    def load(cls, path: str | Path | None, overrides: list[str] | None = None) -> Self:
        """Read a TOML file of differences, then `key=value` overrides (TOML values). Unknown keys are errors.

        `path` is a file, or the name of a recipe that ships (`rtmpose_t_wholebody`). `base = "other"` in a file names
        the one that its differences are from: beside it, or a recipe that ships.
        """
        origin = str(path or "config")
        values = {} if path is None else _read_toml(find_recipe(path), cls)
        return cls.from_dict(cls.overridden(values, dict(map(_override, overrides or [])), origin), origin)

    @classmethod
    def from_dict(cls, values: dict[str, Any], origin: str = "config") -> Self:
        """Build from plain values. Raises EdgeposeError for an unknown key and for a value of the wrong type or range.

        Keys of files written before are read as today's.
        """
        values = cls.todays_keys(values, origin)
        hints = get_type_hints(cls)
        known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]  # subclasses are dataclasses
        for key in sorted(set(values) - known):
            raise EdgeposeError(f"{origin}: unknown key {key!r}; {_nearest(key, known)}")
        values = {key: _coerce(value, hints[key], f"{origin}: {key}") for key, value in values.items()}
        for key, value in values.items():
            if key in cls.ranges and value not in cls.ranges[key]:
                raise EdgeposeError(f"{origin}: {key} expected {cls.ranges[key]}, got {_shown(value)}")
        return cls(**cls.completed(values))

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Checked values with those that follow from them."""
        return values

    @classmethod
    def todays_keys(cls, values: dict[str, Any], origin: str) -> dict[str, Any]:  # noqa: ARG003
        """The values of one file or checkpoint, those written before under today's keys."""
        return {RENAMED.get(key, key): value for key, value in values.items()}

    @classmethod
    def overridden(cls, values: dict[str, Any], given: dict[str, Any], origin: str) -> dict[str, Any]:
        """The `values` of a base or a file, in today's keys, with the differences `given`."""
        return values | cls.todays_keys(given, origin)

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = dataclasses.asdict(self)  # type: ignore[call-overload]  # its subclasses are dataclasses
        return values


@dataclass(frozen=True)
class TrainerConfig(Record):
    """What engine/trainer.py asks, whatever it trains."""

    ranges: ClassVar[ranges.Ranges] = ranges.TRAINER

    # --- optimization
    batch: int = 32  # samples a step, over all processes
    epochs: int = 270
    optimizer: str = "adamw"  # adamw, adam, rmsprop
    lr: float = 4e-3
    weight_decay: float = 0.05  # never on norms and biases
    warmup: int = 1000  # steps, linear from lr × 1e-5
    lr_floor: float = 0.05  # of lr, at the end of the cosine
    flat: float = 0.5  # share of the steps before the cosine starts; 1: one rate to the end
    lr_milestones: tuple[int, int] = (0, 0)  # epochs after which lr falls to a tenth, instead of the cosine
    clip: float = 0.0  # gradient norm; 0: off
    ema: float = 0.0002  # momentum of the averaged weights; 0: off
    seed: int = 21

    # --- speed
    workers: int = 1  # loader processes
    amp: str = "auto"  # auto (bf16 where the device has it), bf16, fp16, off
    channels_last: bool = True
    kernels: bool = True  # losses and CSPNeXt's layers by the kernels of edgepose.torch; False: in plain torch
    compile: bool = False  # the step by torch.compile: a minute or two at the start
    # Over several processes batch norms see the whole batch. False: each its own share, which costs no exchange in the
    # middle of a step; for shares of a dozen samples and more.
    sync_norms: bool = True

    # --- bookkeeping
    validate_every: int = 1  # epochs
    log_every: int = 50  # steps
    save_minutes: float = 0.0  # write last.pt so often, in the middle of an epoch too; 0: after every epoch


@dataclass(frozen=True)
class Config(TrainerConfig):
    """Every knob of a pose net's training."""

    ranges: ClassVar[ranges.Ranges] = ranges.POSE

    # --- network
    # RTMPose is "cspnext" under "rtmcc"; the others are listed by models/posenet.py and tabled in docs/models.md.
    backbone: str = "cspnext"  # cspnext, resnet, hrnet, stem, hourglass
    size: str = "t"  # of the backbone: t, s, m, l, x; 50, 101; w32, w48; 4x128, 8x256
    head: str = "rtmcc"  # rtmcc, simcc, simcc_deconv, tokenpose, heatmap, heatmap1d
    skeleton: str = "coco_wholebody"  # shipped name or TOML file; gives K
    input_size: tuple[int, int] = (192, 256)  # W, H px
    split_ratio: float = 2.0  # SimCC bins per pixel
    # Label width in bins, x and y. What is not given follows input_size and split_ratio: sqrt(bins / 16) (RTMPose).
    sigma: tuple[float, float] = (4.9, 5.66)
    beta: float = 10.0  # softmax multiplier of logits and labels, 1/temperature (RTMPose §3.3)
    # Stages of the backbone that stay as they are, their batch statistics too: -1 none, 0 the stem, 2 the stem and two
    # stages. What a trained net sees first changes least and costs most; for going on from one (`--init`), cspnext.
    frozen_stages: int = -1
    head_init_scale: float = 1.0  # factor on the classifiers' first weights; < 1 leaves the mean pose sooner

    # What the recipe wants as --teacher and as --init, in words; without them it refuses to train. "": nothing.
    needs_teacher: str = ""
    needs_init: str = ""

    # --- losses
    # Named recipe of losses.py: simcc, simcc_norm, rtmpose, wholebody; heatmap1d for heads of that name. Nets of
    # two-dimensional heat maps have one loss only and do not ask.
    label_loss: str = "wholebody"
    # RTMPose sums its label loss over the people of one GPU, while other terms are means, so their ratio hangs on
    # how many those are. The sum counts as if there were so many, however the batch is split; 0: the whole batch.
    loss_batch: int = 0
    label_kind: str = "gaussian"  # gaussian, laplace, onehot, smooth (SimCC's label smoothing)
    label_center: str = "round"  # of Gaussians, to a bin or a cell; "exact": as the SimCC paper has them, not rounded
    label_normalize: bool = False  # True: the density's integral is 1 (SimCC paper), not its peak
    label_smoothing: float = 0.1  # share of a "smooth" label outside of its bin
    heatmap_sigma: float = 2.0  # label width of heat maps, in their cells
    part_weights: dict[str, float] = dataclasses.field(default_factory=dict)  # part → factor on its label loss
    aux_heatmap: float = 0.0  # weight of the auxiliary stride-8 heat-map loss (dropped at export)
    teacher_scores: bool = True  # weight v=1 labels by their score; False: as if they were ground truth

    # --- distillation (DWPose). Zero weights: plain training.
    stage: int = 1  # 1: labels + features + logits; 2: fresh head on the frozen backbone, logits only
    # The paper writes α = 5e-5 with a loss divided by C·H·W; its code uses 7e-5 on a sum divided by N only.
    # The author's answer is to follow the code, so this is the code's.
    alpha: float = 7e-5  # feature term
    beta_logit: float = 0.1  # logit term; 1.0 in stage 2
    teacher_flip: bool = False  # the teacher answers to the mirrored image too, and the mean counts: better, and slower
    decay: bool = True  # r(t) = 1 − (t − 1) / t_max on both terms, t = epoch from 1; never in stage 2
    fpd_alpha: float = 0.5  # FPD, heat maps with a teacher: share of the teacher's term; images without labels: 1

    # --- data
    on_device: bool = False  # keep all crops in the device's memory and augment there; for GPUs
    split_shards: bool = False  # each process reads a share of the shards of its own, not all of them
    # Labeled points outside of the image get a flat label. False: they have no weight, as published.
    teach_absence: bool = False
    truncation_prob: float = 0.0  # share of crops cut at chest or waist; for teach_absence
    flip: float = 0.5
    half_body: float = 0.3
    scale: tuple[float, float] = (0.6, 1.4)  # factor on the box
    rotation: float = 80.0  # degrees, bound of a truncated normal, given to 60 % of the crops
    shift: float = 0.16  # of the box, given to 30 % of the crops
    erase: float = 1.0  # probability of one erased rectangle of 20–40 % of each side
    color: float = 1.0  # strength of the HSV jitter
    # SimCC and FPD draw scale and rotation from a normal distribution clipped at its bounds: scale at one standard
    # deviation, rotation at two, so it reaches twice `rotation`. RTMPose cuts both off at one.
    clipped_normal: bool = False
    # Milder values at the start (a net that has not left the mean pose learns nothing from hard crops) and at the
    # end (RTMPose's second augmentation stage), as shares of all epochs.
    weak_augmentation_start: float = 0.0
    weak_augmentation_end: float = 0.11
    weak_end_keeps_geometry: bool = False  # weaker shift and erasing only (RTMPose-x)

    # --- schedule, painting and validation
    half_size_epochs: int = 0  # first epochs on inputs of half the size: about 2.5 times as fast
    crop_kernel: bool = False  # `on_device` painting by crop_normalize, person by person, not by torch all at once
    compile_render: bool = False  # `on_device` painting by torch.compile: some seconds
    validate_people: int = 0  # first so many people of the validation set; 0: all

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {"sigma": _rule(values)} | values

    @classmethod
    def overridden(cls, values: dict[str, Any], given: dict[str, Any], origin: str) -> dict[str, Any]:
        """A label width that followed the size of a base follows another size that is given; others stay, with a
        warning."""
        given = cls.todays_keys(given, origin)
        if "sigma" in given or "sigma" not in values or not {"input_size", "split_ratio"} & set(given):
            return values | given
        before = cls.from_dict(values, origin)
        if all(abs(a - b) < 0.02 for a, b in zip(before.sigma, _rule(before.to_dict()), strict=True)):
            values = {key: value for key, value in values.items() if key != "sigma"}
        else:
            log.warning("%s: sigma stays %s bins, whatever the input size", origin, _shown(before.sigma))
        return values | given


def _rule(values: dict[str, Any]) -> tuple[float, float]:
    """RTMPose's label width of the size and bins in `values`."""
    width, height = values.get("input_size", Config.input_size)
    bins = values.get("split_ratio", Config.split_ratio)
    return round((width * bins / 16) ** 0.5, 2), round((height * bins / 16) ** 0.5, 2)


def find_recipe(name: str | Path, folder: Path | None = None) -> Path:
    """The file of a recipe: a path (relative to `folder`), else the name of one that ships, `.toml` or not.

    A path that nothing is at, to a recipe that ships, is that recipe, with a warning: they have moved. Raises
    EdgeposeError that names the nearest recipes for a name that nothing has.
    """
    path = Path(name)
    here = path if folder is None else folder / path
    for file in (here, here.parent / f"{here.name}.toml"):
        if path.name and file.is_file():
            return file
    shipped = {file.stem: file for file in CONFIGS.rglob("*.toml")}
    stem = path.name.removesuffix(".toml")
    if stem in shipped:
        if path.parent != Path():
            log.warning("%s: no such file; the recipe %s that ships is taken", name, stem)
        return shipped[stem]
    near = difflib.get_close_matches(stem, shipped, 3, 0.5)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise EdgeposeError(f"{str(name)!r}: expected a TOML file or the name of a recipe in {CONFIGS.name}/{hint}")


def _nearest(key: str, known: set[str]) -> str:
    near = difflib.get_close_matches(key, known, 3, 0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(known))}"


def _shown(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else repr(value)


def _override(item: str) -> tuple[str, Any]:
    key, equals, text = item.partition("=")
    if not equals:
        raise EdgeposeError(f"--set expected KEY=VALUE, got {item!r}")
    try:
        return key.strip(), tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text.strip()


def _read_toml(path: Path, config: type[Record], depth: int = 0) -> dict[str, Any]:
    """The values of a file over those of its base."""
    if depth > 8:
        raise EdgeposeError(f"{path}: the bases of this config lead back to itself")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EdgeposeError(f"{path}: cannot read the config ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EdgeposeError(f"{path}: not valid TOML ({error})") from error
    base = values.pop("base", None)
    values = config.todays_keys(values, str(path))
    if base is None:
        return values
    return config.overridden(_read_toml(find_recipe(base, path.parent), config, depth + 1), values, str(path))


def _coerce(value: Any, hint: Any, name: str) -> Any:
    origin = get_origin(hint)
    if origin is tuple and isinstance(value, list | tuple) and len(value) == len(get_args(hint)):
        return tuple(_coerce(v, h, name) for v, h in zip(value, get_args(hint), strict=True))
    if origin is dict and isinstance(value, dict):
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, types.GenericAlias) or typing.get_origin(hint) is not None:
        raise EdgeposeError(f"{name} expected {hint}, got {value!r}")
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise EdgeposeError(f"{name} expected {hint.__name__}, got {value!r}")
    return value
