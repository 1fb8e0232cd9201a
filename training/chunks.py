"""Files that travel in pieces: `python training/chunks.py split FILE… -o FOLDER` and `join FOLDER -o FOLDER`.

Where a machine gives back only small files, a checkpoint goes as `<name>.000`, `.001`, … and a manifest
`<name>.parts.json` with the size and SHA-256 of each. The manifest is written last: what has one is whole.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgepose import EdgeposeError
from edgepose_training.bundles.chunks import MANIFEST, find_manifests, join, split
from edgepose_training.command import command


@command()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("split", "join"))
    parser.add_argument("paths", type=Path, nargs="+", help="files to split, or folders with manifests to join")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the parts, or for the files")
    parser.add_argument("--part-mib", type=float, default=16, help="largest part, MiB")
    args = parser.parse_args(argv)
    if args.action == "split":
        written = [p for path in args.paths for p in split(path, args.output, int(args.part_mib * 2**20))]
    else:
        manifests = [manifest for folder in args.paths for manifest in find_manifests(folder)]
        if not manifests:
            raise EdgeposeError(f"{args.paths[0]}: no *{MANIFEST} there")
        written = [join(manifest, args.output) for manifest in manifests]
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
