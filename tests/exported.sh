#!/bin/sh
# exported.sh [all] -- a policy in C as its users have it: compiled strictly as C99 and C++11 by
# every compiler that is here, for ARM too (run by qemu), acting as the library did; and what it
# shows and needs.  A compiler that is absent is named; with "all" it fails (make test-cross).
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."
must=${1:-} folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

failed() { # what
  echo "exported: $1" >&2
  exit 1
}

[ "${MODE:-release}" != double ] || exit 0 # what is exported is float
"build/${MODE:-release}/tests/test_export" "$folder" || failed 'nothing was exported'
cd "$folder"

# --- names, data, lines ---------------------------------------------------------------------------

for name in walk gauss; do
  "${CC:-gcc}" -O2 -c $name.c
  seen=$(nm -g --defined-only $name.o | awk '{ print $3 }' | sort | xargs)
  [ "$seen" = "${name}_act ${name}_reset" ] || failed "$name.o shows $seen"
  ! nm $name.o | grep -q ' [bBcCdD] ' || failed "$name.o has variables: $(nm $name.o)"
  needed=$(nm -u $name.o | awk '{ print $2 }' |
    grep -vxE 'mem(cpy|set)|__cpu_model|_GLOBAL_OFFSET_TABLE_' || true)
  [ -z "$needed" ] || failed "$name.o needs $needed"
  lines=$(grep -cvE '^ +(-?[0-9.]+(e[-+]?[0-9]+)?,? ?)+$' $name.c)
  [ "$lines" -le 1000 ] || failed "$name.c has $lines lines beside its numbers, expected 1000"
done
for file in walk.h walk.c walk_check.c; do
  grep -q 'SPDX-License-Identifier: 0BSD' $file || failed "$file has no licence"
done

# --- compilers ------------------------------------------------------------------------------------

have() { for tool; do command -v "$tool" >/dev/null || return 1; done; }

tried='' absent=''
build() { # how to run it, compiler and flags
  run=$1
  shift
  # shellcheck disable=SC2086  # none or one
  if ! have "$1" $run; then
    case " $absent" in *" $1 "*) ;; *) absent="$absent$1 " ;; esac
    return
  fi
  for name in walk gauss; do
    "$@" -Wall -Wextra -pedantic -Werror -o check $name.c ${name}_check.c ||
      failed "$* does not compile $name.c"
    # shellcheck disable=SC2086
    $run ./check >said || failed "$*: $name: $(cat said)"
  done
  case " $tried" in *" $1 "*) ;; *) tried="$tried$1 " ;; esac
}
build '' gcc -std=c99 -O2
build '' gcc -O3 -march=native
build '' gcc -O1 -DWALK_PORTABLE -DGAUSS_PORTABLE
build '' clang -std=c99 -O2
build '' clang -O3 -march=native
build '' g++ -std=c++11 -O2
build '' clang++ -x c++ -std=c++11 -O1
build qemu-aarch64 aarch64-linux-gnu-gcc -std=c99 -O2 -static

[ -z "$absent" ] || [ "$must" != all ] || failed "not here: $absent"
echo "exported: ${tried}agree${absent:+; not here and not tried: $absent}"
