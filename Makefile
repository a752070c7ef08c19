# The project's verbs. `make help` lists them.
.DEFAULT_GOAL := help
PY := .venv/bin/python
AUTO ?=
PYTEST_ARGS ?=
# Images of containers often set it: every process would then compile thousands of files again, a trainer for eight seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo dev test check bench docs fmt e2e requirements hooks services

help: ## list these verbs
	@grep -E '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: ## create .venv with everything to run, test and check Whetstone
	@scripts/setup --dev

demo: ## one whole round on this machine: prints an address to open (AUTO=1: simulated people, by itself)
	@scripts/setup
	@exec $(PY) manage.py demo $(if $(AUTO),--auto)

dev: ## the demo with a web server that reloads changed code and shows errors in the browser
	@scripts/setup --dev
	@WHETSTONE_DEBUG=true GRANIAN_RELOAD=true GRANIAN_RELOAD_IGNORE_DIRS=var exec $(PY) manage.py demo $(if $(AUTO),--auto)

test: setup services ## every test, on PostgreSQL and on SQLite with browser, vLLM and training (PYTEST_ARGS=...)
	@scripts/test $(PYTEST_ARGS)

check: setup ## lint, format, templates, types, layers, migrations, API schema, generated pages
	@scripts/check

bench: setup ## run the benchmarks and write benchmarks/results/*.json
	@scripts/bench

docs: setup ## write the generated pages: .env.example, docs/reference, figures in the README
	$(PY) scripts/settings_reference.py
	$(PY) scripts/export_formats.py
	$(PY) scripts/recipe_reference.py
	$(PY) scripts/api_reference.py
	$(PY) scripts/figures.py

fmt: setup ## format the code and mend what the linter can mend
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	git ls-files '*templates/*.html' | xargs -r .venv/bin/djade --target-version 5.2

e2e: setup services ## the browser tests alone
	$(PY) -m pytest -m e2e $(PYTEST_ARGS)

requirements: ## compile the pinned lists in requirements/ from pyproject.toml (UPGRADE=1: move every pin)
	@scripts/requirements $(if $(UPGRADE),--upgrade)

hooks: setup ## run the quick checks before each commit
	$(PY) -m pre_commit install

services: ## install PostgreSQL, Redis and Chromium for the tests, where this user may
	@scripts/services
