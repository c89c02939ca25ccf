# penstock: the commands a developer needs. Everything works on a fresh clone; the first one sets up .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CPP_SOURCES := $(shell git ls-files --cached --others --exclude-standard 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.cu' 'tests/*.c' 'tests/*.cpp' 'examples/*.c' 'examples/*.cpp')

.PHONY: help demo test lint format fuzz bench wheel gpu clean

help:
	@echo "make demo    set up .venv, build, turn a generated clip into another style with the packaged model (CPU)"
	@echo "make test    set up .venv, build, run the tests"
	@echo "make lint    ruff and clang-format, as CI checks them (make format applies them)"
	@echo "make fuzz    fuzz the plan and safetensors readers for a minute (needs clang++)"
	@echo "make bench   CPU benchmark: DiT forward of the tiny preset against eager torch"
	@echo "make wheel   build dist/penstock-*.whl"
	@echo "make gpu     build, test the kernels and streams on an NVIDIA GPU, measure the whole stream"

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

bench: $(VENV)/.build
	$(BIN)/python -m pytest benchmarks/dit_forward.py -s

wheel: $(VENV)/.setup
	$(BIN)/pip wheel -q -c constraints.txt --no-build-isolation --no-deps -w dist .

# The machine with a GPU has its own torch and no network: build in place with what it has. Fits in 8 minutes.
gpu:
	$(PYTHON) -m pip install -q --no-build-isolation --no-deps -e .
	$(PYTHON) -m penstock doctor
	$(PYTHON) -m pytest tests/gpu tests/kernels -rs -p no:cacheprovider
	$(PYTHON) -m benchmarks.end_to_end --device cuda --seconds 240

clean:
	rm -rf build dist $(VENV) python/penstock/lib python/penstock/include python/penstock/*.so
