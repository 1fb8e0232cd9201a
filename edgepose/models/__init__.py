"""The models that come with the package, and what their names mean."""

from __future__ import annotations

from pathlib import Path

from ..errors import EdgeposeError

_FOLDER = Path(__file__).parent
_DEFAULTS = {"pose": "edgepose-t", "detector": "edgepose-det"}
_EXPORTS = {"pose": "export", "detector": "export_detector"}  # commands of training/


def available() -> list[str]:
    """Names of the shipped models, for ``model=`` and ``--model``."""
    return sorted(path.stem for path in _FOLDER.glob("*.onnx"))


def has_default(task: str) -> bool:
    """Whether a model for the task ("pose", "detector") comes with this installation."""
    return _DEFAULTS[task] in available()


def resolve(model: str | Path, task: str = "pose") -> Path:
    """The file behind ``"default"`` (of the task), the name of a shipped model, or a path.

    Raises EdgeposeError when there is no such file.
    """
    if str(model) == "default":
        return _default(task)
    if str(model) in available():
        return _FOLDER / f"{model}.onnx"
    path = Path(model).expanduser()
    if path.is_dir():
        raise EdgeposeError(f"The model {path} is a folder: give the .onnx file in it.")
    if not path.is_file():
        shipped = f" or the name of a shipped one ({', '.join(available())})" if available() else ""
        raise EdgeposeError(f"There is no model {str(model)!r}: give the path of an .onnx file{shipped}.")
    if path.suffix in (".pt", ".pth"):
        first = "convert it with `python training/convert.py`, then " if path.suffix == ".pth" else ""
        how = f"{first}export it with `python training/{_EXPORTS[task]}.py`"
        raise EdgeposeError(f"{path} is a training checkpoint: {how} and give the .onnx file.")
    return path


def _default(task: str) -> Path:
    if not has_default(task):
        what, script = {"pose": ("model", "distill"), "detector": ("detector", "detector")}[task]
        raise EdgeposeError(
            f"This installation carries no default {what}: give one by its path, "
            f"or train one with `python training/{script}.py`."
        )
    return _FOLDER / f"{_DEFAULTS[task]}.onnx"
