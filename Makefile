# make demo: install, make sample data, run the whole platform on it.   make test: install, run every test.
# Longest files first (conftest.py); the order of the others is random, and its seed is printed.
# A worker that dies ends the run: its replacement would wait for work that xdist does not assign.
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
# COVERAGE=1 measures lines and branches, and prints the table.
COVERAGE ?=
MINUTES ?= 10
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PORTFOLIO ?= home_credit
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

.PHONY: help install demo test test-fast fuzz bench dev lint format docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   install, generate a synthetic lender, run everything on it (PORTFOLIO=$(PORTFOLIO))"
	@echo "make test   install and run every test"
	@echo "make test-fast   the tests that are not slow, within two minutes"
	@echo "make fuzz   the property tests on new examples for MINUTES=10"
	@echo "make bench  the small benchmarks of speed and memory, in under five minutes (benchmarks/README.md has all figures)"
	@echo "make dev    the Dagster UI on the same instance, at http://localhost:3000"
	@echo "make lint   ruff, mypy, import-linter, sqlfluff, detect-secrets        make format   let ruff fix what it can"
	@echo "make docs   the documentation as a site in build/site; a broken link is an error"
	@echo "make clean  remove the virtual environment and caches (never data/)"

# The lock is complete, hence --no-deps: it leaves out what only a GPU would load.
.venv/.installed: requirements.lock pyproject.toml setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed; set PYTHON=")'
	@echo "Making a virtual environment in .venv"
	@$(PYTHON) -m venv .venv
	@echo "Installing $$(grep -c == requirements.lock) packages, 1.3 GB: some minutes without output"
	@$(BIN)/python -m pip install --quiet --no-deps -r requirements.lock
	@echo "Installing credit-assets"
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "Installed: $(BIN)/credit-assets --help"

.env:
	cp .env.example .env

install: .venv/.installed .env

demo: install
	$(BIN)/credit-assets demo --portfolio $(PORTFOLIO)

test: install
	$(PYTEST) --durations=15 $(if $(COVERAGE),--cov --cov-report=term:skip-covered)

test-fast: install
	$(PYTEST) --durations=15 -m "not slow"

# Each round has its own seed, which is printed; the first failure ends the loop.
fuzz: install
	@end=$$(($$(date +%s) + 60 * $(MINUTES))); \
	while [ $$(date +%s) -lt $$end ]; do \
	  seed=$$(od -An -N4 -tu4 /dev/urandom | tr -d ' '); \
	  echo "Property tests with --hypothesis-seed=$$seed"; \
	  $(PYTEST) -q -m hypothesis $$(grep -rl --include="test_*.py" hypothesis credit_assets_tests) --hypothesis-profile=fuzz --hypothesis-seed=$$seed || exit 1; \
	done

# The figures of a busy machine are too high: processor seconds by some percent, seconds on the clock by more.
bench: install
	$(BIN)/python -m benchmarks.page

dev: install
	$(BIN)/python -W ignore -m credit_assets.automation.dev --host 127.0.0.1 --port 3000

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint sql
	@if git rev-parse > /dev/null 2>&1; then set -x; $(BIN)/pre-commit run --all-files detect-secrets; fi

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# In addition to the packages of the platform, and only for this target.
.venv/.installed-docs: .venv/.installed docs/requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps -r docs/requirements.lock
	@touch $@

docs: .venv/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open build/site/index.html; for the search, run: $(BIN)/python -m http.server --directory build/site"

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info build
