# hipnode: one verb, one job. `make` alone lists them.
# Needs Python 3.11 or newer, make and a C compiler; the rest is installed into .venv (and, for the
# tests, from Debian's packages where that is allowed).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Python compiles what it imports, when it does: of all that is installed, a third.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
# The CPU build of PyTorch: pinned, so that no other requirement can bring the CUDA build with it.
# Where the package index has no CPU build, name one that has: make test TORCH_FROM='--index-url URL'
TORCH := torch==2.13.0
TORCH_FROM ?=
# What to install from, to the last file: make setup LOCK=tests/requirements.lock, as CI does.
LOCK ?=
TESTS ?= tests
PYTEST_ARGS ?=
# Each worker has servers, databases, ports and folders of its own; 0 for none, to use a debugger.
WORKERS ?= auto
PARALLEL = -n $(WORKERS) --dist loadgroup --no-loadscope-reorder
BENCH ?=
BENCH_ARGS ?=
LEAGUE ?= build/league
LEAGUE_ARGS ?=

.PHONY: help
help:  ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.runs  ## Set up, then see a radiograph go in and a report come out
	$(BIN)/hipnode demo

.PHONY: setup
setup: $(VENV)/.tests peers  ## Install all that the tests need, and run nothing

.PHONY: test
test: setup  ## Install what the tests need, and run them (TESTS=tests/unit for a part)
	OMP_NUM_THREADS=1 $(BIN)/python $(COVERED) -m pytest $(TESTS) $(PARALLEL) $(PYTEST_ARGS)

.PHONY: fast
fast: $(VENV)/.tests  ## What needs no server, no model and no training
	HYPOTHESIS_PROFILE=fast OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit tests/property \
	  -m 'not slow' $(PARALLEL) --quiet $(PYTEST_ARGS)

.PHONY: coverage
coverage: COVERED = -m slipcover
coverage: test  ## Run the tests, and write to build/coverage.txt which lines they miss
	@tail -n 1 build/coverage.txt

.PHONY: league
league: $(VENV)/.tests  ## Train and judge the papers' systems, and write docs/league.md (LEAGUE=DIR)
	$(BIN)/hipnode league --out $(LEAGUE) $(LEAGUE_ARGS)
	$(BIN)/python -m tests.league_page $(LEAGUE)
	$(BIN)/python -m tests.league_served $(LEAGUE)

.PHONY: bench
bench: setup  ## Measure next to every peer (BENCH="ingest start" for a part, BENCH_ARGS=--rounds=3)
	$(BIN)/python -m tests.bench $(BENCH) $(BENCH_ARGS)

.PHONY: check
check: $(VENV)/.tests  ## Formatting, lint, types and the rules of who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/.tests  ## Format the code and mend what lint can mend by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: serve
serve: $(VENV)/.runs  ## Run a node with config/hipnode.toml, until Ctrl-C
	$(BIN)/hipnode serve --config config/hipnode.toml

.PHONY: peers
peers:  ## Install the programs that the tests talk to, or name them
	@tests/install-peers

.PHONY: lock
lock: $(VENV)/.tests  ## Write the lock files anew, from the ranges in pyproject.toml
	$(BIN)/python -m tests.lock

.PHONY: sbom
sbom: build/plain/.made  ## Write the bill of materials of a plain install (CycloneDX) to dist/
	$(PYTHON) -m venv build/tools
	build/tools/bin/python -m pip install --quiet --disable-pip-version-check 'cyclonedx-bom>=7,<8'
	mkdir -p dist
	build/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-file dist/hipnode.cdx.json build/plain/bin/python

.PHONY: image
image:  ## Build the container image (buildah or docker), on a Debian base where there is no registry
	@docker/build

.PHONY: wheel
wheel: $(VENV)/.runs  ## Build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

.PHONY: clean
clean:  ## Remove everything that these verbs have made
	rm -rf $(VENV) build dist artefacts demo-out tests/browser/node_modules
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

build/plain/.made: pyproject.toml requirements.lock | $(VENV)/bin/python
	@echo "installing hipnode into build/plain, as the container image does"
	rm -rf build/plain
	$(PYTHON) -m venv build/plain
	build/plain/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	  --require-hashes --requirement requirements.lock
	build/plain/bin/python -m pip install --quiet --disable-pip-version-check --no-compile .
	@touch $@

# --- files that say that a step is done; each is made anew when what it depends on has changed -------

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "hipnode needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "no venv module (Debian: apt-get install python3-venv)"; rm -rf $(VENV); exit 1; }

$(VENV)/.runs: pyproject.toml | $(VENV)/bin/python
	@echo "installing hipnode into $(VENV)"
	$(PIP) -e .
	@touch $@

$(VENV)/.tests: pyproject.toml | $(VENV)/bin/python
	@echo "installing hipnode, PyTorch (CPU) and the test tools into $(VENV)"
	$(if $(LOCK),$(PIP) --require-hashes --requirement $(LOCK),$(PIP) $(TORCH_FROM) '$(TORCH)')
	$(PIP) $(if $(LOCK),--no-deps -e .,-e '.[test,train]' '$(TORCH)')
	@touch $@ $(VENV)/.runs
