"""`edgepose-app`: errors as one sentence, and the choice between the window and none."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edgepose import EdgeposeError
from edgepose.terminal import discard, safe_output

from .console import say, tell
from .interrupts import Interrupts
from .options import AppOptions
from .redaction import SafeFormatter, without_secrets

if TYPE_CHECKING:
    from .context import AppContext
    from .offline import Passes
    from .outputs import Output

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
    if options.list_cameras:
        from .choice import cameras_text

        print(cameras_text())
        return 0
    level = logging.DEBUG if options.verbose else logging.WARNING
    said = logging.StreamHandler()
    said.setFormatter(SafeFormatter("edgepose-app: %(message)s"))
    logging.basicConfig(level=level, handlers=[said])
    named = [options.source or "", *options.sources]
    # FFmpeg would say the addresses as they were given.
    _quiet_opencv(options.verbose and named == [without_secrets(name) for name in named])
    try:
        with Interrupts():
            return _run(options)
    except EdgeposeError as error:
        tell(error)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `edgepose-app --json - | head`
        discard(sys.stdout)
        return 0
    except Exception as error:
        if options.verbose:
            tell(traceback.format_exc())
            return 1
        tell(f"internal error: {type(error).__name__}: {error} (--verbose shows where)")
        return 1


def _run(options: AppOptions) -> int:
    if options.doctor:
        from . import doctor

        return doctor.report(print)
    if options.benchmark is not None:
        return _benchmark(options, options.benchmark)
    headless = options.headless or _no_window()
    if options.smooth == "offline" and not headless:
        raise EdgeposeError("--smooth offline looks at a file twice, which no window shows: add --headless")
    if headless and options.screenshot:
        raise EdgeposeError("--screenshot shows the window: it needs a display, or QT_QPA_PLATFORM=offscreen")
    context = _context(options, None if headless else PATIENCE)
    if headless:
        from .batch import run_all

        return run_all(context, _headless, tell) if context.rest or context.failed else _headless(context)
    from .display import clear_opencv_qt

    clear_opencv_qt()  # again: importing OpenCV has set it
    from .gui.launch import show
    from .run_outputs import open_outputs

    return show(context, open_outputs(context, live=True))  # files play in their own time there


def _benchmark(options: AppOptions, seconds: float) -> int:
    if options.save or options.save_raw or options.json or options.send:
        raise EdgeposeError("--benchmark keeps and sends nothing: leave out --save, --save-raw, --json and --send")
    if options.camera is None and options.source is None and not options.sources:
        options = replace(options, source="demo")
    context = _context(options)
    if context.rest:
        context.source.close()
        raise EdgeposeError(f"--benchmark measures one source, and there are {1 + len(context.rest)}; name one of them")
    from .benchmark import measure

    measured = measure(context, seconds)
    print(json.dumps(measured, indent=2, allow_nan=False, ensure_ascii=False))
    return 130 if measured["interrupted"] else 0


def _no_window() -> bool:
    """Whether there is no display, said aloud. A display that Qt cannot use is an error with a remedy."""
    from .display import has_display, why_no_window

    if not has_display():
        tell("no display here (DISPLAY and WAYLAND_DISPLAY are not set), so running without a window")
        return True
    if reason := why_no_window():
        raise EdgeposeError(reason)
    return False


def _context(options: AppOptions, patience: float | None = None) -> AppContext:
    _need_runtime()
    from .context import make_context

    return make_context(options, patience)


def _headless(context: AppContext) -> int:
    from . import headless
    from .jitter import Jitter
    from .media_saver import OUTPUT_FOLDER
    from .outputs import close_all
    from .overlay import OverlayOptions
    from .run_outputs import open_outputs
    from .sources.demo import Demo

    options, source = context.options, context.source
    demo = isinstance(source, Demo)
    limit = DEMO_SECONDS if demo and options.duration is None and options.frames is None else options.duration
    outputs = open_outputs(context, live=source.live)
    if demo and not options.save:  # in a place of its own, whose file is of no value to anybody
        outputs += _video_of_demo(context)
    human = sys.stderr if options.json == "-" else sys.stdout
    say(f"{source.description} → {_model_line(context)}", human)
    try:
        passes = _passes(context, limit)
    except BaseException:
        close_all(outputs)
        raise
    report = headless.run(
        passes.source,
        passes.estimator,
        outputs,
        jitter=Jitter(context.style.skeleton, context.style.limits(OverlayOptions(options.threshold)))
        if demo
        else None,
        duration=limit,
        max_frames=passes.frames,
        progress=lambda text: say(text, sys.stderr),
    )
    written = report.written
    if demo:  # written before it is printed: a closed pipe must not cost the file
        table = OUTPUT_FOLDER / "demo_timings.txt"
        table.parent.mkdir(exist_ok=True)
        table.write_text(f"{source.description} → {_model_line(context)}\n{report.text()}\n", encoding="utf-8")
        written.append(f"{table}: this table")
    say("\n".join([report.text(), *(f"wrote {said}" for said in written)]), human)
    for complaint in report.complaints:
        tell(complaint)
    return 130 if report.interrupted or passes.interrupted else 0


def _video_of_demo(context: AppContext) -> list[Output]:
    """The demo's video; nobody asked for it, so that without PyAV the demo runs all the same."""
    from .media_saver import OUTPUT_FOLDER
    from .outputs import open_save
    from .pyav import PyAvMissing
    from .run_outputs import run_info

    try:
        return [open_save(str(OUTPUT_FOLDER / "demo.mp4"), run_info(context, live=False))]
    except PyAvMissing as missing:
        tell(f"the demo writes no video: {missing}")
        return []


def _passes(context: AppContext, duration: float | None) -> Passes:
    from .context import topdown_config
    from .offline import Passes, two_passes

    options = context.options
    if options.smooth != "offline":
        return Passes(context.source, context.estimator, options.frames)
    smoothing = topdown_config(options).smoothing
    return two_passes(context, smoothing, duration=duration, progress=lambda text: say(text, sys.stderr))


def _model_line(context: AppContext) -> str:
    return f"{context.estimator.card.name} on {context.estimator.device}"


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
