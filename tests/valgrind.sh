#!/bin/bash
# valgrind.sh -- train, resume, eval, act, inspect and every kind of fine-tuning under valgrind, on
# tiny runs with two threads.  B=build/release (make valgrind) is the program as it is installed.
#
# Prints a line for each command: its errors, and bytes that are definitely lost.  Either is a
# failure.  A minute; valgrind knows AVX2, so the kernels of AVX-512 do not run here.
set -eu
cd "$(dirname "$0")/.."
diffrl=$(realpath "${B:-build/release}/diffrl")
command -v valgrind >/dev/null ||
  { echo "valgrind.sh: valgrind is not installed; try apt-get install valgrind" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
export XDG_CACHE_HOME=$work/cache XDG_DATA_HOME=$work/data
cd "$work"
"$diffrl" data make hopper-medium --out hopper.hdf5 --transitions 2000 >log 2>&1
printf '%s\n' '1.2 0 0 0 0 0 0 0 0 0 0' '1.2 0 .1 0 0 0 0 0 0 0 0' >observations

failed=0
check() { # name words.. -> `diffrl words..`, which must be clean
  name=$1
  shift
  status=0
  valgrind --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
    --log-file="$name.valgrind" "$diffrl" "$@" >log 2>&1 <observations || status=$?
  echo "valgrind: $name: $(sed -n 's/.*ERROR SUMMARY: \([0-9]* errors\).*/\1/p' "$name.valgrind")"
  [ $status = 0 ] || { failed=1; cat "$name.valgrind" log >&2; }
}

small=(--set hidden=16 --set batch=16 --set group=8 --set eval_episodes=1 --threads 2)
acting=(--env hopper-v2 --steps 4 --set batch=16 --set group=8 --set eval_episodes=1 --set envs=3
  --set decisions=8 --set passes=1 --set value_hidden=16 --threads 2)
pictures=(--steps 1 --set samples=4 --set sample_steps=2 --set batch=4 --set eval_samples=2)
check train train diffusion-ql --data hopper.hdf5 --env hopper-v2 --steps 20 "${small[@]}" \
  --set diffusion_steps=3 --set eval_every=10 --out ql
check resume train --resume ql --steps 30
check eval eval ql --episodes 2 --threads 2
check act act ql
check inspect inspect ql
check dppo train dppo --init ql "${acting[@]}" --out dppo
check fpo train fpo --init ql "${acting[@]}" --out fpo
check flow train diffusion-bc --data hopper.hdf5 --env hopper-v2 --steps 10 "${small[@]}" \
  --set schedule=flow --set predicts=velocity --set sampler=euler --set sample_steps=4 --out flow
check reinflow train reinflow --init flow "${acting[@]}" --out reinflow
check toy train toy --data moons --steps 4 --set net=mlp --set hidden=8 --set batch=16 \
  --set group=8 --set eval_points=64 --set pictures=false --out toy
check finetune finetune toy --reward linear:1,0.5 --algo ddpo "${pictures[@]}" --set grid=0 \
  --out tuned
exit $failed
