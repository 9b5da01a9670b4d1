PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test lint types unit benchmark validate clean

## setup: a virtual environment with pinned versions of everything
setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[sevennet,test]'
	touch $(STAMP)

## demo: Ce(1-x)Zr(x)O2 and Ce(1-x)Sn(x)O2, lattice parameter and energy against x
demo: setup
	$(BIN)/alchemlip scan examples/structures/CeO2.cif --mix Ce=Ce,Zr --out demo/CeO2-ZrO2
	$(BIN)/alchemlip scan examples/structures/CeO2.cif --mix Ce=Ce,Sn --out demo/CeO2-SnO2
	@echo "Pictures: demo/CeO2-ZrO2/scan.png demo/CeO2-SnO2/scan.png"

## test: lint, types, tests
test: lint types unit

lint: setup
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks

types: setup
	$(BIN)/mypy

unit: setup
	$(BIN)/python -m pytest

## benchmark: cost of a mixed evaluation over the plain potential (minutes)
benchmark: setup
	$(BIN)/python benchmarks/cost.py

## validate: slow physics against explicit supercells (tens of minutes)
validate: setup
	$(BIN)/python benchmarks/validate_scans.py
	$(BIN)/python benchmarks/validate_random_supercells.py

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
