# Every chore in one word; `make help` lists them. Needs Python 3.11 or newer and make, and makes the rest itself.

SITE ?= localhost
PORT ?= 8000
ADMIN_PORT ?= $(shell expr $(PORT) + 1)
DATA ?= data
TESTS ?= tests
WORKERS ?= 2
INPUTS ?= 100000
SECONDS ?= 60
SEED ?=
SHORT ?=
PACE ?= 1

PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin

# How the service is told the choices above; data_dir, listen and admin_listen are settings like any other.
GATEHOUSE := $(BIN)/gatehouse --data-dir "$(DATA)"
LISTEN := --listen 127.0.0.1:$(PORT) --admin-listen 127.0.0.1:$(ADMIN_PORT)

.DEFAULT_GOAL := help
.PHONY: help run test tools lint format types imports docs bench fuzz soak audit lock check clean

help: ## list the chores
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16
	@echo
	@echo "make run takes SITE (localhost), PORT (8000), ADMIN_PORT (PORT + 1) and DATA (data), for example:"
	@echo "  make run SITE=example.com PORT=9000 DATA=/var/lib/gatehouse"
	@echo "make test takes TESTS (tests) and WORKERS (2), make fuzz takes INPUTS (100000) and SEED (fresh),"
	@echo "make bench takes SHORT (any word: only show that it works),"
	@echo "make soak takes SECONDS (60), SEED (fresh) and PACE (1; 0.2 makes more faults a minute)."

run: $(VENV)/.installed ## start the service with ClickHouse inside it; says how to send a first event
	@$(GATEHOUSE) migrate
	@$(GATEHOUSE) sites add "$(SITE)" --if-missing
	@exec $(GATEHOUSE) serve $(LISTEN) --first-steps "$(SITE)"

test: tools ## run all tests, after installing what they need
	@$(BIN)/pytest -n $(WORKERS) $(TESTS)

tools: $(VENV)/.installed-dev ## install or build what tests need beside Python (browser, collector, promtool)
	@$(BIN)/python -m tests.support.prerequisites

lint: $(VENV)/.installed-dev ## style (ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev ## bring the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-dev ## types (mypy, strict)
	$(BIN)/mypy

imports: $(VENV)/.installed-dev ## who may import whom (import-linter)
	$(BIN)/lint-imports

check: lint types imports test ## all that CI checks

docs: $(VENV)/.installed-dev ## write the generated parts of README.md and docs/
	$(BIN)/python docs/generate.py

bench: $(VENV)/.installed-dev ## every target of speed and memory, beside its bound and the last recorded run
	$(BIN)/python -m benchmarks $(if $(SHORT),--short)

fuzz: $(VENV)/.installed-dev ## made-up bytes for all that reads what comes from outside or from a disk
	@$(BIN)/python -m tests.fuzz --inputs $(INPUTS) $(if $(SEED),--seed $(SEED))

soak: $(VENV)/.installed-dev ## kills and outages at random under load, then a count of every event
	@$(BIN)/python -m tests.faults.soak --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) --pace $(PACE)

audit: $(VENV)/.installed-dev ## known holes in what the service is made of, when their list can be reached
	@$(BIN)/python -m tests.support.audit

LOCK := $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --no-header --no-annotate

lock: $(VENV)/.installed-dev ## pin what the container is made of, by hash, to the newest that pyproject.toml allows
	$(LOCK) pyproject.toml --output-file requirements/run.lock
	$(LOCK) pyproject.toml --extra embedded --output-file requirements/embedded.lock
	echo "hatchling>=1.27" | $(LOCK) - --output-file requirements/build.lock

clean: ## remove the virtual environment and all caches; keeps data
	rm -rf $(VENV) .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer that can make virtual environments is on PATH;" \
		"on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --quiet --editable ".[embedded]"
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --quiet --editable ".[embedded]" --group dev
	@touch $@ $(VENV)/.installed
