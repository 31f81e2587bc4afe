# Short recipes that call the command line and the tools; everything happens in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install lock demo ui test test-slow check docs bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make the environment in .venv from the lock file

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tracemill needs Python 3.11 or newer: make PYTHON=/path/to/python install"; exit 1; }
	@if uv --version >/dev/null 2>&1; then \
		set -ex; \
		uv venv --quiet --allow-existing --python $(PYTHON) .venv; \
		uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock; \
		uv pip install --quiet --python $(BIN)/python --no-deps -e .; \
	else \
		set -ex; \
		$(PYTHON) -m venv .venv; \
		$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock; \
		$(BIN)/python -m pip install --quiet --no-deps -e .; \
	fi
	@touch $@

lock: ## Pin the newest versions that pyproject.toml allows (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-strip-extras --no-emit-index-url --custom-compile-command "make lock" --quiet -o requirements.lock

demo: $(INSTALLED) ## Sample logs into a warehouse, aggregated through Dagster: numbers within minutes
	@$(BIN)/tracemill demo

ui: $(INSTALLED) ## Open the Dagster UI on the same data
	@$(BIN)/tracemill ui

test: $(INSTALLED) ## All tests but the long ones
	@.ci/browser
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow"

test-slow: $(INSTALLED) ## The long fault programme
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m slow || [ $$? -eq 5 ]  # 5: there are none

check: $(INSTALLED) ## Style, types, layers, SQL, dbt project
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/squawk sql/migrations/*.sql
	$(BIN)/sqlfluff lint --processes 2 sql/migrations dbt_project/models dbt_project/tests
	cd dbt_project && ../$(BIN)/dbt --quiet parse
	$(BIN)/dbt-bouncer --config-file dbt-bouncer.yml

docs: $(INSTALLED) ## Every table and column with its description and lineage, as one page
	cd dbt_project && ../$(BIN)/dbt --quiet parse && ../$(BIN)/dbt --quiet docs generate --static --empty-catalog --no-compile
	@echo "Open dbt_project/target/static_index.html"

bench: $(INSTALLED) ## Measurements against floor and peers; takes its time
	$(BIN)/python -m benchmarks.ingest
	$(BIN)/python -m benchmarks.nightly
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.triggers
	$(BIN)/python -m benchmarks.vectors

clean: ## Remove the environment and caches; .tracemill, which holds data, stays
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf dbt_project/target dbt_project/logs tests/artifacts
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
