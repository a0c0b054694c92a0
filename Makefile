# Two commands for a fresh machine: `make demo` and `make test`. Both need Python 3.11 or later and a package index.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint promises soak mutants kills fuzz bench bench-peers bench-overhead bench-virtual bench-million bench-scoring lock clean

demo: .venv/installed
	$(BIN)/runner run jobs/sections --gateway local
	@echo
	@echo "The tables lie in the run directory named above. As CSV:  $(BIN)/runner results RUN --to csv"

# Two more at a time than the processors that its ten minutes are meant for: half of the tests wait.
test: .venv/installed-dev
	$(BIN)/python -m pytest -n 4 --dist loadfile

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The simulation of whole runs under faults, over more seeds than the suite has; docs/simulation.md.
SEEDS ?= 10000
FIRST ?= 0
soak: .venv/installed-dev
	$(BIN)/python tests/simulation/soak.py --first $(FIRST) --seeds $(SEEDS)

# Some sixty mistakes, each made in a copy of the tree: a test must notice it. Takes some minutes.
mutants: .venv/installed-dev
	$(BIN)/python tools/mutants.py $(ONLY)

# The time taken beside the least possible: everything takes hours, so name what you want to see, as in
#     make bench ONLY=label ARGS='--windows sliding,bucket --seeds 3'
bench: .venv/installed-bench
	$(BIN)/python benchmarks/bench.py --only '$(ONLY)' $(ARGS)

# The same beside what others use for it, in an environment of their own. At real speed: with time compressed they
# would be bound by what a row costs them, not by the limits.
bench-peers: .venv/installed-bench .venv-peers/installed
	$(BIN)/python benchmarks/bench.py --only '$(or $(ONLY),label,output-bound)' --peers .venv-peers/bin/python --window-seconds 60 $(ARGS)

# The page of what may be relied on, made by the tests that show it.
promises: .venv/installed-dev
	PYTHONPATH=tools $(BIN)/python -m pytest -q -p promises -m promise --promises docs/promises.md

bench-overhead: .venv/installed-dev
	$(BIN)/python benchmarks/overhead.py

bench-virtual: .venv/installed-bench
	$(BIN)/python benchmarks/virtual.py

# Bytes that are changed by what they reach, SECONDS for each harness. atheris comes for Linux and CPython 3.12 or later:
#     make fuzz PYTHON=python3.13 (before .venv is made, or after `make clean`)
SECONDS ?= 30
fuzz: .venv/installed-fuzz
	for harness in fuzz/fuzz_*.py; do echo "$$harness"; $(BIN)/python $$harness -max_total_time=$(SECONDS) || exit 1; done

bench-scoring: .venv/installed-dev
	$(BIN)/python benchmarks/scoring.py

bench-million: .venv/installed-dev
	$(BIN)/python benchmarks/million.py

# kill -9 at moments of chance, and resume, so many times: about a second and a half each.
CYCLES ?= 200
kills: .venv/installed-dev
	$(BIN)/python tools/kill_and_resume.py --cycles $(CYCLES) $(ARGS)

.venv/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "runner needs Python 3.11 or later; set PYTHON=...")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: .venv/python requirements.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

.venv/installed-bench: .venv/installed requirements-bench.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-bench.lock
	@touch $@

.venv/installed-fuzz: .venv/installed requirements-fuzz.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-fuzz.lock
	@touch $@

.venv-peers/installed: requirements-peers.lock
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

# Needs uv; the locks hold versions and hashes and name no index.
lock:
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --quiet pyproject.toml -o requirements.lock
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --quiet pyproject.toml --group dev -o requirements-dev.lock
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --quiet pyproject.toml --group bench -c requirements-dev.lock -o requirements-bench.lock
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --quiet --group peers -o requirements-peers.lock
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --quiet --group fuzz -o requirements-fuzz.lock

clean:
	rm -rf .venv .venv-peers bench-out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
