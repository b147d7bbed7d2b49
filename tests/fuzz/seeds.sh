#!/bin/bash
# seeds.sh -- how the files in tests/fuzz/NAME were made, with the built program; those named by 40
# digits were found by make fuzz and chosen by coverage, the small ones:
#   build/fuzz/tests/fuzz_NAME -merge=1 tests/fuzz/NAME build/fuzz/corpus/NAME
# For HDF5 the files of tests/golden/hdf5 are seeds too.
set -eu
cd "$(dirname "$0")"
seeds=$PWD golden=$PWD/../golden diffrl=$PWD/../../build/${MODE:-release}/diffrl
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
export XDG_CACHE_HOME="$work/cache"
mkdir -p checkpoint config hdf5 images json pictures policy

# --- policies, and a checkpoint with all that training needs --------------------------------------

policy() { # name algorithm settings
  name=$1 algo=$2
  shift 2
  "$diffrl" train "$algo" --data "$golden/hdf5/d4rl_v2.hdf5" --env none --steps 1 --threads 1 \
    --set hidden=8 "$@" --out "$work/$name" >"$work/log" 2>&1
  "$diffrl" export "$work/$name" --out "$work/made-$name" >>"$work/log"
  cp "$work/made-$name/policy.safetensors" "policy/$name"
}
policy bc bc
policy gaussian bc --set policy=gaussian --set obs_steps=2 --set normalize_obs=true
policy diffusion-bc diffusion-bc --set chunk=2 --set diffusion_steps=3
policy diffusion-ql diffusion-ql --set candidates=2 --set diffusion_steps=3
policy diffuser diffuser --set mults=1 --set horizon=8 --set diffusion_steps=3
cp policy/bc checkpoint/policy
cp "$golden/reference.safetensors" checkpoint/reference

# --- settings and JSON ----------------------------------------------------------------------------

sed 's|"data":"[^"]*/|"data":"|' "$work/bc/config.json" >json/config # no path of this machine
printf '{"a":[1,-2.5e300,true,null,{"b":"\\u00e9\\n\\ud83d\\ude00"}],"c":{}}' >json/mixed
printf 'batch=1 eta=0.5 clip=true kind=linear note=x' >config/pairs
printf '{"batch":65536,"eta":1e3,"clip":false,"kind":"vp","note":"%s"}' "$(printf '%060d' 1)" \
  >config/object

# --- pictures: lengths of three files, then four files --------------------------------------------

pictures() { printf '\0\0\010\003\0\0\0\002\0\0\0\003\0\0\0\002abcdefghijkl'; } # 2 of 3 x 2
labels() { printf '\0\0\010\001\0\0\0\002\0\001'; }
joined() { # files
  for file in "$1" "$2" "$3"; do
    length=$(stat -c %s "$file")
    # shellcheck disable=SC2059  # octal numbers
    printf "$(printf '\\%03o\\%03o' $((length % 256)) $((length / 256)))"
  done
  cat "$@"
}
cd "$work"
pictures >p
labels >l
gzip -n <p >p.gz
gzip -n <l >l.gz
joined p l p l >"$seeds/images/plain"
joined p.gz l.gz p.gz l.gz >"$seeds/images/gzip"

# --- PNG (after an even byte) and JPEG (after an odd one) -----------------------------------------

for name in grey colour progressive cmyk; do
  { printf '\1' && cat "$golden/jpeg/$name.jpg"; } >"$seeds/pictures/$name"
done
mkdir grey colour
cp "$golden/jpeg/grey.jpg" grey/0.jpg
cp "$golden/jpeg/grey.jpg" grey/1.jpg
cp "$golden/jpeg/colour.jpg" colour/0.jpg
cp "$golden/jpeg/colour.jpg" colour/1.jpg
for name in grey colour; do
  "$diffrl" train image --data "$work/$name" --steps 1 --threads 1 --set resize=4 --set size=4 \
    --set hidden=8 --set mults=1 --set blocks=1 --set batch=2 --set group=2 --set lane=2 \
    --set grid=0 --set scores=0 --set eval_images=1 --set sample_steps=1 \
    --out "$work/$name-run" >>"$work/log" 2>&1
  "$diffrl" sample "$work/$name-run" --count 1 --out "$work/$name.png" >>"$work/log" 2>&1
  { printf '\0' && cat "$work/$name.png"; } >"$seeds/pictures/png-$name"
done
