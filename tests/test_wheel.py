"""The wheel as users get it: built, inspected, installed without a compiler, and used from outside the source tree.

EDGEPOSE_WHEEL names a wheel to test instead of building one.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow

EXAMPLE = """
import sys
import numpy as np
import edgepose
from edgepose import _C, ops
assert edgepose.__file__.startswith(sys.prefix), edgepose.__file__
x, y = (np.random.default_rng(0).normal(size=(2, 133, bins)).astype(np.float32) for bins in (384, 512))
for level in _C.simd_levels():
    _C.set_simd_level(level)
    keypoints, scores = ops.simcc_decode(x, y, score="softmax", beta=10, sigma=(4.9, 5.66), refine="dark")
    expected = ops.reference.simcc_decode(x, y, score="softmax", beta=10, sigma=(4.9, 5.66), refine="dark")
    np.testing.assert_allclose(scores, expected[1], rtol=1e-4)
poses = edgepose.TopdownEstimator()(np.zeros((120, 160, 3), np.uint8))
print(poses.keypoints.shape[1:], "torch" in sys.modules)
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    if given := os.environ.get("EDGEPOSE_WHEEL"):
        return Path(given)
    if sys.platform == "linux":
        pytest.importorskip("auditwheel")
    folder = tmp_path_factory.mktemp("wheel")
    environment = {**os.environ, "PYTHON": sys.executable}
    environment.setdefault("EDGEPOSE_CUDA", "off")  # what CUDA adds is tested where its sources are compiled
    done = subprocess.run([ROOT / ".ci" / "wheel", folder], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has manylinux")
def test_it_has_a_manylinux_tag(wheel):
    tag = re.search(r"-(manylinux_2_\d+)_\w+\.whl$", wheel.name)
    assert tag, wheel.name
    shown = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", wheel], capture_output=True, text=True, check=True
    )
    assert f'platform tag: "{tag.group(1)}' in shown.stdout.replace("\n", " ")
    with zipfile.ZipFile(wheel) as files:
        assert not [name for name in files.namelist() if ".libs/" in name]  # nothing had to be grafted in


def test_it_holds_all_that_is_shipped(wheel):
    with zipfile.ZipFile(wheel) as files:
        held = set(files.namelist())
        licence = [name for name in held if name.endswith("licenses/LICENSE")]
        assert files.read(licence[0]) == (ROOT / "LICENSE").read_bytes()
    in_tree = {
        str(path.relative_to(ROOT))
        for pattern in (
            "edgepose/**/*.py",
            "edgepose/models/*",
            "edgepose/skeletons/*",
            "edgepose/py.typed",
            "edgepose/*.pyi",
        )
        for path in ROOT.glob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert in_tree - held == set()
    assert [name for name in held if re.fullmatch(r"edgepose/_C\..*\.(so|pyd)", name)]
    assert not [name for name in held if name.startswith(("tests/", "csrc/", "benchmarks/"))]


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A fresh environment with wheel[runtime] in it, built by nobody's compiler."""
    folder = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    binaries = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    environment |= {"CC": "/bin/false", "CXX": "/bin/false", "PATH": f"{binaries}{os.pathsep}/usr/bin{os.pathsep}/bin"}
    # matplotlib has the demo's photograph; the application's window is not wanted here.
    command = ["pip", "install", "-q", "--only-binary", ":all:", "-c", ROOT / "constraints.txt"]
    command = [binaries / "python", "-m", *command, f"edgepose[runtime] @ {wheel.as_uri()}", "matplotlib"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    if done.returncode and re.search("No matching distribution|Connection|Temporary failure|timed out", done.stderr):
        pytest.skip(f"the packages that it needs cannot be had here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    yield binaries, environment, folder
    shutil.rmtree(folder)  # half a gigabyte


def test_the_library_works_without_a_compiler_or_torch(installed):
    binaries, environment, folder = installed
    command = [binaries / "python", "-c", EXAMPLE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(133, 2) False"


def test_the_headless_demo_runs(installed):
    binaries, environment, folder = installed
    command = [binaries / "edgepose-app", "--source", "demo", "--headless", "--frames", "5", "--json", "out.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len((folder / "out.jsonl").read_text().splitlines()) == 5
