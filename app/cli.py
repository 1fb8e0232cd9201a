"""`edgepose-app`: options, errors as one sentence, and the choice between the window and none."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepose import EdgeposeError

if TYPE_CHECKING:
    from .outputs import Sink
    from .setup import Setup

log = logging.getLogger(__name__)

DESCRIPTION = "Whole-body pose in real time, from a camera, a video, a stream or pictures."
DEMO_SECONDS = 10.0  # of a demo without window and limits


def parser() -> argparse.ArgumentParser:
    """All options of the app."""
    p = argparse.ArgumentParser(prog="edgepose-app", description=DESCRIPTION)
    what = p.add_argument_group("what to look at", "default: the first camera, else the demo")
    source = what.add_mutually_exclusive_group()
    source.add_argument("--camera", type=_camera, metavar="N", help="camera number, 0 is the first")
    source.add_argument("--source", metavar="PATH|URL|FOLDER|demo", help="a video, picture or stream")
    what.add_argument("--sequence", action="store_true", help="the folder's pictures are frames of a video")
    model = p.add_argument_group("model")
    model.add_argument("--model", default="default", metavar="NAME|ONNX", help="a shipped one, or RTMPose, DWPose")
    model.add_argument("--detector", metavar="ONNX", help="a person detector (default: ours; RTMDet, YOLOX; none)")
    model.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    model.add_argument("--flip-test", action="store_true", help="look at mirror images too: better, and slower")
    model.add_argument("--max-people", type=_positive, metavar="N", help="at most so many people")
    model.add_argument("--threads", type=_positive, metavar="N", help="CPU threads of the network")
    out = p.add_argument_group("output")
    out.add_argument("--save", metavar="PATH", help="annotated video (.mp4), picture, or folder of pictures")
    out.add_argument("--json", metavar="PATH", help="one JSON object a frame; - is standard output")
    out.add_argument("--headless", action="store_true", help="no window")
    out.add_argument("--duration", type=_seconds, metavar="SECONDS", help="stop after so much of the source")
    out.add_argument("--frames", type=_positive, metavar="N", help="stop after N frames")
    view = p.add_argument_group("view")
    view.add_argument("--threshold", type=_share, metavar="SCORE", help="hide points below (default: the model's)")
    view.add_argument(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        help="mirror the view, never the data (default: for cameras)",
    )
    view.add_argument("--fullscreen", action="store_true", help="start on the whole screen")
    view.add_argument("--screenshot", metavar="PATH", help="save the window (.png, .jpg) after a moment and quit")
    p.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    p.add_argument("--version", action="store_true", help="print the version and quit")
    return p


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def _camera(text: str) -> int:
    if not text.isdecimal() or int(text) > 9999:  # what OpenCV counts in is narrow
        raise argparse.ArgumentTypeError(f"expected a camera's number, 0 is the first, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0, got {text!r}")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the app; the exit status: 0 done, 1 a fault of ours, 2 a mistake to correct, 130 Ctrl-C."""
    args = parser().parse_args(argv)
    if args.version:
        import edgepose

        print(f"edgepose {edgepose.__version__}")
        return 0
    level = logging.DEBUG if args.verbose else logging.WARNING
    logging.basicConfig(level=level, format="edgepose-app: %(message)s")
    _quiet_opencv(args.verbose)
    try:
        return _run(args)
    except EdgeposeError as error:
        _tell(error)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `edgepose-app --json - | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if args.verbose:
            raise
        _tell(f"internal error: {type(error).__name__}: {error} (--verbose shows where)")
        return 1


def _run(args: argparse.Namespace) -> int:
    headless = args.headless or _no_window()
    if headless and args.screenshot:
        raise EdgeposeError("--screenshot shows the window: it needs a display, or QT_QPA_PLATFORM=offscreen")
    setup = _set_up(args)
    if headless:
        return _headless(setup)
    from .display import clear_opencv_qt

    clear_opencv_qt()  # again: importing OpenCV has set it
    from .gui.launch import show

    return show(setup, _sinks(setup, args.save))


def _no_window() -> bool:
    """Whether there is no display, said aloud. A display that Qt cannot use is an error with a remedy."""
    from .display import has_display, why_no_window

    if not has_display():
        _tell("no display here (DISPLAY and WAYLAND_DISPLAY are not set), so running without a window")
        return True
    if reason := why_no_window():
        raise EdgeposeError(reason)
    return False


def _set_up(args: argparse.Namespace) -> Setup:
    _need_runtime()
    from edgepose import TopdownEstimator

    from .overlay import Cast
    from .setup import Setup
    from .sources import open_source

    spec = _choose(args)
    source = open_source(spec, sequence=args.sequence)
    try:
        estimator = TopdownEstimator(
            args.model,
            device=args.device,
            detector=args.detector,
            max_people=args.max_people,
            threads=args.threads,
            flip_test=args.flip_test,
            smooth=True,  # of sequences only; the engine says which source is one
        )
    except BaseException:
        source.close()
        raise
    return Setup(args, spec, source, estimator, Cast.of(estimator.card, estimator.skeleton))


def _choose(args: argparse.Namespace) -> int | str:
    """What to open when the user did not say: the first camera, else the demo."""
    if args.camera is not None:
        return int(args.camera)
    if args.source is not None:
        return str(args.source)
    from .sources.camera import list_cameras

    cameras = list_cameras()
    if cameras or sys.platform != "linux":
        return next(iter(cameras), 0)
    _tell("no camera found, so showing the demo (--camera N or --source chooses)")
    return "demo"


def _headless(setup: Setup) -> int:
    from . import headless
    from .drift import Drift
    from .keeper import OUTPUT
    from .outputs import close_all
    from .overlay import Look
    from .sources.demo import Demo

    args, source = setup.args, setup.source
    demo = isinstance(source, Demo)
    limit = DEMO_SECONDS if demo and args.duration is None and args.frames is None else args.duration
    sinks = _sinks(setup, str(OUTPUT / "demo.mp4") if demo and not args.save else args.save)
    human = sys.stderr if args.json == "-" else sys.stdout
    print(f"{source.description} → {_model_line(setup)}", file=human, flush=True)
    # A service manager's way of saying Ctrl-C: a video that is not finished cannot be played.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = headless.run(
            source,
            setup.estimator,
            sinks,
            drift=Drift(setup.cast.skeleton, setup.cast.limits(Look(args.threshold))) if demo else None,
            duration=limit,
            max_frames=args.frames,
            progress=lambda text: print(text, file=sys.stderr, flush=True),
        )
    finally:
        signal.signal(signal.SIGTERM, before)
        written = close_all(sinks)
    print(report.text(), file=human)
    if demo:
        table = OUTPUT / "demo_timings.txt"
        table.parent.mkdir(exist_ok=True)
        table.write_text(f"{source.description} → {_model_line(setup)}\n{report.text()}\n", encoding="utf-8")
        written.append(f"{table}: this table")
    for said in written:
        print(f"wrote {said}", file=human)
    return 130 if report.interrupted else 0


def _sinks(setup: Setup, save: str | None) -> list[Sink]:
    from .outputs import JsonLines, save_sink
    from .overlay import Look

    _spare_the_source(setup, save)
    sinks: list[Sink] = []
    if save:
        look = Look(threshold=setup.args.threshold)
        sinks.append(save_sink(save, setup.source.fps, setup.cast, look))
    if setup.args.json:
        sinks.append(JsonLines(setup.args.json))
    return sinks


def _spare_the_source(setup: Setup, save: str | None) -> None:
    """No output may replace what it was made from, nor another output."""
    from .media import PICTURE_SUFFIXES
    from .sources import local_path

    path = local_path(setup.spec)
    taken = set() if path is None else {path.resolve()}
    if path is not None and path.suffix.lower() in PICTURE_SUFFIXES:
        taken.add(path.resolve().parent)  # a folder to save in keeps the names of the pictures
    for option, out in (("--save", save), ("--json", setup.args.json)):
        if out and out != "-":
            if Path(out).resolve() in taken:
                raise EdgeposeError(
                    f"{option} {out}: would overwrite the source or another output; choose another place"
                )
            taken.add(Path(out).resolve())


def _model_line(setup: Setup) -> str:
    return f"{setup.estimator.card.name} on {setup.estimator.device}"


def _tell(sentence: object) -> None:
    print(f"edgepose-app: {sentence}", file=sys.stderr, flush=True)


def _need_runtime() -> None:
    from .display import missing_library

    for module, what in (("cv2", "OpenCV"), ("onnxruntime", "onnxruntime")):
        try:
            __import__(module)
        except ModuleNotFoundError as error:
            raise EdgeposeError(f"the app needs {what}: pip install 'edgepose[app]'") from error
        except ImportError as error:
            reason = missing_library(str(error)) or f"cannot be loaded: {error}"
            raise EdgeposeError(f"{what} {reason}") from error


def _quiet_opencv(verbose: bool) -> None:
    """OpenCV and FFmpeg speak on stderr by themselves; the app says the same in its own words."""
    if verbose:
        return
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
