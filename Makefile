# Every verb makes .venv itself from requirements.lock and builds the core.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard fastpath/*.pyx fastpath/*.pxd)

.PHONY: certify test lint format types stubs cython imports bench core lock clean

certify: $(VENV)/.core  ## rehearse the whole certification on the simulated bench
	$(BIN)/pytest testplans/

test: $(VENV)/.core  ## the same set-up, then the tests: two at a time where time does not matter, the rest alone
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not alone"
	$(BIN)/pytest -q -m alone --durations=40

lint: format types stubs cython imports  ## ruff, mypy strict, stubtest, cython-lint, import contracts; two at a time with -j2

format: $(VENV)/.core
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.core
	$(BIN)/mypy

stubs: $(VENV)/.core
	$(BIN)/python -m mypy.stubtest --allowlist tests/stubtest-allowlist.txt \
		$(patsubst fastpath/%.pyx,fastpath.%,$(wildcard fastpath/*.pyx))

cython: $(VENV)/.core
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint fastpath/  # it looks for pycodestyle on the path

imports: $(VENV)/.core
	$(BIN)/lint-imports

bench: $(VENV)/.core  ## print every performance figure the README quotes (an hour; a quiet machine)
	@set -e; for figure in noise_floor fibre_truth "archive --full" verification campaign soak short_runs matrix acceptance; do \
		echo "== benchmarks.$$figure"; $(BIN)/python -m benchmarks.$$figure; done

core: $(VENV)/.core

lock:  ## renew requirements.lock from pyproject.toml
	$(BIN)/pip-compile --quiet --extra dev --extra seal --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
		--no-emit-trusted-host --no-emit-find-links --no-header --output-file requirements.lock pyproject.toml

$(VENV)/.packages: requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "wanted Python >= 3.11; found no '$(PYTHON)'; install it (Debian: apt-get install python3) or run make PYTHON=/path/to/python3" >&2; exit 4; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"wanted Python >= 3.11; found {v[0]}.{v[1]}; install a newer one or run make PYTHON=/path/to/python3.11")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "wanted Python's venv module; found none; install it (Debian: apt-get install python3-venv)" >&2; exit 4; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	@touch $@

$(VENV)/.core: $(VENV)/.packages pyproject.toml $(SOURCES)
	@command -v $${CC:-cc} >/dev/null || { echo "wanted a C compiler; found no '$${CC:-cc}'; install one (Debian: apt-get install gcc libc6-dev python3-dev) or set CC" >&2; exit 4; }
	@echo '#include <Python.h>' | $${CC:-cc} -fsyntax-only -x c -I"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')" - 2>/dev/null || { echo "wanted Python's C headers; found none; install them (Debian: apt-get install python3-dev)" >&2; exit 4; }
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

clean:
	rm -rf $(VENV) build millicert.egg-info fastpath/*.c fastpath/*.so
