#!/bin/sh
# Read by other scripts: virtual environments of Python outside the clone.

# prepare_environment FOLDER REQUIREMENTS: makes one, once, and again when its requirements change.
prepare_environment() {
  ! cmp -s "$2" "$1/requirements.txt" || return 0
  # Only what is such an environment is made anew, whatever folder is named.
  if [ -e "$1" ] && [ ! -e "$1/pyvenv.cfg" ]; then
    echo "$0: $1 is there and no virtual environment; not touched" >&2
    return 1
  fi
  rm -rf "$1"
  /usr/bin/python3 -m venv "$1" &&
    "$1/bin/pip" install --quiet --requirement "$2" &&
    cp "$2" "$1/requirements.txt"
}
