"""`edgepose-app`: errors as one sentence, and the choice between the window and none."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepose import EdgeposeError
from edgepose.terminal import discard, safe_output

from .options import AppOptions

if TYPE_CHECKING:
    from edgepose import TopdownConfig

    from .context import AppContext
    from .engine import Estimator
    from .opening import Opening
    from .outputs import Output
    from .sources import Source

log = logging.getLogger(__name__)

DEMO_SECONDS = 10.0  # of a demo without window and limits
PATIENCE = 0.3  # s that a camera or an address has before the window is shown without it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the app; the exit status: 0 done, 1 a fault of ours, 2 a mistake to correct, 130 Ctrl-C."""
    safe_output()
    options = AppOptions.parse(argv)
    if options.version:
        import edgepose

        print(f"edgepose {edgepose.__version__}")
        return 0
    level = logging.DEBUG if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="edgepose-app: %(message)s")
    _quiet_opencv(options.verbose)
    try:
        return _run(options)
    except EdgeposeError as error:
        _tell(error)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `edgepose-app --json - | head`
        discard(sys.stdout)
        return 0
    except Exception as error:
        if options.verbose:
            raise
        _tell(f"internal error: {type(error).__name__}: {error} (--verbose shows where)")
        return 1


def _run(options: AppOptions) -> int:
    headless = options.headless or _no_window()
    if options.smooth == "offline" and not headless:
        raise EdgeposeError("--smooth offline looks at a file twice, which no window shows: add --headless")
    if headless and options.screenshot:
        raise EdgeposeError("--screenshot shows the window: it needs a display, or QT_QPA_PLATFORM=offscreen")
    context = make_context(options, None if headless else PATIENCE)
    if headless:
        return _headless(context)
    from .display import clear_opencv_qt

    clear_opencv_qt()  # again: importing OpenCV has set it
    from .gui.launch import show

    return show(context, _open_outputs(context, options.save))


def _no_window() -> bool:
    """Whether there is no display, said aloud. A display that Qt cannot use is an error with a remedy."""
    from .display import has_display, why_no_window

    if not has_display():
        _tell("no display here (DISPLAY and WAYLAND_DISPLAY are not set), so running without a window")
        return True
    if reason := why_no_window():
        raise EdgeposeError(reason)
    return False


def make_context(options: AppOptions, patience: float | None = None) -> AppContext:
    """Open everything. A source that takes longer than `patience` s (None: for ever) comes as `Pending`."""
    _need_runtime()
    from edgepose import TopdownEstimator

    from .context import AppContext
    from .opening import Opening
    from .overlay import SkeletonStyle
    from .sources import open_source

    spec = _choose(options)
    estimator = TopdownEstimator(
        options.model,
        device=options.device,
        detector=options.detector,
        max_people=options.max_people,
        threads=options.threads,
        flip_test=options.flip_test,
        smooth=options.smoothing > 0 and options.smooth == "live",  # of sequences; the engine says which source is one
        config=topdown_config(options),
    )
    source = _opened(Opening(lambda: open_source(spec, sequence=options.sequence)), spec, patience)
    return AppContext(options, spec, source, estimator, SkeletonStyle.of(estimator.card, estimator.skeleton))


def _opened(opening: Opening, spec: int | str, patience: float | None) -> Source:
    """The source, or what stands for it where it takes too long. Files are waited for in any case."""
    from .opening import Pending, name_of
    from .sources import local_path

    patient = patience is None or local_path(spec) is not None
    if not opening.wait(1.0 if patience is None else patience):
        if not patient:
            return Pending(name_of(spec), opening)
        _tell(f"opening {name_of(spec)}…")
        while not opening.wait(0.2):  # in pieces: some systems hear Ctrl-C in between only
            pass
    return opening.take()


def topdown_config(options: AppOptions) -> TopdownConfig:
    """The estimator's settings that have a flag."""
    from edgepose import TopdownConfig

    config = TopdownConfig(
        detect_every_ms=options.detect_every,
        person_threshold=options.person_threshold,
        follow=options.follow,
        roi=options.roi,
    )
    return replace(config, smoothing=config.smoothing.scaled(options.smoothing)) if options.smoothing else config


def _choose(options: AppOptions) -> int | str:
    """What to open when the user did not say: the first camera, else the demo."""
    if options.camera is not None:
        return int(options.camera)
    if options.source is not None:
        return str(options.source)
    from .sources.camera import list_cameras

    cameras = list_cameras()
    if cameras or sys.platform != "linux":
        return next(iter(cameras), 0)
    _tell("no camera found, so showing the demo (--camera N or --source chooses)")
    return "demo"


def _headless(context: AppContext) -> int:
    from . import headless
    from .jitter import Jitter
    from .media_saver import OUTPUT_FOLDER
    from .outputs import close_all
    from .overlay import OverlayOptions
    from .sources.demo import Demo

    options, source = context.options, context.source
    demo = isinstance(source, Demo)
    limit = DEMO_SECONDS if demo and options.duration is None and options.frames is None else options.duration
    outputs = _open_outputs(context, str(OUTPUT_FOLDER / "demo.mp4") if demo and not options.save else options.save)
    human = sys.stderr if options.json == "-" else sys.stdout
    # A service manager's way of saying Ctrl-C: a video that is not finished cannot be played.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        try:
            print(f"{source.description} → {_model_line(context)}", file=human, flush=True)
        except BrokenPipeError:  # nobody reads this; the files are wanted all the same
            discard(human)
        estimator, most, source = _passes(context, limit)
        report = headless.run(
            source,
            estimator,
            outputs,
            jitter=Jitter(context.style.skeleton, context.style.limits(OverlayOptions(options.threshold)))
            if demo
            else None,
            duration=limit,
            max_frames=most,
            progress=lambda text: print(text, file=sys.stderr, flush=True),
        )
    finally:
        signal.signal(signal.SIGTERM, before)
        written = close_all(outputs)
    if demo:  # written before it is printed: a closed pipe must not cost the file
        table = OUTPUT_FOLDER / "demo_timings.txt"
        table.parent.mkdir(exist_ok=True)
        table.write_text(f"{source.description} → {_model_line(context)}\n{report.text()}\n", encoding="utf-8")
        written.append(f"{table}: this table")
    print(report.text(), file=human)
    for said in written:
        print(f"wrote {said}", file=human)
    return 130 if report.interrupted else 0


def _passes(context: AppContext, duration: float | None) -> tuple[Estimator, int | None, Source]:
    """What answers, for how many frames of which source: the estimator, or after a first pass what it had said."""
    options = context.options
    if options.smooth != "offline":
        return context.estimator, options.frames, context.source
    from edgepose.offline import OfflineConfig

    from .offline import first_pass
    from .sources import open_source

    config = OfflineConfig(smoothing=topdown_config(options).smoothing)
    replay, first = first_pass(
        context.source, context.estimator, context.style.skeleton, config,
        duration=duration, max_frames=options.frames,
        progress=lambda text: print(text, file=sys.stderr, flush=True),
    )  # fmt: skip
    if not first.frames:  # interrupted before anything was seen
        raise KeyboardInterrupt
    return replay, first.frames, open_source(context.spec, sequence=options.sequence)


def _open_outputs(context: AppContext, save: str | None) -> list[Output]:
    from .outputs import JsonlOutput, close_all, open_output
    from .overlay import OverlayOptions

    _refuse_overwriting(context, save)
    outputs: list[Output] = []
    if save:
        overlay = OverlayOptions(threshold=context.options.threshold)
        outputs.append(open_output(save, context.source.fps, context.style, overlay))
    if context.options.json:
        try:
            outputs.append(JsonlOutput(context.options.json))
        except EdgeposeError:
            close_all(outputs)
            raise
    return outputs


def _refuse_overwriting(context: AppContext, save: str | None) -> None:
    """No output may replace what it was made from, nor another output."""
    from .media import IMAGE_SUFFIXES
    from .sources import local_path

    path = local_path(context.spec)
    taken = set() if path is None else {path.resolve()}
    if path is not None and path.suffix.lower() in IMAGE_SUFFIXES:
        taken.add(path.resolve().parent)  # a folder to save in keeps the names of the images
    for option, out in (("--save", save), ("--json", context.options.json)):
        if out and out != "-":
            if Path(out).resolve() in taken:
                raise EdgeposeError(
                    f"{option} {out}: would overwrite the source or another output; choose another place"
                )
            taken.add(Path(out).resolve())


def _model_line(context: AppContext) -> str:
    return f"{context.estimator.card.name} on {context.estimator.device}"


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
