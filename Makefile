# Two commands do everything: `make up` starts the e-state, `make test` proves it. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/sh
STATE ?= var
VENV := .venv
BIN := $(VENV)/bin
# Also where the environment forbids bytecode: a state is several processes, and each would compile everything anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: sbom help setup up down reset status test check lint bench nightly tour translations error-codes services

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## install everything into .venv (other targets call it; no network when nothing changed)
	@sh ops/setup.sh $(VENV)

up: setup ## start the e-state in the background and say where it is
	@$(BIN)/digiid up --state $(STATE)

down: setup ## stop it
	@$(BIN)/digiid down --state $(STATE)

status: setup ## is it running, and how is it
	@$(BIN)/digiid status --state $(STATE)

reset: setup ## stop it and forget everything it knew
	@$(BIN)/digiid reset --state $(STATE)

tour: setup ## the whole story in this terminal, on a state of its own
	@$(BIN)/digiid tour

lint: setup ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python ops/error_codes.py --check
	$(BIN)/python ops/report_codes.py --check
	$(BIN)/python ops/services.py --check

check: lint ## what every commit passes: lint and the unit tests
	$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/unit

test: setup ## everything: lint, types, import rules, all tests (installs the referees where the machine allows it)
	@sh ops/test-packages.sh
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

bench: setup ## ratios measured in one run, written to docs/performance.md
	$(BIN)/python -m bench

nightly: setup ## what takes minutes or gigabytes: the tests marked nightly
	$(BIN)/python -m pytest -m nightly

translations: setup ## bring the Estonian catalogues up to date with the texts in the code
	$(BIN)/python ops/translations.py

error-codes: setup ## regenerate docs/error-codes.md and docs/reference/report-codes.md
	$(BIN)/python ops/error_codes.py
	$(BIN)/python ops/report_codes.py

services: setup ## regenerate docs/reference/services.md
	$(BIN)/python ops/services.py

sbom: setup ## a bill of materials (CycloneDX) of everything in the lock file
	@$(BIN)/python ops/sbom.py
