#!/bin/bash
# commands.sh DIFFRL ROBOT.hdf5 [PAGE] -- run every block of commands in README.md and docs/*.md,
# word for word, page by page in a new folder with small data.  Status 1 if any ends with an error.
#
# A block is indented by four or fenced, without a language or as sh, and its first word is a
# command.  What would take long is shortened by the programs below, which come first in PATH:
#
#   diffrl    train: --steps is 2 (or appended), and small settings; data make: 2000 transitions,
#             over a file that is there, made once for the same words; eval: 1 episode, or 16
#             pictures; sample: 8 at most; everything else as it is written
#   make      says whether the targets exist; install-lib installs, below the page's folder
#   mpirun    runs the program once, without MPI;  scripts/setup.sh installs nothing
#   open      says whether the file is there
set -eu
diffrl=$(realpath "$1") robot=$(realpath "$2")
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
export DIFFRL_REAL=$diffrl DIFFRL_ROOT=$root DIFFRL_MADE=$work/made
export XDG_CACHE_HOME=$work/xdg/cache XDG_DATA_HOME=$work/xdg/data
mkdir "$work/bin" "$work/small" "$DIFFRL_MADE"

# --- the programs that shorten --------------------------------------------------------------------

program() { # name, text on stdin
  { echo '#!/bin/bash'; echo 'set -eu'; cat; } >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}

program diffrl <<'END'
words=() option= given= out=
for word; do
  case $option in
  --steps) case $1 in train | finetune) word=2 ;; esac ;;
  --transitions) word=2000 ;;
  --episodes) word=1 ;;
  --count) word=8 ;;
  --out) out=$word ;;
  esac
  given="$given $word"
  option=$word
  words+=("$word")
done
has() { case "$given " in *" $1 "*) return 0 ;; esac; return 1; }
append() { has "$1" || words+=("$@"); }
case "${1:-} ${2:-}" in
'train --resume') append --steps 2 ;;
'train image') append --steps 2 --set hidden=8 --set groups=4 --set eval_images=8 --set grid=1 \
  --set scores=0 --set batch=8 --set group=8 --set lane=8 ;;
finetune*)
  append --steps 1
  words+=(--set samples=4 --set sample_steps=2 --set batch=4 --set eval_samples=4 --set grid=1) ;;
'train classifier') append --steps 2 --set eval_images=64 ;;
'train toy') append --steps 2 --set eval_points=64 --set pictures=false ;;
'train diffuser') append --steps 2 --set hidden=8 --set eval_plans=2 ;;
'train sac' | 'train td3') append --steps 2 --set eval_episodes=1 --set random_steps=500 ;;
'train '*)
  append --steps 2
  case $2 in diffusion*) words+=(--set hidden=32 --set ema_start=0 --set ema_every=1) ;;
  esac
  has none || has robot.hdf5 || words+=(--set eval_episodes=1) ;;
'data make')
  append --transitions 2000
  [ -n "$out" ] || rm -rf "${XDG_DATA_HOME:?}"
  if [ -n "$out" ]; then
    made=$DIFFRL_MADE/$(echo "${words[@]}" | cksum | tr -d ' ')
    rm -f "$out"
    [ -e "$made" ] || "$DIFFRL_REAL" "${words[@]}"
    [ -e "$made" ] || mv "$out" "$made"
    exec cp "$made" "$out"
  fi ;;
'eval runs/image'*) append --pictures 16 ;;
eval*) append --episodes 1 ;;
esac
exec "$DIFFRL_REAL" "${words[@]}"
END

program make <<'END'
for word; do
  case $word in
  install-lib) exec env -u MAKEFLAGS /usr/bin/make -s -C "$DIFFRL_ROOT" "$@" PREFIX="$PAGE/usr" ;;
  -* | *=*) continue ;;
  esac
  grep -q "^$word:" "$DIFFRL_ROOT/Makefile" || { echo "no target $word"; exit 2; }
done
END

program mpirun <<'END'
while [ "${1#-}" != "$1" ]; do shift 2; done
shift
exec diffrl "$@"
END

program open <<'END'
[ -s "$1" ]
END

# --- small data -----------------------------------------------------------------------------------

cd "$work/small"
"$work/bin/diffrl" data make hopper-medium --out hopper-medium.hdf5 >/dev/null 2>&1
cp hopper-medium.hdf5 walk.hdf5
cp "$robot" robot.hdf5
cp "$root"/docs/examples/*.c "$root"/rl/reward/reward_plugin.h .
printf '%s\n' '1.2 0 0 0 0 0 0 0 0 0 0' '1.2 0 .1 0 0 0 0 0 0 0 0' >observations.txt
mkdir scripts
cat >scripts/setup.sh <<'END'
#!/bin/sh
case ${1:-} in '' | lint | mpi | cross | fuzz | images) exit 0 ;; esac
exit 2
END
chmod +x scripts/setup.sh

# --- the blocks: PAGE.LINE, a file each -----------------------------------------------------------

blocks() { # page -> $work/blocks/LINE.sh
  awk -v folder="$work/blocks" '
    function finish() {
      if (text != "" && word ~ /^(diffrl|make|cc|cd|cp|echo|export|mpirun|open|scripts\/[a-z.]+)$/)
        printf "%s", text >(folder "/" sprintf("%04d", begin) ".sh")
      text = ""; inside = 0
    }
    function add(line) {
      if (text == "") { begin = NR; split(line, words, /[ \t]+/); word = words[1] }
      text = text line "\n"
    }
    /^ *```/ { if (fence) { finish(); fence = 0 } else { finish(); fence = 1; language = $0
               sub(/^ *```/, "", language) } next }
    fence { if (language == "" || language == "sh") add($0); next }
    /^    [^ ]/ && (empty || inside) { inside = 1; add(substr($0, 5)); next }
    inside && /^     / { add(substr($0, 5)); next }
    /^ *$/ { empty = 1; if (inside) add(""); next }
    { if (inside) finish(); empty = 0 }
    END { finish() }' "$1"
}

failed=0 count=0 clothes=/usr/share/datasets/fashion-mnist
for page in "$root/README.md" "$root"/docs/*.md; do
  name=$(basename "$page" .md)
  [ $# = 2 ] || [ "$name" = "$3" ] || continue
  # both learn from pictures that are not in this repository
  case $name in image | classifier) pictures=yes ;; *) pictures= ;; esac
  if [ $pictures ] && { [ -z "${DIFFRL_SOAK:-}" ] || [ ! -e "$clothes" ]; }; then
    echo "commands: docs/$name.md is not tried: needs DIFFRL_SOAK=1 and scripts/setup.sh images"
    continue
  fi
  rm -rf "$work/blocks" "$XDG_DATA_HOME"
  mkdir -p "$work/blocks" "$XDG_DATA_HOME/diffrl"
  for set in hopper-medium hopper-medium-expert; do
    cp "$work/small/hopper-medium.hdf5" "$XDG_DATA_HOME/diffrl/$set-v1.hdf5"
  done
  cp -r "$work/small" "$work/page"
  export PAGE=$work/page PKG_CONFIG_PATH=$work/page/usr/lib/pkgconfig
  blocks "$page"
  # begins where diffusion-ql.md ends
  [ "$name" != embedding ] || (cd "$PAGE" && PATH=$work/bin:$PATH &&
    diffrl train diffusion-ql --data hopper-medium) >"$work/log" 2>&1
  for block in "$work/blocks"/*.sh; do
    [ -e "$block" ] || continue
    count=$((count + 1))
    (cd "$PAGE" && PATH=$work/bin:$PATH bash -eu "$block" </dev/null) >"$work/log" 2>&1 || {
      failed=1
      echo "commands: ${page#"$root"/}:$((10#$(basename "$block" .sh))):" >&2
      cat "$block" >&2
      tail -n 4 "$work/log" | cut -c 1-300 >&2
    }
  done
  rm -rf "$PAGE"
done
[ $failed = 1 ] || echo "commands: $count blocks of the pages run"
exit $failed
