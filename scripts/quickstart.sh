#!/bin/sh
# From a bare Debian to a trained, exported and verified model that names what is in pictures: installs, builds,
# trains fashion28 on Fashion-MNIST, and writes runs/quickstart/. May be run again: it then starts its run anew.
set -eu
cd "$(dirname "$0")/.."

started=$(date +%s)
source=/usr/share/datasets/fashion-mnist
data=runs/fashion-mnist
labels=examples/faces/fashion_labels.txt
run=runs/quickstart
nacre=build/release/nacre

step() {
  printf '\n== %s (%s s so far)\n' "$*" "$(($(date +%s) - started))"
}
# Shows a command as one would type it, then runs it.
show() {
  printf '$ %s\n' "$*"
  "$@"
}

step "Installing what the build needs"
sh scripts/setup.sh

step "Building $nacre"
sh scripts/build.sh release nacre idx_to_images

if [ -e "$run" ]; then
  echo "$run is there from an earlier quickstart: removing it"
  rm -r "$run"
fi

# The data set comes without the names of its classes: a folder with links to its files and labels.txt has both.
mkdir -p "$data"
ln -sf "$source"/*-ubyte.gz "$data/"
cp "$labels" "$data/labels.txt"

step "Training fashion28 on 60,000 pictures of clothes"
show "$nacre" train --model fashion28 --data "$data" --out "$run"

step "Exporting the network for prediction"
show "$nacre" export "$run" --out "$run/model.nacre"

step "Verifying the exported model: its checksums, and its own test pictures"
show "$nacre" verify "$run/model.nacre"

step "Evaluating it on 10,000 pictures that it never saw"
show "$nacre" eval "$run/model.nacre" --data "$data"

step "Predicting ten of them from image files; a file's name says what it shows"
build/release/examples/idx_to_images --data "$data" --labels "$labels" --split test --count 10 --size 0 --channels 1 \
  --format png --out "$run/samples"
show "$nacre" predict "$run/model.nacre" "$run"/samples/test/*.png --top-k 1

printf '\nDone in %s s. The model is %s; next: README.md shows how to train on your own pictures.\n' \
  "$(($(date +%s) - started))" "$run/model.nacre"
