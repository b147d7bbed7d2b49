#!/bin/sh
# arm64.sh TEST.. -- the library on 64-bit ARM, under qemu: its tests, and policies' actions, whose
# bits are those of this processor (promise B7 of docs/design.md, between processors).
set -eu
cd "$(dirname "$0")/.."
B=build/arm64
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

failed() { # what
  echo "arm64: $1" >&2
  exit 1
}

for test; do
  qemu-aarch64 $B/tests/test_"$test" >"$folder/out" 2>&1 ||
    { cat "$folder/out"; failed "test_$test failed"; }
  echo "arm64 test_$test: $(sed -n 's/^.*PASSED.*] *\([0-9]* test\).*/\1s passed/p' "$folder/out")"
done

act() { # compiler, library, what runs it
  "$1" -O2 -I. -o "$folder/actions" tests/arm64_actions.c "$2" -lcjson -lm -pthread
  # shellcheck disable=SC2086  # a command or none
  ${3:-} "$folder/actions" tests/golden/0.1/diff*.safetensors tests/golden/0.1/sac.safetensors \
    rl/behaviour/hopper-*.safetensors
}
act cc build/release/libdiffrl.a >"$folder/here" || failed "$(cat "$folder/here")"
act aarch64-linux-gnu-gcc $B/libdiffrl.a qemu-aarch64 >"$folder/arm" ||
  failed "$(cat "$folder/arm")"
cmp -s "$folder/here" "$folder/arm" || failed "other actions: $(diff "$folder/here" "$folder/arm")"
echo "arm64: the actions of $(grep -c . "$folder/here") policies have the bits of $(uname -m)"
