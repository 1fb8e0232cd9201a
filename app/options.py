"""What the user can choose: the command line, checked, as one frozen value."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn

from .redaction import without_secrets

DESCRIPTION = "Whole-body pose in real time, from a camera, a video, a stream or images."


@dataclass(frozen=True)
class AppOptions:
    """Every option of the app, under the name of its flag. Nobody changes it: what changes is state of its owner."""

    # What to look at; none of the first three: the first camera, else the demo.
    sources: tuple[str, ...] = ()  # paths, patterns, URLs, folders, "demo"; "-" is a video on standard input
    camera: int | str | None = None  # number, 0 is the first; or name
    source: str | None = None  # one of `sources`
    sequence: bool = False  # the folder's images are frames of a video
    fps: float | None = None  # of a camera, or of images that are frames
    size: tuple[int, int] | None = None  # (width, height) px, of a camera
    format: str | None = None  # of a camera, four letters
    rotate: int = 0  # degrees clockwise
    list_cameras: bool = False
    # Model
    model: str = "default"  # name of a shipped one, or path
    detector: str | None = None  # path or "none"; None: the shipped one
    device: str = "auto"  # "auto", "cpu", "cuda" or another provider of onnxruntime
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
    save: tuple[str, ...] = ()  # paths of videos, images, folders, tables, …
    save_raw: str | None = None  # of a video, an image or a folder: the images as they came
    black: bool = False  # what is saved has the skeleton on black
    json: str | None = None  # path; "-" is standard output
    send: tuple[str, ...] = ()  # addresses that get every result at once
    overwrite: bool = False  # files that are there already may be replaced
    headless: bool = False
    duration: float | None = None  # s of the source
    frames: int | None = None  # stop after so many
    # View
    threshold: float | None = None  # lowest score that is drawn; None: the model's own, by part
    mirror: bool | None = None  # None: for cameras only
    fullscreen: bool = False
    screenshot: str | None = None  # path of an image of the window, after which it closes
    # Instead of a run
    benchmark: float | None = None  # s
    doctor: bool = False
    verbose: bool = False
    version: bool = False

    @classmethod
    def parse(cls, argv: Sequence[str] | None = None) -> AppOptions:
        """The options of a command line (None: of this process). SystemExit with a sentence for a wrong one."""
        values = vars(parser().parse_args(argv))
        return cls(**{**values, "sources": tuple(values["sources"])})


def parser() -> argparse.ArgumentParser:
    """All flags of the app; their defaults are those of `AppOptions`."""
    p = _Parser(prog="edgepose-app", description=DESCRIPTION)
    what = p.add_argument_group("what to look at", "default: the first camera, else the demo")
    source = what.add_mutually_exclusive_group()
    source.add_argument(
        "sources",
        nargs="*",
        default=(),
        metavar="SOURCE",
        help="videos, images, folders, patterns ('clips/*.mp4', frame_%%04d.png), streams, demo; - is standard input",
    )
    source.add_argument("--camera", type=_camera, metavar="N|NAME", help="camera by number, 0 is the first, or name")
    source.add_argument("--source", metavar="PATH|URL|FOLDER|demo", help="a single source")
    what.add_argument("--list-cameras", action="store_true", help="say which cameras the system knows, and quit")
    what.add_argument("--size", type=_size, metavar="WxH", help="ask the camera for this size (default: 1280x720)")
    what.add_argument(
        "--fps", type=_rate, metavar="N", help="ask the camera for this rate; images are frames of a video at it"
    )
    what.add_argument("--format", type=_format, metavar="FOURCC", help="ask the camera for this format (default: mjpg)")
    what.add_argument("--rotate", type=int, choices=(0, 90, 180, 270), help="turn the images clockwise")
    what.add_argument("--sequence", action="store_true", help="the folder's images are frames of a video")
    model = p.add_argument_group("model")
    model.add_argument("--model", metavar="NAME|ONNX", help="a shipped one, or RTMPose, DWPose")
    model.add_argument("--detector", metavar="ONNX", help="a person detector (default: ours; RTMDet, YOLOX; none)")
    # Abbreviations of --detector that --detect-every would make ambiguous.
    model.add_argument("--det", "--dete", "--detec", "--detect", dest="detector", help=argparse.SUPPRESS)
    model.add_argument(
        "--device", metavar="NAME", help="auto, cpu, cuda, or what else the installed onnxruntime lists: openvino, …"
    )
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
    out.add_argument(
        "--save",
        action=_Append,
        type=_given,
        metavar="PATH",
        help="annotated video (.mp4), image or folder of images; .csv, .wide.csv, .jsonl, .coco.json, NAME_json "
        "(OpenPose's folder); may be repeated",
    )
    out.add_argument(
        "--save-raw",
        type=_given,
        metavar="PATH",
        help="video, image or folder without skeletons: the images as they came",
    )
    out.add_argument("--black", action="store_true", help="--save draws the skeletons on black")
    out.add_argument(
        "--json",
        type=_json_path,
        metavar="PATH",
        help="one JSON object a frame; - is standard output",
    )
    out.add_argument(
        "--send",
        action=_Append,
        type=_given,
        metavar="udp|osc|ws[://HOST:PORT]",
        help="every result at once; to this machine unless HOST says otherwise; may be repeated",
    )
    out.add_argument("--overwrite", action="store_true", help="outputs may replace files that are there")
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
    p.add_argument(
        "--benchmark",
        type=_seconds,
        metavar="SECONDS",
        help="run so long (default: the demo), print percentiles as JSON",
    )
    p.add_argument(
        "--doctor", action="store_true", help="say what works on this machine, what does not, and what to do"
    )
    p.add_argument("-v", "--verbose", action="store_true", help="say more, with tracebacks")
    p.add_argument("--version", action="store_true", help="print the version and quit")
    p.set_defaults(**asdict(AppOptions()))
    return p


class _Parser(argparse.ArgumentParser):
    """One whose complaints hold no passwords: an address in the wrong place is still an address."""

    def error(self, message: str) -> NoReturn:
        super().error(without_secrets(message))


class _Append(argparse.Action):
    """Collects the values of an option that may be repeated, as a tuple."""

    def __call__(
        self, _parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: object, _flag: str | None = None
    ) -> None:
        setattr(namespace, self.dest, (*getattr(namespace, self.dest), value))


def _given(text: str) -> str:
    """An empty one comes from a variable that is not set, and would be lost without a word."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a path or an address, got nothing")
    return text


def _json_path(text: str) -> str:
    return "-" if text == "/dev/stdout" else _given(text)  # where nothing else is to be printed


def _positive(text: str) -> int:
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:  # nobody means more than a billion
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {without_secrets(text)[:20]!r}")
    return int(text)


def _camera(text: str) -> int | str:
    if not text.strip() or text.startswith("-") or (text.isdecimal() and int(text) > 9999):  # OpenCV's count is narrow
        raise argparse.ArgumentTypeError(f"expected a camera's number, 0 is the first, or name, got {text!r}")
    return int(text) if text.isdecimal() else text


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[xX×*](\d{1,5})", text.strip())
    if match is None or "0" in (match[1].strip("0") or "0", match[2].strip("0") or "0"):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT, for example 1280x720, got {text!r}")
    return int(match[1]), int(match[2])


def _rate(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"expected frames a second, more than 0 up to 1000, got {text!r}")
    return value


def _format(text: str) -> str:
    if not (len(text) == 4 and text.isascii() and text.isprintable()):
        raise argparse.ArgumentTypeError(f"expected four letters, for example mjpg or yuyv, got {text!r}")
    return text.upper()


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
