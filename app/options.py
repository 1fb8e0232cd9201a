"""What the user can choose: the command line, checked, as one frozen value."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass

DESCRIPTION = "Whole-body pose in real time, from a camera, a video, a stream or images."


@dataclass(frozen=True)
class AppOptions:
    """Every option of the app, under the name of its flag. Nobody changes it: what changes is state of its owner."""

    # What to look at; neither of the first two: the first camera, else the demo.
    camera: int | None = None  # number, 0 is the first
    source: str | None = None  # path, URL, folder or "demo"
    sequence: bool = False  # the folder's images are frames of a video
    # Model
    model: str = "default"  # name of a shipped one, or path
    detector: str | None = None  # path or "none"; None: the shipped one
    device: str = "auto"  # "auto", "cpu" or "cuda"
    flip_test: bool = False
    max_people: int | None = None
    detect_every: float | None = None  # ms between two searches while everybody is in sight; None: every tenth frame
    person_threshold: float | None = None  # lowest score of a detection; None: the detector's own
    smoothing: float = 1.0  # 0: none, 2: twice as calm
    smooth: str = "live"  # "live": frame by frame; "offline": a file as a whole, in two passes
    follow: str | int = "all"  # "all", "largest", "center" or a person's id
    roi: tuple[int, int, int, int] | None = None  # x, y, w, h in px: nothing outside is looked at
    threads: int | None = None  # CPU threads of the network; None: onnxruntime's choice
    # Output
    save: str | None = None  # path of a video, an image or a folder
    json: str | None = None  # path; "-" is standard output
    headless: bool = False
    duration: float | None = None  # s of the source
    frames: int | None = None  # stop after so many
    # View
    threshold: float | None = None  # lowest score that is drawn; None: the model's own, by part
    mirror: bool | None = None  # None: for cameras only
    fullscreen: bool = False
    screenshot: str | None = None  # path of an image of the window, after which it closes
    verbose: bool = False
    version: bool = False

    @classmethod
    def parse(cls, argv: Sequence[str] | None = None) -> AppOptions:
        """The options of a command line (None: of this process). SystemExit with a sentence for a wrong one."""
        return cls(**vars(parser().parse_args(argv)))


def parser() -> argparse.ArgumentParser:
    """All flags of the app; their defaults are those of `AppOptions`."""
    p = argparse.ArgumentParser(prog="edgepose-app", description=DESCRIPTION)
    what = p.add_argument_group("what to look at", "default: the first camera, else the demo")
    source = what.add_mutually_exclusive_group()
    source.add_argument("--camera", type=_camera, metavar="N", help="camera number, 0 is the first")
    source.add_argument("--source", metavar="PATH|URL|FOLDER|demo", help="a video, image or stream")
    what.add_argument("--sequence", action="store_true", help="the folder's images are frames of a video")
    model = p.add_argument_group("model")
    model.add_argument("--model", metavar="NAME|ONNX", help="a shipped one, or RTMPose, DWPose")
    model.add_argument("--detector", metavar="ONNX", help="a person detector (default: ours; RTMDet, YOLOX; none)")
    # Abbreviations of --detector that --detect-every would make ambiguous.
    model.add_argument("--det", "--dete", "--detec", "--detect", dest="detector", help=argparse.SUPPRESS)
    model.add_argument("--device", choices=("auto", "cpu", "cuda"))
    model.add_argument("--flip-test", action="store_true", help="look at mirror images too: better, and slower")
    model.add_argument("--max-people", type=_positive, metavar="N", help="at most so many people")
    model.add_argument(
        "--detect-every",
        type=_milliseconds,
        metavar="MS",
        help="ms between two searches for newcomers (default: every 10 frames)",
    )
    model.add_argument(
        "--person-threshold",
        type=_share,
        metavar="SCORE",
        help="lowest score of a detected person (default: the detector's)",
    )
    model.add_argument(
        "--smoothing",
        type=_strength,
        metavar="FACTOR",
        help="of points over time: 0 none, 1 as tuned, 2 twice as calm",
    )
    model.add_argument(
        "--smooth",
        choices=("live", "offline"),
        help="offline: a video as a whole, in two passes, without lag; gaps and swapped limbs are mended",
    )
    model.add_argument(
        "--follow", type=_whom, metavar="WHOM", help="whom to report: all, largest, center, or a person's id"
    )
    model.add_argument("--roi", type=_region, metavar="X,Y,W,H", help="look at this part of the image only, in pixels")
    model.add_argument("--threads", type=_positive, metavar="N", help="CPU threads of the network")
    out = p.add_argument_group("output")
    out.add_argument("--save", metavar="PATH", help="annotated video (.mp4), image, or folder of images")
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
    p.set_defaults(**asdict(AppOptions()))
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
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0, got {text!r}")
    return value


def _milliseconds(text: str) -> float:
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected milliseconds, more than 0, got {text!r}")
    return value


def _strength(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 100, got {text!r}")
    return value


def _whom(text: str) -> str | int:
    if text in ("all", "largest", "center"):
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected all, largest, center or an id from 1, got {text!r}")
    return int(text)


def _region(text: str) -> tuple[int, int, int, int]:
    words = text.split(",")
    if len(words) != 4 or not all(word.strip().isdecimal() for word in words) or 0 in map(int, words[2:]):
        raise argparse.ArgumentTypeError(f"expected X,Y,W,H in whole pixels, W and H from 1, got {text!r}")
    x, y, w, h = map(int, words)
    return x, y, w, h


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


def _number(text: str) -> float:
    """NaN, which passes no comparison, where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
