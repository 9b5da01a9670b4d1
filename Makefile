PYTHON ?= python3
BIN := .venv/bin
BIN_MACE := .venv-mace/bin
PIP_INSTALL := -m pip install --quiet

.PHONY: setup setup-icet setup-mace demo test lint types unit unit-mace benchmark benchmark-mace validate clean

## setup: a virtual environment with pinned versions of everything
setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP_INSTALL) --upgrade pip
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[sevennet,chgnet,freeenergy,campaign,report,test]'
	touch $@

## setup-icet: the same with icet, which is compiled on the spot (needs a C++ compiler)
setup-icet: .venv/.icet

.venv/.icet: .venv/.installed
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[sevennet,chgnet,disorder,freeenergy,campaign,report,test]'
	touch $@

## setup-mace: a second one, because mace-torch pins an e3nn that sevenn cannot use
setup-mace: .venv-mace/.installed

.venv-mace/.installed: pyproject.toml constraints-mace.txt
	$(PYTHON) -m venv .venv-mace
	$(BIN_MACE)/python $(PIP_INSTALL) --upgrade pip
	$(BIN_MACE)/python $(PIP_INSTALL) --constraint constraints-mace.txt --editable '.[mace,chgnet,cueq,freeenergy,test]'
	touch $@

## demo: Ce(1-x)Zr(x)O2 and Ce(1-x)Sn(x)O2, lattice parameter and energy against x
demo: setup
	$(BIN)/alchemlip scan examples/structures/CeO2.cif --mix Ce=Ce,Zr --out demo/CeO2-ZrO2
	$(BIN)/alchemlip scan examples/structures/CeO2.cif --mix Ce=Ce,Sn --out demo/CeO2-SnO2
	$(BIN)/alchemlip report demo/CeO2-ZrO2
	@echo "Pictures: demo/CeO2-ZrO2/scan.png demo/CeO2-SnO2/scan.png"

## test: lint, types, tests in both environments
test: lint types unit unit-mace

lint: setup
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks

types: setup
	$(BIN)/mypy

unit: setup-icet
	$(BIN)/python -m pytest -n 2 --dist worksteal

## unit-mace: the suite of every potential, over MACE models with random and with trained weights
unit-mace: setup-mace
	$(BIN_MACE)/python -m pytest -n 2 --dist worksteal tests/test_invariants.py tests/test_derivatives.py tests/test_embedding.py \
		tests/test_mace.py tests/test_mace_products.py tests/test_trained_mace.py tests/test_switching_every_potential.py
	$(BIN_MACE)/python -m pytest tests/test_disorder_hessian.py -k every_potential

## benchmark: cost of a mixed evaluation over the plain potential, of the engine over evaluations (minutes)
benchmark: setup
	$(BIN)/python benchmarks/cost.py
	$(BIN)/python benchmarks/engine_overhead.py

## benchmark-mace: the same for MACE, on random weights of two released architectures (minutes)
benchmark-mace: setup-mace
	$(BIN_MACE)/python benchmarks/mace_cost.py

## validate: slow physics against explicit supercells (tens of minutes)
validate: setup-icet
	$(BIN)/python benchmarks/validate_scans.py
	$(BIN)/python benchmarks/validate_random_supercells.py
	$(BIN)/python benchmarks/validate_ensemble.py
	$(BIN)/python benchmarks/validate_design.py
	$(BIN)/python benchmarks/validate_ordering.py
	$(BIN)/python benchmarks/perovskite_ordering.py
	$(BIN)/python benchmarks/validate_disorder.py
	$(BIN)/python benchmarks/validate_free_energies.py
	$(BIN)/python benchmarks/validate_vacancy.py
	$(BIN)/python benchmarks/estimator_coverage.py

clean:
	rm -rf .venv .venv-mace demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
