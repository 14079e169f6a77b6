# `make help` lists the targets. Everything lives in .venv; nothing is installed outside it.

VENV     ?= .venv
VERTICAL ?= finance
ARGS     ?=
BIN      := $(VENV)/bin
# Extras of every vertical there is, each followed by a comma: what tests, types and benchmarks need.
EVERY    := $(shell for file in */service.py; do name=$${file%/service.py}; grep -q "^$$name = \[" pyproject.toml && printf '%s,' $$name; done)

# The data mirror beside the checkout, unless the environment says otherwise.
ifneq ($(wildcard ../shared/data/.),)
export ESPALIER_DATA_MIRROR ?= $(abspath ../shared/data)
endif
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check bench docs tables format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.$(VERTICAL) ## data, training, report, service, answers; ARGS="--once" stops it afterwards
	$(BIN)/espalier demo $(VERTICAL) $(ARGS)

# Two processes with one thread each, so that a laptop stays usable and times do not fight each other.
test: $(VENV)/.dev ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

check: $(VENV)/.dev ## lint, format, types, generated tables up to date
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m common.evaluation.tables --check

bench: $(VENV)/.dev ## the reference benchmark of every system, and the tables made from it
	$(BIN)/espalier bench all --preset reference $(ARGS)
	$(BIN)/python -m common.evaluation.tables

docs: $(VENV)/.docs ## the documentation, in docs/_build/index.html
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build

tables: $(VENV)/.$(VERTICAL) ## rewrite the result tables from benchmarks/
	$(BIN)/python -m common.evaluation.tables

format: $(VENV)/.dev ## fix what ruff can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove .venv and everything generated; trained models stay in ESPALIER_HOME
	rm -rf $(VENV) build dist docs/_build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: a set of extras is installed again only when pyproject.toml changes.
$(VENV)/.$(VERTICAL): EXTRAS = $(VERTICAL)
$(VENV)/.dev: EXTRAS = $(EVERY)dev
$(VENV)/.docs: EXTRAS = docs
$(VENV)/.$(VERTICAL) $(VENV)/.dev $(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[$(EXTRAS)]'
	@touch $@

$(BIN)/python:
	@for python in python3.11 python3.12 python3.13 python3; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Setting up $(VENV) with $$($$python --version) (about 2 minutes)"; \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "Espalier needs Python 3.11 or newer with its venv module: install it (Debian and Ubuntu: apt install python3.11 python3.11-venv) and run make again." >&2; \
	exit 1
