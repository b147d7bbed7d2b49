/* bench_probe.c -- what the machine can do at this moment. */
#include "rl/bench/bench_def.h"
#include "core/clock.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

/* ---- arithmetic ------------------------------------------------------------------------------ */

enum { ROUNDS = 20000, MOST = 64 };

typedef struct {
  const Kernels *kernels;
  real sink[MOST];
} Probe;

static void probe_piece(void *context, int piece, int worker) {
  (void)worker;
  Probe *p = context;
  p->sink[piece] = p->kernels->fma_probe(ROUNDS);
}

double bench_fma(Pool *pool, const Kernels *kernels, int blocks) {
  Probe probe = { .kernels = kernels };
  int threads = pool && pool_threads(pool) < MOST ? pool_threads(pool) : pool ? MOST : 1;
  double best = INFINITY;
  for (int i = 0; i < blocks; i++) {
    double began = clock_now();
    pool_run(pool, probe_piece, &probe, threads);
    best = fmin(best, clock_now() - began);
  }
  return 1e-9 * threads * (double)ROUNDS * kernels->fma_flops / best;
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef uint64_t Wide __attribute__((vector_size(64)));
enum { STREAMS = 8 };

/* Exclusive or of all numbers: eight independent chains of the widest loads. */
#define READ(name, target)                                                                         \
  target static uint64_t name(const void *data, size_t bytes) {                                    \
    const Wide *from = data;                                                                       \
    Wide sum[STREAMS] = { { 0 } };                                                                 \
    for (size_t i = 0; i + STREAMS <= bytes / sizeof *from; i += STREAMS)                          \
      for (int j = 0; j < STREAMS; j++) sum[j] ^= from[i + (size_t)j];                             \
    for (int j = 1; j < STREAMS; j++) sum[0] ^= sum[j];                                            \
    return sum[0][0] ^ sum[0][7];                                                                  \
  }
READ(read_avx512, __attribute__((target("avx512f"))))
READ(read_avx2, __attribute__((target("avx2"))))
READ(read_plain, )

double bench_read(const void *data, size_t bytes) {
  uint64_t (*read)(const void *, size_t) = __builtin_cpu_supports("avx512f") ? read_avx512
                                           : __builtin_cpu_supports("avx2")  ? read_avx2
                                                                             : read_plain;
  enum { PASSES = 10, BLOCKS = 5 };
  double best = INFINITY;
  volatile uint64_t sink = read(data, bytes);
  for (int b = 0; b < BLOCKS; b++) {
    double began = clock_now();
    for (int i = 0; i < PASSES; i++) sink ^= read(data, bytes);
    best = fmin(best, clock_now() - began);
  }
  return 1e-9 * PASSES * (double)bytes / best;
}
