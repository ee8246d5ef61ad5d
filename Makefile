# Every target sets up what it needs; `make clean` forgets all of it.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bundle pictures bench bench-anomaly clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

$(STAMP): pyproject.toml $(VENV)/.created
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

setup: $(STAMP) ## create .venv with everything

demo: setup ## small tables with planted defects, checked and served; ONCE=1 checks once and ends
	$(BIN)/dq-exporter demo --dir dq-demo --run $(if $(ONCE),--once)

test: setup ## the whole test suite (ARGS="-k name" to choose)
	$(BIN)/python -m pytest $(ARGS)

lint: setup ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## sort imports and mend what ruff can mend
	$(BIN)/ruff check --fix .

bundle: setup ## render dashboards, rules and routing anew
	$(BIN)/dq-exporter bundle -c deploy/dq-exporter.yml

pictures: setup tests/tools/grafana-preview/node_modules ## the pictures of the README, drawn from a made-up history (needs Node and Chromium)
	$(BIN)/python -m tests.tools.pictures docs/images overview table pipelines score

tests/tools/grafana-preview/node_modules: tests/tools/grafana-preview/package-lock.json
	cd tests/tools/grafana-preview && npm ci --silent
	@touch $@

bench: setup ## measurements of speed and memory
	$(BIN)/python -m pytest $(filter-out tests/bench/bench_anomaly.py,$(wildcard tests/bench/bench_*.py)) --timeout 1800 -s $(ARGS)

bench-anomaly: setup ## the learned checks against the rules of other tools
	$(BIN)/python -m pytest tests/bench/bench_anomaly.py --timeout 1800 -s $(ARGS)

clean: ## remove .venv, tools and caches
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
