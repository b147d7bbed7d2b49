#!/bin/sh
# lint.sh -- the shape of the code (docs/design.md): who may include whom, one door per dependency,
# names, lengths, pages, format, and what the built binaries need.  One line per violation, "file:
# what, expected"; status 1 if there is any.  tests/lint_planted.sh plants one of each kind.
set -eu
export LC_ALL=C # widths and undefined-reference messages do not depend on the language
cd "$(dirname "$0")/.."

MAX_FUNCTION=60 P95_FUNCTION=40 MAX_FILE=800 MAX_WIDTH=100
B=build/release
FLOORS='core datasets envs diffusion policy rl'
FOLDERS="$FLOORS cli tests"

for tool in clang-format ctags; do
  command -v $tool >/dev/null ||
    { echo "lint: $tool is not installed; run scripts/setup.sh lint" >&2; exit 2; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

find_files() { # pattern -> files of the tree, sorted
  for folder in $FOLDERS scripts; do [ ! -d "$folder" ] || find "$folder" -name "$1"; done | sort
}
SOURCES=$(find_files '*.[ch]')
SCRIPTS=$(find_files '*.sh'; find_files '*.py')
PAGES=$(find . \( -name build -o -name runs -o -name '.?*' \) -prune -o -name '*.md' -print |
  sed 's|^\./||' | sort)

# --- includes: "file:line own|system path", one a line --------------------------------------------

list_includes() {
  # shellcheck disable=SC2086  # lists of files, here and below
  grep -HnE '^[[:space:]]*#[[:space:]]*include' $SOURCES /dev/null | sed -nE \
    -e 's/^([^:]*:[0-9]+):[^"<]*"([^"]*)".*/\1 own \2/p' \
    -e 's/^([^:]*:[0-9]+):[^"<]*<([^>]*)>.*/\1 system \2/p'
}

# A file of this folder may include files of the folders named (and of its own).
allow() { # folder folders
  awk -v from="$1/" -v may="$1 $2" '
    BEGIN { n = split(may, word, " "); for (i = 1; i <= n; i++) ok[word[i]] = 1 }
    $2 == "own" && index($1, from) == 1 {
      if ($3 !~ /\//) print $1 ": include \"" $3 "\" names no folder, expected \"folder/" $3 "\""
      else if ($3 ~ /\.\./ || !(substr($3, 1, index($3, "/") - 1) in ok))
        print $1 ": includes \"" $3 "\", expected only " may
    }' "$work/includes"
}

# Within a floor: a file of this room (not of rooms inside it) may include files of these rooms, and
# these files.
room() { # room rooms-and-files
  awk -v room="$1" -v may="$1 $2" '
    function folder(path) { sub(/:.*/, "", path); sub(/\/[^\/]*$/, "", path); return path }
    BEGIN { n = split(may, word, " "); for (i = 1; i <= n; i++) ok[word[i]] = 1
            floor = room; sub(/\/.*/, "", floor) }
    $2 == "own" && folder($1) == room && index($3, floor "/") == 1 && !(folder($3) in ok) &&
    !($3 in ok) {
      print $1 ": includes \"" $3 "\", expected from this floor only " may
    }' "$work/includes"
}

# Only this file may include system headers that begin so, and the entry point that fuzzes it.  A
# folder is a door for all its files.
door() { # prefix file [fuzz]
  printf '%s\n' "$1" >>"$work/known"
  awk -v prefix="$1" -v file="$2" -v fuzz="${3:--}" '
    $2 == "system" && index($3, prefix) == 1 && index($1, file) != 1 && index($1, fuzz) != 1 {
      print $1 ": includes <" $3 ">, expected only in " file
    }' "$work/includes"
}

# The standard library, POSIX, Linux and the compiler need no door; anything else does.
no_door() { # prefixes
  printf '%s\n' "$@" >>"$work/known"
  awk '
    NR == FNR { known[$1]; next }
    $2 == "system" {
      for (prefix in known) if (index($3, prefix) == 1) next
      print $1 ": includes <" $3 ">, expected a door for it in scripts/lint.sh"
    }' "$work/known" "$work/includes"
}

check_includes() {
  list_includes >"$work/includes"
  allow core ''
  allow datasets core
  allow envs core
  allow diffusion core
  allow policy 'diffusion core'
  allow rl 'policy diffusion datasets envs core'
  allow cli "$FLOORS"
  allow tests "$FLOORS cli"

  room core ''
  room datasets ''
  room datasets/formats datasets
  room core/kernels core
  room core/maths core
  room core/tape 'core core/kernels core/ops' # gradients are recorded as ops
  room core/ops 'core core/kernels core/tape'
  room policy/nets ''
  room policy/models 'policy policy/nets'
  room policy policy/nets
  room policy/policies 'policy policy/models policy/nets'
  room policy/export policy
  room policy/api policy
  measures='rl/measure/measure.h rl/measure/figures.h' # what a definition names
  room rl "rl/source $measures"
  room rl/rollout 'rl rl/measure/measure.h'
  room rl/source rl/rollout
  room rl/measure 'rl rl/rollout rl/source'
  room rl/render 'rl/measure rl/rollout rl/source'
  room rl/train 'rl rl/rollout rl/source rl/measure'
  room rl/reward 'rl/shipped.h'
  room rl/algos 'rl rl/reward rl/rollout rl/source rl/measure rl/render'
  room rl/bench 'rl rl/rollout rl/source'
  room rl/report 'rl/render rl/measure/measure.h'

  : >"$work/known"
  door cblas core/kernels/kernels_blas.c
  door mpi core/ranks_mpi.c
  door Random123/ core/rng.c
  door cJSON core/json.c
  door cjson/ core/json.c
  door hdf5.h datasets/formats/hdf5 tests/fuzz_hdf5.c
  door H5 datasets/formats/hdf5
  door png.h datasets/png.c
  door zlib.h datasets/gzip.c
  door mujoco/ envs/mujoco.c
  door EGL/ envs/offscreen.c
  door GL/ envs/offscreen.c
  door jpeglib datasets/jpeg.c
  door jerror datasets/jpeg.c
  door gif_lib datasets/gif.c
  door cmocka.h tests/
  door argp.h cli/
  no_door assert.h complex.h ctype.h errno.h fenv.h float.h inttypes.h iso646.h limits.h \
    locale.h malloc.h math.h setjmp.h signal.h std string.h tgmath.h threads.h time.h wchar.h \
    wctype.h dirent.h dlfcn.h fcntl.h fnmatch.h getopt.h glob.h libgen.h poll.h pthread.h pwd.h \
    sched.h semaphore.h spawn.h strings.h sys/ termios.h unistd.h linux/ cpuid.h immintrin.h \
    xmmintrin.h emmintrin.h pmmintrin.h sanitizer/
}

# --- names and lengths ----------------------------------------------------------------------------

# shellcheck disable=SC2086
check_names() {
  for folder in $FOLDERS scripts; do [ ! -d "$folder" ] || find "$folder"; done |
    grep -iE '(^|[/_-])(utils?|common|helpers?|misc)([._-][^/]*)?$' |
    sed 's/$/: says nothing about what is in it, expected a noun/' || true
  printf '%s\n' $SOURCES | awk -F/ '
    { if ($NF in seen) print $0 ": has the name of " seen[$NF] ", expected one of its own"
      seen[$NF] = $0 }'
  grep -iE '^([^ ]*_)?(utils?|common|helpers?|misc)(_[^ ]*)? ' "$work/functions" | awk '{
    print $2 ":" $3 ": function " $1 " says nothing about what it does, expected its noun and verb"
  }' || true
}

# Lines of a function, rows of a flat table (numbers, {...}, a list of tests) aside.
measure_functions() { # -> "lines file:line name"
  # shellcheck disable=SC2086
  awk -v functions="$work/functions" '
    FILENAME != functions {
      row = /^[ \t]*([{].*[}][,;]?|cmocka_unit_test[a-z_]*[(].*[)],?|[-+0-9a-fA-FxXpPLuU., \t]+)$/
      rows[FILENAME, FNR] = rows[FILENAME, FNR - 1] + row
      next
    }
    { print $4 - $3 + 1 - (rows[$2, $4] - rows[$2, $3]), $2 ":" $3, $1 }' \
    $SOURCES "$work/functions" | sort -n
}

check_functions() {
  measure_functions >"$work/lengths"
  awk -v most=$MAX_FUNCTION -v p95=$P95_FUNCTION '
    { lines[NR] = $1 }
    $1 > most { print $2 ": function " $3 " has " $1 " lines, expected at most " most }
    END {
      at = int(0.95 * NR); if (at < 0.95 * NR) at++
      if (lines[at] > p95)
        print "all sources: 95th percentile of function length is " lines[at] \
          " lines, expected at most " p95
    }' "$work/lengths"
}

check_files() {
  # shellcheck disable=SC2086
  awk -v most=$MAX_FILE -v width=$MAX_WIDTH '
    FNR == 1 { files[++n] = FILENAME }
    { lines[FILENAME] = FNR; gsub(/[\200-\277]/, "") } # a character of UTF-8 counts once
    length > width { print FILENAME ":" FNR ": " length " columns, expected at most " width }
    END {
      for (i = 1; i <= n; i++)
        if (lines[files[i]] > most)
          print files[i] ": " lines[files[i]] " lines, expected at most " most
    }' $SOURCES $SCRIPTS /dev/null
}

# Pages of text, but for tables and code: between fences, or indented by four after an empty line.
check_pages() {
  # shellcheck disable=SC2086
  awk -v width=$MAX_WIDTH '
    FNR == 1 { fence = indented = 0; empty = 1 }
    { gsub(/[\200-\277]/, "") }
    /^ *```/ { fence = !fence; empty = 0; next }
    fence { next }
    /^[ \t]*$/ { empty = 1; next }
    { indented = /^    / && (empty || indented); empty = 0 }
    indented || /^ *[|]/ { next }
    length > width { print FILENAME ":" FNR ": " length " columns, expected at most " width }
  ' $PAGES /dev/null
}

check_format() {
  [ -n "$SOURCES" ] || return 0
  # shellcheck disable=SC2086
  clang-format --dry-run -Werror $SOURCES 2>&1 | awk -F: '
    / error: / && !seen[$1]++ {
      print $1 ":" $2 ": not formatted, expected what make format writes"
    }'
}

# One function for what several places would get wrong in the same way.
check_calls() {
  # shellcheck disable=SC2086
  grep -HnE '(^|[^a-z_])qsort\(' $SOURCES /dev/null |
    grep -vE '^(core/sort\.h|policy/export/text/|tests/)' |
    sed -E 's/^([^:]*:[0-9]+):.*/\1: calls qsort, expected sort of core\/sort.h: NULL may come/'
}

# The tests have an example of every op that is listed.
check_ops() {
  for file in core/ops/ops_*.c; do
    [ -e "$file" ] || continue
    for op in $(sed -nE 's/^const Op op_([a-z_0-9]+) = .*/\1/p' "$file"); do
      grep -q "X($op)" core/ops/ops.c ||
        echo "$file: op_$op, expected in OPS of core/ops/ops.c"
    done
  done
}

# --- floating point and linking -------------------------------------------------------------------

check_fast_math() {
  flags='-(f(fast|unsafe|associative|reciprocal|finite)-math|Ofast)'
  makers=$(for file in Makefile .ci/run $SCRIPTS; do
    case $file in */lint*.sh) ;; *) [ ! -e "$file" ] || echo "$file" ;; esac
  done)
  # shellcheck disable=SC2086
  { grep -HnE -e "$flags" $makers /dev/null
    grep -HnE 'optimize.*(fast-math|Ofast)|FP_CONTRACT +ON' $SOURCES /dev/null; } |
    sed -E 's/^([^:]*:[0-9]+):.*/\1: lets the compiler change bits, expected no fast-math flag/'
}

note() { echo "lint: $1" >&2; }

check_linked() { # program libraries-it-must-not-need
  if [ ! -e "$1" ]; then note "$1 is not built, what it links is not checked"; return; fi
  readelf -d "$1" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' | grep -E "^lib($2)[._-]" |
    sed "s|.*|$1: links &, expected only in diffrl-hdf5|" || true
}

# libdiffrl, core + diffusion + policy without the doors to BLAS and MPI, links with cJSON, libm and
# libc alone.
check_library() {
  objects=
  for source in core/*.c core/*/*.c diffusion/*.c policy/*.c policy/*/*.c; do
    case $source in core/kernels/kernels_blas.c | core/ranks_mpi.c) continue ;; esac
    [ -e "$source" ] || continue
    object=$B/${source%.c}.o
    if [ ! -e "$object" ]; then note "$object is not built, libdiffrl is not checked"; return; fi
    objects="$objects $object"
  done
  echo 'int main(void) { return 0; }' >"$work/main.c"
  # shellcheck disable=SC2086
  "${CC:-cc}" -o "$work/main" "$work/main.c" $objects ${CJSON_DIR:+"-L$CJSON_DIR/lib"} -lcjson -lm \
    -pthread >"$work/link" 2>&1 && return
  sed -nE "s/(.*[ :])?([^ :]+:[^ :]+): undefined reference to .([^']*)'.*/\2 \3/p" "$work/link" |
    sed "s|^$PWD/||" | awk '!seen[$2]++ {
      print $1 ": libdiffrl needs " $2 ", expected only libc, libm, pthread and cJSON" }' |
    grep . || sed "s/^/$B: libdiffrl does not link, expected it to: /;q" "$work/link"
}

# shellcheck disable=SC2086
ctags -x --language-force=C --kinds-C=f --_xformat='%N %F %n %{end}' $SOURCES /dev/null \
  >"$work/functions"
{
  check_includes
  check_names
  check_functions
  check_files
  check_pages
  check_format
  check_calls
  check_ops
  check_fast_math
  check_linked $B/diffrl 'hdf5|curl|ssl|crypto'
  check_library
} >"$work/violations"
cat "$work/violations"
[ ! -s "$work/violations" ]
