# `make` lists what there is. The platform runs from `make run`, tests from `make test`.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
PORT ?= 8000
HOST := 127.0.0.1
BOTS ?= 20
TRANSFERS ?= 5000000
PAYOUTS ?= 1000
SEED ?= 0
LANES ?= 12
EXAMPLES ?= 1000
SIZES ?= 1000,10000,100000

VENV := .venv/bin/python
RUNTIME := requirements.txt
DEVELOPMENT := requirements.txt requirements-dev.txt
PACKAGES := kgen accounts wallet rewards tournaments benchmarks
# Reads the code with made-up settings: no server, no secret.
OFFLINE := DJANGO_SETTINGS_MODULE=kgen.local.offline_settings

.PHONY: help
help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- On this machine ------------------------------------------------------------------------------

.PHONY: run
run: python  ## Start the whole platform: make run [PORT=8000] [HOST=127.0.0.1]
	@exec $(VENV) -m kgen.local.supervisor --host "$(HOST)" --port "$(PORT)"

.PHONY: demo
demo: python  ## Let bots play a tournament on the running platform: make demo [BOTS=20]
	@exec $(VENV) -m kgen.local.demo --bots "$(BOTS)"

.PHONY: codes
codes: python  ## Print the one-time codes of the demo's staff
	@exec $(VENV) -m kgen.local.codes

.PHONY: migrate
migrate: python  ## Bring the running platform's schema up to date
	@$(VENV) manage.py migrate

.PHONY: seed
seed: python  ## Make the demo data again where they are missing
	@$(VENV) manage.py seed_demo

.PHONY: reset
reset:  ## Forget the database, the queues and the chain of `make run` (the secrets in .env stay)
	@$(PYTHON) kgen/local/reset.py

# --- While developing -----------------------------------------------------------------------------

.PHONY: setup
setup:  ## Install everything, the tools for development too
	@$(PYTHON) kgen/local/bootstrap.py $(DEVELOPMENT)

.PHONY: test
test: setup  ## Run the tests on throwaway PostgreSQL, Valkey and anvil
	@$(VENV) -m pytest -n 2 -m "not slow and not chaos"

.PHONY: test-slow
test-slow: setup  ## Run the tests marked slow or chaos
	@$(VENV) -m pytest -n 2 -m "slow or chaos"

.PHONY: chaos
chaos: setup  ## Pay 1,000 payouts while 200 things and more go wrong: make chaos [PAYOUTS=1000] [SEED=]
	@CHAOS_PAYOUTS=$(PAYOUTS) CHAOS_FAULTS=200 CHAOS_SEED=$(SEED) \
	    $(VENV) -m pytest -q -s wallet/settlement/tests/faults/test_chaos.py

.PHONY: fuzz
fuzz: setup  ## Send every operation of the API anything at all: make fuzz [EXAMPLES=1000]
	@FUZZ_EXAMPLES=$(EXAMPLES) $(VENV) -m pytest -n 2 -q -rP tournaments/tests/test_fuzzing.py

.PHONY: check
check: lint types imports  ## Everything that reads the code without running it
	@$(OFFLINE) $(VENV) -W "ignore:Got an error checking:RuntimeWarning" \
	    manage.py makemigrations --check --dry-run
	@set -a && . ./kgen/local/production.env && $(VENV) manage.py check --deploy --fail-level WARNING

.PHONY: lint
lint: setup  ## ruff: lint and format
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .

.PHONY: fix
fix: setup  ## Mend what ruff can mend
	@$(VENV) -m ruff check --fix .
	@$(VENV) -m ruff format .

.PHONY: types
types: setup  ## mypy, strict
	@$(VENV) -m mypy $(PACKAGES) conftest.py manage.py

.PHONY: imports
imports: setup  ## The direction of imports
	@$(VENV) -c 'from importlinter.cli import lint_imports_command as main; main()'

.PHONY: contracts
contracts: python  ## Compile the contracts and compare with what is committed: make contracts [UPDATE=1]
	@$(VENV) wallet/contracts/recompile.py $(if $(UPDATE),,--check)

.PHONY: bench-ledger
bench-ledger: setup  ## Measure the ledger: TRANSFERS=5000000 of history, and postings a second
	@$(VENV) -m benchmarks ledger_history --transfers $(TRANSFERS)
	@$(VENV) -m benchmarks ledger_posting

.PHONY: bench-boards
bench-boards: setup  ## Measure boards from 1,000 entrants on, and scores under watchers: SIZES=1000,10000
	@$(VENV) -m benchmarks leaderboard --sizes $(SIZES)
	@$(VENV) -m benchmarks streaming

.PHONY: bench-api
bench-api: setup  ## Load the API with wrk, beside what the machine does without it
	@$(VENV) -m benchmarks api

.PHONY: bench-settlement
bench-settlement: setup  ## Measure payouts to finality against one by one: LANES=12
	@$(VENV) -m benchmarks settlement --lanes $(LANES)

.PHONY: audit
audit: setup  ## Look every locked package up in the advisories; what cannot be looked up fails
	@$(VENV) -m kgen.local.audit

.PHONY: bench-overload
bench-overload: setup  ## Measure what the web server does at five times the load it can carry
	@$(VENV) -m benchmarks overload

.PHONY: lock
lock: setup  ## Lock the newest versions that requirements*.in allow
	@$(VENV) -m pip install -q uv
	@for name in requirements requirements-kms requirements-dev; do \
	    $(VENV) -m uv pip compile -q --universal --python-version 3.11 --upgrade --no-annotate --no-header \
	        $$name.in -o $$name.txt || exit 1; \
	done

# --- Between ------------------------------------------------------------------------------------

.PHONY: python
python:
	@$(PYTHON) kgen/local/bootstrap.py $(RUNTIME)
