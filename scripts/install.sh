#!/usr/bin/env bash
# Put everything the project needs into .venv, on a machine that has no more than Python and pip.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    uv=.uv/bin/uv
    [ -x "$uv" ] || "$python" -m pip install --quiet --target .uv "uv>=0.9.25"
fi

# uv does not read pip's settings: where pip was given a folder of wheels, hand it over.
links=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$("$python" -m pip config get global.find-links 2>/dev/null || true)}}
[ -z "$links" ] || export UV_FIND_LINKS="${links// /,}"

[ -d .venv ] || "$uv" venv --quiet --python "$python" .venv
"$uv" pip install --quiet --python .venv --constraint constraints.txt \
    --editable "packages/f2llm-core[chroma,endpoint,eval,mteb,ray,sentence-transformers]" \
    --editable packages/langchain-f2llm \
    --editable packages/llama-index-f2llm \
    --group dev
touch .venv/.installed
