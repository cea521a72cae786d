.DEFAULT_GOAL := help
.PHONY: help install demo test faults kills check format constraints peers bench clean

PYTHON ?= python3
run := .venv/bin/

# Threads that wait should sleep: on a machine shared with others, spinning makes torch many times slower.
export OMP_WAIT_POLICY ?= PASSIVE

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

install: .venv/.installed ## Put everything needed into .venv (needs Python >= 3.10 and pip)

.venv/.installed: scripts/install.sh constraints.txt pyproject.toml $(wildcard packages/*/pyproject.toml)
	PYTHON=$(PYTHON) bash scripts/install.sh

demo: install ## Multilingual RAG over Chroma: index the shipped corpus, ask in many languages
	$(run)python examples/multilingual_rag/main.py

test: install ## Run the test suite
	$(run)python -m pytest

faults: install ## Reliability in full (minutes): writes reports/ and the README's table
	$(run)python -m pytest tests/faults --ignore=tests/faults/test_killed_indexing.py --faults=full --timeout=400

kills: install ## Reliability of indexing in full (longer): kill -9 at random moments, and resume
	$(run)python -m pytest tests/faults/test_killed_indexing.py --faults=full --timeout=1800

check: install ## Lint, format, spelling and types
	$(run)ruff check .
	$(run)ruff format --check .
	$(run)codespell
	$(run)mypy packages tools examples benchmarks

format: install ## Format the code and mend what can be mended
	$(run)ruff format .
	$(run)ruff check --fix .

peers: install ## Table: what the stock integrations do to the same checkpoint
	$(run)python benchmarks/peers.py

bench: install ## Measure speed, memory and cold start against the peers (minutes)
	$(run)python -m benchmarks.run

constraints: install ## Renew constraints.txt with the newest set that fits together
	bash scripts/constraints.sh

clean: ## Remove what was built or installed here
	rm -rf .venv .uv dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
