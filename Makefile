# Every command of the project. `make run` and `make test` work on a fresh clone.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
POLICY ?= policy/init.lua
# setuptools explains editable installs at length, each time.
INSTALL = PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet
# What is compiled is compiled in place, once, by the rule for .built.
INSTALL_EDITABLE = KUMO_COMPILE_NOTHING=1 $(INSTALL) --no-build-isolation --editable

.PHONY: help run test lint bench bench-all instructions soak build profiled wheel clean

help:
	@echo "make run    build, then start kumod with $(POLICY) (POLICY=... for another)"
	@echo "make test   build, then run every test"
	@echo "make lint   ruff, cython-lint, mypy, stubtest"
	@echo "make bench  kernels and daemon beside their limits and other servers, in three minutes"
	@echo "make bench-all     all benchmarks, and their tables into benchmarks/README.md"
	@echo "make instructions  the kernels' instruction counts against the baseline"
	@echo "make soak   a quarter of an hour of everything, and whether anything leaks"
	@echo "make build  make $(VENV) and compile the extensions in place"
	@echo "make profiled      the same, compiled for the code that a trial run shows to be used: faster, in four minutes"
	@echo "make wheel  a wheel of that in dist/"
	@echo "make clean  remove what the other targets made (not ./var)"

# The environment is remade when the dependencies change, the extensions when their sources do. The build
# tools are installed first and used as they are: an isolated build would compile everything twice.
$(VENV)/.installed: pyproject.toml setup.py
	@packaging/check-tools.sh build "$(PYTHON)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip 'setuptools>=80' 'Cython>=3.3,<4'
	$(INSTALL_EDITABLE) .
	touch $@

# Of kumo, more is looked at than is compiled (setup.py lists that): what did not change is not compiled again.
ROOMS = kumo kumo/config kumo/health kumo/listener kumo/logs kumo/message kumo/policy kumo/policy/bindings kumo/queue \
  kumo/reception kumo/smtp kumo/spool
COMPILED = kumo_core/*.pyx kumo_core/*.pxd kumo_core/*.h $(foreach room,$(ROOMS),$(room)/*.py $(room)/*.pyx $(room)/*.pxd $(room)/*.h)

# While this is there, what is compiled makes notes; an end half-way must not leave that in place.
RECORDING = $(VENV)/.recording

$(VENV)/.built: $(VENV)/.installed setup.py $(wildcard $(COMPILED))
	$(BIN)/python setup.py --quiet build_ext --inplace $(if $(wildcard $(RECORDING)),--force)
	rm -f $(RECORDING)
	touch $@

# Compiled so as to note which code runs, run, and compiled again with the notes (gcc keeps them in build/).
profiled: $(VENV)/.installed
	rm -rf $(VENV)/.built build
	touch $(RECORDING)
	KUMO_PROFILE=record $(BIN)/python setup.py --quiet build_ext --inplace
	$(BIN)/python -m benchmarks.training
	KUMO_PROFILE=use $(BIN)/python setup.py --quiet build_ext --inplace
	rm -f $(RECORDING)
	touch $(VENV)/.built

wheel: profiled
	KUMO_PROFILE=use $(BIN)/python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .

# What tests, lint and benchmarks need on top of what the daemon needs.
$(VENV)/.dev: $(VENV)/.installed
	$(INSTALL_EDITABLE) '.[dev]'
	touch $@

build: $(VENV)/.built

run: build
	exec $(BIN)/kumod --policy $(POLICY)

test: build $(VENV)/.dev
	@packaging/check-tools.sh test "$(PYTHON)"
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: build $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint kumo_core kumo/*.pxd kumo/*/*.pxd kumo/*/*.pyx
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml kumo_core kumo.listener.sending

# Large contents, oracles and hostile ones are left to bench-all.
bench: build $(VENV)/.dev
	@packaging/check-tools.sh bench "$(PYTHON)"
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-max-time=0.02 --benchmark-min-rounds=3 \
	  --benchmark-columns=median,ops --quiet -k 'not large and not oracle and not hostile'
	$(BIN)/python -m benchmarks.ratios --rounds 11
	$(BIN)/python -m benchmarks.peers --only servers --rounds 3 --scale 0.3

bench-all: profiled $(VENV)/.dev
	@packaging/check-tools.sh bench "$(PYTHON)"
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-max-time=0.2 --benchmark-min-rounds=3 \
	  --benchmark-columns=median,ops --benchmark-autosave --quiet
	$(BIN)/python -m benchmarks.ratios --write
	$(BIN)/python -m benchmarks.peers --install-haraka --rounds 9 --write
	$(BIN)/python -m benchmarks.peers --only servers --spread --write
	$(BIN)/python -m benchmarks.policy --write
	$(BIN)/python -m benchmarks.tls --write
	$(BIN)/python -m benchmarks.memory --write

instructions: build $(VENV)/.dev
	@packaging/check-tools.sh instructions "$(PYTHON)"
	$(BIN)/python -m benchmarks.instructions

soak: build $(VENV)/.dev
	@packaging/check-tools.sh soak "$(PYTHON)"
	$(BIN)/python -m benchmarks.soak --write

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	rm -f kumo_core/*.c kumo_core/*.so kumo_core/*.html
	find kumo -name '*.c' -delete -o -name '*.so' -delete -o -name '*.html' -delete
	find kumo kumo_core tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
