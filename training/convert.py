"""Convert a checkpoint of mmpose, or an exported model; a second command makes a file for the app:

    python training/convert.py dw-ll_ucoco_384.pth -o dwpose-l.pt
    python training/export.py dwpose-l.pt -o dwpose-l.onnx

RTMPose, DWPose, SimCC and heat-map nets on CSPNeXt, ResNet and HRNet. Size, keypoints and input size are inferred from
the weights, the skeleton from mmpose's description of its data set. Code in the file is not run. License and data of
the weights are up to their authors: `export.py --card` records them.

The name of a shipped model, or an .onnx file exported here, becomes a checkpoint again: `convert.py edgepose-t -o t.pt
--shards runs/shards/train`. Its batch norms take their statistics from the shards. `distill.py --init` does so itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from edgepose import EdgeposeError
from edgepose_training.command import command, output_file
from edgepose_training.config import Config
from edgepose_training.data.crop_cache import CropCache
from edgepose_training.data.shards import find_shards
from edgepose_training.deploy import given, restoring
from edgepose_training.engine import checkpoints
from edgepose_training.engine.conversion import convert, net_name


def restored(model: str, shards: Path | None) -> dict[str, Any]:
    """The checkpoint of an exported model."""
    if shards is None:
        raise EdgeposeError(f"{model}: give crops like those to train on as --shards, for its batch norms' statistics")
    return restoring.restore(model, given.training_images(Config(), CropCache(find_shards(shards))))


@command()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "checkpoint", help="a .pth file of mmpose, an .onnx file exported here, or a shipped model's name"
    )
    parser.add_argument("-o", "--output", type=output_file, required=True, help="the .pt file")
    parser.add_argument("--skeleton", help="name or TOML file, where the checkpoint does not tell")
    parser.add_argument("--stage", type=int, choices=(1, 2), help="of a DWPose training checkpoint, if shapes mislead")
    parser.add_argument("--input-size", type=int, nargs=2, metavar=("W", "H"), help="of a net of heat maps")
    parser.add_argument("--shards", type=Path, help="folder of crop shards, for an exported model")
    args = parser.parse_args(argv)
    if args.output.suffix != ".pt":
        raise EdgeposeError(f"--output expected a .pt file, got {args.output}")
    if restoring.is_exported(args.checkpoint):
        state = restored(args.checkpoint, args.shards)
    else:
        size = tuple(args.input_size) if args.input_size else None
        state = convert(Path(args.checkpoint), args.skeleton, args.stage, size)
    checkpoints.save(args.output, state)
    config, skeleton = Config.from_dict(state["config"]), state["skeleton"]
    width, height = config.input_size
    kind = "averaged weights" if state["ema"] else "weights"
    name = net_name(config)
    print(
        f"{args.output}: {kind} of {'an' if name[0] in 'Rh' else 'a'} {name}, {width}×{height} px, "
        f"{len(skeleton['keypoints'])} points of {skeleton['name']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
