PYTHON ?= python3
PYTHON312 ?= python3.12
BIN := .venv/bin
BIN_MACE := .venv-mace/bin
BIN_TORCH_SIM := .venv-torch-sim/bin
PIP_INSTALL := -m pip install --quiet

.PHONY: setup setup-icet setup-mace setup-torch-sim demo docs browser test quick lint types unit unit-mace unit-torch-sim benchmark benchmark-mace \
	benchmark-torch-sim validate wheel-check clean

## setup: a virtual environment with pinned versions of everything
setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP_INSTALL) --upgrade pip
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[sevennet,chgnet,freeenergy,campaign,slurm,report,phonons,test]'
	touch $@

## setup-icet: the same with icet, which is compiled on the spot (needs a C++ compiler)
setup-icet: .venv/.icet

.venv/.icet: .venv/.installed
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[sevennet,chgnet,disorder,freeenergy,campaign,slurm,report,phonons,test]'
	touch $@

## setup-mace: a second one, because mace-torch pins an e3nn that sevenn cannot use
setup-mace: .venv-mace/.installed

.venv-mace/.installed: pyproject.toml constraints-mace.txt
	$(PYTHON) -m venv .venv-mace
	$(BIN_MACE)/python $(PIP_INSTALL) --upgrade pip
	$(BIN_MACE)/python $(PIP_INSTALL) --constraint constraints-mace.txt --editable '.[mace,chgnet,cueq,freeenergy,test]'
	touch $@

## setup-torch-sim: a third one, because torch-sim needs Python 3.12 (make PYTHON312=...)
setup-torch-sim: .venv-torch-sim/.installed

.venv-torch-sim/.installed: pyproject.toml constraints-torch-sim.txt
	$(PYTHON312) -m venv .venv-torch-sim
	$(BIN_TORCH_SIM)/python $(PIP_INSTALL) --upgrade pip
	$(BIN_TORCH_SIM)/python $(PIP_INSTALL) --constraint constraints-torch-sim.txt --editable '.[sevennet,torch-sim]' pytest hypothesis
	touch $@

## demo: Ce(1-x)Zr(x)O2 and Ce(1-x)Sn(x)O2, lattice parameter and energy against x
demo: setup
	$(BIN)/alchemlip scan examples/structures/CeO2.cif --mix Ce=Ce,Zr --out demo/CeO2-ZrO2
	$(BIN)/alchemlip scan examples/structures/CeO2.cif --mix Ce=Ce,Sn --out demo/CeO2-SnO2
	$(BIN)/alchemlip report demo/CeO2-ZrO2
	@echo "Pictures: demo/CeO2-ZrO2/scan.png demo/CeO2-SnO2/scan.png"

## docs: the site, docs/_build/html/index.html; a warning is an error
docs: .venv/.docs
	$(BIN)/sphinx-build -W --keep-going -q -b html -c docs . docs/_build/html
	$(BIN)/python -m pytest -m browser tests/test_site.py

.venv/.docs: .venv/.installed
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[sevennet,chgnet,freeenergy,campaign,docs,test]'
	touch $@

## test: lint, types, tests in both environments
test: lint types unit unit-mace

lint: setup
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/ruff format --check src tests benchmarks docs/conf.py docs/_ext docs/images
	$(BIN)/lint-imports --no-logo

types: setup
	$(BIN)/mypy

## quick: lint, types, layers, the invariants of one potential, one command of each kind (under two minutes)
quick: lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -k "sevennet-0 and not mf" tests/test_invariants.py
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests/test_layers.py tests/test_cli.py::test_energy tests/test_cli.py::test_relax \
		tests/test_cli.py::test_scan tests/test_disorder_cli.py::test_one_composition tests/test_campaign.py::test_every_combination_is_a_run

unit: setup-icet
	$(BIN)/python -m pytest -n 2 --dist worksteal

## browser: reports in a headless Chromium, which must be installed (a minute)
browser: setup
	$(BIN)/python -m pytest -m browser tests/test_report_browser.py

## unit-mace: the suite of every potential, over MACE models with random and with trained weights
unit-mace: setup-mace
	$(BIN_MACE)/python -m pytest -n 2 --dist worksteal tests/test_invariants.py tests/test_derivatives.py tests/test_embedding.py \
		tests/test_mace.py tests/test_mace_products.py tests/test_trained_mace.py tests/test_switching_every_potential.py
	$(BIN_MACE)/python -m pytest tests/test_disorder_hessian.py -k every_potential
	$(BIN_MACE)/python -m pytest tests/test_docs.py -k "python_runs and mace"

## unit-torch-sim: mixtures in torch-sim, and the invariants on that Python; not part of `make test`
unit-torch-sim: setup-torch-sim
	$(BIN_TORCH_SIM)/python -m pytest tests/test_torch_sim.py tests/test_invariants.py

## benchmark: cost of a mixed evaluation over the plain potential, of the engine over evaluations, of campaigns (minutes)
benchmark: setup
	$(BIN)/python benchmarks/cost.py
	$(BIN)/python benchmarks/engine_overhead.py
	$(BIN)/python benchmarks/campaign_overhead.py
	$(BIN)/python benchmarks/package_size.py

## benchmark-mace: the same for MACE, on random weights of two released architectures (minutes)
benchmark-mace: setup-mace
	$(BIN_MACE)/python benchmarks/mace_cost.py

## benchmark-torch-sim: dynamics of 16 mixtures in torch-sim, in a batch and one by one (minutes)
benchmark-torch-sim: setup-torch-sim
	$(BIN_TORCH_SIM)/python benchmarks/torch_sim_throughput.py

## validate: slow physics against explicit supercells (tens of minutes)
validate: setup-icet
	$(BIN)/python benchmarks/validate_scans.py
	$(BIN)/python benchmarks/validate_random_supercells.py
	$(BIN)/python benchmarks/validate_ensemble.py
	$(BIN)/python benchmarks/validate_exclusive.py
	$(BIN)/python benchmarks/validate_design.py
	$(BIN)/python benchmarks/validate_ordering.py
	$(BIN)/python benchmarks/perovskite_ordering.py
	$(BIN)/python benchmarks/validate_disorder.py
	$(BIN)/python benchmarks/validate_free_energies.py
	$(BIN)/python benchmarks/validate_vacancy.py
	$(BIN)/python benchmarks/estimator_coverage.py
	$(BIN)/python benchmarks/campaign_cluster.py
	$(BIN)/python benchmarks/reliability.py

## wheel-check: the wheel with [sevennet] in an empty environment, away from this folder (minutes; downloads packages)
wheel-check:
	PYTHON=$(PYTHON) .ci/wheel-check

clean:
	rm -rf .venv .venv-mace .venv-torch-sim demo docs/_build build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
