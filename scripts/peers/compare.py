#!/usr/bin/env python3
"""diffrl beside PyTorch and JAX: install the peers, run both in turn, write a table.

    scripts/peers/compare.py --rounds 5 > table.md
    scripts/peers/compare.py --workloads diffusion-ql-step --peers jax --threads 1 --rounds 2

The table goes to stdout as Markdown, progress to stderr, every measurement to --log as one JSON
object a line."""

import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build/peers"

PEERS = {
    "published": "PyTorch, as published",
    "scripted": "PyTorch, scripted",
    "compiled": "PyTorch, compiled",
    "jax": "JAX, jitted",
}
POLICY = {
    "published": ["torch_published.py"],
    "scripted": ["torch_scripted.py"],
    "compiled": ["torch_compiled.py"],
    "jax": ["jax_jitted.py"],
}
TORCH = ("published", "scripted", "compiled")
UNETS = {peer: ["unets_torch.py", peer] for peer in TORCH}
FINETUNE = {peer: ["finetune_torch.py", peer] for peer in TORCH}
# name for `diffrl bench` -> the peers' programs; the name is their last argument
WORKLOADS = {
    "diffusion-ql-step": POLICY,
    "diffusion-bc-step": POLICY,
    "sac-step": POLICY,
    "unet1d-step": UNETS,
    "plan-64x20": UNETS,
    "unet2d-step": UNETS,
    "unet2d-eval": UNETS,
    "ddpo-epoch": FINETUNE,
    "action-1": POLICY,
    "action-50": POLICY,
    "latency": POLICY,
    "startup": POLICY,
}
OURS = "diffrl"


def arguments():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--workloads", nargs="+", default=list(WORKLOADS), choices=WORKLOADS)
    p.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    p.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    p.add_argument("--rounds", type=int, default=3, help="each runs ours, peer, ours, peer, ...")
    p.add_argument("--diffrl", default=ROOT / "build/release/diffrl", help="our program")
    p.add_argument("--env", type=pathlib.Path, default=BUILD / "env",
                   help="where the peers are installed (build/peers/env; about 6 GB)")
    p.add_argument("--log", type=pathlib.Path, default=BUILD / "results.jsonl",
                   help="measurements, appended (build/peers/results.jsonl)")
    p.add_argument("--prefix", default="", help="put before every measured command")
    p.add_argument("--table", action="store_true", help="measure nothing: the table of --log")
    return p.parse_args()


def install(env):
    """The pinned peers in a virtual environment, which may be deleted at any time."""
    python = env / "bin/python"
    if not python.exists():
        venv.create(env, with_pip=True)
    pip = [python, "-m", "pip", "install", "-q", "-r", HERE / "requirements.txt"]
    subprocess.run(pip, check=True, stdout=sys.stderr)
    return python


# ---- measuring -----------------------------------------------------------------------------------


def environment(threads):
    """The same number of threads for every library."""
    count = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
    xla = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"} if threads == 1 else {}
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(BUILD / "inductor")}
    return os.environ | count | xla | cache


def run(options, command, threads):
    """The last line that a program prints, as an object; None if it fails. Everything runs on as
    many processors as it has threads."""
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))
    command = [*shlex.split(options.prefix), "taskset", "-c", cpus, *map(str, command)]
    done = subprocess.run(command, env=environment(threads), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(shlex.join(command), "failed:", *done.stderr.splitlines()[-1:], file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def versions(python):
    code = "import jax, torch; print(f'PyTorch {torch.__version__}, JAX {jax.__version__}')"
    return subprocess.run([python, "-c", code], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


def measure_pair(options, python, workload, peer, threads, note):
    """Ours, then a peer, which is given the floor that ours has just measured."""
    ours = [options.diffrl, "bench", workload, "--threads", threads, "--json"]
    theirs = [python, HERE / WORKLOADS[workload][peer][0], *WORKLOADS[workload][peer][1:], workload]
    floor = {}
    for program, command in ((OURS, ours), (peer, theirs)):
        found = run(options, command, threads)
        if not found:
            continue
        if program == OURS:
            floor = {k: found[k] for k in ("peak_gflops", "floor_ms") if k in found}
        note({"workload": workload, "program": program, "threads": threads, **floor, **found})


def measure(options):
    python = install(options.env)
    installed = versions(python)
    options.log.parent.mkdir(parents=True, exist_ok=True)
    with open(options.log, "a") as log:

        def note(line):
            print(json.dumps(line | {"versions": installed}), file=log, flush=True)
            print(f"{line['workload']:18} {line['threads']} {line['program']:10}"
                  f" best {line['best_ms']:10.3f} p50 {line['p50_ms']:10.3f} ms", file=sys.stderr)

        for _ in range(options.rounds):
            for workload in options.workloads:
                for threads in options.threads:
                    for peer in options.peers:
                        if peer in WORKLOADS[workload]:
                            measure_pair(options, python, workload, peer, threads, note)


# ---- the table -----------------------------------------------------------------------------------


def summary(lines):
    """Best of all runs with its floor, and the median of the runs' medians."""
    best = min(lines, key=lambda line: line["best_ms"])
    floor = best.get("floor_ms")
    return {
        "best": best["best_ms"],
        "p50": statistics.median(line["p50_ms"] for line in lines),
        "ratio": f"{best['best_ms'] / floor:.2f}" if floor else "",
        "memory": min((line["rss_mb"] for line in lines if "rss_mb" in line), default=None),
    }


def rows(lines, workload, threads):
    mine = lambda program: [line for line in lines if program == line["program"]
                            and (workload, threads) == (line["workload"], line["threads"])]
    found = {program: summary(mine(program)) for program in (OURS, *PEERS) if mine(program)}
    ours = found.get(OURS)
    for program, s in found.items():
        memory = f", {s['memory']:.0f} MiB" if s["memory"] else ""
        faster = ""
        if ours and program != OURS:
            faster = f"{s['best'] / ours['best']:.2f} / {s['p50'] / ours['p50']:.2f}"
        yield (f"| {workload} | {threads} | {PEERS.get(program, OURS)}{memory} | {s['best']:.4g} |"
               f" {s['p50']:.4g} | {s['ratio']} | {faster} |")


def processor():
    with open("/proc/cpuinfo") as info:
        return next(line.split(":", 1)[1].strip() for line in info if "model name" in line)


def write_table(lines):
    print("| workload | threads | program | best ms | p50 ms | best / floor |"
          " diffrl is faster by (best / p50) |")
    print("|---|---|---|---|---|---|---|")
    for workload in WORKLOADS:
        for threads in sorted({line["threads"] for line in lines}):
            for row in rows(lines, workload, threads):
                print(row)
    peaks = {}
    for line in lines:
        if "peak_gflops" in line:
            peaks.setdefault(line["threads"], []).append(line["peak_gflops"])
    print(f"\n{processor()}; {', '.join(sorted({line['versions'] for line in lines}))}.")
    for threads, peak in sorted(peaks.items()):
        print(f"Fused multiply-adds beside these runs, {threads} thread{'s'[: threads > 1]}:"
              f" {min(peak):.0f} to {max(peak):.0f} GFLOP/s.")


def main():
    options = arguments()
    if not options.table:
        measure(options)
    with open(options.log) as log:
        write_table([json.loads(line) for line in log])


if __name__ == "__main__":
    main()
