#!/bin/sh
# Read by other scripts: virtual environments of Python outside the clone.

# prepare_environment FOLDER REQUIREMENTS [PIP-OPTION...]: makes one, once, and again when its requirements change.
prepare_environment() {
  folder=$1
  requirements=$2
  shift 2
  ! cmp -s "$requirements" "$folder/requirements.txt" || return 0
  # Only what is such an environment is made anew, whatever folder is named.
  if [ -e "$folder" ] && [ ! -e "$folder/pyvenv.cfg" ]; then
    echo "$0: $folder is there and no virtual environment; not touched" >&2
    return 1
  fi
  rm -rf "$folder"
  /usr/bin/python3 -m venv "$folder" &&
    "$folder/bin/pip" install --quiet "$@" --requirement "$requirements" &&
    cp "$requirements" "$folder/requirements.txt"
}
