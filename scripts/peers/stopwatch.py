"""How a peer is timed, by the rules of `diffrl bench`, and how it reports: one JSON object."""

import json
import os
import resource
import sys
import time

WARM, BLOCKS, STEPS = 2, 40, 5


def report(milliseconds, **more):
    milliseconds = sorted(milliseconds)
    best, p50 = milliseconds[0], milliseconds[len(milliseconds) // 2]
    p99 = milliseconds[int(0.99 * (len(milliseconds) - 1))]
    print(json.dumps({"best_ms": best, "p50_ms": p50, "p99_ms": p99, **more}), flush=True)


def time_steps(step, wait=lambda: None, blocks=BLOCKS, steps=STEPS):
    """Blocks of consecutive training steps; wait() returns when the last one is done."""
    taken = []
    for _ in range(WARM + blocks):
        began = time.perf_counter()
        for _ in range(steps):
            step()
        wait()
        taken.append(1e3 * (time.perf_counter() - began) / steps)
    report(taken[WARM:])


def time_calls(call, seconds=2.0):
    """Single calls that return a result to the caller: the latency of acting."""
    for _ in range(50):
        call()
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        call()
        taken.append(1e3 * (time.perf_counter() - began))
    report(taken)


def time_start(first_step):
    """From the start of this process, as the kernel knows it, to the end of its first step."""
    first_step()
    with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
        started = int(stat.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
        taken = 1e3 * (float(uptime.read().split()[0]) - started)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report([taken], memory_mib=memory)


def main(workloads):
    """Run the workload named on the command line."""
    workloads[sys.argv[1]]()
