#!/bin/bash
# fuzz.sh SECONDS [NAME..] -- run the fuzzers of B=build/fuzz (make fuzz), two at a time, for so
# many seconds each.  They begin with tests/fuzz/NAME and with what earlier runs found, in
# B/corpus/NAME.
#
# Prints for each: runs, crashes, leaks, runs over one second, and the longest.  Any of these is a
# failure: what the fuzzer said of it is printed, and the bytes that show it are kept in
# B/found/NAME.  A crash or an endless loop inside the HDF5 library is counted apart, in B/hdf5s,
# and is none: diffrl-hdf5 is a process of its own, with a limit on its time, for that reason.
set -eu
cd "$(dirname "$0")/.."
B=${B:-build/fuzz}
seconds=${1:-60}
[ $# = 0 ] || shift
[ $# -gt 0 ] || set -- hdf5 policy images pictures checkpoint config json
TMPDIR=$(mktemp -d)
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 1' INT TERM
# what HDF5 does not free when a file is damaged ends with diffrl-hdf5
echo 'leak:libhdf5' >"$TMPDIR/leaks"
export LSAN_OPTIONS=suppressions=$TMPDIR/leaks:print_suppressions=0
export TMPDIR ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:handle_abort=1

stat() { # name log -> the sum of libFuzzer's statistic over its sittings
  awk -v name="stat::$1:" '$1 == name { sum += $2; if ($2 > most) most = $2 }
    END { print (name ~ /slowest/ ? most : sum) + 0 }' "$2"
}

# In every stack of the report (of the access, and of the allocation) HDF5 comes before our code.
is_hdf5s() { # log of one sitting
  awk '
    /^ *#0 / { known = 0 }
    /^ *#[0-9]+ / && !known && /libhdf5/ { hdf5s++; known = 1 }
    /^ *#[0-9]+ / && !known && /\/(core|datasets|tests)\/[^ ]*\.c:/ { ours++; known = 1 }
    END { exit !(hdf5s && !ours) }' "$1"
}

fuzz() { # name
  name=$1 found=$B/found/$1 log=$B/$1.log hdf5s=0 left=$seconds
  rm -rf "$found"
  mkdir -p "$found" "$B/corpus/$name"
  : >"$log"
  more= limit=10
  if [ "$name" = hdf5 ]; then
    more="tests/golden/hdf5 tests/golden/formats" limit=3
    ASAN_OPTIONS=$ASAN_OPTIONS:max_allocation_size_mb=1024 # as diffrl-hdf5 limits itself
  fi
  end=$(($(date +%s) + seconds))
  while [ "$left" -gt 0 ]; do
    "$B/tests/fuzz_$name" -max_total_time="$left" -timeout=$limit -report_slow_units=1 \
      -rss_limit_mb=4096 -print_final_stats=1 -verbosity=1 -artifact_prefix="$found/" \
      "$B/corpus/$name" "tests/fuzz/$name" $more >"$log.now" 2>&1 </dev/null && left=0 || {
      left=$((end - $(date +%s)))
      crash=$(sed -n 's/^artifact_prefix=.*Test unit written to //p' "$log.now" | tail -n 1)
      if is_hdf5s "$log.now" && [ -n "$crash" ]; then
        hdf5s=$((hdf5s + 1))
        mkdir -p "$B/hdf5s"
        mv "$crash" "$B/hdf5s/"
      else
        left=0
        grep -E 'ERROR|runtime error|SUMMARY|^ *#[0-9]+ 0x' "$log.now" >&2
      fi
    }
    cat "$log.now" >>"$log"
  done
  rm -f "$log.now"
  slow=$(find "$found" -name 'slow-unit-*' -o -name 'timeout-*' | wc -l)
  leaks=$(find "$found" -name 'leak-*' | wc -l)
  crashes=$(find "$found" -name 'crash-*' -o -name 'oom-*' | wc -l)
  echo "fuzz: $name: $(stat number_of_executed_units "$log") runs, $crashes crashes," \
    "$leaks leaks, $slow over 1 s (longest $(stat slowest_unit_time_sec "$log") s)$(
      [ "$name" != hdf5 ] || echo ", $hdf5s in HDF5 itself")"
  [ "$((slow + leaks + crashes))" = 0 ] || {
    echo "fuzz: $name: see $log; to repeat: $B/tests/fuzz_$name $found/*" >&2
    return 1
  }
}

failed=0
while [ $# -gt 0 ]; do
  fuzz "$1" &
  first=$!
  if [ $# -gt 1 ]; then
    fuzz "$2" || failed=1
    shift
  fi
  wait $first || failed=1
  shift
done
exit $failed
