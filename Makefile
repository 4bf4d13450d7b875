# Targets that depend on .venv/ready install their dependencies first.
PYTHON ?= python3
BIN := .venv/bin
CONSTRAINTS := constraints/airflow-3.3.txt
WORKERS ?= 4
SEED ?= 1
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup
SOURCES := airflow_provider_meisa example_dags dev tests docs benchmarks

.PHONY: help demo unit test system times coverage fuzz chaos ui bench matrix distributed package proof check format quotes docs screenshots clean

help:  ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: .venv/ready  ## Enroll and sync sample contacts from a warehouse into the sandbox, and compare the counts
	$(BIN)/python dev/scripts/demo.py

unit: .venv/ready  ## Run the tests that import no Airflow
	$(PYTEST) -m unit

test: .venv/ready  ## Run the tests of `make unit`, and those that run Airflow in the same process
	$(PYTEST) -m "not system"

system: .venv/ready  ## Run the tests that start Airflow's processes or a browser
	$(PYTEST) -m system

times: .venv/ready  ## Run the tests at each speed, and write their durations into CONTRIBUTING.md
	$(BIN)/python dev/scripts/test_times.py

coverage: .venv/ready  ## Run unit, test and system; check that they cover 95 % of lines and branches
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -n $(WORKERS) --dist loadgroup --randomly-seed=$(SEED); status=$$?; \
	$(BIN)/python -m coverage combine -q && $(BIN)/python -m coverage report || status=1; exit $$status

ui: .venv/ready  ## Start Airflow with the sandbox and the example DAGs in a temporary AIRFLOW_HOME
	$(BIN)/python dev/scripts/ui.py

chaos: .venv/ready  ## Run every fault in every scenario for every operator; writes docs/proof.md
	$(BIN)/python -m tests.chaos.campaign --write
	$(BIN)/python -m tests.chaos.syncs

fuzz: .venv/ready  ## Run the tests with input from Hypothesis, different each time
	$(PYTEST) -m hypothesis --hypothesis-profile=fuzz

bench: .venv/ready  ## Measure against peers; writes benchmarks/RESULTS.md in about fifteen minutes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[bench]'
	$(BIN)/python benchmarks/all.py

matrix: .venv/ready  ## Test the built wheel on Airflow 2.11 to 3.3, three at a time; or ONLY="2.11"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[release]'
	$(BIN)/python dev/matrix/all.py $(ONLY)

distributed: .venv/ready  ## Run tasks on Celery with PostgreSQL and Redis, and kill their workers; about five minutes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[dev,distributed]'
	$(BIN)/python -m pytest -p no:randomly tests/distributed

package: .venv/ready  ## Build wheel and sdist into dist/, check them, and install the wheel without extras
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[release]'
	$(BIN)/python dev/matrix/package.py

proof: .venv/ready  ## Run package, matrix, distributed, chaos, fuzz and bench; writes their durations into docs/proof.md
	$(BIN)/python dev/scripts/proof.py

check: .venv/ready  ## Check lint, format, types, imports between layers, and words
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python dev/scripts/check_words.py

format: .venv/ready  ## Apply the fixes of ruff
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

quotes: .venv/ready  ## Copy changed code and parameters into the pages
	$(BIN)/python docs/_scripts/quote.py

docs: .venv/ready  ## Build the documentation; a warning or a broken link fails the build
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	$(BIN)/python docs/_scripts/check_links.py docs/_build/html
	@echo "docs/_build/html/index.html"

screenshots: .venv/ready  ## Take the screenshots of the documentation from a running Airflow, with Chromium
	$(BIN)/python docs/_scripts/screenshots.py

clean:  ## Remove everything that was built
	rm -rf .venv .demo build dist docs/_build .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/ready: pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, found %d.%d: run make PYTHON=python3.11 ..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "Installing Airflow and the development tools into .venv, which takes some minutes ..."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $@
