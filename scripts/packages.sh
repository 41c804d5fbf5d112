# Sourced by the scripts that need Debian packages: `install_packages NAME…` (Debian and Ubuntu only).
# shellcheck shell=bash

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# Debian starts what it installs, on the standard ports; a policy-rc.d that says no keeps it from that.
install_packages() {
    if ! command -v apt-get >/dev/null; then
        echo "missing: $*. Only Debian and Ubuntu are known here; please install them by hand." >&2
        exit 1
    fi
    echo "installing $*" >&2
    local policy=/usr/sbin/policy-rc.d ours=
    if [[ ! -e $policy ]]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod +x "$policy"
    fi
    local failed=
    as_root apt-get update -qq >&2 || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 || failed=yes
    if [[ -n $ours ]]; then as_root rm -f "$policy"; fi
    [[ -z $failed ]]
}
