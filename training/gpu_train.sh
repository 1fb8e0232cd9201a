#!/bin/sh
# One visit to a GPU: build for the card if need be, take in what came along, train a piece. See gpu_train.py.
#
#   BUNDLES="runs/gpu/bundles/0" OUT=back sh training/gpu_train.sh edgepose_teacher_gpu --name teacher --minutes 8
#
# Without arguments it only builds and receives. Environment: PYTHON (python3), BUNDLES (folders), WORK
# (runs/gpu/work, kept from visit to visit), OUT (runs/gpu/out, taken home). Nothing is downloaded. PARCELS is an older
# name of BUNDLES.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
work=${WORK:-runs/gpu/work}
out=${OUT:-runs/gpu/out}
bundles=${BUNDLES:-${PARCELS:-}}
kernels=

# The packages as the editable install would name them, for a Python in which nothing can be installed.
mkdir -p build/path
ln -sfn ../../edgepose build/path/edgepose
ln -sfn ../../training/edgepose_training build/path/edgepose_training
PYTHONPATH="$PWD/build/path${PYTHONPATH:+:$PYTHONPATH}"
PYTHONUNBUFFERED=1
export PYTHONPATH PYTHONUNBUFFERED

if ! $python -c 'import edgepose._C' 2>/dev/null; then
  if ! EDGEPOSE_CUDA=on EDGEPOSE_CUDA_ARCHS=native $python setup.py -q ninja; then
    echo "gpu_train: no kernels for this card; the losses run in plain torch" >&2
    EDGEPOSE_CUDA=off $python setup.py -q ninja
    touch build/no-kernels
  fi
fi
if [ -e build/no-kernels ]; then kernels=--no-kernels; fi

if [ -n "$bundles" ]; then $python training/gpu_train.py receive $bundles --work "$work"; fi
if [ $# -gt 0 ]; then $python training/gpu_train.py train "$@" $kernels --work "$work" --out "$out"; fi
