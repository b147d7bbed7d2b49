#!/bin/sh
# demo.sh -- the main job on real data, from nothing to a return: makes hopper-medium, clones it,
# trains Diffusion-QL with the quick preset, evaluates, and prints a table.  Run by `make demo`.
set -eu
diffrl=${DIFFRL:-build/release/diffrl}
out=${OUT:-runs/demo}
seed=${SEED:-0}
episodes=${EPISODES:-20}
rows=${ROWS:-500000}

if [ -e "$out" ]; then
  echo "demo: $out is there already; remove it, or give OUT=another folder" >&2
  exit 2
fi
mkdir -p "$out"
began=$(date +%s)

# number NAME: the value of a member in the JSON object on stdin
number() { sed -n "s/.*\"$1\":\\([-0-9.eE+]*\\).*/\\1/p" | head -n 1; }
figure() { # WIDTH JSON NAME: a number, or a dash where the command gave none
  value=$(echo "$2" | number "$3")
  if [ -n "$value" ]; then printf " %$1.1f" "$value"; else printf " %$1s" -; fi
}
row() { # LABEL JSON
  printf '%-44s' "$1"
  figure 9 "$2" return_mean
  figure 8 "$2" return_std
  figure 11 "$2" normalized_mean
  echo
}
train() { # ALGO FOLDER
  "$diffrl" train "$1" --data "$data" --env hopper-v2 --preset quick --seed "$seed" --out "$2"
}
evaluate() {
  "$diffrl" eval "$@" --episodes "$episodes" --json 2>>"$out/eval.log" || {
    tail -n 1 "$out/eval.log" >&2
    : >"$out/failed"
  }
}

echo "1. a data set: $rows steps of a half-trained hopper"
data=$out/hopper-medium.hdf5
"$diffrl" data make hopper-medium --out "$data" --transitions "$rows"
made=$("$diffrl" data inspect "$data" --env hopper-v2 --json)

echo "2. cloning it: diffusion-bc"
train diffusion-bc "$out/bc"

echo "3. improving on it: diffusion-ql"
trained=$(date +%s)
train diffusion-ql "$out/ql"
trained=$(($(date +%s) - trained))

echo "4. $episodes episodes each"
{
  echo
  printf '%-44s %9s %8s %11s\n' "hopper-v2, $episodes episodes, seed $seed" return std normalised
  row "the data set" "$made"
  row "its behaviour policy, mean action" \
    "$(evaluate rl/behaviour/hopper-medium.safetensors --env hopper-v2 --act choice=mean)"
  row "diffusion-bc" "$(evaluate "$out/bc")"
  row "diffusion-ql, last, 50 candidates" "$(evaluate "$out/ql")"
  row "diffusion-ql, last, 1 candidate" \
    "$(evaluate "$out/ql" --act candidates=1 --act choice=sample)"
  row "diffusion-ql, best, 50 candidates" "$(evaluate "$out/ql" --which best)"
  echo
  echo "Generated data: not comparable with published D4RL scores."
} | tee "$out/table.txt"
"$diffrl" report "$out/ql" "$out/bc" --out "$out/report.html" >/dev/null
if [ -e "$out/failed" ]; then
  echo "demo: an evaluation failed; see $out/eval.log" >&2
  exit 1
fi
echo "Report: $out/report.html"
echo "$(($(date +%s) - began)) s in all, of which diffusion-ql took $trained s"
