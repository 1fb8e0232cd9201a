"""The outputs of a run, opened as the options say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgepose import EdgeposeError

from .context import AppContext
from .media import IMAGE_SUFFIXES
from .options import AppOptions
from .outputs import Output, RunInfo, close_all, open_jsonl, open_output, open_save, open_send
from .overlay import GROUPS, OverlayOptions
from .overwriting import refuse_overwriting
from .sources import Source, files_of


def open_outputs(context: AppContext, *, live: bool) -> list[Output]:
    """The outputs that the user asked for; `live`: results come in real time.

    EdgeposeError where one cannot be opened or would replace something; none remains open then.
    """
    options, source = context.options, context.source
    pictures = [("--save", name) for name in options.save]
    pictures += [("--save-raw", options.save_raw)] if options.save_raw else []
    files = pictures + ([("--json", options.json)] if options.json else [])
    sources = [path for spec in (context.spec, *context.rest) for path in files_of(spec)]
    refuse_overwriting(sources, files, overwrite=options.overwrite)
    for option, name in pictures:
        _refuse_one_image_of_many(option, name, source, options)
    run = run_info(context, live=live)
    outputs: list[Output] = []
    try:
        outputs.extend(open_save(name, run) for name in options.save)
        raw = replace(run, overlay=OverlayOptions(hidden=frozenset(GROUPS)))
        outputs.extend(open_output(name, raw, option="--save-raw") for name in filter(None, [options.save_raw]))
        outputs.extend(open_jsonl(name, live=live) for name in filter(None, [options.json]))
        outputs.extend(open_send(address, run) for address in options.send)
    except EdgeposeError:
        close_all(outputs)
        raise
    return outputs


def run_info(context: AppContext, *, live: bool) -> RunInfo:
    """What every output is told."""
    overlay = OverlayOptions(threshold=context.options.threshold, black=context.options.black)
    return RunInfo(context.style, overlay, context.source.fps, live, context.source.sound)


def _refuse_one_image_of_many(option: str, name: str, source: Source, options: AppOptions) -> None:
    if Path(name).suffix.lower() in IMAGE_SUFFIXES and source.count != 1 and options.frames != 1:
        raise EdgeposeError(
            f"{option} {name}: is one image, and {source.name} has more than one; name a folder or a video "
            "(.mp4), or add --frames 1"
        )
