/* bench.h -- measured speed beside what the machine can do. */
#ifndef RL_BENCH_H
#define RL_BENCH_H
#include "core/error.h"
#include <stdbool.h>
#include <stddef.h>

const char *const *bench_list(size_t *count);

/* Run one benchmark and print it on stdout: one line for people, or one JSON object {name, threads,
 * best_ms, p50_ms, needed_gflop, peak_gflops, floor_ms, ratio, allocated_bytes}.  The peak is a
 * loop of fused multiply-adds timed in the same run. */
bool bench_run(const char *name, int threads, bool json, Error *error);

#endif
