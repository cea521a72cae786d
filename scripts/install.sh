#!/usr/bin/env bash
# Put everything the project needs into .venv, on a machine that has no more than Python and pip.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/uv.sh

[ -d .venv ] || "$uv" venv --quiet --python "$python" .venv
"$uv" pip install --quiet --python .venv --constraint constraints.txt \
    --editable "packages/f2llm-core[chroma,endpoint,eval,mteb,parquet,ray,sentence-transformers]" \
    --editable packages/langchain-f2llm \
    --editable packages/llama-index-f2llm \
    --group dev
touch .venv/.installed
