#!/usr/bin/env bash
# Build the wheels and sdists of all packages into dist/, and try them where nothing of this tree is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/uv.sh

"$uv" build --quiet --all-packages --no-sources --clear --out-dir dist
"$uv" tool run --quiet "twine>=6.1" check --strict dist/*
# The environments are made and removed one after another; each takes a minute or more.
UV=$uv .venv/bin/python -m pytest tests/packages --timeout=900 "$@"
