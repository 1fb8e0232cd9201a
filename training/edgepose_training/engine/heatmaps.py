"""The convention of two-dimensional heat maps: which pixel the center of a cell stands for.

It is that of `edgepose.ops.heatmap_encode` and `heatmap_decode`: cell i of stride s is centered on pixel s·i.
SimpleBaseline, HRNet, FPD and mmpose use it, and it matches the centers of stacked 3×3 convolutions of stride 2.
"""

from __future__ import annotations

STRIDE = 4  # pixels of the input between the cells of every net of heat maps
CELLS = "corners"  # this convention, as checkpoints name it
FORMER_CELLS = "centers"  # pixel s·(i + ½) − ½, until 2026-11-27


def cell_offset(cells: str) -> float:
    """Pixels right of s·i on which cell i is centered, for a net of that convention."""
    return 0.0 if cells == CELLS else (STRIDE - 1) / 2
