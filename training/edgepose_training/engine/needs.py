"""The nets that a recipe is made for, beside the one it trains: named, or done without on purpose."""

from __future__ import annotations

import argparse

from edgepose import EdgeposeError
from edgepose_training.config import Config

NETS = "a checkpoint, a file of mmpose, an .onnx exported here, or a shipped model's name; to start from, any backbone"


def add_arguments(parser: argparse.ArgumentParser, metavar: str = "NET", what: str = NETS) -> None:
    """`--teacher` and `--init`, which take `what`, and how to do without one that the recipe wants."""
    teacher, init = (parser.add_mutually_exclusive_group() for _ in range(2))
    teacher.add_argument("--teacher", metavar=metavar, help=f"net to distill from: {what}")
    teacher.add_argument("--no-teacher", action="store_true", help="train on labels alone, though the recipe distills")
    init.add_argument("--init", metavar=metavar, help=f"net to start from: {what}")
    init.add_argument("--no-init", action="store_true", help="start from random weights, though the recipe does not")


def check(config: Config, args: argparse.Namespace, *, going_on: bool) -> None:
    """Raises EdgeposeError where the recipe wants a net that is neither given nor done without.

    `going_on`: the run has weights of its own already.
    """
    if config.needs_teacher and not (args.teacher or args.no_teacher):
        raise EdgeposeError(
            f"this recipe learns from a teacher, {config.needs_teacher}: "
            "give it as --teacher, or train on labels alone with --no-teacher"
        )
    if config.needs_init and not (args.init or args.no_init or going_on):
        raise EdgeposeError(
            f"this recipe starts from trained weights, {config.needs_init}: "
            "give them as --init, or start from random ones with --no-init"
        )
    if config.stage == 2 and args.init:
        raise EdgeposeError("stage 2 starts from the backbone of its --teacher: --init would not be used")
