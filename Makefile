# Short names for frequent commands. The work is in tools/, lab/ and tests/, which also run without make.

PYTHON := .venv/bin/python
CODE := components stacks lab policy tools tests examples/ci __main__.py
# In the project's cache (tools/base.py), so that a fresh clone reuses the analysis of the cloud SDKs.
MYPY_CACHE = $${EXTERNAL_ETCD_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/external-etcd}/mypy

.DEFAULT_GOAL := help
.PHONY: help up down status test soak check bench docs release python packages

help: ## list these targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

up: python packages ## start machines on this computer and a three-member etcd cluster on them
	@$(PYTHON) -m lab.demo

down: python ## remove everything that `make up` created
	@$(PYTHON) -m lab down

status: python ## show the machines of `make up` and their status
	@$(PYTHON) -m lab status

test: python packages ## run all tests and show where the time went
	$(PYTHON) -m tests

soak: python packages ## run more seeds, versions and sizes, and an hour of random operations
	$(PYTHON) -m tests --soak

check: python ## check format, lint and types: ruff and mypy
	$(PYTHON) -m ruff check $(CODE) plugin
	$(PYTHON) -m ruff format --check $(CODE) plugin
	$(PYTHON) -m mypy --cache-dir "$(MYPY_CACHE)" $(CODE)

bench: python packages ## measure how long deployments and changes take
	$(PYTHON) -m tests.bench

docs: ## build the documents as a site in build/site; CODE_URL=URL makes links to code work
	@python3 -m tools.site --code "$(CODE_URL)"

release: python ## build wheel, plugin, bill of materials and checksums: of TAG=v0.1.0, or a trial
	@$(PYTHON) -m tools.release $(TAG)

python:
	@python3 -m tools python >/dev/null

packages:
	@python3 -m tools packages
