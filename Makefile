# Works with GNU make 3.81, which macOS ships. PYTHON=python3.12 chooses another Python for all that set-up installs.
PYTHON ?= python3
BIN := .venv/bin
# Two files at a time: most tests wait for processes of their own. PARALLEL= runs them one after another
PARALLEL ?= --numprocesses=2 --dist=loadfile --no-loadscope-reorder
# An activated environment would otherwise be taken by uv and Python for the one to work in
unexport VIRTUAL_ENV PYTHONHOME
# Images set it, and every process would compile thousands of modules anew: half of what it takes to start one
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo up test check lint torture env soak package images lock clean find-python

help:  ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup: find-python  ## install all that is needed, and say what
	@$(PYTHON) infra/setup.py

demo: setup  ## run the platform on the exchange simulator until Ctrl-C
	@$(BIN)/lakehouse demo

up: setup  ## run the platform against the real exchange until Ctrl-C
	@$(BIN)/lakehouse up

test: find-python  ## run all tests (OPTIONS="tests/unit -k moscow" runs some)
	@$(PYTHON) infra/setup.py --with-browser --with-stores
	@$(BIN)/python -m pytest $(PARALLEL) $(OPTIONS)

check: lint  ## lint, and the unit tests
	@$(BIN)/python -m pytest -q tests/unit

lint: setup  ## lint (Dockerfiles too), types, import rules, locks, generated docs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint infra/docker/*.Dockerfile
	@$(BIN)/python -m infra.check_lock
	@$(BIN)/python -m infra.dictionary --check
	@$(BIN)/python -m infra.settings_table --check
	@$(BIN)/python -m infra.access --check

torture: setup  ## the tests that count seeds, with full counts (hours)
	@TORTURE=1 $(BIN)/python -m pytest -m torture --hypothesis-profile=torture $(OPTIONS)

env: find-python  ## write .env with random secrets for docker compose (PROFILE=core, cluster, localstack, demo)
	@$(PYTHON) infra/env.py --profile "$(PROFILE)"

soak: setup  ## 20 minutes of steady work: does anything grow, fail or get stuck (OPTIONS="--minutes 60")
	@$(BIN)/python -m benchmarks.soak $(OPTIONS)

package: setup  ## make and check the functions' package for AWS Lambda: build/functions.zip
	@$(BIN)/python -m infra.aws.package

images: setup  ## build the images of docker-compose.yml without Docker and try each (root, buildah, debootstrap)
	@$(BIN)/python -m infra.images $(OPTIONS)

lock: setup  ## compile the locks from pyproject.toml (OPTIONS=--upgrade takes the newest)
	@$(BIN)/python -m infra.lock $(OPTIONS)

clean:  ## remove the virtual environment and tool caches (downloads stay in the cache folder)
	@rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

find-python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	    echo "Error: $(PYTHON) is missing; install Python 3.11, 3.12 or 3.13, or name one: make setup PYTHON=..." >&2; exit 1; }
