#!/bin/sh
# installed.sh -- the library as its users have it: installed, found by pkg-config, linked by C99
# and C++11 programs, showing no name but diffrl_*; what docs/embedding.md shows is what happens.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

failed() { # what
  echo "installed: $1" >&2
  exit 1
}

usr=$folder/usr page=docs/embedding.md
"${MAKE:-make}" -s MODE="${MODE:-release}" install-lib DESTDIR="$folder" PREFIX=/usr
diffrl() { # what pkg-config says
  PKG_CONFIG_PATH=$usr/lib/pkgconfig pkg-config --define-variable=prefix="$usr" "$@" diffrl
}

# --- names ----------------------------------------------------------------------------------------

declared=$(sed -nE 's/^DIFFRL_API .*[ *](diffrl_[a-z_]+)\(.*/\1/p' policy/diffrl.h | sort)
for library in "-D $usr/lib/libdiffrl.so" "-g $usr/lib/libdiffrl.a"; do
  # shellcheck disable=SC2086  # an option and a file
  seen=$(nm --defined-only $library | awk 'NF == 3 && $3 !~ /^__?(asan|odr_asan|sanitizer)/ {
    print $3 }' | sort)
  [ "$seen" = "$declared" ] || failed "$library shows $seen; expected what diffrl.h declares"
done
readelf -d "$usr/lib/libdiffrl.so" | grep -q 'soname: \[libdiffrl.so.0\]' || failed 'another soname'
needed=$(readelf -d "$usr/lib/libdiffrl.so" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' |
  grep -vE '^lib(c|m|pthread|cjson|gcc_s|asan|ubsan|tsan)\.so|^ld-linux' || true)
[ -z "$needed" ] || failed "libdiffrl.so needs $needed; expected libc, libm, pthread and cJSON"

# --- hardening ------------------------------------------------------------------------------------

case ${MODE:-release} in release | double)
  for binary in build/"${MODE:-release}"/diffrl build/"${MODE:-release}"/diffrl-hdf5 \
    "$usr/lib/libdiffrl.so"; do
    readelf -dW "$binary" | grep -q 'FLAGS.*NOW' || failed "$binary: expected BIND_NOW"
    readelf -lW "$binary" | grep -q GNU_RELRO || failed "$binary: expected RELRO"
    nm -D "$binary" | grep -q __stack_chk_fail || failed "$binary: expected a stack protector"
    nm -D "$binary" | grep -q '_chk@' || failed "$binary: expected _FORTIFY_SOURCE"
  done ;;
esac

# --- the examples ---------------------------------------------------------------------------------

block() { # language number -> that block of the page
  awk -v fence="\`\`\`$1" -v number="$2" '$0 == fence && ++seen == number { inside = 1; next }
    inside && $0 == "```" { exit }
    inside' $page
}

# --- the command of the page ----------------------------------------------------------------------

# what it builds starts from any folder, without a word to the loader
command=$(sed -n '/^cc -o/,/^```/p' $page | sed '$d')
cp docs/examples/control_loop.c "$folder"
sed -i "s|^prefix=.*|prefix=$usr|" "$usr/lib/pkgconfig/diffrl.pc"
(cd "$folder" && PKG_CONFIG_PATH=$usr/lib/pkgconfig CFLAGS='' sh -ec "${command:-false}") ||
  failed "the command of $page does not build: $command"
if [ -z "${SAN:-}" ]; then
  "$folder/control_loop" rl/behaviour/hopper-expert.safetensors >/dev/null ||
    failed "what the command of $page builds does not start"
fi

strict='-Wall -Wextra -pedantic -Werror -O2'
# shellcheck disable=SC2046,SC2086  # lists of flags
check_example() { # number, example, its arguments, compiler and standard, other flags
  source=docs/examples/$2.c
  block c "$1" | cmp -s - "$source" || failed "$page does not show $source"
  block text "$1" >"$folder/expected"
  $4 $strict ${SAN:+-fsanitize=$SAN} $(diffrl --cflags) -o "$folder/shared" "$source" \
    ${5:-} $(diffrl --libs) -lm "-Wl,-rpath,$(diffrl --variable=libdir)"
  $4 $strict ${SAN:+-fsanitize=$SAN} $(diffrl --cflags) -o "$folder/static" "$source" \
    ${5:-} $(diffrl --static --libs | sed "s|-ldiffrl|$usr/lib/libdiffrl.a|")
  for linked in shared static; do
    "$folder/$linked" $3 >"$folder/printed"
    cmp -s "$folder/printed" "$folder/expected" ||
      failed "$2, $4, $linked: $page says otherwise: $(diff "$folder/expected" "$folder/printed")"
  done
}
check_examples() { # compiler and standard, other flags
  check_example 1 control_loop rl/behaviour/hopper-expert.safetensors "$@"
  check_example 2 custom_denoiser '' "$@"
}
check_examples "${CC:-gcc} -std=c99"
if command -v g++ >/dev/null; then
  check_examples 'g++ -std=c++11 -x c++' '-x none'
  echo 'installed: C99 and C++11 programs run'
else
  echo 'installed: C99 programs run; no g++ here, C++11 is not tried'
fi
