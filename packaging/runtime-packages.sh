#!/bin/sh
# Prints the Debian packages that the given programs need to run, one a line: those of the libraries that they load.
set -eu
[ $# -gt 0 ] || { echo "usage: runtime-packages.sh PROGRAM..." >&2; exit 2; }
libraries=$(ldd "$@")
case $libraries in
  *"not found"*)
    echo "runtime-packages.sh: $libraries" >&2
    exit 1
    ;;
esac
echo "$libraries" | sed -n 's/.* => \(\/[^ ]*\) (.*/\1/p' | sort -u | while read -r file; do
  # Packages are told by the path that they were unpacked to, with or without /usr.
  name=$(dpkg-query --search "$file" 2>/dev/null || dpkg-query --search "$(readlink -f "$file")" 2>/dev/null ||
    dpkg-query --search "${file#/usr}" 2>/dev/null || dpkg-query --search "/usr$file" 2>/dev/null) ||
    { echo "runtime-packages.sh: $file is in no package" >&2; exit 1; }
  echo "${name%%:*}"
done | sort -u
