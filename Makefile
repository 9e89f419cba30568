# One command per need; `make` alone lists them.
# PYTHON=python3.12 make setup   builds .venv on another interpreter (3.11 to 3.13).

PYTHON ?= python3
JOBS   ?= 2
# One more than there are cores for: many tests wait, for a broker to start, a lock to open, a solver to be killed.
WORKERS ?= $(shell expr $(JOBS) + 1)

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The longest first.
CHECKS := check-types check-wheel check-lint check-format check-imports

.PHONY: help setup installed demo test search check lock format clean $(CHECKS)

export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1
# Some machines tell Python not to keep what it compiled: every `vpp` would then take eight seconds longer to start.
export PYTHONDONTWRITEBYTECODE :=
# Behind a company's proxy the machine knows the certificate authority; uv's built-in list does not.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt),)
export UV_SYSTEM_CERTS ?= true
endif
# Debian's mosquitto and initdb live outside an ordinary user's PATH.
export PATH := $(PATH):/usr/sbin:/usr/local/sbin

UV    := .tools/bin/uv
BIN   := .venv/bin
READY := .venv/.ready
WARM  := .venv/.warm
# A mirror that pip is told to use serves uv as well; the lock's hashes make sure that it serves the same files.
MIRROR = index="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(PYTHON) -m pip config get global.index-url 2>/dev/null || true)}}"; \
	[ -z "$$index" ] || export UV_DEFAULT_INDEX="$$index"
CODE  := models adapters vpp simulations

# An interpreter that was asked for by name replaces an environment made with another one.
ifneq ($(origin PYTHON),file)
$(shell test "$$($(BIN)/python -V 2>&1)" = "$$($(PYTHON) -V 2>&1)" || rm -f $(READY))
endif

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(WARM) ## install everything into .venv (does nothing when up to date)
	@:

# `--target` needs neither root nor a virtual environment, so Debian's externally managed Python (PEP 668) allows it.
# A Python without pip lends it from a throw-away environment.
$(UV):
	@echo "setup: fetching uv"
	@if $(PYTHON) -m pip --version >/dev/null 2>&1; \
	then $(PYTHON) -m pip install -qq --target .tools "uv>=0.9"; \
	else $(PYTHON) -m venv .tools/lent && .tools/lent/bin/python -m pip install -qq --target .tools "uv>=0.9"; fi

$(READY): requirements.lock pyproject.toml | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else \
	    f"setup: needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is {sys.version.split()[0]}: try PYTHON=python3.11")'
	@want="$$($(PYTHON) -c 'import sys; print(sys.executable)')"; \
	if [ "$$($(BIN)/python -V 2>&1)" != "$$("$$want" -V)" ] && { [ ! -x $(BIN)/python ] || [ "$(origin PYTHON)" != file ]; }; then \
	    echo "setup: creating .venv with $$("$$want" -V)"; $(UV) venv -q --clear --python "$$want" .venv; fi
	@echo "setup: installing $$(grep -c '^[a-z0-9].*==' requirements.lock) locked packages"
	@$(MIRROR); \
	$(UV) pip sync -q --require-hashes --python $(BIN)/python requirements.lock
	@$(UV) pip install -q --no-deps --no-build-isolation --python $(BIN)/python -e .
	@touch $@

installed: $(READY)

# What the fast solver compiles is kept in the user's cache; a worker would do it at its first start otherwise.
$(WARM): $(READY) $(wildcard models/dispatch/fast/pricing/*.py models/dispatch/fast/*.py)
	@$(BIN)/vpp warm-up
	@touch $@
	@echo "setup: ready, try $(BIN)/vpp --help"

demo: setup ## a day of a small virtual power plant, nothing else needed
	@$(BIN)/vpp demo --resources 300

# A file stays with one worker, so that what its tests share is made once; long days come first, as listed.
test: setup ## all tests, warnings are errors (JOBS=2 for so many cores)
	@$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

search: setup ## the property tests on examples that nobody has tried yet; MATCH=expression chooses among them
	@$(BIN)/pytest -q -n $(JOBS) --hypothesis-profile search -m hypothesis $(if $(MATCH),-k "$(MATCH)")

check: $(READY) ## format, lint, types, import rules, and the wheel from outside the checkout
	@$(MAKE) --no-print-directory -j $(JOBS) $(CHECKS)
	@echo "check: all good"

check-format:
	@echo "check: ruff format" && $(BIN)/ruff format --quiet --check --output-format concise . || { echo "check: run make format" >&2; exit 1; }
check-lint:
	@echo "check: ruff"         && $(BIN)/ruff check --quiet --output-format concise .
check-types:
	@echo "check: mypy"         && $(BIN)/mypy --no-error-summary $(CODE) tests
check-imports:
	@echo "check: import rules" && PYTHONPATH= $(BIN)/lint-imports --no-logo
check-wheel:
	@echo "check: wheel"        && .ci/try-wheel

lock: $(UV) ## resolve pyproject.toml again into requirements.lock (hashes, no addresses); UPGRADE=1 takes newest versions
	@[ -z "$(UPGRADE)" ] || rm -f requirements.lock
	@$(MIRROR); \
	$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links --all-extras -o requirements.lock pyproject.toml
	@echo "lock: $$(grep -c '^[a-z0-9].*==' requirements.lock) packages in requirements.lock"

format: setup ## rewrite the sources in the house format and apply safe lint fixes
	@$(BIN)/ruff check --quiet --fix --exit-zero . && $(BIN)/ruff format .

clean: ## remove everything that the other commands made
	@rm -rf .venv .tools build dist htmlcov .coverage* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find $(CODE) tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
