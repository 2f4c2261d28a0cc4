# Stafet. `make demo` and `make test` are all that a newcomer needs; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Two more than there are cores: many of these tests wait for processes, not for the processor.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)

# What tests, bench and demonstration start some hundred times is compiled once, as on a hub that pip installed it on.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: setup
setup: $(VENV)/.ready ## Make .venv with everything, pinned by requirements.lock

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "stafet needs Python 3.11 or later: make PYTHON=python3.11 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "stafet needs the Debian package python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: demo
demo: setup ## One reading, all the way: simulated devices to a FHIR server, live (KEEP=1 stays up)
	@$(BIN)/stafet-sim demo $(if $(KEEP),--keep)

.PHONY: check
check: setup ## Format, lint, types, room rules, and each extra alone starts its program
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/check_extras.py

.PHONY: test
test: setup ## Everything, with real brokers, a real FHIR server and bleak over BlueZ's D-Bus API
	$(PYTEST) -n $(WORKERS) --dist loadgroup

.PHONY: soak
soak: setup ## A million inputs of noise for every decoder, nightly (FUZZ=N inputs, SEED=S repeats a run)
	$(BIN)/python -m tests.soak $(if $(FUZZ),--inputs $(FUZZ)) $(if $(SEED),--seed $(SEED))

.PHONY: bench
bench: setup ## Speed and size, as JSON and as a table
	$(BIN)/python -m tests.bench

.PHONY: lock
lock: ## Renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra dev pyproject.toml -o requirements.lock
