# `make help` lists what there is.

VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq
# Newer interpreters than the system's python3 are tried too, for systems whose python3 is old.
PYTHONS := $(PYTHON) python3 python3.13 python3.12 python3.11

.DEFAULT_GOAL := help
.PHONY: help run test lint format setup dev browser bench bench-ui screenshots clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup  ## serve the dashboard on 127.0.0.1:8501
	$(BIN)/streamlit run dashboard/app.py --server.address 127.0.0.1 --server.port $(PORT)

test: dev browser lint  ## set everything up, then run all checks and tests
	$(BIN)/python -m pytest -m "not browser" -n 2
	$(BIN)/python -m pytest -m browser

lint: dev  ## format, style, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: dev  ## bring the code into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(VENV)/.installed  ## virtual environment with what the dashboard needs

dev: $(VENV)/.installed-dev

browser: dev
	@BIN=$(BIN) sh tests/find_browser.sh

bench: setup bench-ui  ## measure the throughput of each stage, and the pages
	$(BIN)/python -m core bench

bench-ui: dev browser  ## measure pages and clicks in a browser, while training and idle
	$(BIN)/python -m tests.browser.bench_ui

screenshots: dev browser  ## pictures of every page in both themes, into assets/screenshots
	$(BIN)/python -m tests.browser.screenshots

clean:  ## remove the virtual environment and tool caches; the workspace stays
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find core dashboard pages tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@for python in $(PYTHONS); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "creating $(VENV) with $$($$python --version)"; \
	        $$python -m venv $(VENV) && exit 0; \
	        echo "$$python cannot make virtual environments (on Debian: apt-get install python3-venv)" >&2; \
	        rm -rf $(VENV); exit 1; \
	    fi; \
	done; \
	echo "Python 3.11 or newer is needed, tried: $(strip $(PYTHONS)). make PYTHON=/path/to/python names another." >&2; \
	exit 1

$(VENV)/.installed: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing requirements (the first time takes minutes)"
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(PIP) -r requirements-dev.txt
	@touch $@
