#!/bin/sh
# Installs a built project into a fresh prefix and uses it as others would: through its CMake package and through
# pkg-config, to build and run the examples.
#
#   sh tests/consumer/check.sh CMAKE BUILD-FOLDER COMPILER
set -eu
tests=$(cd "$(dirname "$0")" && pwd)
cmake=$1
build=$2
compiler=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
prefix=$folder/prefix

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

"$cmake" --install "$build" --prefix "$prefix" >"$folder/install.log" || { cat "$folder/install.log"; fail "install"; }
[ -f "$prefix/share/doc/nacre/LICENSE" ] || fail "the licence is not installed"

echo "== the library of the runtime"
library=$(readlink -f "$(find "$prefix" -name libnacre_runtime.so)")
strip -o "$folder/stripped.so" "$library"
size=$(wc -c <"$folder/stripped.so")
echo "stripped: $size bytes"
[ "$size" -le 2000000 ] || fail "it is larger than 2 MB"
for tool in readelf nm strings; do
  command -v "$tool" >/dev/null || fail "$tool is missing (binutils)"
done
! readelf -d "$library" | grep -iE 'NEEDED.*(protobuf|absl|grpc|python)' || fail "it needs one of these"
# Nor is protobuf linked into it.
! strings "$library" | grep -i protobuf || fail "it holds protobuf"
nm -DC --defined-only "$library" | grep -v ' nacre::Model::' && fail "it shows more than the class Model"

echo "== the headers"
! grep -rnE '^ *# *include *<(fmt|Eigen|hwy|nlohmann|flatbuffers|nettle|stb|CLI|jpeglib|xxhash|zlib)' "$prefix/include" ||
  fail "a public header needs the headers of another library"

echo "== find_package"
examples=$(cd "$prefix" && find . -path '*examples/library' -type d)
"$cmake" -S "$tests" -B "$folder/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_PREFIX_PATH="$prefix" -DNACRE_EXAMPLES="../../../$examples"
"$cmake" --build "$folder/build" -j "$(nproc)"
! ldd "$folder/build/examples/classify" | grep 'not found' || fail "classify lacks a library"

echo "== the examples"
run=$folder/build/examples
out=$folder/out
mkdir "$out"
"$run/train_in_code" "$out" || fail "train_in_code"
[ "$("$prefix/bin/nacre" predict "$out/stripes.nacre" "$out/stripes.jpg")" = \
  "$out/stripes.jpg: $("$run/classify" "$out/stripes.nacre" "$out/stripes.jpg")" ] || fail "classify disagrees with predict"
"$run/classify" "$out/stripes.nacre" "$out/stripes.jpg" | grep '^vertical ' || fail "the picture was not known"
"$prefix/bin/nacre" verify "$out/stripes.nacre" || fail "verify of the bundle"
"$prefix/bin/nacre" verify "$out/stripes.ckpt" || fail "verify of the checkpoint"
"$run/classify" "$out/stripes.nacre" "$out/none.jpg" 2>"$folder/error" && fail "a missing image went unnoticed"
grep -q "^$out/none.jpg: " "$folder/error" || fail "the error does not name the file"
"$run/custom_layer" "$out" >"$folder/custom" || fail "custom_layer"
grep -q '"Swish"' "$folder/custom" || { cat "$folder/custom"; fail "a layer that is not known goes unnamed"; }
"$folder/build/threads" "$out/stripes.nacre" "$out/stripes.jpg" || fail "threads"

echo "== pkg-config"
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name nacre.pc)")
export PKG_CONFIG_PATH
source=$prefix/share/doc/nacre/examples/library
# shellcheck disable=SC2046  # flags are split on purpose
"$compiler" -std=c++20 -I"$folder/build/own" "$source/classify.cc" $(pkg-config --cflags --libs nacre-runtime) \
  -Wl,-rpath,"$(dirname "$library")" -o "$folder/classify"
# shellcheck disable=SC2046
"$compiler" -std=c++20 -I"$folder/build/own" "$source/train_in_code.cc" $(pkg-config --cflags --libs nacre) -o "$folder/train"
"$folder/train" "$folder" || fail "train_in_code, linked by pkg-config"
cmp "$folder/stripes.nacre" "$out/stripes.nacre" || fail "two builds of train_in_code wrote different bundles"
"$folder/classify" "$folder/stripes.nacre" "$folder/stripes.jpg" || fail "classify, linked by pkg-config"
echo "ok"
