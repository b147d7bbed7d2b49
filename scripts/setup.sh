#!/bin/sh
# setup.sh [lint|mpi|cross|fuzz|images] -- see that what building, testing (or lint, MPI=1, make
# test-cross, make fuzz, training on pictures) need is installed, on Debian 12.
#
# Silent when all is there.  Otherwise prints the apt line and runs it, through sudo when not root.
# With SETUP=no, or with neither root nor sudo, the line is printed and the status is 2.
# A dependency given as <NAME>_DIR=folder (with include/ and lib/) is not asked of apt.
set -eu

# package, the variable that replaces it, a header or program that shows it on other systems
needs() {
  cat <<'TABLE'
gcc                    -             gcc
make                   -             make
pkg-config             -             pkg-config
libc6-dev              -             stdio.h
libmujoco-dev          MUJOCO_DIR    mujoco/mujoco.h
libopenblas-serial-dev OPENBLAS_DIR  cblas.h
libcjson-dev           CJSON_DIR     cjson/cJSON.h
libhdf5-dev            HDF5_DIR      hdf5.h
libpng-dev             PNG_DIR       png.h
libjpeg-dev            JPEG_DIR      jpeglib.h
libgif-dev             GIF_DIR       gif_lib.h
zlib1g-dev             -             zlib.h
librandom123-dev       RANDOM123_DIR Random123/philox.h
libcmocka-dev          -             cmocka.h
TABLE
  [ "$1" != mpi ] || cat <<'TABLE'
libopenmpi-dev         MPI_DIR       mpicc
openmpi-bin            MPI_DIR       mpirun
TABLE
  [ "$1" != images ] || cat <<'TABLE'
dataset-fashion-mnist  -             /usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz
TABLE
  [ "$1" != lint ] || cat <<'TABLE'
clang-format           -             clang-format
universal-ctags        -             ctags
TABLE
  [ "$1" != fuzz ] || cat <<'TABLE'
clang                  -             clang
libclang-rt-14-dev     -             clang
TABLE
  [ "$1" != cross ] || cat <<'TABLE'
g++                    -             g++
clang                  -             clang
gcc-aarch64-linux-gnu  -             aarch64-linux-gnu-gcc
libc6-dev-arm64-cross  -             /usr/aarch64-linux-gnu/include/stdio.h
qemu-user              -             qemu-aarch64
libcjson-dev:arm64     -             /usr/lib/aarch64-linux-gnu/libcjson.so
libcmocka-dev:arm64    -             /usr/lib/aarch64-linux-gnu/libcmocka.so
TABLE
}

stop() { # message
  echo "setup: $1" >&2
  exit 2
}

is_debian() { command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; }

installed() { # package sign
  if is_debian; then
    case $1 in *:*) architecture=${1#*:} ;; *) architecture=$(dpkg --print-architecture) ;; esac
    dpkg-query -W -f '${db:Status-Status} ${Architecture}\n' "$1" 2>/dev/null |
      grep -qE "^installed ($architecture|all)\$"
    return
  fi
  case $2 in
  *.h) # shellcheck disable=SC2046  # lists of flags
    printf '#include <%s>\n' stdarg.h stddef.h setjmp.h "$2" |
      "${CC:-cc}" -E $(pkg-config --cflags hdf5 2>/dev/null) \
        $(pkg-config --cflags openblas 2>/dev/null) \
        $(pkg-config --cflags libpng 2>/dev/null) -o /dev/null - 2>/dev/null ;;
  /usr/share/* | /usr/lib/*) [ -e "$2" ] ;;
  *) command -v "$2" >/dev/null ;;
  esac
}

missing() { # what -> the packages not there, one line
  needs "$1" | while read -r package variable sign; do
    if [ "$variable" != - ]; then
      eval "given=\${$variable:-}"
      if [ -n "$given" ]; then
        [ -d "$given" ] || stop "$variable=$given is not a folder"
        continue
      fi
    fi
    installed "$package" "$sign" || printf '%s ' "$package"
  done
}

without_candidate() { # packages -> those that apt's lists do not offer
  for package; do
    case $(apt-cache policy "$package" 2>/dev/null | sed -n 's/^ *Candidate: *//p') in
    '' | '(none)') printf '%s ' "$package" ;;
    esac
  done
}

what=${1:-build}
case $what in
build | lint | mpi | cross | fuzz | images) ;;
*) stop "usage: scripts/setup.sh [lint|mpi|cross|fuzz|images]" ;;
esac

packages=$(missing "$what")
packages=${packages% }
[ -n "$packages" ] || exit 0

if ! is_debian; then
  stop "needed, by Debian's names: $packages
setup: install what your system calls these; MUJOCO_DIR=, OPENBLAS_DIR=, CJSON_DIR=, HDF5_DIR=,
setup: PNG_DIR=, JPEG_DIR=, GIF_DIR= and RANDOM123_DIR= may name folders with include/ and lib/
setup: instead"
fi

as_root=
if [ "$(id -u)" != 0 ]; then as_root='sudo '; fi
install="${as_root}apt-get install -y --no-install-recommends $packages"
# shellcheck disable=SC2086  # a list of names
if [ -n "$(without_candidate $packages)" ]; then install="${as_root}apt-get update && $install"; fi
foreign=
case $packages in *:arm64*)
  case " $(dpkg --print-architecture) $(dpkg --print-foreign-architectures) " in
  *[[:space:]]arm64[[:space:]]*) ;;
  *) foreign="dpkg --add-architecture arm64" install="$as_root$foreign && $install" ;;
  esac ;;
esac
echo "$install"

[ "${SETUP:-yes}" != no ] || stop "SETUP=no: run the line above, then again"
if [ -n "$as_root" ] && ! command -v sudo >/dev/null; then
  stop "not root, and no sudo: have the line above run, then again"
fi

# shellcheck disable=SC2086
apt() { ${as_root}env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@"; }

# shellcheck disable=SC2086
[ -z "$foreign" ] || $as_root$foreign
case $install in *'apt-get update'*) apt update || echo "setup: apt-get update failed" >&2 ;; esac
# shellcheck disable=SC2086
unknown=$(without_candidate $packages)
[ -z "$unknown" ] || stop "this system's archive does not offer: ${unknown% }
setup: Debian 12 does; elsewhere give <NAME>_DIR= (MUJOCO_DIR= for libmujoco-dev, and so on)"
# shellcheck disable=SC2086
apt install -y --no-install-recommends $packages ||
  { apt update && apt install -y --no-install-recommends $packages; } || # the lists were old
  stop "apt-get could not install: $packages"
