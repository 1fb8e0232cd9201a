"""The examples of docs/kernels.md, run as they stand there: the blocks of a section one after the other."""

import importlib.util
import re
from pathlib import Path

import pytest

from edgepose import ops

PAGE = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text("utf-8")
BLOCK = re.compile(r"^```python(?: needs=(\w+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def examples():
    """(section, needed module, code, line) of every block; blocks that share a namespace are joined.

    A block that imports what it needs stands for itself; one that does not goes on with the one before it.
    """
    found = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        for block in BLOCK.finditer(section):
            line = PAGE.count("\n", 0, PAGE.index(block.group(2))) + 1
            code = "\n" * (line - 1) + block.group(2)  # so that a traceback names the page's line
            if title.endswith("three lines") and found and found[-1][0] == title:
                found[-1][2].append(code)
            else:
                found.append((title, block.group(1), [code]))
    return found


def missing(module):
    if importlib.util.find_spec(module) is None:
        return f"{module} is not installed"
    if module == "cupy":
        import cupy

        if not cupy.cuda.is_available():
            return "cupy has no CUDA device"
    return None


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch.compile's own
@pytest.mark.parametrize(
    ("title", "needs", "blocks"),
    [pytest.param(*e, id=f"{e[0]} {e[1]}", marks=[pytest.mark.slow] * (e[0] == "torch.compile")) for e in examples()],
)
def test_example_runs(title, needs, blocks):
    if title != "numpy" and "torch" in "".join(blocks):
        pytest.importorskip("torch")
    if needs and (reason := missing(needs)):
        pytest.skip(reason)
    namespace = {"__name__": "example"}
    for code in blocks:
        exec(compile(code, "docs/kernels.md", "exec"), namespace)  # the page is ours


def test_a_broken_example_would_fail():
    code = next(blocks for title, _, blocks in examples() if title == "numpy")[0]
    broken = code.replace("input_size=(192, 256)", "input_size=192")
    with pytest.raises(TypeError, match="crop_normalize: input_size expected two numbers"):
        exec(compile(broken, "docs/kernels.md", "exec"), {})


def test_the_page_has_an_example_of_every_kind_and_a_row_for_every_op():
    titles = [title for title, _, _ in examples()]
    assert len(titles) == len(BLOCK.findall(PAGE)) - 2  # three of them are one
    for word in ("numpy", "gradients", "compile", "DLPack", "three lines"):
        assert any(word in title for title in titles)
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert rows == set(ops.__all__) - {"reference"}
