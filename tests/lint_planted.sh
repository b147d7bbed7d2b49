#!/bin/sh
# lint_planted.sh -- the test of scripts/lint.sh: plants one violation of each kind in a copy of the
# sources, where lint must name each, and in a tree of one file, which must pass before.
set -eu
cd "$(dirname "$0")/.."
root=$PWD work=$(mktemp -d) failed=0
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

fail() { # message
  echo "lint_planted: $1"
  failed=1
}

lint() { # -> $work/found, status
  status=0
  sh scripts/lint.sh >"$work/found" 2>/dev/null || status=$?
}

expect() { # pattern: one violation, named on exactly one line
  n=$(grep -cE -- "$1" "$work/found" || true)
  [ "$n" = 1 ] || fail "expected one line like '$1', found $n"
}

numbered() { # count text: the text so often, each # replaced by the number
  awk -v n="$1" -v text="$2" '
    BEGIN { for (i = 1; i <= n; i++) { line = text; gsub(/#/, i, line); print line } }'
}

function_of() { # name lines
  printf 'int %s(int x) {\n' "$1"
  numbered $(($2 - 3)) '  x += #;'
  printf '  return x;\n}\n'
}

tiny_tree() { # one well-made source and nothing built
  mkdir -p "$work/tiny/core" "$work/tiny/scripts"
  cd "$work/tiny"
  cp "$root/scripts/lint.sh" scripts
  cp "$root/.clang-format" .
  { echo '#include <math.h>'; function_of sum_small 30; } >core/sum.c
}

copied_tree() { # the project's sources
  cd "$root"
  mkdir "$work/copy"
  find core datasets envs diffusion policy rl cli tests scripts -name '*.[chs]*' \
    ! -name '*.safetensors' -exec cp --parents {} "$work/copy" \;
  cp Makefile .clang-format "$work/copy"
  cd "$work/copy"
}

# --- a tree of one file ---------------------------------------------------------------------------
tiny_tree
lint
[ $status = 0 ] || fail "a clean tree is refused: $(head -n 1 "$work/found")"

function_of sum_middle 45 >core/sum.c
lint
expect 'all sources: 95th percentile of function length is 45 lines'
[ $status = 1 ] || fail "status $status for a violation, expected 1"

{
  echo 'double sum_table(int i) {'
  echo '  static const double table[] = {'
  numbered 100 '      #.5, 0x1p-3, 2e-3,'
  printf '  };\n  return table[i];\n}\n'
} >core/sum.c
lint
! grep -q 'function' "$work/found" || fail "the rows of a flat table count as lines of a function"

mkdir -p build/release/core
echo 'int main(void) { return 0; }' >main.c
echo 'int ssl_planted;' | cc -shared -Wl,-soname,libssl.so.3 -x c -o libssl.so.3 -
cc -Wl,--no-as-needed -o build/release/diffrl main.c ./libssl.so.3
echo 'void cblas_planted(void); void sum_far(void); void sum_far(void) { cblas_planted(); }' |
  cc -x c -c -o build/release/core/sum.o -
lint
expect '^build/release/diffrl: links libssl.so.3, expected only in diffrl-hdf5'
expect 'libdiffrl needs cblas_planted, expected only libc'

# --- the project's own sources --------------------------------------------------------------------
copied_tree
echo '#include "rl/planted.h"' >core/planted.c
echo '#include "envs/planted.h"' >datasets/planted.c
echo '#include "datasets/planted.h"' >envs/planted.c
echo '#include "policy/planted.h"' >diffusion/planted.c
echo '#include "cli/planted.h"' >rl/planted.c
echo '#include "planted.h"' >cli/planted.c
echo '#include "core/../rl/planted.h"' >policy/planted_dots.c
printf '#include <%s>\n' cblas.h cJSON.h hdf5.h mujoco/mujoco.h Random123/philox.h cmocka.h \
  lapacke.h >policy/planted.c
echo '#include "core/tape/planted.h"' >core/planted_room.c
echo '#include "rl/algos/planted.h"' >rl/report/planted.c
echo '#include "policy/api/planted.h"' >policy/models/planted_room.c
echo '' >rl/bench/svg.c
echo '' >rl/utils.c
echo '' >envs/planted_helpers.h
echo 'const Op op_planted = { .name = "planted" };' >core/ops/ops_planted.c
echo 'int planted_helper(void) { return 0; }' >core/planted_name.c
function_of planted_long 61 >core/planted_long.c
numbered 801 'extern int planted_#;' >core/planted_file.h
numbered 1 "/* $(printf 'x%.0s' $(seq 95)) */" >core/planted_wide.h
wide=$(printf 'x%.0s' $(seq 98))
mkdir docs
# shellcheck disable=SC2016  # a fence of code
{
  echo "$wide text"
  printf '\n    %s code\n' "$wide"
  printf '\n```\n%s code\n```\n\n| %s | table |\n\n' "$wide" "$wide"
  printf '\303\251%.0s' $(seq 100) # 100 characters, 200 bytes
  echo
} >docs/planted.md
echo 'int   planted_format ;' >core/planted_format.c
echo 'void planted_call(void) { qsort(0, 0, 1, 0); }' >core/planted_call.h
echo 'CFLAGS += -ffast-math' >>Makefile
echo 'cc -Ofast' >scripts/planted.sh
echo '__attribute__((optimize("fast-math"))) int planted_fast;' >core/planted_fast.h
lint
expect '^core/planted.c:1: includes "rl/planted.h", expected only core'
expect '^datasets/planted.c:1: includes "envs/planted.h", expected only datasets core'
expect '^envs/planted.c:1: includes "datasets/planted.h", expected only envs core'
expect '^diffusion/planted.c:1: includes "policy/planted.h", expected only diffusion core'
expect '^rl/planted.c:1: includes "cli/planted.h"'
expect '^cli/planted.c:1: includes? .*names no folder'
expect '^policy/planted_dots.c:1: includes "core/../rl/planted.h"'
expect '^policy/planted.c:1: includes <cblas.h>, expected only in core/kernels/kernels_blas.c'
expect '^policy/planted.c:2: includes <cJSON.h>, expected only in core/json.c'
expect '^policy/planted.c:3: includes <hdf5.h>, expected only in datasets/formats/hdf5'
expect '^policy/planted.c:4: includes <mujoco/mujoco.h>, expected only in envs/mujoco.c'
expect '^policy/planted.c:5: includes <Random123/philox.h>, expected only in core/rng.c'
expect '^policy/planted.c:6: includes <cmocka.h>, expected only in tests/'
expect '^policy/planted.c:7: includes <lapacke.h>, expected a door'
expect '^core/planted_room.c:1: includes "core/tape/planted.h", expected from this floor only core'
expect '^rl/report/planted.c:1: includes "rl/algos/planted.h", expected .* rl/report rl/render'
expect '^policy/models/planted_room.c:1: includes "policy/api/planted.h"'
expect 'rl/(bench|render)/svg.c: has the name of rl/(bench|render)/svg.c, expected one of its own'
expect '^rl/utils.c: says nothing about what is in it'
expect '^envs/planted_helpers.h: says nothing about what is in it'
expect '^core/planted_name.c:1: function planted_helper says nothing'
expect '^core/planted_long.c:1: function planted_long has 61 lines, expected at most 60'
expect '^core/planted_file.h: 801 lines, expected at most 800'
expect '^core/planted_wide.h:1: 101 columns, expected at most 100'
expect '^docs/planted.md:1: 103 columns, expected at most 100'
expect '^docs/planted.md:'
expect '^core/planted_format.c:1: not formatted'
expect '^core/planted_call.h:1: calls qsort'
expect '^core/ops/ops_planted.c: op_planted, expected in OPS of core/ops/ops.c'
expect '^Makefile:[0-9]+: lets the compiler change bits'
expect '^scripts/planted.sh:1: lets the compiler change bits'
expect '^core/planted_fast.h:1: lets the compiler change bits'
[ $status = 1 ] || fail "status $status for violations, expected 1"

[ $failed = 1 ] || echo "lint_planted: every planted violation was named"
exit $failed
