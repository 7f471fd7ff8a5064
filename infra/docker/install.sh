#!/bin/sh
# Install into the environment $VIRTUAL_ENV what the arguments name (pyproject.toml, or --group NAME of it), and what
# that requires in turn: in the versions of requirements.lock, and nothing whose hash is not there.
set -eu
uv pip compile --quiet --no-header --no-annotate --constraint requirements.lock --output-file /tmp/needed.txt "$@"
# Of each line and its hashes in the lock, those that are needed
awk 'NR == FNR { needed[$1]; next } /^[^ #]/ { keep = $1 in needed } keep' /tmp/needed.txt requirements.lock \
    > /tmp/needed.lock
# PySpark comes as source: what builds it is held to the lock as well
uv pip install --compile-bytecode --require-hashes --build-constraint requirements.lock --requirements /tmp/needed.lock
# The tests of others are a tenth of it
find "$VIRTUAL_ENV" -type d -name tests -prune -exec rm -rf {} +
chmod -R go-w "$VIRTUAL_ENV"
