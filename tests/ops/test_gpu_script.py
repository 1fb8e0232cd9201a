"""benchmarks/ops/gpu.sh with stubs of the programs it starts: what it runs, in what time, what it complains of."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ops" / "gpu.sh"
PYTHON = """#!/bin/sh
case "$1" in
  -) cat > /dev/null; echo STUB ;;
  setup.py) echo "builds $*"; exit ${BUILD_ENDS:-0} ;;
  -m) echo "tests $* with $EDGEPOSE_EXAMPLES"; [ -z "$EDGEPOSE_EXAMPLES" ] && sleep ${TESTS_TAKE:-0} || true ;;
  *) echo "measures $*" ;;
esac
"""
SANITIZER = """#!/bin/sh
echo "sanitizes $*"
[ $2 != "$HAZARD" ]
"""
pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("bash", "timeout", "tee")), reason="needs bash and coreutils"
)


@pytest.fixture
def run(tmp_path):
    """run(**environment) → (exit code, what it said)."""
    (tmp_path / "benchmarks" / "ops").mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / "benchmarks" / "ops")
    for name, text in (
        ("python", PYTHON),
        ("bin/compute-sanitizer", SANITIZER),
        ("bin/nvcc", "#!/bin/sh\necho nvcc\n"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def call(sanitizer=True, **environment):
        if not sanitizer:
            (tmp_path / "bin" / "compute-sanitizer").unlink()
        tools = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "PYTHON": tmp_path / "python", "CUDA_HOME": tmp_path}
        command = ["bash", tmp_path / "benchmarks" / "ops" / "gpu.sh"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("EDGEPOSE_")}
        done = subprocess.run(command, env={**inherited, **tools, **environment}, capture_output=True, text=True)
        said = done.stdout + done.stderr
        log = tmp_path / "benchmarks" / "results" / "gpu_STUB.log"
        assert not log.exists() or log.read_text() == done.stdout
        return done.returncode, said

    return call


def test_all_phases_run_in_turn(run):
    code, said = run()
    assert code == 0, said
    steps = [
        "builds",
        "tests on the GPU",
        "memcheck",
        "racecheck",
        "measures benchmarks/ops/on_gpu.py",
        "tests on the CPU",
    ]
    places = [said.index(step) for step in steps]
    assert places == sorted(places)
    assert "all well" in said
    instrumented = [line for line in said.splitlines() if line.startswith("sanitizes")]
    assert len(instrumented) == 2
    assert all("kns=edgepose" in line and "-m gpu" in line for line in instrumented)
    assert "EDGEPOSE_NO_SANITIZER" not in said


def test_a_missing_sanitizer_is_an_error_unless_it_is_waived(run):
    code, said = run(sanitizer=False)
    assert code == 1
    assert said.count("\n") == 1
    assert "compute-sanitizer, a part of the CUDA toolkit, was not found; EDGEPOSE_NO_SANITIZER=1 goes without" in said


def test_the_waiver_is_in_the_log(run):
    code, said = run(EDGEPOSE_NO_SANITIZER="1")
    assert code == 0, said
    assert "compute-sanitizer: left out, as EDGEPOSE_NO_SANITIZER=1 asks for" in said
    assert "sanitizes" not in said


def test_a_hazard_fails_the_run_and_the_rest_still_runs(run):
    code, said = run(HAZARD="racecheck")
    assert code == 1
    assert "not well:\n  racecheck: exit code 1\n" in said
    assert "measures" in said


def test_without_a_build_nothing_else_runs(run):
    code, said = run(BUILD_ENDS="3")
    assert code == 1
    assert "build: exit code 3" in said
    assert "measures" not in said


def test_a_phase_that_does_not_end_is_named_and_ended(run):
    code, said = run(EDGEPOSE_GPU_SECONDS="8", TESTS_TAKE="60")
    assert code == 1
    assert "tests on the GPU: did not end within " in said
    assert "measures" in said
