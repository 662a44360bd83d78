# Two commands are enough: `make demo` and `make test`. Both do all the set-up; python3 (3.11 or later) is all they need.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo run demo-real test acceptance torture-short torture bench lint unit lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

demo: .venv/hub ## a hub, a region of members, and the story of their messages (about half a minute)
	@$(BIN)/tidewaiter demo

run: .venv/hub ## the same, and the hub stays for you to try things on
	@$(BIN)/tidewaiter run

demo-real: .venv/dev ## 8,413 real alerts through HTTP to the recipients that their lists name (minutes)
	@$(BIN)/python -m tests.acceptance.demo_real

test: .venv/dev lint ## the promises, the contracts, the units, and every fault once (about five minutes on two cores)
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile -m "not long" --ignore tests/guarantees/test_01_torture.py
	@$(BIN)/python -m pytest -q tests/guarantees/test_01_torture.py

acceptance: .venv/dev ## what takes its time: deployments, the release before, other libraries, many kills (minutes)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m long

torture-short: .venv/dev ## every fault once, alone on the machine (two minutes)
	@$(BIN)/python -m pytest -q -s tests/guarantees/test_01_torture.py

torture: .venv/dev ## 100,000 messages while everything is killed, cut, filled and stopped (a quarter of an hour or much more)
	@$(BIN)/python -m tests.torture --messages 100000

bench: .venv/dev ## posts, deliveries and pulls of a real hub beside a floor, compared with the last time (minutes)
	@$(BIN)/python -m tests.bench

lint: .venv/dev ## style, types, import contracts
	@$(BIN)/ruff check --quiet broker adapters tests && $(BIN)/ruff format --check --quiet broker adapters tests
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo | tail -n 2

unit: .venv/dev ## the tests that need no other process (under a minute)
	@$(BIN)/python -m pytest -q -m "not long" tests/unit

lock: .venv/dev ## write the lock files anew (hashes, no addresses)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-annotate --no-header --extra hub --extra load --group dev pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-annotate --no-header --extra hub --group build -c requirements-dev.lock pyproject.toml -o requirements.lock

clean: ## forget the environment and what demonstrations left
	rm -rf .venv var build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; name it with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .venv && touch $@

.venv/hub: .venv/made requirements.lock pyproject.toml
	@echo "Installing what the hub needs into .venv (once, about 20 seconds) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/hub requirements-dev.lock
	@echo "Installing what the tests need into .venv (once, about 20 seconds) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
