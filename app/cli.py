"""`edgepose-app`: errors as one sentence, and the choice between the window and none."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edgepose import EdgeposeError
from edgepose.terminal import discard, safe_output

from .options import AppOptions
from .signals import on_end, restore

if TYPE_CHECKING:
    from edgepose import TopdownConfig

    from .context import AppContext
    from .outputs import Output

log = logging.getLogger(__name__)

DEMO_SECONDS = 10.0  # of a demo without window and limits


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
    if headless and options.screenshot:
        raise EdgeposeError("--screenshot shows the window: it needs a display, or QT_QPA_PLATFORM=offscreen")
    context = make_context(options)
    if headless:
        from .batch import run_all

        return run_all(context, _headless, _tell) if context.rest or context.failed else _headless(context)
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


def make_context(options: AppOptions) -> AppContext:
    _need_runtime()
    from edgepose import TopdownEstimator

    from .choice import choose, source_options
    from .context import AppContext
    from .overlay import SkeletonStyle
    from .sources import open_source

    specs = choose(options, _tell)
    failed = 0
    while True:
        try:
            source = open_source(specs[failed], options=source_options(options))
            break
        except EdgeposeError as error:
            failed += 1
            if failed == len(specs):
                raise
            _tell(error)  # the next one may open
    try:
        estimator = TopdownEstimator(
            options.model,
            device=options.device,
            detector=options.detector,
            max_people=options.max_people,
            threads=options.threads,
            flip_test=options.flip_test,
            smooth=options.smoothing > 0,  # of sequences only; the engine says which source is one
            config=topdown_config(options),
        )
    except BaseException:
        source.close()
        raise
    style = SkeletonStyle.of(estimator.card, estimator.skeleton)
    return AppContext(options, specs[failed], source, estimator, style, tuple(specs[failed + 1 :]), failed)


def topdown_config(options: AppOptions) -> TopdownConfig:
    """The estimator's settings that have a flag."""
    from edgepose import TopdownConfig

    config = TopdownConfig(detect_every_ms=options.detect_every, person_threshold=options.person_threshold)
    return replace(config, smoothing=config.smoothing.scaled(options.smoothing)) if options.smoothing else config


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
    before = on_end(signal.default_int_handler)
    try:
        _say(f"{source.description} → {_model_line(context)}", human)
        report = headless.run(
            source,
            context.estimator,
            outputs,
            jitter=Jitter(context.style.skeleton, context.style.limits(OverlayOptions(options.threshold)))
            if demo
            else None,
            duration=limit,
            max_frames=options.frames,
            progress=lambda text: _say(text, sys.stderr),
        )
    finally:
        restore(before)
        written = close_all(outputs)
    if demo:  # written before it is printed: a closed pipe must not cost the file
        table = OUTPUT_FOLDER / "demo_timings.txt"
        table.parent.mkdir(exist_ok=True)
        table.write_text(f"{source.description} → {_model_line(context)}\n{report.text()}\n", encoding="utf-8")
        written.append(f"{table}: this table")
    _say("\n".join([report.text(), *(f"wrote {said}" for said in written)]), human)
    return 130 if report.interrupted else 0


def _open_outputs(context: AppContext, save: str | None) -> list[Output]:
    from .outputs import JsonlOutput, close_all, open_output
    from .overlay import GROUPS, OverlayOptions

    _refuse_overwriting(context, save)
    outputs: list[Output] = []
    drawn = OverlayOptions(threshold=context.options.threshold, black=context.options.black)
    for path, overlay in ((save, drawn), (context.options.save_raw, OverlayOptions(hidden=frozenset(GROUPS)))):
        if path:
            outputs.append(open_output(path, context.source.fps, context.style, overlay, sound=context.source.sound))
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
    from .sources import Pictures, local_path

    path = local_path(context.spec)
    taken = set() if path is None else {path.resolve()}
    if path is not None and path.suffix.lower() in IMAGE_SUFFIXES:
        taken.add(path.resolve().parent)  # a folder to save in keeps the names of the images
    if isinstance(context.spec, Pictures):
        taken |= {place.resolve() for file in context.spec.files for place in (file, file.parent)}
    options = context.options
    for option, out in (("--save", save), ("--save-raw", options.save_raw), ("--json", options.json)):
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


def _say(text: str, where: TextIO) -> None:
    """Print for people, who may have gone: a closed terminal, or no reader. The files are wanted all the same."""
    try:
        print(text, file=where, flush=True)
    except OSError:
        discard(where)


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
