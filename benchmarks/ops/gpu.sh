#!/usr/bin/env bash
# Everything of the kernels that needs an NVIDIA GPU, in one go of at most ten minutes: build for the card at hand, the CUDA
# tests, memcheck and racecheck, benchmarks. Needs nvcc, torch ≥ 2.11, pybind11, ninja, numpy, opencv and pytest, and installs
# nothing. The log of what ran goes to benchmarks/results/gpu_<card>.log. PYTHON: the interpreter to use.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
card=$("$python" -c 'import torch; print(torch.cuda.get_device_name().replace(" ", "_"))')
mkdir -p benchmarks/results
log=benchmarks/results/gpu_$card.log
exec > >(tee "$log") 2>&1

echo "$(date -u +%Y-%m-%dT%H:%MZ) $card"
nvcc --version | tail -2
EDGEPOSE_CUDA=on EDGEPOSE_CUDA_ARCHS=native EDGEPOSE_WERROR=1 "$python" setup.py -q build_ext --inplace
export PYTHONPATH=$PWD

echo "== tests"
"$python" -m pytest -q tests/ops -m "gpu or not slow"

echo "== compute-sanitizer"
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 1 "$python" -m pytest -q tests/ops -m gpu -k "not compile and not opcheck"
  done
else
  echo "compute-sanitizer is not installed: not run"
fi

echo "== benchmarks"
for op in simcc_decode simcc_encode simcc_kl_div crop_normalize heatmap batch_norm_silu; do
  "$python" "benchmarks/ops/$op.py" --device cuda --rounds 20
done
