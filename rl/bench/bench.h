/* bench.h -- measured speed beside what the machine can do. */
#ifndef RL_BENCH_H
#define RL_BENCH_H
#include "core/error.h"
#include "policy/policy.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct BenchDef BenchDef; /* bench_def.h */

typedef struct {
  int threads;          /* 0: the CPUs this process may use */
  double seconds;       /* about how long each is timed; 0: 4, paced calls 20 */
  int rate;             /* of `latency`: calls a second; 0: one after the other */
  bool json;            /* a JSON object a line, else text */
  bool profile;         /* of training steps: the time of each op */
  const Policy *policy; /* that `policy` times, which needs it; else NULL */
} BenchOptions;

const BenchDef *const *bench_list(size_t *count);
const char *bench_name(const BenchDef *def);
const char *bench_about(const BenchDef *def); /* one line */
bool bench_needs_policy(const BenchDef *def);

/* Run one benchmark and print a line or a few on stdout, each with at least {name, threads,
 * best_ms, p50_ms, needed_gflop, peak_gflops, floor_ms, ratio, ratio_p50}.  The peak is a loop of
 * fused multiply-adds timed between the calls; the floor is what cannot be beaten: the arithmetic
 * at that peak, or another probe of the same moment.  ratio is best_ms / floor_ms, ratio_p50 the
 * median over blocks of calls of a block's time by its own floor. */
bool bench_run(const char *name, const BenchOptions *options, Error *error);

#endif
