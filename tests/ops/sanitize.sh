#!/usr/bin/env bash
# Builds the extension with AddressSanitizer and UndefinedBehaviorSanitizer into a folder of its own and runs the kernel
# tests on it. Any report fails the run. PYTHON: the interpreter of an environment with the dev extra.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-$PWD/.venv/bin/python}
target=$PWD/build/sanitized

EDGEPOSE_SANITIZE=address,undefined EDGEPOSE_CUDA=off "$python" setup.py -q build --build-lib "$target"

# The interpreter is not instrumented, so the runtime must be loaded before it; leaks at exit are its own affair. The
# handler of Python's own allocator would hide small overruns: malloc sees them all.
preload=$("${CXX:-c++}" -print-file-name=libasan.so):$("${CXX:-c++}" -print-file-name=libstdc++.so)
export LD_PRELOAD=$preload PYTHONMALLOC=malloc PYTHONPATH=$target
export EDGEPOSE_EXAMPLES=${EDGEPOSE_EXAMPLES:-15} # instrumented code is slow
export ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
cd "$target" # so that the sanitized package is the one that is imported
"$python" -c "import edgepose._C as c; assert c.__file__.startswith('$target'), c.__file__"
"$python" -m pytest -q -p no:cacheprovider -c "$OLDPWD/pyproject.toml" "$OLDPWD/tests/ops" -s -m "not slow" -k "not torch and not build and not docs and not benchmarks and not stubs and not gpu_script" "$@" # -s: a report must not die in pytest's capture
