"""Several sources one after another: where the outputs of each go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgepose import EdgeposeError

from .choice import source_options
from .context import AppContext
from .opening import open_patiently
from .options import AppOptions
from .overwriting import identity
from .sources import Pictures, Source, Spec, files_of
from .sources.folder import Folder
from .sources.names import exists

INTERRUPTED = 130  # exit status, after Ctrl-C


def run_all(context: AppContext, run: Callable[[AppContext], int], tell: Callable[[object], None]) -> int:
    """`run` each source with outputs of its own; one that fails is told and does not stop the rest. The exit status."""
    specs = [context.spec, *context.rest]
    places = Places(context.options, specs)
    failed = context.failed
    source: Source | None = context.source
    for spec in specs:
        try:
            source = source or open_patiently(spec, source_options(context.options), tell)
            alone = replace(context, options=places.of(spec, source), spec=spec, source=source, rest=())
            if run(alone) == INTERRUPTED:
                return INTERRUPTED
        except EdgeposeError as error:
            failed += 1
            tell(error)
        finally:
            if source is not None:
                source.close()
            source = None
    if failed:
        raise EdgeposeError(f"{failed} of {len(specs) + context.failed} sources failed; the others are done")
    return 0


class Places:
    """Gives each source its own files in the folders that were named for all of them."""

    def __init__(self, options: AppOptions, specs: Sequence[Spec]) -> None:
        self._options = options
        self._taken: set[str] = set()
        self._sources = {identity(path) for spec in specs for path in files_of(spec) if exists(path)}
        places = [("--save", out) for out in options.save]
        for flag, out in [*places, ("--save-raw", options.save_raw), ("--json", options.json)]:
            if out is not None and (out == "-" or Path(out).suffix):
                raise EdgeposeError(
                    f"{flag} {out}: there are several sources; name a folder, which gets a file for each"
                )

    def of(self, spec: Spec, source: Source) -> AppOptions:
        """The options with the outputs of this source: `FOLDER/clip.mp4`, `FOLDER/clip.jsonl`."""
        name = self._name(spec)
        ending = "" if isinstance(source, Folder) else ".mp4"  # images remain images, in a folder of their own

        def within(folder: str | None, ending: str) -> str | None:
            place = None if folder is None else Path(folder) / f"{name}{ending}"
            if place is not None and identity(place) in self._sources:
                raise EdgeposeError(f"{place}: would overwrite a source; choose another folder")
            return None if place is None else str(place)

        options = self._options
        return replace(
            options,
            save=tuple(filter(None, (within(out, _ending(out, ending)) for out in options.save))),
            save_raw=within(options.save_raw, ending),
            json=within(options.json, ".jsonl"),
        )

    def _name(self, spec: Spec) -> str:
        """After the source, never one that another source has, also where case makes no difference."""
        stem = "images" if isinstance(spec, Pictures) else Path(str(spec).split("?")[0]).stem or "source"
        name, number = stem, 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._taken.add(name.casefold())
        return name


def _ending(folder: str, ending: str) -> str:
    """Of one source's output in `folder`: folders of OpenPose files are known by their name."""
    return "_json" if folder.rstrip("/\\").endswith("_json") else ending
