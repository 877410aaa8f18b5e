# Everything a person needs to run, test and change tollwatch. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := tollwatch proxy api alerting metering storage
WORKERS ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
UV_COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url
NODE_TESTS := tests/end_to_end/node

.PHONY: help run test lint types mypy pyright unit bench soak replay blocks lock clean

help: ## list the targets
	@grep -hE '^[a-z_]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z_]+):[^#]*## /\1\t/' | expand -t 10

run: $(VENV)/.runtime ## bring up a gateway in the foreground (first start included)
	@exec $(BIN)/tollwatch run

test: $(VENV)/.dev ## everything that CI checks
	@$(MAKE) -j 3 lint mypy pyright # each of them has one thread
	@$(MAKE) unit

lint: $(VENV)/.dev ## style, format and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: mypy pyright ## mypy and pyright, both strict

mypy: $(VENV)/.dev
	$(BIN)/mypy

pyright: $(VENV)/.dev
	$(BIN)/pyright --pythonpath $(BIN)/python

unit: $(VENV)/.dev node_modules amtool chromium ## the tests, with branch coverage
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term $(ARGS)

bench: $(VENV)/.dev ## CPU per call against a bare mitmdump, in one interleaved run; rules, tokens, pages of a million alerts
	$(BIN)/python -m tests.bench $(ARGS)

blocks: $(VENV)/.dev node_modules ## write docs/blocks.md from a run of all SDKs
	WRITE_DOCS=1 $(BIN)/pytest -q -p no:randomly -m "soak or not soak" tests/end_to_end/test_blocks.py

soak: $(VENV)/.dev ## the long runs
	$(BIN)/pytest -q -m soak $(ARGS)

replay: $(VENV)/.dev ## recorded exchanges through a running gateway
	$(BIN)/python -m tests.end_to_end.replay $(ARGS)

lock: $(VENV)/.dev ## write the lock files anew from pyproject.toml
	$(UV_COMPILE) --group build -o requirements.lock
	$(UV_COMPILE) --group dev -c requirements.lock -o requirements-dev.lock

clean: ## remove what the other targets made (the gateway's own data stays)
	rm -rf $(VENV) $(NODE_TESTS)/node_modules dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A Python of at least 3.12: $PYTHON, the usual names on PATH, pyenv's versions, the system's own.
$(BIN)/python:
	@for candidate in "$${PYTHON:-}" python3.13 python3.12 python3.14 python3 "$$HOME"/.pyenv/versions/3.1[2-9]*/bin/python3 /usr/bin/python3; do \
		if [ -n "$$candidate" ] && "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then \
			echo "Using $$("$$candidate" --version) ($$candidate)"; rm -rf $(VENV); exec "$$candidate" -m venv $(VENV); \
		fi; \
	done; \
	echo "tollwatch needs Python 3.12 or newer with its venv module, and found none." >&2; \
	echo "Install one: 'apt-get install python3.12 python3.12-venv' (Debian, Ubuntu), 'dnf install python3.12' (Fedora), 'brew install python@3.12' (macOS) or 'pyenv install 3.12'; or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
	exit 1

# Every file that is installed, those that build included, is named by its hash in the lock.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing from requirements.lock"
	@$(PIP) install --require-hashes --no-deps --only-binary :all: -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/.runtime
	@echo "Installing from requirements-dev.lock"
	@$(PIP) install --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

# Taken out of Debian's package rather than installed, so that no Alertmanager is started here.
.PHONY: amtool
amtool: $(VENV)/.dev
	@if command -v amtool >/dev/null || [ -x $(BIN)/amtool ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then echo "amtool is not installed, nor is apt-get: its tests are skipped"; exit 0; fi; \
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; chmod 755 "$$folder"; \
	fetch() { (cd "$$folder" && apt-get download -qq prometheus-alertmanager >"$$folder/log" 2>&1); }; \
	if ! fetch && [ "$$(id -u)" = 0 ]; then apt-get update -qq >/dev/null || true; fetch || true; fi; \
	if dpkg-deb --extract "$$folder"/prometheus-alertmanager_*.deb "$$folder" 2>/dev/null; then \
		install -m 755 "$$folder/usr/bin/amtool" $(BIN)/amtool; echo "Took amtool out of Debian's package prometheus-alertmanager"; \
	else echo "amtool cannot be had, so its tests are skipped: $$(tail -n 1 "$$folder/log")"; fi

# The browser that a foreign page is tried in.
.PHONY: chromium
chromium:
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then exit 0; fi >/dev/null; \
	if ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then \
		echo "Chromium is not installed, and only root can install it by apt-get: the tests in a browser are skipped"; exit 0; fi; \
	log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	fetch() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >"$$log" 2>&1; }; \
	if fetch || { apt-get update -qq >/dev/null 2>&1 && fetch; }; then echo "Installed Debian's package chromium"; \
	else echo "Chromium cannot be had, so the tests in a browser are skipped: $$(tail -n 1 "$$log")"; fi

.PHONY: node_modules
node_modules:
	@if [ ! -f $(NODE_TESTS)/package-lock.json ]; then :; \
	elif ! command -v npm >/dev/null; then echo "npm is not installed: the tests of the Node SDKs are skipped"; \
	elif [ ! -e $(NODE_TESTS)/node_modules/.package-lock.json ] || [ $(NODE_TESTS)/package-lock.json -nt $(NODE_TESTS)/node_modules/.package-lock.json ]; then \
		npm ci --prefix $(NODE_TESTS) --no-audit --no-fund --ignore-scripts; fi
