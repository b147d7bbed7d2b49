#!/bin/sh
# bits.sh -- the same numbers as before: trains every algorithm for 30 steps on small data, with one
# thread and with three, and compares sha256 sums with the committed list tests/bits.txt.
#
#   tests/bits.sh            compare; status 1 if a sum differs or an algorithm has no line
#   tests/bits.sh --record   write the list anew; a commit that does so says in its body why
#
# A line of the list: a name, then the first 16 digits of the sums of last.safetensors, of the
# numbers in it (the file without its header, so without settings), and of eval.jsonl.  The lines
# that begin with "0.1/" are files of release 0.1 (tests/golden/0.1): of what they do and sample.
#
# The promise of equal bits is for one binary (docs/design.md, section 6).  With another compiler,
# mathematics library or simulator than the list names, and in MODE=double, only the thread counts
# are compared with each other.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."
root=$PWD list=$PWD/tests/bits.txt mode=${MODE:-release}
diffrl=$root/build/$mode/diffrl
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
export XDG_CACHE_HOME="$work/cache"

# --- small data -----------------------------------------------------------------------------------

cd "$work" # names of data are in the files
"$diffrl" data make hopper-medium --transitions 3000 --out hopper.hdf5 >log 2>&1

idx() { # magic dimensions bytes-as-an-awk-expression-of-i count
  # shellcheck disable=SC2059  # octal numbers
  { printf "$1"; for n in $2; do printf "\\$(printf '%03o' $((n / 256)))\\$(printf '%03o' \
    $((n % 256)))" | sed '1s/^/\x00\x00/'; done
    awk -v n="$4" "BEGIN { for (i = 0; i < n; i++) printf \"%c\", int($3) % 256 }"; }
}
mkdir pictures
for part in train t10k; do
  idx '\000\000\010\003' '64 12 12' '64 * (1 + sin(i / 7)) + (i * i) % 127' 9216 \
    >"pictures/$part-images-idx3-ubyte"
  idx '\000\000\010\001' '64' 'i % 4' 64 >"pictures/$part-labels-idx1-ubyte"
done

# --- the runs: name, algorithm, arguments ---------------------------------------------------------

cases() {
  file="--data hopper.hdf5" small="--set hidden=32 --set eval_every=15"
  hopper="$file --env hopper-v2 --set eval_episodes=2"
  unet="--set hidden=16 --set groups=4 --set batch=16 --set group=8 --set lane=4"
  plans="$unet --set mults=1,2 --set horizon=16 --set eval_plans=4 --set eval_every=15"
  pictures="--data pictures $unet --set size=16 --set mults=1,2 --set blocks=1 \
    --set eval_images=16 --set grid=1 --set scores=0 --set eval_every=15"
  points="--set hidden=16 --set eval_points=128 --set pictures=false --set eval_every=15"
  tuned="--set reward=near:0,0 --set also=linear:1,0 --set samples=64 --set sample_steps=5 \
    --set batch=80 --set eval_samples=32 --set eval_every=15"
  online="--env hopper-v2 --set envs=4 --set decisions=8 --set batch=32 --set value_hidden=32 \
    --set eval_episodes=2 --set eval_every=15"
  cat <<END
diffusion-ql diffusion-ql $hopper --set eval_every=15
diffusion-ql/small diffusion-ql $hopper $small --set eta_from=15 --set candidates=4
diffusion-ql/held-out diffusion-ql $file --env none $small --set normalize_obs=true \
  --set max_q_backup=true --set reward=standard --set weights=ema --set ema_start=10
diffusion-ql/steps diffusion-ql $hopper $small --set nstep=3 --set candidates=4
diffusion-ql/average diffusion-ql $hopper $small --set choice=average --set candidates=4 \
  --set critics=4 --set value=lower --set layernorm=after
diffusion-ql/chunk diffusion-ql $hopper $small --set chunk=4 --set obs_steps=2 --set candidates=4
diffusion-bc diffusion-bc $hopper --set eval_every=15
diffusion-bc/held-out diffusion-bc $file --env none $small --set schedule=vp-sde \
  --set sampler=dpmpp_2m --set predicts=x0 --set weights=ema --set ema_start=10
bc bc $hopper --set eval_every=15
bc/gaussian bc $file --env none $small --set policy=gaussian --set normalize_obs=true
bc-10 bc-10 $hopper $small
td3-bc td3-bc $hopper $small --set normalize_obs=true
iql iql $hopper $small --set reward=return-range
qgpo qgpo $hopper $small --set support=4 --set sample_steps=3
idql idql $hopper $small --set candidates=4
idql/chunk idql $hopper $small --set chunk=4 --set obs_steps=2 --set candidates=4 \
  --set choice=softmax --set weights=online
ifql ifql $hopper $small --set candidates=4 --set nstep=3
fql fql $hopper $small
fql/chunk fql $hopper $small --set chunk=4 --set obs_steps=2 --set normalize_q=true
rebrac rebrac $hopper $small --set nstep=3
cql cql $hopper $small --set proposals=4
edac edac $hopper $small --set critics=4
td3 td3 --env hopper-v2 --set eval_episodes=2 --set random_steps=300 --set eval_every=15
sac sac --env hopper-v2 --set eval_episodes=2 --set random_steps=300 --set eval_every=15
diffuser diffuser $file --env hopper-v2 $plans
diffuser/held-out diffuser $file --env none $plans --set pad=false --set attention=true \
  --set predicts=eps --set sampler=ddim --set sample_steps=5 --set conv=direct
image image $pictures
image/plain image $pictures --set labels=false --set conv=direct --set predicts=eps \
  --set schedule=cosine --set sampler=ddim --set sample_steps=5
image/dit image --data pictures --set net=dit --set hidden=16 --set blocks=2 --set size=16 \
  --set flip=0.5 --set batch=16 --set group=8 --set lane=4 --set eval_images=16 --set grid=1 \
  --set scores=0 --set eval_every=15
classifier classifier --data pictures --set size=16 --set hidden=8 --set levels=2 --set batch=16 \
  --set group=8 --set lane=4 --set eval_every=15
toy toy --data moons $points
toy/edm toy --data gmm $points --set net=mlp --set predicts=edm --set schedule=edm \
  --set time=log-sigma
toy/student toy --data moons $points --preset student --init runs/toy-THREADS/last.safetensors
world-diffusion world-diffusion $file --env none --set hidden=32 --set batch=32 --set group=8 \
  --set lane=4 --set eval_every=15 --set eval_windows=16
ddpo ddpo --init runs/toy-THREADS/last.safetensors $tuned
ddpo-sf ddpo-sf --init runs/toy-THREADS/last.safetensors $tuned --set passes=2
flow-grpo flow-grpo --init runs/toy-THREADS/last.safetensors $tuned
flow-grpo/window flow-grpo --init runs/toy-THREADS/last.safetensors $tuned --set window=2 \
  --set window_every=1 --set guard=true --set beta=0
flow-grpo/mask flow-grpo --init runs/toy-THREADS/last.safetensors $tuned --set trust=mask \
  --set mask=1e-3 --set passes=2
awm awm --init runs/toy-THREADS/last.safetensors $tuned --set beta=0.1 --set passes=2
nft nft --init runs/toy-THREADS/last.safetensors $tuned --set sampler=dpmpp_2m --set eta=0 \
  --set times=logit-normal
dpok dpok --init runs/toy-THREADS/last.safetensors $tuned --set passes=2
diffusion-dpo diffusion-dpo --init runs/toy-THREADS/last.safetensors $tuned --set levels=5
draft draft --init runs/toy-THREADS/last.safetensors $tuned --set last=2
draft/copies draft --init runs/toy-THREADS/last.safetensors $tuned --set copies=3
refl refl --init runs/toy-THREADS/last.safetensors $tuned --set passes=2
rwr rwr --init runs/toy-THREADS/last.safetensors $tuned --set levels=5
rwr/sparse rwr --init runs/toy-THREADS/last.safetensors $tuned --set form=sparse \
  --set draws=reference --set sampler=dpmpp_2m --set eta=0
diffusion-bc/flow diffusion-bc $hopper $small --set schedule=flow --set predicts=velocity \
  --set sampler=euler --set sample_steps=4
dppo dppo --init runs/diffusion-bc-THREADS $online
dppo/last-steps dppo --init runs/diffusion-bc-THREADS $online --set finetune_steps=2 \
  --set clip_base=0.001
fpo fpo --init runs/diffusion-bc-THREADS $online --set passes=10
fpo/each fpo --init runs/diffusion-bc/flow-THREADS $online --set form=fpo++ --set levels=3
reinflow reinflow --init runs/diffusion-bc/flow-THREADS $online --set passes=10
fpo/lora fpo --init runs/diffusion-bc-THREADS $online --set lora=2
dppo/chunk dppo --init runs/diffusion-ql/chunk-THREADS $online --set value_first=1
END
}

digits() { sha256sum | cut -c 1-16; }
numbers() { # of a safetensors file: what is behind the header and its length
  header=$(od -An -v -tu4 -N4 "$1" | tr -d ' ')
  tail -c +$((9 + header)) "$1"
}

failed=0
fail() { echo "bits: $1" >&2; failed=1; }

train() { # threads name algorithm arguments -> the line without its name
  threads=$1 run=runs/$2-$1 algo=$3
  shift 3
  "$diffrl" train "$algo" "$@" --steps 30 --threads "$threads" --out "$run" \
    >log 2>&1 || { cat log >&2; echo "bits: $run does not train" >&2; return 1; }
  echo "$(digits <"$run/last.safetensors") $(numbers "$run/last.safetensors" | digits)" \
    "$(digits <"$run/eval.jsonl")"
}

cases | while read -r name algo arguments; do
  # shellcheck disable=SC2086,SC2046  # words
  one=$(train 1 "$name" "$algo" $(echo "$arguments" | sed 's/THREADS/1/'))
  three=$(train 3 "$name" "$algo" $(echo "$arguments" | sed 's/THREADS/3/'))
  [ "$one" = "$three" ] || fail "$name: three threads give other bits than one"
  echo "$name $one"
  [ $failed = 0 ] || exit 1
done >found || exit 1

# --- files of release 0.1 -------------------------------------------------------------------------

states() { # of 11 numbers, and an episode that begins anew
  awk 'BEGIN { for (i = 0; i < 40; i++) { for (j = 0; j < 11; j++)
    printf "%s%.6f", j ? " " : "", sin(0.7 * i + j) * (j < 5 ? 0.2 : 1); print "";
    if (i == 19) print "" } }'
}
states >states
for file in "$root"/tests/golden/0.1/*.safetensors; do
  name=$(basename "$file" .safetensors)
  case $name in
  toy* | image*) "$diffrl" sample "$file" --count 8 --out made.npy >log 2>&1 ;;
  *) "$diffrl" act "$file" <states >made.npy 2>log ;;
  esac || { cat log >&2; fail "$file does not load"; break; }
  echo "0.1/$name $(digits <made.npy)"
done >>found
[ $failed = 0 ] || exit 1

# --- the list -------------------------------------------------------------------------------------

made_with() {
  echo "# $("${CC:-cc}" --version | sed 's,^[^ ]* ,,;q'); $(getconf GNU_LIBC_VERSION);" \
    "$("$diffrl" doctor --json | sed -n 's/.*"found":"\(mujoco [0-9.]*\).*/\1/p')"
}
for algo in $("$diffrl" list algos --json | grep -o '"name":"[^"]*"' | cut -d '"' -f 4); do
  grep -q "^$algo " found || fail "$algo has no run here; add one to tests/bits.sh"
done
if [ "${1:-}" = --record ]; then
  { made_with; cat found; } >"$list"
elif [ "$mode" = double ] || [ "$(head -n 1 "$list")" != "$(made_with)" ]; then
  echo "bits: other programs than in tests/bits.txt, so only threads were compared"
else
  tail -n +2 "$list" | diff - found >difference ||
    fail "other bits than tests/bits.txt; < before, > now:
$(cat difference)"
fi
[ $failed = 1 ] || echo "bits: $(wc -l <found) lines as in tests/bits.txt"
exit $failed
