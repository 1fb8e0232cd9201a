"""The models that come with the package, and what their names mean."""

from __future__ import annotations

from pathlib import Path

from ..errors import EdgeposeError

_FOLDER = Path(__file__).parent
_DEFAULT = "edgepose-t"


def available() -> list[str]:
    """Names of the shipped models, for ``model=`` and ``--model``."""
    return sorted(path.stem for path in _FOLDER.glob("*.onnx"))


def resolve(model: str | Path) -> Path:
    """The file behind ``"default"``, the name of a shipped model, or a path.

    Raises EdgeposeError when there is no such file.
    """
    if str(model) == "default":
        return _default()
    if str(model) in available():
        return _FOLDER / f"{model}.onnx"
    path = Path(model).expanduser()
    if path.is_dir():
        raise EdgeposeError(f"The model {path} is a folder: give the .onnx file in it.")
    if not path.is_file():
        shipped = f" or the name of a shipped one ({', '.join(available())})" if available() else ""
        raise EdgeposeError(f"There is no model {str(model)!r}: give the path of an .onnx file{shipped}.")
    return path


def _default() -> Path:
    path = _FOLDER / f"{_DEFAULT}.onnx"
    if not path.is_file():
        raise EdgeposeError(
            "This installation carries no default model: give one by its path, "
            "or train one with `python training/distill.py`."
        )
    return path
