# Everything that is done here, as one word each. `make` alone lists the words.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
	--python-version 3.11

.PHONY: help demo test promises check bench lock format clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 17

demo: $(VENV)/.runtime ## Run a simulated upstream and the gateway, with a tenant, a key and a sample call
	$(BIN)/gateway demo

# Tests wait more than they compute. A file is one process's, and files come in their order: the short ones at the end.
test: $(VENV)/.dev ## Run every test with small counts, on real servers
	deploy/test-tools.sh
	$(BIN)/pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder $(ARGS)

promises: $(VENV)/.dev ## Run every test with full counts: long outages, many kills
	deploy/test-tools.sh
	$(BIN)/pytest --full --timeout=3600 $(ARGS)

check: $(VENV)/.dev ## Lint, check types and the laws of the house, in seconds
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest --quiet tests/laws --ignore tests/laws/test_wheel.py

bench: $(VENV)/.dev ## Measure what the gateway adds to a request
	$(BIN)/python -m tests.bench

lock: $(VENV)/.uv ## Renew the locks from pyproject.toml
	$(COMPILE) --upgrade pyproject.toml --extra traces --output-file requirements.lock
	$(COMPILE) --upgrade pyproject.toml --extra traces --group dev --constraint requirements.lock --output-file requirements-dev.lock
	@# The installer and what builds the package come before the locks, so they have locks of their own.
	grep -oE '^uv==[^ ]+' requirements-dev.lock | $(COMPILE) - --output-file deploy/uv.txt
	{ grep -oE 'hatchling==[0-9.]+' pyproject.toml; echo editables; } \
	  | $(COMPILE) --upgrade --constraint requirements-dev.lock - --output-file deploy/build.txt

format: $(VENV)/.dev ## Format the code and make the repairs that are safe
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean: ## Remove what the other targets made, the data of demo and serve excepted
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp says that the step is done for the present locks, so a second call is instant.

$(VENV)/.uv: deploy/uv.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: PYTHON=... make")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement deploy/uv.txt
	@touch $@

$(VENV)/.runtime: $(VENV)/.uv requirements.lock deploy/build.txt pyproject.toml
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock -r deploy/build.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@touch $@
