# Everything a developer or CI does with Caravan. `make help` lists it.

VENV ?= .venv
PYTHON ?=
ENGINE ?= cpu
BUF = VENV=$(VENV) tools/buf/buf.sh
IMAGE = caravan/descriptors.binpb
BASELINE = protos/baseline.binpb
# Arguments for pytest, for instance: make test ARGS="tests/gateway -k retries"
ARGS ?=

export VENV PYTHON ENGINE
.DEFAULT_GOAL := help
.PHONY: help setup protos run test test-faults lint fmt bench docs buf contract-accept lock eval-models eval-safety eval-memory clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.caravan-setup protos ## Make the environment (VENV=..., PYTHON=..., ENGINE=cuda for NVIDIA GPUs)

$(VENV)/.caravan-setup: requirements/cpu.lock pyproject.toml hatch_build.py tools/setup.sh
	@tools/setup.sh
	@touch $@

protos: $(VENV)/.caravan-setup ## Build stubs and descriptors from protos/, if they changed
	@$(VENV)/bin/python tools/stubs.py

run: setup ## Start everything and serve until Ctrl-C (MODEL=<Hugging Face id or path> serves another model)
	@exec $(VENV)/bin/caravan up $(if $(MODEL),--model "$(MODEL)")

test: setup ## Run the tests
	$(VENV)/bin/pytest $(ARGS)

test-faults: setup ## Run the tests that kill, restart and partition
	$(VENV)/bin/pytest -m faults $(ARGS)

lint: setup ## Check style, types and the contract, all of them even when one fails
	@failed=; set -x; \
	$(VENV)/bin/ruff check || failed=1; \
	$(VENV)/bin/ruff format --check || failed=1; \
	$(VENV)/bin/mypy || failed=1; \
	$(MAKE) --no-print-directory buf || failed=1; \
	{ set +x; } 2>/dev/null; test -z "$$failed"

fmt: setup ## Format the code and apply safe fixes
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

bench: setup ## Measure, and write the tables of docs/performance.md (ARGS=--quick: see that it runs)
	$(VENV)/bin/python -m benchmarks --write $(ARGS)

docs: setup ## Write docs/api.md from protos/
	$(VENV)/bin/python -m tools.api_docs

buf: setup ## Lint the contract and compare it with the accepted one
	$(BUF) lint $(IMAGE) --config tools/buf/buf.yaml
	$(BUF) breaking $(IMAGE) --config tools/buf/buf.yaml --against $(BASELINE)

contract-accept: setup ## Make the contract as it is now the one that later ones must not break
	$(BUF) build $(IMAGE) --config tools/buf/buf.yaml --exclude-source-info --output $(BASELINE)

lock: setup ## Write requirements/cpu.lock from what is installed
	$(VENV)/bin/python requirements/lock.py

eval-models: setup ## Measure what the demo models can do
	$(VENV)/bin/python -m models.recipe.evaluate

eval-safety: setup ## Measure what the shields catch and miss (ARGS="--address localhost:8321": those with models too)
	$(VENV)/bin/python -m benchmarks.shields $(ARGS)

eval-memory: setup ## Measure how well memory banks find what is asked for (ARGS=--write: into docs/memory.md)
	$(VENV)/bin/python -m benchmarks.retrieval $(ARGS)

clean: ## Remove the environment and everything built
	rm -rf $(VENV) build dist buf $(IMAGE) caravan/.stubs caravan/*/v1 tools/buf/node_modules examples/node/node_modules
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
