#!/usr/bin/env bash
# Everything of the kernels that needs an NVIDIA GPU, in one go of at most ten minutes: build for the card at hand, the CUDA
# tests, memcheck and racecheck, benchmarks, and with what time is left the tests of the CPU kernels on this machine.
#
# Needs nvcc, torch ≥ 2.11, pybind11, ninja, numpy, opencv, pytest and setuptools of any age, and installs nothing.
# The log goes to benchmarks/results/gpu_<card>.log, the table of the benchmarks to benchmarks/results/ops-gpu.md.
#   PYTHON                    the interpreter to use
#   EDGEPOSE_GPU_SECONDS      instead of ten minutes
#   EDGEPOSE_NO_SANITIZER=1   goes without compute-sanitizer, whose absence is an error otherwise
set -uo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
seconds=${EDGEPOSE_GPU_SECONDS:-590} # and five to be killed in
PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1

card=$("$python" - <<'CHECK'
import importlib.util
import re
import shutil
import sys

needed = "torch", "numpy", "cv2", "pybind11", "setuptools", "pytest", "ninja"
if missing := [name for name in needed if not (importlib.util.find_spec(name) or name == "ninja" and shutil.which(name))]:
    sys.exit(f"gpu.sh: {sys.executable} lacks {', '.join(missing)}.")
import torch

if tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) < (2, 11):
    sys.exit(f"gpu.sh: needs torch 2.11 or newer, found {torch.__version__}.")
if not torch.cuda.is_available():
    sys.exit("gpu.sh: torch sees no CUDA device.")
print(re.sub(r"\W+", "_", torch.cuda.get_device_name()))
CHECK
) || exit 1
if [ "${EDGEPOSE_NO_SANITIZER:-}" != 1 ] && ! command -v compute-sanitizer >/dev/null; then
  echo "gpu.sh: compute-sanitizer, a part of the CUDA toolkit, was not found; EDGEPOSE_NO_SANITIZER=1 goes without it." >&2
  exit 1
fi

bad=()
# phase NAME PERCENT COMMAND…: runs it until at most so much of the whole time is over, and notes how it ended.
phase() {
  local name=$1 left=$((seconds * $2 / 100 - SECONDS)) start=$SECONDS code=0
  shift 2
  if ((left < 1)); then
    bad+=("$name: not started, its time was over")
  else
    echo "== $name, at most $left s"
    timeout -k 5 "$left" "$@" || code=$?
    case $code in
      0) ;;
      124 | 137) bad+=("$name: did not end within $left s") ;;
      *) bad+=("$name: exit code $code") ;;
    esac
    if [ $code = 0 ]; then echo "== $name: ended well after $((SECONDS - start)) s" && return; fi
  fi
  echo "== ${bad[-1]}"
  return 1
}

sanitize() { # TOOL PERCENT: few examples, as instrumented kernels are slow; our kernels alone, not those of torch
  local skipped="not compile and not opcheck and not graph" # memcheck without torch's cache, which captures need
  phase "$1" "$2" env EDGEPOSE_EXAMPLES=4 PYTORCH_NO_CUDA_MEMORY_CACHING=1 \
    compute-sanitizer --tool "$1" --error-exitcode 1 --report-api-errors no --kernel-regex kns=edgepose \
    "$python" -m pytest -q -p no:cacheprovider tests/ops -m gpu -k "$skipped"
}

run() {
  echo "$(date -u +%Y-%m-%dT%H:%MZ) $card, commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
  "${NVCC:-nvcc}" --version | tail -2
  EDGEPOSE_CUDA=on EDGEPOSE_CUDA_ARCHS=native EDGEPOSE_WERROR=1 phase build 45 "$python" setup.py ninja || return 1
  phase "tests on the GPU" 58 "$python" -m pytest -q -p no:cacheprovider tests/ops -m gpu
  if [ "${EDGEPOSE_NO_SANITIZER:-}" = 1 ]; then
    echo "== compute-sanitizer: left out, as EDGEPOSE_NO_SANITIZER=1 asks for"
  else
    sanitize memcheck 69
    sanitize racecheck 77
  fi
  phase benchmarks 96 "$python" benchmarks/ops/on_gpu.py --rounds 20 --write
  EDGEPOSE_EXAMPLES=20 phase "tests on the CPU" 100 "$python" -m pytest -q -p no:cacheprovider tests/ops -m "not gpu and not slow"
  if ((${#bad[@]})); then
    echo "== not well:" && printf '  %s\n' "${bad[@]}"
    return 1
  fi
  echo "== all well after $SECONDS s"
}

mkdir -p benchmarks/results
run 2>&1 | tee "benchmarks/results/gpu_$card.log"
