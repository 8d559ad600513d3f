# Two commands for a newcomer: `make try` and `make test`. Everything else is a part of them.
PYTHON ?= python3
UV_VERSION := 0.13.9
TOOLS := build/tools
export UV := $(CURDIR)/$(TOOLS)/bin/uv
VENV := .venv/bin
export PYTHONWARNINGS ?=

.PHONY: help try test setup check format lint types units synth benchmarks clean

help:  ## says what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

try: setup  ## one night of backups and a rehearsal on the embedded AWS; KEEP=1 leaves it running
	@$(VENV)/python -m embedded try $(if $(KEEP),--keep)

test: setup check  ## every check that CI runs

check: lint types units

setup: .venv/.ready  ## the locked environment, nothing outside of this folder

$(TOOLS)/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Holdfast needs Python 3.11 or newer; set PYTHON=/path/to/python3")'
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: $(TOOLS)/bin/uv uv.lock pyproject.toml
	@$(UV) sync --frozen --quiet --python $(PYTHON)
	@touch $@

format: setup  ## formats the sources
	$(VENV)/ruff format . && $(VENV)/ruff check --fix .

lint: setup
	$(VENV)/ruff format --check .
	$(VENV)/ruff check .

types: setup
	$(VENV)/pyright --warnings

units: setup
	$(VENV)/pytest -n 2 --dist loadfile --ignore tests/embedded --ignore tests/conformance --ignore tests/e2e
# In processes of their own: the embedded AWS puts its models in moto's place, for the whole process.
	$(VENV)/pytest -n 2 --dist loadfile tests/embedded tests/conformance tests/e2e

synth: setup  ## the templates of cdk.json, in cdk.out
	@CDK_OUTDIR=cdk.out $(VENV)/python app.py

benchmarks: setup  ## re-measures the numbers the README states
	@for script in benchmarks/*.py; do $(VENV)/python $$script || exit 1; done

clean:  ## removes what the commands made
	rm -rf .venv build cdk.out .pytest_cache .ruff_cache .hypothesis
