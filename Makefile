# penstock: the commands a developer needs. Everything works on a fresh clone; the first one sets up .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CPP_SOURCES := $(shell git ls-files --cached --others --exclude-standard 'csrc/*.h' 'csrc/*.hpp' 'csrc/*.cpp' 'csrc/*.cu' 'tests/*.c' 'tests/*.h' 'tests/*.cpp' 'tests/*.hpp' 'examples/*.c' 'examples/*.cpp' 'examples/*.hpp')

.PHONY: help demo test lint format fuzz sanitize sanitize-suite bench report wheel gpu clean

help:
	@echo "make demo    set up .venv, build, turn a generated clip into another style with the packaged model (CPU)"
	@echo "make test    set up .venv, build, run the tests"
	@echo "make lint    ruff and clang-format, as CI checks them (make format applies them)"
	@echo "make fuzz    fuzz the plan and safetensors readers for a minute (needs clang++)"
	@echo "make sanitize  C++ hosts over a library with thread, address and undefined-behaviour sanitizers"
	@echo "make sanitize-suite  the Python tests that run the engine, over such a library (address, undefined behaviour)"
	@echo "make bench   benchmarks on this machine: ops and streams against floors and libraries, the DiT against torch"
	@echo "make wheel   build dist/penstock-*.whl"
	@echo "make gpu     build, test the kernels and streams on an NVIDIA GPU, measure ops and streams"
	@echo "make report  tables and charts of docs/performance.md from benchmarks/results"

# torch comes first and pinned: a looser request can pull gigabytes of CUDA packages.
$(VENV)/.setup: constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt pip torch
	$(BIN)/pip install -q -c constraints.txt setuptools wheel pybind11 cmake ninja triton numpy safetensors
	touch $@

# An editable install; rerun cheaply, since ninja rebuilds only what changed.
$(VENV)/.build: $(VENV)/.setup setup.py CMakeLists.txt $(shell find csrc kernels -type f -not -name "*.pyc")
	$(BIN)/pip install -q -c constraints.txt --no-build-isolation -e '.[test,lint]'
	touch $@

demo: $(VENV)/.build
	$(BIN)/python examples/demo.py

test: $(VENV)/.build
	$(BIN)/python -m pytest

lint: $(VENV)/.build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CPP_SOURCES)

format: $(VENV)/.build
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP_SOURCES)

fuzz: $(VENV)/.build
	$(BIN)/python tests/fuzz/small_plan.py build/fuzz/small_plan.json
	bash tests/fuzz/run.sh 25 build/fuzz/small_plan.json

sanitize: $(VENV)/.build
	PATH=$(abspath $(BIN)):$$PATH PYTHON=python bash tests/embed/sanitize.sh build/sanitize

sanitize-suite: $(VENV)/.build
	PATH=$(abspath $(BIN)):$$PATH PYTHON=python bash tests/sanitize.sh build/sanitize_suite

bench: $(VENV)/.build
	$(BIN)/penstock bench --json build/ops.json
	$(BIN)/penstock bench e2e --json build/end_to_end.json
	$(BIN)/python -m pytest benchmarks/suite/test_dit_forward.py -s

report: $(VENV)/.build
	$(BIN)/python -m penstock.benchmarks.report

wheel: $(VENV)/.setup
	$(BIN)/pip wheel -q -c constraints.txt --no-build-isolation --no-deps -w dist .

# The machine with a GPU has its own torch and no network: builds in place with what it has.
gpu:
	PYTHON=$(PYTHON) bash tests/gpu/run.sh

clean:
	rm -rf build dist $(VENV) python/penstock/lib python/penstock/include python/penstock/*.so
