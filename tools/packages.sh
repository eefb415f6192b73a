#!/bin/sh
# Installs the programs and libraries that are missing: packages.sh COMMAND:PACKAGE LIBRARY.so.N:PACKAGE libclang:PACKAGE lavapipe:PACKAGE ...
# Uses apt, with sudo only if the caller is not root. Where that is not possible, names what is missing and succeeds, so that the
# caller goes on with what is there. Prints nothing when nothing is missing.
set -u

is_here() {
    case "$1" in
    libclang) # The camera's bindings read C headers with it while they are built, on Linux only.
        [ "$(uname)" = Linux ] && [ -z "${LIBCLANG_PATH:-}" ] || return 0
        for library in /usr/lib/llvm-*/lib/libclang.so* /usr/lib64/libclang.so* /usr/lib/libclang.so*; do
            [ -e "$library" ] && return 0
        done
        return 1
        ;;
    lavapipe) # Vulkan in software; a real driver does as well.
        [ "$(uname)" = Linux ] || return 0
        for driver in /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json; do
            [ -e "$driver" ] && return 0
        done
        return 1
        ;;
    *.so.*)
        PATH="$PATH:/usr/sbin:/sbin" command -v ldconfig >/dev/null 2>&1 || return 0
        PATH="$PATH:/usr/sbin:/sbin" ldconfig -p | grep -qF "$1"
        ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

missing=
for pair in "$@"; do
    is_here "${pair%%:*}" || missing="$missing ${pair##*:}"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1; then
    as_root=sudo
else
    as_root=none
fi

# shellcheck disable=SC2086  # a list of packages, and a command that may be empty
if [ "$as_root" != none ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing:$missing" >&2
    install="env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends"
    $as_root $install $missing >/dev/null 2>&1 && exit 0
    # apt's list of packages may be old or missing.
    { $as_root apt-get update -qq && $as_root $install $missing; } >&2 && exit 0
fi
echo "Not found:$missing. Please install (names as in Debian and Ubuntu); going on without." >&2
exit 0
