# Two commands for a newcomer: `make try` and `make test`. Everything else is a part of them.
PYTHON ?= python3
UV_VERSION := 0.13.9
TOOLS := build/tools
export UV := $(CURDIR)/$(TOOLS)/bin/uv
VENV := .venv/bin
ISSUED := $(CURDIR)/build/issued
export PYTHONWARNINGS ?=

.PHONY: help try test setup check format lint types units histories simulate checkov synth bench sbom coverage adversary clean

help:  ## says what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

try: setup  ## one night of backups and a rehearsal on the embedded AWS; KEEP=1 leaves it running
	@$(VENV)/python -m embedded try $(if $(KEEP),--keep)

test: setup check  ## every check that CI runs

check: lint types units histories

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

units: setup checkov
	@rm -rf $(ISSUED)
	HOLDFAST_ISSUED=$(ISSUED) $(VENV)/pytest -n 2 --dist loadfile --ignore tests/embedded --ignore tests/conformance --ignore tests/e2e
# In processes of their own: the embedded AWS puts its models in moto's place, for the whole process. The longest first.
	$(VENV)/pytest -n 2 --dist loadfile --no-loadscope-reorder tests/e2e tests/conformance tests/embedded
# What the first run issued is held against what the roles are given.
	HOLDFAST_ISSUED=$(ISSUED) $(VENV)/pytest tests/security/test_granted_is_used.py

# It wants an older boto3 than the functions do.
CHECKOV := build/checkov
checkov: $(CHECKOV)/.ready  ## the scanner of templates, in a locked environment of its own

$(CHECKOV)/.ready: $(TOOLS)/bin/uv tests/security/checkov.requirements.txt
	@$(UV) venv --quiet --clear --python $(PYTHON) $(CHECKOV)
	@$(UV) pip sync --quiet --require-hashes --python $(CHECKOV) tests/security/checkov.requirements.txt
	@touch $@

# What the tests of tests/simulation show one by one, for thousands: at random, and every one with a single deviation.
SIMULATION := $(VENV)/python -m tests.simulation
histories: setup  ## 2,000 histories of a deployment in which things go wrong at random, and those with one or two faults
	$(SIMULATION) --histories 2000 --every-call
	$(SIMULATION) --exhaustive 1
	$(SIMULATION) --exhaustive 2 --one-in 50

HISTORIES ?= 1000000
simulate: setup  ## for a release: HISTORIES=1000000 at random and all with up to three faults; RESUME=file takes it up
	$(SIMULATION) --histories $(HISTORIES) --every-call --calls $(if $(RESUME),--resume $(RESUME))
	$(SIMULATION) --exhaustive 3 $(if $(RESUME),--resume $(RESUME))

synth: setup  ## the templates of cdk.json, in cdk.out
	@CDK_OUTDIR=cdk.out $(VENV)/python app.py

bench: setup  ## measures anew what the README states, as root; NAMES="sizes overhead" measures some
	@$(VENV)/python -m benchmarks.results --write $(or $(NAMES),$(basename $(notdir $(filter-out benchmarks/results.py,$(wildcard benchmarks/*.py)))))

SBOM := build/sbom.cdx.json
sbom: setup  ## build/sbom.cdx.json: every library that is shipped, with its hashes (CycloneDX)
	@$(UV) export --frozen --no-default-groups --group inspection --quiet --format cyclonedx1.5 --output-file $(SBOM)

# Modules after which something is gone, shared or made anew: every branch of them is tested.
IRREVERSIBLE := functions/*/*expired.py,functions/*/*retention.py,functions/*/*holds.py,functions/*/surplus.py,functions/*/re[mc]o*.py,functions/*/*reap*.py,functions/*/*restore*.py,functions/*/*expos*.py,functions/aws/recoveries/*.py
ROOMS := core scoring inspection contracts aws ledger handlers
coverage: setup checkov  ## branch coverage of functions/, room by room: all of what deletes, shares and restores, 95 % of the rest
	@mkdir -p build/coverage
	@$(VENV)/coverage erase
	$(VENV)/coverage run -m pytest -q -n 2 --dist loadfile --ignore tests/embedded --ignore tests/conformance --ignore tests/e2e
	@$(VENV)/coverage combine -q
	@for room in $(ROOMS); do printf '%-12s %s %%\n' $$room $$($(VENV)/coverage report --include "functions/$$room/*" --format total --precision 1); done
	$(VENV)/coverage report --include '$(IRREVERSIBLE)' --show-missing --skip-covered --fail-under 100
	$(VENV)/coverage report --sort cover --skip-covered --fail-under 95

adversary: setup  ## 100,000 games against retention, other ones every time
	$(VENV)/pytest -q tests/properties/test_retention_adversary.py --hypothesis-profile adversary

clean:  ## removes what the commands made
	rm -rf .venv build cdk.out .pytest_cache .ruff_cache .hypothesis
