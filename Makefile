.DEFAULT_GOAL := help
.PHONY: help install demo evaluate cookbook test faults kills ray e2e packages docs check format constraints peers bench bench-llama-cpp clean

PYTHON ?= python3
run := .venv/bin/
# The interpreter that has llama-cpp-python[server]; one of your own is not built anew.
LLAMA_CPP_PYTHON ?= .venv-llama-cpp/bin/python
llama_cpp := $(if $(filter .venv-llama-cpp/%,$(LLAMA_CPP_PYTHON)),.venv-llama-cpp/.installed)

# Threads that wait should sleep: on a machine shared with others, spinning makes torch many times slower.
export OMP_WAIT_POLICY ?= PASSIVE

help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

install: .venv/.installed ## Put everything needed into .venv (needs Python >= 3.10 and pip)

.venv/.installed: scripts/install.sh constraints.txt pyproject.toml $(wildcard packages/*/pyproject.toml)
	PYTHON=$(PYTHON) bash scripts/install.sh

demo: install ## Multilingual RAG over Chroma: index the shipped corpus, ask in many languages
	$(run)python examples/multilingual_rag/main.py

evaluate: install ## Evaluate the demo model on held-out text: the example's figures, and its report.html
	$(run)python examples/evaluation/evaluate.py

cookbook: install ## Run the notebooks of examples/cookbook anew, with their outputs and pictures
	$(run)python examples/cookbook/run.py

test: install ## Run the test suite
	$(run)python -m pytest

faults: install ## Reliability in full (minutes): writes reports/ and the README's table
	$(run)python -m pytest tests/faults --ignore=tests/faults/test_killed_indexing.py --faults=full --timeout=400

kills: install ## Reliability of indexing in full (longer): kill -9 at random moments, and resume
	$(run)python -m pytest tests/faults/test_killed_indexing.py --faults=full --timeout=1800

ray: install ## Ray in full (minutes): 100,000 rows, workers killed, a node lost, a Chroma server indexed
	F2LLM_RAY_ROWS=100000 $(run)python -m pytest tests/integration/test_ray.py --timeout=1800

e2e: install $(llama_cpp) ## Against a real llama.cpp server, which is built first (minutes, needs a C++ compiler)
	LLAMA_CPP_PYTHON=$(LLAMA_CPP_PYTHON) $(run)python -m pytest tests/e2e --timeout=1800

.venv-llama-cpp/.installed: scripts/llama-cpp.sh
	PYTHON=$(PYTHON) bash scripts/llama-cpp.sh

packages: install ## Build wheels and sdists into dist/ and try them in fresh environments (minutes, needs the network)
	bash scripts/packages.sh

docs: install ## Build the documentation into site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(run)mkdocs build --strict

check: install ## Lint, format, spelling and types
	$(run)ruff check .
	$(run)ruff format --check .
	$(run)codespell
	$(run)mypy packages tools examples benchmarks docs

format: install ## Format the code and mend what can be mended
	$(run)ruff format .
	$(run)ruff check --fix .

peers: install ## Table: what the stock integrations do to the same checkpoint
	$(run)python benchmarks/peers.py

bench: install ## Measure speed, memory and cold start against the peers (minutes)
	$(run)python -m benchmarks.run --openvino-python "$(OPENVINO_PYTHON)"

bench-llama-cpp: install $(llama_cpp) ## The same with llama.cpp among the peers, which is built first
	$(run)python -m benchmarks.run --llama-cpp-python $(LLAMA_CPP_PYTHON) \
		--out benchmarks/with_llama_cpp

constraints: install ## Renew constraints.txt with the newest set that fits together
	bash scripts/constraints.sh

clean: ## Remove what was built or installed here
	rm -rf .venv .venv-llama-cpp .uv dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
