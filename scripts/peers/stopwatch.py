"""How a peer is timed, by the rules of `diffrl bench`, and how it reports: one JSON object."""

import json
import math
import os
import resource
import sys
import time

SECONDS, BLOCK_SECONDS, LEAST_BLOCKS, SINGLE_CALLS = 4, 0.005, 5, 100_000


def quantile(ordered, q):
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def report(milliseconds, **facts):
    ordered = sorted(milliseconds)
    line = {"best_ms": ordered[0], "p50_ms": quantile(ordered, 0.5), **facts}
    print(json.dumps(line), flush=True)


def time_blocks(call, wait=lambda: None):
    """Milliseconds of a call, mean of a block of 5 ms or more; wait() returns when all is done."""

    def block(calls):
        began = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        return (time.perf_counter() - began) / calls

    for _ in range(5):
        took = block(1)
    calls, taken, end = math.ceil(BLOCK_SECONDS / took), [], time.perf_counter() + SECONDS
    while len(taken) < LEAST_BLOCKS or time.perf_counter() < end:
        taken.append(1e3 * block(calls))
    report(taken)


def time_single(call):
    """Single calls one after the other: what a control loop waits for."""
    for _ in range(1000):
        call()
    taken = []
    for _ in range(SINGLE_CALLS):
        began = time.perf_counter()
        call()
        taken.append(1e3 * (time.perf_counter() - began))
    ordered = sorted(taken)
    report(taken, p99_us=1e3 * quantile(ordered, 0.99), p999_us=1e3 * quantile(ordered, 0.999))


def time_start(first_step):
    """From the start of this process, as the kernel knows it, to the end of its first step."""
    first_step()
    with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
        started = int(stat.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
        taken = float(uptime.read().split()[0]) - started
    report([1e3 * taken], rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main(workloads):
    """Run the workload that the command line names."""
    workloads[sys.argv[1]]()
