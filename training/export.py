"""Export a checkpoint: `python training/export.py runs/t/best.pt -o edgepose-t.onnx`.

The file carries its model card and is written only if onnxruntime and torch agree on it, for one person and
for three. `torch.onnx.export` is asked for its tracing exporter: the newer one needs onnxscript, and gains
nothing for nets without control flow.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import io
import json
import logging
import sys
import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from edgepose import EdgeposeError, ModelCard, Skeleton
from edgepose_training import onnx_graph
from edgepose_training.checkpoint import load_net
from edgepose_training.config import Config
from edgepose_training.data import MEAN, STD
from edgepose_training.datasets import Person, read_coco_wholebody
from edgepose_training.people import find_files

log = logging.getLogger("export")

OPSET = 17  # TensorRT ≥ 8.6 and OpenVINO ≥ 2023 take it whole
BATCHES = (1, 3)
# Largest difference as a share of the largest logit. Two float32 implementations differ by some 1e-6; weights
# stored as float16 by their rounding, 2⁻¹¹ each.
TOLERANCE = 1e-4
HALF_TOLERANCE = 2e-2
HELD_OUT = 500  # validation people on whom int8 is measured beside float32


def load_for_export(path: str | Path) -> tuple[nn.Module, ModelCard]:
    """The net of a checkpoint with its best weights, in eval mode, and the card that its config implies."""
    net, config, skeleton, state = load_net(path)
    return net, card_of(path, config, skeleton, state)


def card_of(path: str | Path, config: Config, skeleton: Skeleton, state: dict[str, Any]) -> ModelCard:
    """The card that a checkpoint implies. Raises EdgeposeError for a net that the runtime cannot decode."""
    if config.head == "heatmap":
        raise EdgeposeError(f"{path}: a net of heat maps; the runtime decodes SimCC vectors.")
    rtmpose = (config.backbone, config.head) == ("cspnext", "rtmcc")
    net_name = f"RTMPose-{config.size}" if rtmpose else f"{config.backbone}-{config.size} {config.head}"
    # Converted checkpoints tell their own story.
    recipe = state.get("recipe") or f"{net_name}, epoch {state.get('epoch', 0)} of {config.epochs}"
    return ModelCard(
        name=Path(path).stem,
        input_size=config.input_size,
        channel_order="rgb",
        mean=MEAN,
        std=STD,
        split_ratio=config.split_ratio,
        sigma=config.sigma,
        # Regressed heat vectors peak at 1 by themselves: their scores are read as they are.
        beta=None if config.head == "heatmap1d" else config.beta,
        score="min" if config.head == "heatmap1d" else "calibrated",
        skeleton=skeleton,
        untrained=tuple(state.get("untrained", ())),
        recipe=recipe,
        date=datetime.date.today().isoformat(),
    )


def with_entries(card: ModelCard, entries: dict[str, Any]) -> ModelCard:
    """The card with entries replaced. Raises EdgeposeError for an entry that a card does not have."""
    known = {field.name for field in dataclasses.fields(ModelCard)} - {"skeleton"}
    if unknown := sorted(set(entries) - known):
        raise EdgeposeError(f"A model card has no entry {unknown[0]!r}; known are {', '.join(sorted(known))}.")
    try:
        return dataclasses.replace(card, **entries)
    except (ValueError, TypeError) as error:
        raise EdgeposeError(f"The card's entries make no sense: {error}.") from error


def to_onnx(net: nn.Module, card: ModelCard) -> onnx.ModelProto:
    """Trace the net into ONNX with a dynamic batch; outputs `simcc_x`, `simcc_y` are raw logits."""
    width, height = card.input_size
    names = ("input", "simcc_x", "simcc_y")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Tracing warns of its own deprecation, and of shape checks that hold for every input of this size.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.cpu().eval(),
            (torch.zeros(2, 3, height, width),),
            buffer,
            input_names=list(names[:1]),
            output_names=list(names[1:]),
            dynamic_axes={name: {0: "N"} for name in names},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    onnx_graph.simplify(model)
    onnx_graph.drop_unused_initialisers(model)
    count, (bins_x, bins_y) = card.skeleton.num_keypoints, card.bins
    onnx_graph.set_output_shapes(model, {"simcc_x": ("N", count, bins_x), "simcc_y": ("N", count, bins_y)})
    return model


def run_onnx(model: onnx.ModelProto, batch: np.ndarray) -> list[np.ndarray]:
    """Outputs of a model in memory, by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # initialisers that it folds away are no news
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: batch})


def check_parity(net: nn.Module, model: onnx.ModelProto, card: ModelCard, tolerance: float) -> float:
    """Largest relative difference of torch and onnxruntime on random crops. Raises EdgeposeError beyond."""
    width, height = card.input_size
    generator = np.random.default_rng(0)
    worst = 0.0
    for count in BATCHES:
        batch = generator.standard_normal((count, 3, height, width), np.float32)
        with torch.inference_mode():
            expected = [output.numpy() for output in net(torch.from_numpy(batch))]
        for ours, theirs in zip(expected, run_onnx(model, batch), strict=True):
            if ours.shape != theirs.shape:
                raise EdgeposeError(f"Not written: shapes {theirs.shape} of onnxruntime, {ours.shape} of torch.")
            difference = float(np.abs(ours - theirs).max() / max(float(np.abs(ours).max()), 1e-12))
            worst = max(worst, difference) if np.isfinite(difference) else np.inf
    if worst > tolerance:
        raise EdgeposeError(
            f"Not written: torch and onnxruntime differ by {worst:.2g} of the largest logit (≤ {tolerance:g})."
        )
    return worst


def export(
    checkpoint: str | Path,
    *,
    entries: dict[str, Any] | None = None,
    half_weights: bool = False,
    int8_people: Sequence[Person] | None = None,
    held_out: Sequence[Person] = (),
    with_decode: bool = False,
) -> tuple[onnx.ModelProto, ModelCard, float]:
    """A checked ONNX model with its card, and how far it is from torch. Raises EdgeposeError if too far.

    With `int8_people` the checked float32 model is quantised on their crops. How far int8 may be from it is no matter
    of logits but of accuracy: both are measured on the people `held_out`, and the card has the figures as
    `accuracy["int8"]`.
    """
    net, card = load_for_export(checkpoint)
    card = with_entries(card, entries or {})
    model = to_onnx(net, card)
    difference = check_parity(net, model, card, TOLERANCE)
    if half_weights:
        onnx_graph.store_half(model)
        difference = check_parity(net, model, card, HALF_TOLERANCE)
    if int8_people is not None:
        from edgepose_training.quantise import accuracy, calibration_crops, quantise

        full, model = model, quantise(model, list(calibration_crops(int8_people, card)))
        if held_out:
            measured = accuracy({"int8": model, "float32": full}, card, held_out)
            card = dataclasses.replace(card, accuracy=card.accuracy | {"int8": measured})
        difference = check_parity(net, model, card, np.inf)
    if with_decode:
        onnx_graph.append_decode(model, card)
    onnx_graph.write_card(model, card)
    onnx.checker.check_model(model, full_check=True)
    return model, card, difference


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write beside, then rename: a crash leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(model.SerializeToString())
    temporary.replace(path)


def read_entries(path: Path) -> dict[str, Any]:
    """Card entries of a TOML or JSON file. Raises EdgeposeError."""
    try:
        text = path.read_text(encoding="utf-8")
        entries = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise EdgeposeError(f"{path}: cannot read the card's entries ({error}).") from error
    if not isinstance(entries, dict):
        raise EdgeposeError(f"{path}: expected entries by name.")
    return entries


def _int8_people(checkpoint: Path, data: Path) -> tuple[list[Person], list[Person]]:
    """People to calibrate on, and a sample of the validation people to measure on; none where there are none."""
    skeleton = load_for_export(checkpoint)[1].skeleton
    training = read_coco_wholebody(*find_files(data, "train"), skeleton)
    try:
        valid = read_coco_wholebody(*find_files(data, "val"), skeleton)
    except EdgeposeError as error:
        log.warning("accuracy of int8 is not measured: %s", error)
        return training, []
    return training, [valid[i] for i in np.random.default_rng(0).permutation(len(valid))[:HELD_OUT]]


def _beside(measured: dict[str, Any]) -> str:
    """int8's accuracy beside float32's, a line a part."""
    lines = [f"mean OKS on {measured['people']} people of val, their own boxes: int8 / float32"]
    parts = ((part, row) for part, row in measured.items() if part != "people")
    return "\n".join(lines + [f"  {part}: {row['int8']:.3f} / {row['float32']:.3f}" for part, row in parts])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .onnx file")
    parser.add_argument("--name", help="name in the card (default: the output's)")
    parser.add_argument(
        "--card", type=Path, action="append", default=[],
        help="TOML or JSON with entries of the card: licence, data, accuracy, …; may be given several times",
    )  # fmt: skip
    parser.add_argument("--half-weights", action="store_true", help="store weights as float16 (compute stays float32)")
    parser.add_argument("--int8", action="store_true", help="quantise the convolutions, calibrated on people of --data")
    parser.add_argument(
        "--data", type=Path, help="folder of COCO-WholeBody, or with annotations/ and images/, for --int8"
    )
    parser.add_argument("--with-decode", action="store_true", help="end in keypoints and scores, for other runtimes")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if args.int8 and (args.half_weights or not args.data):
            raise EdgeposeError("--int8 needs --data with people to calibrate on, and stores its weights its own way.")
        entries = {"name": args.name or args.output.stem}
        for path in args.card:
            entries |= read_entries(path)
        people, held_out = _int8_people(args.checkpoint, args.data) if args.int8 else (None, [])
        model, card, difference = export(
            args.checkpoint,
            entries=entries,
            half_weights=args.half_weights,
            int8_people=people,
            held_out=held_out,
            with_decode=args.with_decode,
        )
        write(model, args.output)
    except EdgeposeError as error:
        print(error, file=sys.stderr)
        return 2
    size = args.output.stat().st_size / 2**20
    print(f"{args.output}: {card.name}, {size:.1f} MiB, {difference:.1g} of the largest logit from torch")
    if held_out:
        print(_beside(card.accuracy["int8"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
