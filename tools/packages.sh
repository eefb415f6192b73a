#!/bin/sh
# Sees to it that programs are there: packages.sh COMMAND:PACKAGE ...
# Missing ones come through apt, with sudo only if this is not root. Where that can't be done they are named, and the
# caller goes on with what is there. Says nothing when nothing is missing.
set -u

missing=
for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
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
    # The machine's list of packages may be old, or not there yet.
    { $as_root apt-get update -qq && $as_root $install $missing; } >&2 && exit 0
fi
echo "Not found:$missing. Please install (names as in Debian and Ubuntu); going on without." >&2
exit 0
