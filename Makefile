# make run    set up, built for this machine, and start the application on its demo (headless without a display)
# make test   set up and run the tests; make dev   set up everything, training included, and run nothing
# make lint   ruff and mypy
# make gpu    on a machine with an NVIDIA GPU and nvcc: build for it, test, sanitize, benchmark
# make gpu-pack DATA=…, make gpu-train TRAIN="…"   train in pieces on a GPU that is there for minutes
# make wheel  build a manylinux wheel for every machine into dist/; make sanitize runs the kernel tests under ASan and UBSan

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install -q -c constraints.txt
SOURCES := pyproject.toml constraints.txt setup.py $(shell find csrc -type f 2>/dev/null)

.PHONY: run dev test lint gpu gpu-pack gpu-train wheel sanitize clean check

run: $(VENV)/.app
	$(BIN)/edgepose-app --source demo $(ARGS)

dev: $(VENV)/.dev

# Threads that spin while they wait (torch's OpenMP) take the cores from the tests beside them.
test: $(VENV)/.dev
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What a fresh machine may lack, each in one sentence.
check:
	@test -n "$(PYTHON)" || { echo "edgepose needs Python 3.11 or newer (Debian/Ubuntu: apt-get install python3)." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "edgepose needs Python's venv module (Debian/Ubuntu: apt-get install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || { echo "edgepose needs Python's C headers (Debian/Ubuntu: apt-get install python3-dev)." >&2; exit 1; }
	@command -v $${CXX:-c++} >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || { echo "edgepose needs a C++17 compiler (Debian/Ubuntu: apt-get install g++)." >&2; exit 1; }

$(VENV)/pyvenv.cfg: | check
	$(PYTHON) -m venv $(VENV)

# What pyproject.toml's [build-system] names. With build isolation pip would download it again, into another folder at every
# install, and all bindings would be compiled again because pybind11 has moved.
$(VENV)/.build: $(VENV)/pyvenv.cfg constraints.txt
	$(INSTALL) 'setuptools>=77' 'pybind11>=3.0' 'ninja>=1.11'
	@touch $@

$(VENV)/.app: $(VENV)/.build $(SOURCES) | check
	$(INSTALL) --no-build-isolation -e '.[app]'
	@touch $@

$(VENV)/.dev: $(VENV)/.build $(SOURCES) | check
	$(INSTALL) --no-build-isolation -e '.[app,train,dev]'
	@touch $@ $(VENV)/.app

# At home: compact shards in bundles. On the GPU's machine: build, take BUNDLES in, train a piece (docs/training.md).
gpu-pack: $(VENV)/.dev
	$(BIN)/python training/gpu_train.py pack --data $(DATA) -o runs/gpu

gpu-train:
	@sh training/gpu_train.sh $(TRAIN)

gpu:
	bash benchmarks/ops/gpu.sh

sanitize: $(VENV)/.dev
	PYTHON=$(abspath $(BIN))/python bash tests/ops/sanitize.sh

wheel: $(VENV)/.dev
	PYTHON=$(abspath $(BIN))/python .ci/wheel dist

clean:
	rm -rf build dist output *.egg-info edgepose/*.so .pytest_cache .mypy_cache .ruff_cache
