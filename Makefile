# What can be done here? `make help` tells.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help setup demo test torture lint check golden reference clean
help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: $(VENV)/.ready  ## make .venv and install the pinned packages
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "melascope needs Python 3.11 or newer; name one with: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,app,dev]'
	touch $@

demo: setup  ## the whole main job: data, split, training, evaluation, maps, gallery (under 5 minutes)
	$(BIN)/melascope demo

test: setup  ## all tests
	$(BIN)/python -m pytest -n 2

torture: setup  ## all hardening rows at full size, files and service (about 25 minutes; docs/security.md)
	$(BIN)/python tests/torture/files.py all --full
	$(BIN)/python tests/torture/service.py all --full

lint: setup  ## style and floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

check: lint test  ## what CI runs

golden: setup  ## regenerate tests/golden; review the diff
	MELASCOPE_GOLDEN=write $(BIN)/python -m pytest tests/test_golden.py tests/test_readme.py

reference: setup  ## ship another model: make reference RUN=runs/… DATA=data/ham10000 VERSION=0.2
	$(BIN)/melascope pack $(RUN) --data $(DATA) --out src/melascope/weights/melascope-reference-$(VERSION)
	find src/melascope/weights -maxdepth 1 -name 'melascope-reference-*' ! -name 'melascope-reference-$(VERSION)' -exec rm -r {} +
	rm -rf build  # else setuptools would pack the older one too

clean:  ## remove what the demo made
	rm -rf demo
