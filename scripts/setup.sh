#!/usr/bin/env bash
# Make .venv (or $VENV) and install napari-segnet, PySide6 (or the binding $QT) and the test tools into it.
# Usage: scripts/setup.sh [FILE [EXTRA]]
#   FILE    is made at the end, so that make knows that it is done
#   EXTRA   another extra of pyproject.toml to install, such as docs
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/as_root.sh

venv=${VENV:-.venv}
constraints=${CONSTRAINTS:-requirements/constraints.txt}
stamp=${1:-$venv/installed}
extra=${2:-}
qt=${QT:-pyside6}
began=$SECONDS

say() { echo "setup: $*"; }
fail() { echo "setup: error: $*" >&2; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.14 python; do
        if command -v "$candidate" >/dev/null && new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3"
}

make_venv() {
    local python=$1 minor
    # Only what is made here may be removed again.
    [ -z "$(ls -A "$venv" 2>/dev/null)" ] || fail "$venv exists, but is no virtual environment: remove it, or set VENV"
    "$python" -m venv "$venv" >"$log" 2>&1 && return
    rm -rf "$venv"
    # Debian and Ubuntu keep a part of the venv module in a package of its own.
    minor=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if command -v apt-get >/dev/null; then
        say "installing python$minor-venv"
        as_root apt-get update -qq >>"$log" 2>&1 || true
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "python$minor-venv" >>"$log" 2>&1 ||
            fail "run: sudo apt-get install python$minor-venv"
        "$python" -m venv "$venv" >>"$log" 2>&1 && return
        rm -rf "$venv"
    fi
    cat "$log" >&2
    fail "$python can't make a virtual environment"
}

pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check "$@" >>"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        fail "pip $1 did not work; the lines above say why"
    }
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT

if ! [ -x "$venv/bin/python" ]; then
    python=$(find_python)
    say "$("$python" --version) makes $venv"
    make_venv "$python"
fi
new_enough "$venv/bin/python" || fail "$venv has a Python older than 3.11: remove it, and try again"

pip install --quiet --upgrade 'pip>=25.1'
# First and pinned: what comes later finds it there, and takes no other build.
torch=$(sed -n -E 's/^(torch|torchvision)(==.*)/\1\2/p' "$constraints" | xargs)
say "${torch:-torch} (without an NVIDIA GPU pytorch.org's CPU build is smaller: set PIP_EXTRA_INDEX_URL to its index)"
# shellcheck disable=SC2086
pip install --quiet -c "$constraints" ${torch:-torch torchvision}
say "napari-segnet with napari, $qt${extra:+, what $extra needs} and the test tools (some minutes the first time)"
pip install --quiet -c "$constraints" --editable ".[$qt${extra:+,$extra}]" --group dev

touch "$stamp"
say "ready after $((SECONDS - began)) s"
