# partstream: every command a person needs. Wants Python 3.11 or newer and make, nothing else.
#
#   make serve                 install the server (no torch) and start it on http://127.0.0.1:8000
#   make test                  install everything and run the tests
#
# Variables: PYTHON (python3), PORT (8000), TORCH_INDEX_URL (where to take torch from; pip's own default without it),
# SERVE_ARGS, PYTEST_ARGS, BENCH_ARGS, GPU_CHECK_ARGS, RECIPE, MINUTES, DATA (a folder with ccp/ and weights/), TRAIN_ARGS.

PYTHON ?= python3
PORT ?= 8000
SERVE_VENV ?= .venv-serve
DEV_VENV ?= .venv
RECIPE ?=
LABELLED ?=
MINUTES ?= 90
DATA ?= $(or $(PARTSTREAM_DATA),../shared/data)
TORCH_INDEX_URL ?=

# Every install takes its versions from one file, builds in isolation included (pip 25.3 and newer read the second name).
PINNED := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt

SERVE := --editable models/core --editable proto --editable "server[cpu]"
EVERYTHING := $(SERVE) --editable models/evaluation --editable models --editable export --editable clients/python
SERVE_FILES := constraints.txt models/core/pyproject.toml proto/pyproject.toml server/pyproject.toml
DEV_FILES := $(SERVE_FILES) pyproject.toml models/evaluation/pyproject.toml models/pyproject.toml export/pyproject.toml clients/python/pyproject.toml

define check-python
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  echo "partstream needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
  echo "Name another one: make $(firstword $(MAKECMDGOALS)) PYTHON=python3.11" >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
  echo "'$(PYTHON)' cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
endef

.DEFAULT_GOAL := help
.PHONY: help serve test lint format bench gpu-check train proto install-serve install-dev clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-14s %s\n", $$1, $$2}'

serve: $(SERVE_VENV)/.installed  ## Start the server (PORT, SERVE_ARGS)
	PORT=$(PORT) exec $(SERVE_VENV)/bin/partstream serve $(SERVE_ARGS)

test: $(DEV_VENV)/.installed  ## Run the tests (PYTEST_ARGS)
	$(DEV_VENV)/bin/python -m pytest $(PYTEST_ARGS)

lint: $(DEV_VENV)/.installed  ## Check style, types and import contracts
	$(DEV_VENV)/bin/ruff check .
	$(DEV_VENV)/bin/ruff format --check .
	$(DEV_VENV)/bin/mypy
	$(DEV_VENV)/bin/lint-imports

format: $(DEV_VENV)/.installed  ## Mend what lint can mend by itself
	$(DEV_VENV)/bin/ruff check --fix .
	$(DEV_VENV)/bin/ruff format .

bench: $(SERVE_VENV)/.installed  ## Time the pipeline stage by stage (BENCH_ARGS)
	$(SERVE_VENV)/bin/partstream bench $(BENCH_ARGS)

gpu-check: $(DEV_VENV)/.installed  ## Measure networks and streams on a GPU (GPU_CHECK_ARGS)
	$(DEV_VENV)/bin/python -m partstream_export.gpu_check $(GPU_CHECK_ARGS)

# Both stages, the second from where the first ended and with the shipped flow network; RECIPE names one of them, or
# another recipe. LABELLED is a folder of pictures that partstream-teach has labelled.
TRAIN = $(DEV_VENV)/bin/partstream-train $(1) --minutes $(MINUTES) --data $(DATA)/ccp --weights $(DATA)/weights $(TRAIN_ARGS)
SCENES = --backdrops $(DATA)/backdrops --empty-clips $(DATA)/videos/more/nobody $(if $(LABELLED),--labelled $(LABELLED))
BOTH_STAGES = $(call TRAIN,live-scenes $(SCENES)) && $(call TRAIN,live-temporal \
  --from runs/live-scenes/final.safetensors --flow models/weights/live.safetensors --backdrops $(DATA)/backdrops)

train: $(DEV_VENV)/.installed  ## Train (RECIPE, MINUTES a stage, DATA, TRAIN_ARGS)
	$(if $(RECIPE),$(call TRAIN,$(RECIPE)),$(BOTH_STAGES))

proto: $(DEV_VENV)/.installed  ## Make the Python code of proto/ anew
	$(DEV_VENV)/bin/python proto/generate.py

install-serve: $(SERVE_VENV)/.installed  ## Install the server without starting it

install-dev: $(DEV_VENV)/.installed  ## Install everything without running anything

# The stamp is written last, so an install that was cut short is taken up again.
$(SERVE_VENV)/.installed: $(SERVE_FILES)
	$(check-python)
	@echo "Installing the server into $(SERVE_VENV) (once; about 250 MB to download) ..."
	$(PYTHON) -m venv $(SERVE_VENV)
	$(PINNED) $(SERVE_VENV)/bin/python -m pip install --quiet $(SERVE)
	@touch $@

# torch goes first and alone: everything after it finds the build that was chosen and leaves it be. TrackEval, an
# oracle of tests, goes last and alone: it asks for opencv-python, which overwrites the headless one.
$(DEV_VENV)/.installed: $(DEV_FILES)
	$(check-python)
	@echo "Installing everything into $(DEV_VENV) (once; torch is large) ..."
	$(PYTHON) -m venv $(DEV_VENV)
	$(PINNED) $(DEV_VENV)/bin/python -m pip install --quiet pip
	$(PINNED) $(DEV_VENV)/bin/python -m pip install --quiet --no-deps $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) torch
	$(PINNED) $(DEV_VENV)/bin/python -m pip install --quiet $(EVERYTHING) --group dev
	$(PINNED) $(DEV_VENV)/bin/python -m pip install --quiet --no-deps trackeval
	@touch $@

clean:  ## Remove environments and caches
	rm -rf $(SERVE_VENV) $(DEV_VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
