"""The build: its contents, and that code that cannot run here compiles: every CUDA source, with warnings as errors."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from edgepose import _C, ops
from edgepose.ops import reference

ROOT = Path(__file__).parents[2]
NVCC = os.environ.get("NVCC") or shutil.which("nvcc")


@pytest.mark.slow
@pytest.mark.skipif(NVCC is None, reason="no nvcc")
@pytest.mark.parametrize("source", sorted((ROOT / "csrc" / "cuda").glob("*.cu")), ids=lambda path: path.stem)
def test_cuda_source_compiles_without_a_warning(source, tmp_path):
    strict = ["-Werror=all-warnings", "-Xcompiler", "-Wall,-Wextra,-Werror"]
    command = [NVCC, "-std=c++17", f"-I{ROOT / 'csrc'}", "-arch=sm_75", *strict, "-c", "-o", str(tmp_path / "out.o")]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def dry_build(tmp_path):
    """dry_build(arguments, **environment) → (result of setup.py, text of build.ninja): ninja itself is a stub."""
    pytest.importorskip("pybind11")
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    shutil.copy(ROOT / "setup.py", tmp_path)
    (tmp_path / "csrc").symlink_to(ROOT / "csrc")
    (tmp_path / "ninja.py").write_text(f"BIN_DIR = {str(tmp_path)!r}\n")  # instead of compiling for a minute
    (tmp_path / "ninja").write_text("#!/bin/sh\necho ninja ran: $*\n")
    (tmp_path / "ninja").chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("EDGEPOSE_")}

    def build(*arguments, **environment):
        environment = {**inherited, "PYTHONPATH": str(tmp_path), **environment}
        command = [sys.executable, "setup.py", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        recipes = list(tmp_path.glob("build/*/build.ninja"))
        return done, recipes[0].read_text() if recipes else ""

    return build


def test_building_directly_reads_no_metadata(dry_build, tmp_path):
    """`setup.py ninja` is for setuptools of any age: here pyproject.toml is one that none of them takes."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "edgepose"\nlicense = 7\n')
    done, recipe = dry_build("ninja", EDGEPOSE_CUDA="off")
    assert done.returncode == 0, done.stderr
    assert "ninja ran: -C" in done.stdout
    assert f"default {tmp_path}/edgepose/_C{sysconfig.get_config_var('EXT_SUFFIX')}\n" in recipe
    assert dry_build("build_ext", "--inplace", EDGEPOSE_CUDA="off")[0].returncode != 0


@pytest.mark.skipif(NVCC is None, reason="no nvcc")
@pytest.mark.skipif(any(Path("/dev", name).exists() for name in ("nvidiactl", "dxg")), reason="this machine has a GPU")
def test_cuda_kernels_are_for_the_machine_at_hand_and_for_every_one_in_a_wheel(dry_build):
    def architectures(*arguments, **environment):
        return set(re.findall(r"code=sm_(\d+)", dry_build(*arguments, **environment)[1]))

    in_tree = "build_ext", "--inplace"
    assert architectures(*in_tree) == set()
    assert architectures(*in_tree, EDGEPOSE_CUDA_ARCHS="75") == {"75"}
    assert architectures(*in_tree, EDGEPOSE_CUDA_ARCHS="75", EDGEPOSE_CUDA="off") == set()
    everything = architectures("build_ext")
    assert {"75", "80", "90"} <= everything
    assert architectures(*in_tree, EDGEPOSE_CUDA="on") == everything


OPS = sorted(set(ops.__all__) - {"reference"})
SHARED = {"bindings": {"checks", "huge_pages", "interop", "module"}}  # what belongs to no single op


def test_kernels_are_listed_once_and_all_of_them():
    listed = re.findall(r"^EDGEPOSE_OP\((\w+), (\w+)\)$", (ROOT / "csrc" / "ops.inc").read_text("utf-8"), re.MULTILINE)
    assert [name for name, _ in listed] == OPS
    assert all(arguments == name.title().replace("_", "") for name, arguments in listed)


@pytest.mark.parametrize(("folder", "suffix"), [("cpu", ".cpp"), ("cuda", ".cu"), ("bindings", ".cpp")])
def test_each_op_has_a_source_of_its_name_in_every_folder(folder, suffix):
    found = {path.stem for path in (ROOT / "csrc" / folder).glob(f"*{suffix}")}
    assert found == set(OPS) | SHARED.get(folder, set())


@pytest.mark.parametrize("name", OPS)
def test_an_op_stands_in_the_same_named_places(name):
    assert hasattr(_C, name)
    assert (ROOT / "csrc" / f"{name}.h").exists()
    family = getattr(ops, name).__module__.rpartition(".")[2]
    assert getattr(reference, name).__module__ == f"edgepose.ops.reference.{family}"
    tests = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert any(name.startswith(test) for test in tests), "its own, or one with related ops in it"
    torch_ops = pytest.importorskip("edgepose.torch")
    assert getattr(torch_ops, name).__module__ == f"edgepose.torch.{family}"


def test_torch_has_the_same_ops():
    torch_ops = pytest.importorskip("edgepose.torch")
    assert sorted(torch_ops.__all__) == OPS


def test_levels_are_chosen_by_name():
    levels = _C.simd_levels()
    assert levels[:2] == ["scalar", "baseline"]
    assert _C.simd_level() in levels
    with pytest.raises(ValueError, match=r"set_simd_level: name expected one of scalar, baseline.*, got 'mmx'"):
        _C.set_simd_level("mmx")


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=True
    )
    return done.stdout.strip()


def test_environment_chooses_level_and_threads():
    code = "from edgepose import _C; print(_C.simd_level(), _C.num_threads())"
    assert run(code, EDGEPOSE_SIMD="scalar", EDGEPOSE_NUM_THREADS="3") == "scalar 3"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_makes_its_own_threads():
    """Data loaders fork: the child inherits the pool's memory but not its threads, and must not wait for them."""
    code = """
import os
import numpy as np
from edgepose import _C, ops
_C.set_num_threads(4)
x = np.random.default_rng(0).normal(size=(64, 133, 384)).astype(np.float32)
expected = ops.simcc_decode(x, x)[0]
child = os.fork()
if child == 0:
    os._exit(0 if (ops.simcc_decode(x, x)[0] == expected).all() else 1)
print(os.waitpid(child, 0)[1])
"""
    assert run(code) == "0"


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="nothing lists this process' threads here")
def test_larger_calls_do_not_pile_up_threads():
    """One pool that grows: never beyond the threads asked for, nor beyond the cores."""
    code = """
import os
import numpy as np
from edgepose import _C, ops
before = len(os.listdir("/proc/self/task"))
frame = np.zeros((720, 1280, 3), np.uint8)
for asked, limit in ((3, 2), (64, 63)):
    _C.set_num_threads(asked)
    for n in range(1, 65, 3):
        affine = np.tile(np.eye(2, 3, dtype=np.float32), (n, 1, 1))
        ops.crop_normalize(frame, affine, input_size=(192, 256), mean=(0, 0, 0), std=(1, 1, 1))
        ops.simcc_decode(*np.zeros((2, n, 133, 384), np.float32))
    more = len(os.listdir("/proc/self/task")) - before
    assert more <= min(limit, len(os.sched_getaffinity(0)) - 1), (asked, more)
print(more)
"""
    assert int(run(code)) == min(63, len(os.sched_getaffinity(0)) - 1)


def test_threads_may_call_at_once():
    from concurrent.futures import ThreadPoolExecutor

    x = np.random.default_rng(0).normal(size=(16, 133, 384)).astype(np.float32)
    expected = reference.simcc_decode(x, x)[0]
    with ThreadPoolExecutor(4) as pool:
        for keypoints, _ in pool.map(lambda _: ops.simcc_decode(x, x), range(32)):
            np.testing.assert_array_equal(keypoints, expected)
