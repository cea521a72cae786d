#!/usr/bin/env bash
# Renew constraints.txt: the newest set that fits together, for every Python and system supported.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .uv/bin/uv)
# Without local wheel folders, so that the pins are of what everybody can have.
env -u UV_FIND_LINKS "$uv" pip compile --quiet --universal --python-version 3.10 \
    --no-annotate --no-header \
    --group dev --all-extras pyproject.toml packages/*/pyproject.toml |
    grep -v '^-e ' > constraints.new
mv constraints.new constraints.txt
