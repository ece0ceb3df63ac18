#!/usr/bin/env bash
# Runs buf, installed here by npm on first use. npm is the system's, or else the one of the environment VENV.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
npm=$(command -v npm || realpath "${VENV:-$here/../../.venv}/bin/npm")

buf=$here/node_modules/@bufbuild/buf-linux-$(uname -m | sed s/x86_64/x64/)/bin/buf
if [[ ! -x $buf || $here/package-lock.json -nt $buf ]]; then
    (cd "$here" && "$npm" ci --loglevel=error >&2)
    touch "$buf"
fi

exec "$buf" "$@"
