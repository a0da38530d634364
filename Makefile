# Two commands for a fresh clone: `make demo` shows the product, `make test` passes the tests. Both make their own
# environment in .venv first. `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARTS := cli client configs evaluation index jobs native pipeline server stages weights
# Fast tests by default; `make test MARKS=` runs the slow ones too.
MARKS ?= not slow
# Files of tests at a time; 0 is one after the other without further processes, for a debugger, and for slow tests: of crashes and
# healing they say how long things may take.
JOBS ?= $(if $(findstring not slow,$(MARKS)),2,0)
# Rebuilt when what it is built from changes.
NATIVE := $(shell find native -name '*.[ch]' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.inc' -o -name CMakeLists.txt)

.PHONY: help demo test lint format types native-test neon-test fuzz soak bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "vultus needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	@command -v cc >/dev/null || { echo "vultus needs a C compiler (Debian, Ubuntu: apt-get install gcc libc6-dev)" >&2; exit 1; }
	@$(PYTHON) -c 'import sysconfig, os, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || \
	  { echo "Python.h is missing (Debian, Ubuntu: apt-get install python3-dev)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml $(NATIVE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,heic]'
	@touch $@

demo: $(VENV)/installed  ## build, install, fetch the models and show the product on sample photographs
	$(BIN)/vultus demo --out demo

test: $(VENV)/installed  ## run the tests (fast ones; MARKS= for all)
	$(BIN)/python -m pytest -m "$(MARKS)" -n $(JOBS) --dist loadfile $(ARGS)

lint: $(VENV)/installed  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/installed  ## ruff: put right what can be
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mypy cannot follow the editable install, so it reads a tree of links that looks like the installed package.
types: $(VENV)/installed  ## mypy, strict
	mkdir -p build/typing/vultus
	for part in $(PARTS); do ln -sfn ../../../$$part build/typing/vultus/$$part; done
	MYPYPATH=build/typing $(BIN)/mypy $(foreach part,$(PARTS),-p vultus.$(part))

native-test: $(VENV)/installed  ## C tests: plain, then under Address- and UndefinedBehaviorSanitizer, then ThreadSanitizer
	PATH="$(CURDIR)/$(BIN):$$PATH" sh native/tests/run.sh

neon-test: $(VENV)/installed  ## C tests for AArch64 under emulation (gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh native/tests/run.sh neon

# FUZZ= says for how many seconds.
FUZZ ?= 60
fuzz: $(VENV)/installed  ## the engine's readers under libFuzzer (needs clang), FUZZ= seconds
	PATH="$(CURDIR)/$(BIN):$$PATH" sh native/fuzz/run.sh $(FUZZ)

# MINUTES= says for how long.
MINUTES ?= 10
soak: $(VENV)/installed  ## minutes of four cameras that hang up every 45 seconds: memory and open files do not grow
	$(BIN)/python -m pytest tests/cli/test_soak.py --minutes $(MINUTES)

bench: $(VENV)/installed  ## benchmarks against peers (installs OpenVINO; takes minutes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	for bench in benchmarks/bench_*.py; do $(BIN)/python $$bench || exit 1; done

clean:  ## remove everything that make made
	rm -rf $(VENV) build demo
