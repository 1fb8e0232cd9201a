"""Make a larger net with the same output as a trained one: `python training/grow.py NET.pt --size s -o s.pt`.

Channels are repeated, and the layers that read them divide the old weight among the copies; new blocks start as
the identity (Net2Net, Chen, Goodfellow and Shlens, ICLR 2016). RTMPose only (cspnext under rtmcc). Train the result
with `distill.py --init`; it can then teach the smaller net.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgepose import EdgeposeError
from edgepose_training.command import command, output_file
from edgepose_training.engine import checkpoints
from edgepose_training.engine.growing import grow


@command()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a trained RTMPose net (.pt)")
    parser.add_argument("--size", required=True, help="of the new one: s, m, …")
    parser.add_argument("-o", "--output", type=output_file, required=True, help="its file (.pt)")
    args = parser.parse_args(argv)
    if args.output.suffix != ".pt":
        raise EdgeposeError(f"--output expected a .pt file, got {args.output}")
    checkpoints.save(args.output, grow(args.checkpoint, args.size))
    print(f"{args.output}: an RTMPose-{args.size} that answers as {args.checkpoint} does")
    return 0


if __name__ == "__main__":
    sys.exit(main())
