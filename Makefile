# Every target sets up what it needs in .venv, on a machine that has only Python 3.11 (or newer) and make.
#   make demo      learn to pronounce English, in a few minutes
#   make check     format, lint, types, import contracts        make test     the tests that CI runs
#   make nightly   everything that takes longer                 make docs     documentation generated from the source
#   make bench     speed and memory on this machine             make results  RECIPES="...": trained, measured, added to docs/results.md
#   make speedrun  the time to 38 BLEU on Multi30k, on record
#   make clean     remove all of the above's leavings (never runs/)

.DEFAULT_GOAL := help
.PHONY: help demo test check format nightly bench results speedrun docs clean

# The first of these that is new enough; `make PYTHON=/path/to/python` decides otherwise.
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
VENV := .venv
BIN := $(VENV)/bin
# torch is asked for by its exact version: anything looser may choose a build that is gigabytes larger.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	$(shell grep '^torch==' constraints.txt)

# Tests are chosen by marker. Without benchmark data those that read it are left out, without a browser those that drive
# one; whatever was chosen and then skips is a failure.
TIERS := unit or learn
DATA := $(if $(TRANSDUCE_DATA),, and not data)
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
LEFT_OUT := $(DATA)$(if $(CHROMIUM),, and not browser)
PYTEST := $(BIN)/python -m pytest --fail-on-skip --durations=5
# The models in the tests are tiny: more threads only get in each other's way, and processes do not. Each has
# half of the files, so that what a file's tests share is mostly trained once; who is done early takes over from the other.
PARALLEL := --numprocesses=auto --dist=worksteal
test nightly: export OMP_NUM_THREADS ?= 1

help:
	@sed -n '2,7s/^# *//p' Makefile

demo: $(VENV)/demo
	$(BIN)/transduce demo

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy src tests tools benchmarks
	$(BIN)/lint-imports --no-logo

test: $(VENV)/dev
	@$(if $(TRANSDUCE_DATA),,echo "TRANSDUCE_DATA is not set: leaving out the tests that read benchmark data")
	@$(if $(CHROMIUM),,echo "no Chromium found: leaving out the tests that drive a browser")
	$(PYTEST) $(PARALLEL) -m "($(TIERS)) and not slow$(LEFT_OUT)"

nightly: check test
	$(PYTEST) -o faulthandler_timeout=0 -m "slow$(LEFT_OUT)"

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/dev
	$(BIN)/python -m tools.deviations

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks

results: $(VENV)/dev
	$(BIN)/python -m benchmarks.results $(RECIPES)

speedrun: $(VENV)/dev
	$(BIN)/python -m benchmarks.speedrun $(SPEEDRUN)

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps .venv/demo and .venv/dev say that the extra of that name was installed with the constraints as they are.
$(VENV)/demo $(VENV)/dev: $(VENV)/%: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "transduce needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
