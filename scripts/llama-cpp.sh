#!/usr/bin/env bash
# Put llama.cpp's Python binding and server into .venv-llama-cpp. Built from source: minutes, and a C++ compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/uv.sh

[ -d .venv-llama-cpp ] || "$uv" venv --quiet --python "$python" .venv-llama-cpp
"$uv" pip install --python .venv-llama-cpp --constraint constraints.txt --group llama-cpp
touch .venv-llama-cpp/.installed
