"""Convert an RTMPose or DWPose checkpoint of mmpose; a second command makes a file for the app:

    python training/convert.py dw-ll_ucoco_384.pth -o dwpose-l.pt
    python training/export.py dwpose-l.pt -o dwpose-l.onnx

Size, keypoints and input size are inferred from the weights, the skeleton from mmpose's description of its data set.
Code in the file is not run. License and data of the weights are up to their authors: `export.py --card` records them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgepose import EdgeposeError
from edgepose_training.command import command, output_file
from edgepose_training.engine import checkpoints
from edgepose_training.engine.conversion import convert


@command()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a .pth file of RTMPose or DWPose")
    parser.add_argument("-o", "--output", type=output_file, required=True, help="the .pt file")
    parser.add_argument("--skeleton", help="name or TOML file, where the checkpoint does not tell")
    parser.add_argument("--stage", type=int, choices=(1, 2), help="of a DWPose training checkpoint, if shapes mislead")
    args = parser.parse_args(argv)
    if args.output.suffix != ".pt":
        raise EdgeposeError(f"--output expected a .pt file, got {args.output}")
    state = convert(args.checkpoint, args.skeleton, args.stage)
    checkpoints.save(args.output, state)
    config, skeleton = state["config"], state["skeleton"]
    width, height = config["input_size"]
    kind = "averaged weights" if state["ema"] else "weights"
    print(
        f"{args.output}: {kind} of an RTMPose-{config['size']}, {width}×{height} px, "
        f"{len(skeleton['keypoints'])} points of {skeleton['name']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
